"""The assembler over what real servers wrote: recorded in the run, then played as often as it takes."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from cdc import events as ev
from cdc.committed import Committed
from cdc.control import Control
from cdc.position import Position
from cdc.rows import Shape, compile_decoder
from cdc.shortcut import Shortcut
from cdc.tables import Capture
from devenv.database import Server
from journal.types import GAP, INSERT
from tests.cdc import forge
from tests.cdc.database import NAME, Database, rows

MANY = 400  # rows of one statement that the server cuts into several events


class Scene(NamedTuple):
    """Statements of one session, the rows that must arrive by their id, and how many gaps."""

    statements: Sequence[str]
    rows: Sequence[int] = ()
    gaps: int = 0
    only: str | None = None


SCENES = {
    "plain": Scene(["INSERT INTO t VALUES (1, 'one'), (2, NULL)", "INSERT INTO t VALUES (3, 'three')"], [1, 2, 3]),
    "rolled back": Scene(["BEGIN", "INSERT INTO t VALUES (1, '')", "ROLLBACK", "INSERT INTO t VALUES (2, '')"], [2]),
    "many rows": Scene(
        [
            "CREATE TABLE digits (n INT)",
            "INSERT INTO digits VALUES (0), (1), (2), (3), (4), (5), (6), (7), (8), (9)",
            "INSERT INTO t SELECT 1 + a.n + 10 * b.n + 100 * c.n, REPEAT('x', 190) FROM digits a, digits b, digits c"
            " WHERE c.n < 4 ORDER BY 1",
            "DROP TABLE digits",
        ],
        range(1, MANY + 1),
    ),
    "several tables": Scene(
        [
            "BEGIN",
            "INSERT INTO t VALUES (1, '')",
            "INSERT INTO other VALUES (2)",
            "INSERT INTO t VALUES (3, '')",
            "UPDATE t SET name = 'x'",
            "DELETE FROM other",
            "COMMIT",
        ],
        [1, 3],
    ),
    "savepoint": Scene(
        [
            "BEGIN",
            "INSERT INTO t VALUES (1, '')",
            "SAVEPOINT s",
            "INSERT INTO t VALUES (2, '')",
            "ROLLBACK TO s",
            "INSERT INTO t VALUES (3, '')",
            "COMMIT",
        ],
        [1, 3],
    ),
    "savepoint and a table without transactions": Scene(
        [
            "BEGIN",
            "INSERT INTO t VALUES (1, '')",
            "SAVEPOINT s",
            "INSERT INTO t VALUES (2, '')",
            "INSERT INTO plain VALUES (4)",
            "ROLLBACK TO s",
            "INSERT INTO t VALUES (3, '')",
            "COMMIT",
        ],
        [4, 1, 3],
        only="mariadb",
    ),
    "rolled back with a table without transactions": Scene(
        ["BEGIN", "INSERT INTO t VALUES (1, '')", "INSERT INTO plain VALUES (2)", "ROLLBACK"], [2], only="mariadb"
    ),
    "table without transactions": Scene(["INSERT INTO plain VALUES (1), (2)"], [1, 2]),
    "ddl": Scene(
        [
            "INSERT INTO t VALUES (1, 'a')",
            "ALTER TABLE t ADD extra INT DEFAULT 5",
            "INSERT INTO t (id) VALUES (2)",
            "TRUNCATE t",
            "ALTER TABLE t DROP extra",
            "CREATE TEMPORARY TABLE temp (a INT)",
            "INSERT INTO temp VALUES (1)",
            "DROP TABLE temp",
        ],
        [1, 2],
    ),
    "create and fill": Scene(
        ["DROP TABLE plain", "CREATE TABLE plain SELECT 1 AS id UNION SELECT 2"],
        [1, 2],
    ),
    "partitions": Scene(
        [
            "DROP TABLE plain",
            "CREATE TABLE plain (id INT) PARTITION BY HASH (id) PARTITIONS 3",
            "INSERT INTO plain VALUES (1), (2), (3), (4), (7)",
        ],
        [1, 2, 3, 4, 7],
    ),
    "replace": Scene(
        [
            "REPLACE INTO t VALUES (1, 'a')",
            "REPLACE INTO t VALUES (1, 'b'), (2, 'c')",
            "INSERT INTO t VALUES (1, 'd') ON DUPLICATE KEY UPDATE name = 'e'",
            "INSERT IGNORE INTO t VALUES (1, 'f'), (3, 'g')",
        ],
        [1, 2, 3],
    ),
    "replace what stands in the way twice": Scene(
        [
            "ALTER TABLE t ADD UNIQUE (name)",
            "INSERT INTO t VALUES (1, 'a'), (2, 'b')",
            "REPLACE INTO t VALUES (1, 'b')",
            "TRUNCATE t",
            "REPLACE INTO t VALUES (1, 'b')",
        ],
        [1, 2, 1],
    ),
    "create and fill from a table": Scene(
        [
            "INSERT INTO other VALUES (1), (2), (3)",
            "DROP TABLE t",
            "CREATE TABLE t (PRIMARY KEY (id)) SELECT id FROM other WHERE id > 1",
            "TRUNCATE t",
            "INSERT INTO t SELECT id FROM other",
        ],
        [2, 3, 1, 2, 3],
    ),
    "trigger": Scene(
        [
            "CREATE TRIGGER copying AFTER INSERT ON other FOR EACH ROW INSERT INTO t VALUES (NEW.id, 'copied')",
            "INSERT INTO other VALUES (1), (2)",
        ],
        [1, 2],
    ),
    "xa, committed": Scene(
        [
            "XA START 'x'",
            "INSERT INTO t VALUES (1, '')",
            "XA END 'x'",
            "XA PREPARE 'x'",
            "XA COMMIT 'x'",
            "INSERT INTO t VALUES (2, '')",
        ],
        [1, 2],
    ),
    "xa, rolled back": Scene(
        ["XA START 'x'", "INSERT INTO t VALUES (1, '')", "XA END 'x'", "XA PREPARE 'x'", "XA ROLLBACK 'x'"]
    ),
    "xa, in one phase": Scene(
        ["XA START 'x'", "INSERT INTO t VALUES (1, '')", "XA END 'x'", "XA COMMIT 'x' ONE PHASE"], [1]
    ),
    "by statement": Scene(
        ["SET SESSION binlog_format = STATEMENT", "INSERT INTO t VALUES (1, '')", "INSERT INTO other VALUES (1)"],
        gaps=3,  # the second names neither captured table: it could be a view or have a trigger
    ),
    "by a function": Scene(
        [
            "CREATE FUNCTION f() RETURNS INT DETERMINISTIC BEGIN INSERT INTO t VALUES (1, ''); RETURN 1; END",
            "SELECT f()",
            "SET SESSION binlog_format = STATEMENT",
            "DELETE FROM t",
            "SELECT f()",
            "DROP FUNCTION f",
        ],
        [1],
        gaps=3,
    ),
    "by statement, with settings": Scene(
        [
            "SET SESSION binlog_format = STATEMENT",
            "SET STATEMENT max_statement_time = 5 FOR INSERT INTO t VALUES (1, '')",
        ],
        gaps=1,
        only="mariadb",
    ),
    "by statement, rolled back in part": Scene(
        [
            "SET SESSION binlog_format = STATEMENT",
            "BEGIN",
            "INSERT INTO t VALUES (1, '')",
            "INSERT INTO plain VALUES (2)",
            "ROLLBACK",
        ],
        gaps=2,
        only="mariadb",
    ),
    "rows compressed": Scene(
        [
            "SET GLOBAL log_bin_compress = 1, GLOBAL log_bin_compress_min_len = 10",
            "INSERT INTO t VALUES (1, REPEAT('x', 180)), (2, REPEAT('x', 180))",
            "XA START 'x'",
            "INSERT INTO t VALUES (3, REPEAT('x', 180))",
            "XA END 'x'",
            "XA PREPARE 'x'",
            "XA COMMIT 'x'",
            "SET GLOBAL log_bin_compress = 0, GLOBAL log_bin_compress_min_len = 256",
        ],
        [1, 2, 3],
        only="mariadb",
    ),
    "transaction compressed": Scene(
        [
            "SET SESSION binlog_transaction_compression = 1",
            "INSERT INTO t VALUES (1, '')",
            "XA START 'x'",
            "INSERT INTO t VALUES (2, '')",
            "XA END 'x'",
            "XA PREPARE 'x'",
            "XA COMMIT 'x'",
            "SET SESSION binlog_transaction_compression = 0",
            "INSERT INTO t VALUES (3, '')",
        ],
        [1, 2, 3],
        only="mysql",
    ),
    "alter in two phases": Scene(
        [
            "SET SESSION binlog_alter_two_phase = 1",
            "INSERT INTO t VALUES (1, '')",
            "ALTER TABLE t ADD extra INT",
            "INSERT INTO t VALUES (2, '', 3)",
        ],
        [1, 2],
        only="mariadb",
    ),
    "alter in two phases, undone": Scene(
        [
            "SET SESSION binlog_alter_two_phase = 1",
            "INSERT INTO t VALUES (1, ''), (2, '')",
            "BEGIN NOT ATOMIC DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN END;"
            " ALTER TABLE t ADD extra INT NOT NULL DEFAULT 1, ADD UNIQUE (extra); END",
            "INSERT INTO t VALUES (3, '')",
        ],
        [1, 2, 3],
        only="mariadb",
    ),
    "another domain": Scene(
        ["INSERT INTO t VALUES (1, '')", "SET SESSION gtid_domain_id = 7", "INSERT INTO t VALUES (2, '')"],
        [1, 2],
        only="mariadb",
    ),
    "statements in the log": Scene(
        ["SET SESSION binlog_rows_query_log_events = 1", "INSERT INTO t VALUES (1, '')"], [1], only="mysql"
    ),
    "a new file": Scene(["INSERT INTO t VALUES (1, '')", "FLUSH BINARY LOGS", "INSERT INTO t VALUES (2, '')"], [1, 2]),
}

TABLES = [
    "DROP TABLE IF EXISTS t, other, plain",
    "CREATE TABLE t (id INT, name VARCHAR(200), UNIQUE (id))",
    "CREATE TABLE other (id INT)",
    "CREATE TABLE plain (id INT) ENGINE = MyISAM",
]


FLAVOURS = ("mariadb", "mysql")


class Recording(NamedTuple):
    """What a server wrote for each scene, and an assembler for it."""

    events: dict[str, list[bytes]]
    starts: dict[str, Position]
    assembler: Callable[[Position], Shortcut]


def record(server: Server) -> Recording:
    """Every scene of this server."""
    database = Database(server)
    with Control(database.arguments) as control:
        charsets = control.server().charsets
    captures = [Capture("t", NAME, "t"), Capture("plain", NAME, "plain")]

    def assembler(start: Position) -> Shortcut:
        return Shortcut(
            database.flavour,
            captures,
            lambda _, table: compile_decoder(table, Shape(None, {}, bigint_strings=False, charsets=charsets)),
            start,
            with_gtids=True,
        )

    events, starts = {}, {}
    for name, scene in SCENES.items():
        if scene.only in (None, database.flavour):
            database.run(*TABLES)
            starts[name] = database.end()
            with database.session(*scene.statements):
                events[name] = database.record(starts[name])
    database.close()
    return Recording(events, starts, assembler)


@pytest.fixture(scope="module")
def recordings() -> dict[str, Recording]:
    """Those that were made already, by flavour."""
    return {}


@pytest.fixture
def recording(request: pytest.FixtureRequest, flavour: str, recordings: dict[str, Recording]) -> Recording:
    """What the server of this flavour wrote, recorded when it is first wanted."""
    server: Server = request.getfixturevalue(flavour)
    if flavour not in recordings:
        recordings[flavour] = record(server)
    return recordings[flavour]


every_flavour = pytest.mark.parametrize("flavour", FLAVOURS)
every_scene = pytest.mark.parametrize(
    ("flavour", "name"),
    [(flavour, name) for flavour in FLAVOURS for name, scene in SCENES.items() if scene.only in (None, flavour)],
)


def play(assembler: Shortcut, events: Sequence[bytes]) -> list[Committed]:
    return [done for done in map(assembler.feed, events) if done]


def ids(committed: Sequence[Committed]) -> list[int]:
    changes = [change for done in committed for change in done.changes if change.op == INSERT]
    return [json.loads(change.message)["id"] for change in changes]


def gaps(committed: Sequence[Committed]) -> int:
    return sum(change.op == GAP for done in committed for change in done.changes)


@every_scene
def test_what_was_committed_arrives(recording: Recording, name: str) -> None:
    """The rows of the scene, in order, no others, and a gap where rows are in the log that cannot be read."""
    committed = play(recording.assembler(recording.starts[name]), recording.events[name])
    assert ids(committed) == list(SCENES[name].rows)
    assert gaps(committed) == SCENES[name].gaps


@every_scene
def test_the_short_way_tells_the_same(recording: Recording, name: str) -> None:
    """Plain transactions, which are read in one go, and all others: as if each event were taken by itself."""
    events, start = recording.events[name], recording.starts[name]
    by_events = play(recording.assembler(start), events)
    for size in (700, 1 << 20):
        machine = recording.assembler(start)
        read = [done for packets in forge.reads(events, size) for _, done in machine.steps(packets) if done]
        assert read == by_events


def sent_from(events: Sequence[bytes], position: Position) -> list[bytes]:
    """What the server sends to a reader that asks for a position within the recording."""
    rotate = position.offset.to_bytes(8, "little") + position.file.encode()
    sent = [forge.event(ev.ROTATE, rotate, timestamp=0, flags=forge.ARTIFICIAL)]
    file, behind = "", False
    for event in events:
        header = ev.parse_header(event)
        behind = behind or (file == position.file and header.end - header.size == position.offset)
        if behind or header.kind == ev.FORMAT_DESCRIPTION:
            sent.append(event)
        if header.kind == ev.ROTATE:
            file, _ = ev.parse_rotate(event[ev.HEADER_SIZE : -4])
    return sent


@every_scene
def test_every_cut_of_it_resumes(recording: Recording, name: str) -> None:
    """Cut at any event, a reader from where the checkpoint says is sent the last transaction again, then the rest."""
    events, start = recording.events[name], recording.starts[name]
    whole = play(recording.assembler(start), events)
    seen = {}
    for cut in range(len(events) + 1):
        done = play(recording.assembler(start), events[:cut])
        assert [one.changes for one in done] == [one.changes for one in whole[: len(done)]]
        seen[len(done)] = done
    for count, done in seen.items():
        if count:
            begin = done[-1].held or done[-1].start
            again = play(recording.assembler(begin), sent_from(events, begin))
            skipped = count - [one.start for one in whole].index(begin)
            assert again[skipped - 1].fingerprint == done[-1].fingerprint
            assert again[skipped:] == whole[count:]


@every_flavour
def test_a_statement_of_many_rows_has_several_events(recording: Recording) -> None:
    """Or the scene would not test what it says: one table map, then rows in pieces."""
    kinds = [ev.parse_header(event).kind for event in recording.events["many rows"]]
    pieces = [kind for kind in kinds if kind in (ev.WRITE_ROWS, ev.WRITE_ROWS_V1)]
    assert len(pieces) > kinds.count(ev.TABLE_MAP) + 5


def test_a_loaded_file_arrives(database: Database, tmp_path: Path) -> None:
    """LOAD DATA writes rows, in order, with the values of SELECT; REPLACE makes an update of what was there."""
    before = database.value("SELECT @@GLOBAL.local_infile")
    database.run("SET GLOBAL local_infile = 1", "CREATE TABLE t (id INT PRIMARY KEY, name VARCHAR(200))")
    file = tmp_path / "rows.txt"
    file.write_text("".join(f"{n}\tnäme {n}\n" for n in range(2000)))
    start = database.end()
    database.run("INSERT INTO t VALUES (1999, 'old')")
    with database.connect(database=NAME, local_infile=True) as session:
        session.query(f"LOAD DATA LOCAL INFILE '{file}' REPLACE INTO TABLE t CHARACTER SET utf8mb4")
    database.run(f"SET GLOBAL local_infile = {before}")
    done = database.read(start, "t")
    assert [(row["id"], row["name"]) for row in rows(done)] == [
        (1999, "old"),
        *[(int(number), name) for number, name in database.select("SELECT * FROM t WHERE id < 1999 ORDER BY id")],
    ]
    assert gaps(done) == 0

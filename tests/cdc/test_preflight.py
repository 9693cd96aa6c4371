from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pymysql
import pytest

from cdc.findings import Finding
from cdc.preflight import preflight
from devenv.database import Server
from rowcast.mysql_url import MysqlUrl

DATABASE = "test_preflight"
TABLE = (DATABASE, "good")
RIGHTS = ["REPLICATION SLAVE, REPLICATION CLIENT ON *.*", f"SELECT ON {DATABASE}.*"]


@pytest.fixture
def root(either: Server) -> Iterator[pymysql.Connection]:
    """The administrator, with a fresh database that holds a table fit to be captured."""
    with _connected(either.root_url) as connection:
        connection.query(f"DROP DATABASE IF EXISTS {DATABASE}")
        connection.query(f"CREATE DATABASE {DATABASE}")
        connection.query(f"CREATE TABLE {DATABASE}.good (id INT PRIMARY KEY, a INT)")
        yield connection
        connection.query(f"DROP DATABASE {DATABASE}")


@pytest.fixture
def reader(either: Server, root) -> Iterator[Callable[..., pymysql.Connection]]:
    """Connections of an account that has the given rights."""
    made: list[pymysql.Connection] = []

    def _reader(*rights: str) -> pymysql.Connection:
        root.query("DROP USER IF EXISTS test_preflight@'%'")
        root.query("CREATE USER test_preflight@'%' IDENTIFIED BY 'x'")
        for right in rights:
            root.query(f"GRANT {right} TO test_preflight@'%'")
        url = MysqlUrl.parse(either.url("test_preflight", "x", ""))
        made.append(pymysql.connect(**url.arguments(), autocommit=True))
        return made[-1]

    yield _reader
    for connection in made:
        connection.close()
    root.query("DROP USER IF EXISTS test_preflight@'%'")


@contextmanager
def _connected(url: str) -> Iterator[pymysql.Connection]:
    with pymysql.connect(**MysqlUrl.parse(url).arguments(), autocommit=True) as connection:
        yield connection


@contextmanager
def global_value(root: pymysql.Connection, name: str, value: str) -> Iterator[None]:
    """A server variable changed for a while."""
    with root.cursor() as cursor:
        cursor.execute(f"SELECT @@GLOBAL.{name}")
        (old,) = cursor.fetchone()
        cursor.execute(f"SET GLOBAL {name} = {value}")
        try:
            yield
        finally:
            cursor.execute(f"SET GLOBAL {name} = %s", (old,))


def bad(findings: list[Finding]) -> dict[str, Finding]:
    return {finding.subject: finding for finding in findings if finding.level != "ok"}


def test_our_own_configuration_passes(reader):
    """A server with my.cnf, an account with the documented rights and a plain table give nothing but ok."""
    findings = preflight(reader(*RIGHTS), [TABLE], {TABLE: ["id", "a"]}, server_id=4000000000)
    assert bad(findings) == {}
    subjects = [finding.subject for finding in findings]
    assert {"server", "log_bin", "binlog filters", "server_id", f"table {DATABASE}.good"} <= set(subjects)


WRONG = [
    ("binlog_format", "'MIXED'", "fail", "binlog_format = ROW;"),
    ("binlog_row_image", "'MINIMAL'", "fail", "binlog_row_image = FULL;"),
    ("binlog_row_metadata", "'MINIMAL'", "fail", "binlog_row_metadata = FULL;"),
    ("sync_binlog", "0", "warn", "sync_binlog = 1;"),
    ("innodb_flush_log_at_trx_commit", "2", "warn", "innodb_flush_log_at_trx_commit = 1;"),
]
WRONG_ON = {
    "mariadb": [*WRONG, ("gtid_strict_mode", "0", "warn", "gtid_strict_mode = ON;")],
    "mysql": [*WRONG, ("gtid_mode", "ON_PERMISSIVE", "warn", "gtid_mode = ON")],
}


@pytest.mark.parametrize(
    ("either", "case"),
    [(flavour, case) for flavour, cases in WRONG_ON.items() for case in cases],
    indirect=["either"],
    ids=lambda value: value if isinstance(value, str) else value[0],
)
def test_wrong_variables_are_found(either, root, reader, case):
    """Each variable that keeps rows away or endangers them is named, with the statement that sets it right."""
    name, value, level, mend = case
    with global_value(root, name, value):
        found = bad(preflight(reader(*RIGHTS), [TABLE]))
    assert list(found) == [name]
    assert found[name].level == level
    assert mend in found[name].mend


def test_what_updates_need_is_asked_where_they_are_carried(either, root, reader):
    """Partial JSON and foreign keys that cascade unlogged matter to a channel with updates or deletes only."""
    follows = f"CONSTRAINT follows FOREIGN KEY (good) REFERENCES {DATABASE}.good (id) ON DELETE CASCADE"
    root.query(f"CREATE TABLE {DATABASE}.child (id INT PRIMARY KEY, good INT, {follows})")
    child, mysql = (DATABASE, "child"), either.installation.flavour == "mysql"
    connection = reader(*RIGHTS)
    if mysql:
        with global_value(root, "binlog_row_value_options", "'PARTIAL_JSON'"):
            assert bad(preflight(connection, [child])) == {}
            found = bad(preflight(connection, [child], changing=[child]))["binlog_row_value_options"]
            assert (found.level, found.mend.partition(";")[0]) == ("fail", "SET PERSIST binlog_row_value_options = ''")
            root.query("SET GLOBAL binlog_row_value_options = ''")
    assert bad(preflight(connection, [child])) == {}
    found = bad(preflight(connection, [child], changing=[child, TABLE]))
    assert list(found) == ([] if mysql else [f"table {DATABASE}.child"])
    assert mysql or "`follows` (ON DELETE CASCADE)" in found[f"table {DATABASE}.child"].text


def test_what_mends_a_variable_can_be_executed(either, root, reader):
    """The first line of the remedy is SQL that this server takes, and after it the finding is gone."""
    with global_value(root, "binlog_row_image", "'MINIMAL'"):
        (found,) = bad(preflight(reader(*RIGHTS), [TABLE])).values()
        root.query(found.mend.splitlines()[0].partition("--")[0])
        assert bad(preflight(reader(*RIGHTS), [TABLE])) == {}
        if either.installation.flavour == "mysql":
            root.query("RESET PERSIST binlog_row_image")


def test_a_short_expiry_is_found(root, reader):
    """A log that is kept for less than a day leaves little time to repair us."""
    with global_value(root, "binlog_expire_logs_seconds", "3600"):
        found = bad(preflight(reader(*RIGHTS), [TABLE]))
    assert "kept for 1 h" in found["binlog expiry"].text


@pytest.mark.parametrize(
    ("rights", "missing"),
    [
        (["REPLICATION CLIENT ON *.*", RIGHTS[1]], "grant REPLICATION SLAVE"),
        (["REPLICATION SLAVE ON *.*", RIGHTS[1]], "grant REPLICATION CLIENT"),
        (RIGHTS[:1], f"table {DATABASE}.good"),
    ],
)
def test_missing_rights_are_found_and_mended(root, reader, rights, missing):
    """A right that the account lacks is fatal, and the GRANT in the finding is the one that helps."""
    found = bad(preflight(reader(*rights), [TABLE]))
    assert [(name, finding.fatal) for name, finding in found.items()] == [(missing, True)]
    root.query(found[missing].mend)
    with root.cursor() as cursor:
        cursor.execute("SHOW GRANTS FOR test_preflight@'%'")
        grants = [line.partition(" TO ")[0].removeprefix("GRANT ") for (line,) in cursor.fetchall()]
    assert bad(preflight(reader(*grants), [TABLE])) == {}


def test_rights_by_a_role_are_not_denied(root, reader):
    """Where a role may hold the right, its absence is a doubt and not a refusal."""
    root.query("CREATE ROLE test_preflight_role")
    try:
        found = bad(preflight(reader(RIGHTS[1], "test_preflight_role"), [TABLE]))
    finally:
        root.query("DROP ROLE test_preflight_role")
    assert {finding.level for finding in found.values()} == {"warn"}


def test_unfit_tables_are_found(root, reader):
    """Missing tables, views and columns are fatal; a missing key and an engine without transactions are not."""
    for statement in (
        "CREATE VIEW {}.seen AS SELECT * FROM {}.good",
        "CREATE TABLE {}.keyless (a INT)",
        "CREATE TABLE {}.plain (id INT PRIMARY KEY) ENGINE = MyISAM",
    ):
        root.query(statement.replace("{}", DATABASE))
    names = ["good", "gone", "seen", "keyless", "plain"]
    tables = [(DATABASE, name) for name in names]
    found = bad(preflight(reader(*RIGHTS), tables, {TABLE: ["id", "b", "c"]}))
    assert {name.rpartition(".")[2]: (finding.level, finding.text) for name, finding in found.items()} == {
        "good": ("fail", "has no column b, c"),
        "gone": ("fail", "does not exist"),
        "seen": ("fail", "is a view: the log knows only tables"),
        "keyless": ("warn", "has no primary key: a gap in it cannot be repaired from the table"),
        "plain": ("warn", "is MyISAM: its rows are logged even when the transaction is rolled back"),
    }
    for name in ("keyless", "plain"):
        root.query(found[f"table {DATABASE}.{name}"].mend)
    assert bad(preflight(reader(*RIGHTS), [(DATABASE, "keyless"), (DATABASE, "plain")])) == {}


def test_the_servers_own_number_is_not_ours(root, reader):
    """Our server_id must differ from the server's."""
    found = bad(preflight(reader(*RIGHTS), [TABLE], server_id=1))
    assert found["server_id"].text == "1 is the server's own number too"


@pytest.mark.parametrize("xid", ["'left behind'", "X'00ff27','branch',7"])
def test_abandoned_xa_transactions_are_found(either, root, reader, xid):
    """One that is prepared is named, and what the finding says ends it; an account that may not look is told so."""
    with _connected(either.root_url) as other:
        for statement in ("XA START {}", "INSERT INTO {}.good VALUES (1, 1)", "XA END {}", "XA PREPARE {}"):
            other.query(statement.replace("{}", DATABASE if "INSERT" in statement else xid))
    assert bad(preflight(reader(*RIGHTS), [TABLE])).keys() <= {"XA transactions"}
    found = bad(preflight(root, [TABLE]))
    assert found["XA transactions"].level == "warn"
    root.query(found["XA transactions"].mend.partition(";")[0])
    assert bad(preflight(root, [TABLE])) == {}


@pytest.mark.parametrize("flavour", ["mariadb", "mysql"])
def test_binlog_filters_are_refused(make_server, flavour):
    """A filter leaves rows out of the log without a trace, so it is fatal, and the option is named."""
    server = make_server(flavour, extra=["--binlog-do-db=one", "--binlog-ignore-db=two"])
    with _connected(server.root_url) as connection:
        found = [finding for finding in preflight(connection, []) if finding.fatal]
    assert [finding.subject for finding in found] == ["binlog filters", "binlog filters"]
    assert "binlog-do-db = one" in found[0].text
    assert found[1].mend.startswith("remove binlog-ignore-db from my.cnf")


def test_a_server_without_a_log_is_refused(make_server):
    """No binary log, nothing to follow; the line for my.cnf is told."""
    server = make_server("mariadb", extra=["--skip-log-bin"])
    with _connected(server.root_url) as connection:
        found = bad(preflight(connection, []))
    assert found["log_bin"].fatal
    assert "log_bin = binlog" in found["log_bin"].mend

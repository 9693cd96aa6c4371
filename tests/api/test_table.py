from __future__ import annotations

import asyncio
import json
import ssl

import pymysql
import pytest

from api.errors import BatchRefused, DatabaseAway, DatabaseBusy, OutcomeUnknown, RowRefused
from api.rows import MAX_DEPTH, Row
from api.table import Address, ResultTable
from tests.api.conftest import PASSWORD, make_database
from tests.faults.proxy import CuttingProxy

MOMENT = "2026-11-23 08:19:33.999"


@pytest.fixture
def place(either):
    """A server of either kind, and the address of a database of the test's own on it."""
    return either, make_database(either)


@pytest.fixture
def readable_place(mariadb):
    """A database on MariaDB, which offers no TLS: a proxy can read what passes."""
    return mariadb, make_database(mariadb)


@pytest.fixture
def open_table():
    """Opens tables, and closes them in the end."""
    tables = []

    def _open(address: Address, **settings) -> ResultTable:
        tables.append(ResultTable(address, **settings))
        return tables[-1]

    yield _open
    for table in tables:
        table.close()


def row(account="shop", data="1", url="u", timestamp=MOMENT):
    return Row(account, data, url, timestamp)


def stored(place, columns="id, account"):
    server, address = place
    text = server.sql(f"SELECT {columns} FROM scraped_result ORDER BY id", address.database)
    return [line.split("\t") for line in text.splitlines()]


async def test_each_row_gets_the_id_that_it_has_in_the_table(place, open_table):
    """The ids computed from the first one are those that the server gave."""
    table = open_table(place[1])
    ids = await table.save([row(f"a{number}") for number in range(100)]) + await table.save([row("last")])
    assert [
        [str(one), account] for one, account in zip(ids, [*(f"a{n}" for n in range(100)), "last"], strict=True)
    ] == (stored(place))


async def test_ids_are_right_where_the_server_counts_in_steps(make_server, open_table):
    """auto_increment_increment, as in a cluster of several writers, is taken into account."""
    server = make_server(extra=["--auto-increment-increment=5", "--auto-increment-offset=3"])
    place = (server, make_database(server))
    table = open_table(place[1])
    ids = await table.save([row(f"a{number}") for number in range(4)])
    assert ids == [3, 8, 13, 18]
    assert [int(one) for one, _ in stored(place)] == ids


async def test_ids_are_right_while_others_insert(place, open_table):
    """Another writer between two groups, and at the same time, changes nothing about whose id is whose."""
    tables = [open_table(place[1]) for _ in range(3)]
    got: dict[int, str] = {}

    async def insert(name: str, table: ResultTable) -> None:
        for group in range(20):
            names = [f"{name}-{group}-{number}" for number in range(15)]
            got.update(zip(await table.save([row(account) for account in names]), names, strict=True))

    await asyncio.gather(*(insert(f"w{number}", table) for number, table in enumerate(tables)))
    assert len(got) == 3 * 20 * 15
    assert {int(one): account for one, account in stored(place)} == got


async def test_values_arrive_as_they_are(place, open_table):
    """Quotes, backslashes, SQL, line ends, four-byte characters and an emptiness are only text."""
    texts = ["'); DROP TABLE scraped_result; -- ", "\\' \\\" \\0 %s %(a)s", "a\nb\r\tc\x1a", "😀 é \u2028", "", "?"]
    table = open_table(place[1])
    await table.save([row(text, json.dumps(text), text) for text in texts])
    got = stored(place, "HEX(account), HEX(url), HEX(JSON_UNQUOTE(data)), timestamp")
    assert got == [[text.encode().hex().upper()] * 3 + [MOMENT] for text in texts]


async def test_data_is_the_clients_text_on_mariadb(mariadb, open_table):
    """MariaDB keeps JSON as text: numbers of any length, the order of keys and repeated keys survive."""
    place = (mariadb, make_database(mariadb))
    texts = ['{"b":18446744073709551616123, "a":1.10, "b":2}', "null", '"\\u0000"', "1e999"]
    await open_table(place[1]).save([row(data=text) for text in texts])
    assert stored(place, "HEX(data)") == [[text.encode().hex().upper()] for text in texts]


async def test_the_deepest_value_we_take_is_one_the_server_takes(place, open_table):
    """Our own bound on nesting leaves nothing for the server to refuse."""
    data = "[" * MAX_DEPTH + "]" * MAX_DEPTH
    assert isinstance((await open_table(place[1]).save([row(data=data)]))[0], int)


@pytest.mark.parametrize(
    ("bad", "path", "number"),
    [
        (row(account="x" * 256), "$.account", 1406),
        (row(url="x" * 2049), "$.url", 1406),
        (row(timestamp="2026-02-30 00:00:00"), "$.timestamp", 1292),
        (row(data="{"), "$.data", None),
    ],
)
async def test_a_bad_row_fails_alone(place, open_table, bad, path, number):
    """What the server refuses is refused with the field's path; the rest of its group is saved."""
    table = open_table(place[1])
    outcomes = await table.save([row("before"), bad, row("after")])
    assert isinstance(outcomes[1], RowRefused)
    assert outcomes[1].failure.path == path
    assert number is None or f"(error {number})" in outcomes[1].reason
    assert " at row " not in outcomes[1].reason
    assert stored(place) == [[str(outcomes[0]), "before"], [str(outcomes[2]), "after"]]
    assert isinstance((await table.save([bad]))[0], RowRefused)


async def test_a_trigger_and_a_constraint_can_refuse_a_row(place, open_table):
    """An operator's SIGNAL, unique key or CHECK is the row's fault, in the operator's words."""
    server, address = place
    server.sql(
        "DELIMITER //\nCREATE TRIGGER t BEFORE INSERT ON scraped_result FOR EACH ROW "
        "IF NEW.account = 'banned' THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'go away'; END IF//",
        address.database,
    )
    server.sql("ALTER TABLE scraped_result ADD UNIQUE (account)", address.database)
    server.sql("ALTER TABLE scraped_result ADD CONSTRAINT short CHECK (url <> 'no')", address.database)
    outcomes = await open_table(address).save([row("a"), row("banned"), row("a"), row("b", url="no"), row("c")])
    assert [isinstance(outcome, int) for outcome in outcomes] == [True, False, False, False, True]
    assert "go away" in str(outcomes[1])
    assert [account for _, account in stored(place)] == ["a", "c"]


async def test_a_batch_is_saved_whole_or_not_at_all(place, open_table):
    """One bad row refuses its batch, every bad one is named, and nothing of it is stored."""
    table = open_table(place[1])
    with pytest.raises(BatchRefused) as caught:
        await table.save_all([row("a"), row("x" * 256), row("b"), row(data="{")])
    errors = caught.value.failure.errors
    assert [(error.index, error.path) for error in errors] == [(1, "$.account"), (3, "$.data")]
    assert stored(place) == []
    ids = await table.save_all([row("a"), row("b")])
    assert [int(one) for one, _ in stored(place)] == ids


@pytest.mark.parametrize("flavour", ["mariadb", "mysql"])
async def test_rows_beyond_one_packet_go_into_several_statements(make_server, open_table, flavour):
    """A group larger than max_allowed_packet is still one transaction; only a row that is larger is refused."""
    server = make_server(flavour, extra=["--max-allowed-packet=16384"])
    place = (server, make_database(server))
    table = open_table(place[1])
    ids = await table.save([row(f"a{number}", json.dumps("é" * 900)) for number in range(50)])
    assert [[str(one), f"a{number}"] for number, one in enumerate(ids)] == stored(place)
    large, nearly = json.dumps("x" * 17000), json.dumps("x" * 16000)
    outcomes = await table.save([row("small"), row("large", large), row("nearly", nearly)])
    assert isinstance(outcomes[1], RowRefused)
    assert "max_allowed_packet" in outcomes[1].reason
    assert [account for _, account in stored(place)][50:] == ["small", "nearly"]


async def test_a_row_of_many_packets_is_saved(place, open_table):
    """Beyond 16 MiB a statement is cut into packets of the protocol; over TLS, where MySQL offers it, as without."""
    table = open_table(place[1], io_timeout=30.0)
    text = "x" * (17 << 20)
    assert isinstance((await table.save([row(data=json.dumps(text)), row("after")]))[1], int)
    assert stored(place, "account, LENGTH(JSON_UNQUOTE(data))") == [["shop", str(len(text))], ["after", "1"]]
    exchange = await table._connected()
    assert isinstance(exchange._socket, ssl.SSLSocket) == (place[0].installation.flavour == "mysql")


async def test_limits_are_those_of_the_columns(place, open_table):
    """The lengths come from the table itself, as it is at the connect, and an INSERT grant suffices to see them."""
    place[0].sql("ALTER TABLE scraped_result MODIFY account VARCHAR(40) NOT NULL, MODIFY url TEXT", place[1].database)
    table = open_table(place[1])
    assert table.limits == {}
    await table.check()
    assert table.limits == {"account": 40}


async def test_an_idle_connection_holds_no_lock(place, open_table):
    """Neither a check nor a refused row leaves a transaction open that an ALTER TABLE would wait for."""
    table = open_table(place[1])
    await table.check()
    await table.save([row("x" * 256)])
    alter = "SET SESSION lock_wait_timeout = 2; ALTER TABLE scraped_result ADD COLUMN more INT NULL"
    place[0].sql(alter, place[1].database)


async def test_values_that_do_not_fit_are_never_cut(place, open_table):
    """The session is strict whatever the server's default is."""
    table = open_table(place[1])
    await table.check()
    exchange = await table._connected()
    exchange.suspend()
    with exchange.connection.cursor() as cursor:
        cursor.execute("SELECT @@sql_mode")
        assert "STRICT_ALL_TABLES" in cursor.fetchone()[0]


@pytest.mark.parametrize(
    ("break_it", "mend"),
    [
        ("DROP TABLE scraped_result", "CREATE TABLE scraped_result LIKE copy"),
        ("ALTER TABLE scraped_result CHANGE url link TEXT", "ALTER TABLE scraped_result CHANGE link url TEXT"),
    ],
)
async def test_a_table_that_cannot_take_rows_is_away(place, open_table, break_it, mend):
    """A missing table or column is found by the check and by a save, and is gone when it is mended."""
    server, address = place
    server.sql("CREATE TABLE copy LIKE scraped_result", address.database)
    table = open_table(address)
    await table.check()
    server.sql(break_it, address.database)
    with pytest.raises(DatabaseAway):
        await table.check()
    with pytest.raises(DatabaseAway, match="cannot insert"):
        await table.save([row()])
    server.sql(mend, address.database)
    await table.check()
    assert isinstance((await table.save([row()]))[0], int)


async def test_a_missing_grant_is_found_by_the_check(place, open_table):
    """The check needs what an INSERT needs, and no more."""
    server, address = place
    server.sql(f"REVOKE INSERT ON {address.database}.scraped_result FROM '{address.user}'@'%'")
    with pytest.raises(DatabaseAway):
        await open_table(address).check()


async def test_a_locked_table_is_busy_not_gone(place, open_table):
    """A lock that lasts is answered in less than our own timeout, with nothing saved."""
    server, address = place
    table = open_table(address, io_timeout=2.0)
    await table.check()
    root = {"user": "root", "password": server.root_password, "database": address.database}
    with pymysql.connect(host="127.0.0.1", port=server.port, **root) as holder, holder.cursor() as cursor:
        cursor.execute("LOCK TABLES scraped_result WRITE")
        with pytest.raises(DatabaseBusy):
            await table.save([row()])
        cursor.execute("UNLOCK TABLES")
    assert isinstance((await table.save([row("after")]))[0], int)
    assert [account for _, account in stored(place)] == ["after"]


async def test_nobody_home_is_away(open_table, free_port):
    """A refused connection is an answer, with the number of the error and no address."""
    with pytest.raises(DatabaseAway) as caught:
        await open_table(Address("127.0.0.1", free_port, "nobody", PASSWORD, "none")).check()
    assert caught.value.reason == "the database is away (error 2003)"


async def test_the_password_is_in_no_text(place, open_table):
    """Neither the address, nor an error, nor what caused it shows the password."""
    address = Address(**{**vars(place[1]), "password": "wr0ng-s3cret"})
    assert "s3cret" not in repr(address)
    with pytest.raises(DatabaseAway) as caught:
        await open_table(address).check()
    for error in (caught.value, caught.value.__cause__):
        assert "s3cret" not in repr(error) + str(error)
    assert address.user not in caught.value.reason


async def test_a_connection_lost_while_idle_is_replaced(place, open_table):
    """Rows sent into a dead connection are sent again on a new one: nothing was committed."""
    with CuttingProxy(place[1].port) as proxy:
        table = open_table(Address(**{**vars(place[1]), "port": proxy.port}))
        first = await table.save([row("a")])
        assert proxy.cut() == 1
        assert await table.save([row("b")]) == [first[0] + 1]
        assert proxy.accepted == 2
    assert [account for _, account in stored(place)] == ["a", "b"]


async def test_a_killed_connection_is_replaced(place, open_table):
    """KILL, a restart or wait_timeout while idle cost nobody a row."""
    table = open_table(place[1])
    await table.save([row("a")])
    place[0].sql(f"KILL {(await table._connected()).connection.thread_id()}")
    assert isinstance((await table.save([row("b")]))[0], int)
    assert [account for _, account in stored(place)] == ["a", "b"]


async def test_a_link_cut_during_the_insert_saves_the_row_once(readable_place, open_table):
    """Before COMMIT nothing stands, so the rows go out again, and the first attempt leaves none."""
    with CuttingProxy(readable_place[1].port) as proxy:
        table = open_table(Address(**{**vars(readable_place[1]), "port": proxy.port}))
        await table.check()
        proxy.cut_before_answer_to(b"INSERT INTO")
        ids = await table.save([row("a"), row("b")])
        assert not proxy.armed
    assert stored(readable_place) == [[str(ids[0]), "a"], [str(ids[1]), "b"]]


async def test_a_link_cut_at_the_commit_is_unknown_and_not_repeated(readable_place, open_table):
    """The server committed, its answer was lost: the row is there once, and we do not claim to know."""
    with CuttingProxy(readable_place[1].port) as proxy:
        table = open_table(Address(**{**vars(readable_place[1]), "port": proxy.port}))
        await table.check()
        proxy.cut_before_answer_to(b"COMMIT")
        with pytest.raises(OutcomeUnknown) as caught:
            await table.save([row("a")])
        assert caught.value.failure.outcome == "unknown"
        assert [account for _, account in stored(readable_place)] == ["a"]
        await table.save([row("b")])
    assert [account for _, account in stored(readable_place)] == ["a", "b"]


async def test_a_link_that_keeps_breaking_is_given_up(place, open_table):
    """One new connection is tried, not one after the other."""
    with CuttingProxy(place[1].port) as proxy:
        table = open_table(Address(**{**vars(place[1]), "port": proxy.port}))
        await table.check()
        proxy.refusing = True
        proxy.cut()
        with pytest.raises(DatabaseAway):
            await table.save([row()])
        assert proxy.accepted == 2


async def test_a_dead_link_costs_one_timeout(place, open_table):
    """Without an answer the wait is not begun a second time, and the row is not saved later."""
    with CuttingProxy(place[1].port) as proxy:
        table = open_table(Address(**{**vars(place[1]), "port": proxy.port}), io_timeout=0.5)
        await table.check()
        proxy.pause()
        with pytest.raises(DatabaseAway):
            await table.save([row("lost")])
        assert proxy.accepted == 1
        proxy.resume()
        await table.save([row("saved")])
    assert [account for _, account in stored(place)] == ["saved"]

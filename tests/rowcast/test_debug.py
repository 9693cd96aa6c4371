import ast

import pymysql
import pytest

from rowcast.debug import decoder
from rowcast.errors import CONFIGURATION, UNREACHABLE, USAGE, Failure
from rowcast.migrate import migrate


@pytest.fixture
def ready(either, settings_of, query):
    """Settings over a migrated server, two channels over one table, and a table of everybody's."""

    def _ready():
        channels = {
            "ROWCAST_CHANNELS_SMALL_TABLE": "scraped_result",
            "ROWCAST_CHANNELS_SMALL_COLUMNS": "id,url",
            "ROWCAST_CHANNELS_SMALL_BIGINT": "string",
        }
        settings = settings_of(either, **channels)
        migrate(settings)
        query(settings.admin, f"CREATE TABLE {settings.reader.database}.odd (a INT, u DATETIME)")
        return settings

    return _ready


def written(settings, query, *statements: str) -> None:
    for statement in statements:
        query(settings.admin, statement.replace("db.", f"{settings.reader.database}."))


def test_the_source_is_that_of_the_newest_row(ready, query):
    """For each channel over the table, in the names and types of the last row, wherever in the log that is."""
    settings, said = ready(), []
    insert = "INSERT INTO db.scraped_result (account, data, url) VALUES ('a', '{}', 'u')"
    written(settings, query, insert, "ALTER TABLE db.scraped_result RENAME COLUMN account TO owner", "FLUSH LOGS")
    written(settings, query, "FLUSH LOGS")
    old = "\n".join(decoder(settings, "scraped_result", 9, said.append))
    assert len(said) >= 3
    assert said == sorted(said, reverse=True)
    assert '"account":' in old
    written(settings, query, insert.replace("account", "owner"))
    both = list(decoder(settings, f"{settings.reader.database}.scraped_result", 1, said.append))
    assert [line for line in both if line.startswith("# channel")] == ["# channel scraped_updates", "# channel small"]
    everything, small = both[1::2]
    assert '"owner":' in everything
    assert '"owner":' not in small
    assert '"id":"%d"' in small
    for source in (everything, small):
        assert {"decode", "texts"} <= {node.name for node in ast.parse(source).body if hasattr(node, "name")}


def test_why_there_is_no_source(ready, query, free_port, settings_of, either):
    """No row, no table, no server: each says so."""
    settings = ready()
    with pytest.raises(Failure, match=r"hold no row of .*odd\n.*--files") as raised:
        list(decoder(settings, "odd", 2, print))
    assert raised.value.exit_code == USAGE
    with pytest.raises(Failure, match=r"no table .*nosuch\n.* has .*odd.*; channels carry .*scraped_result") as raised:
        list(decoder(settings, "nosuch", 2, print))
    assert raised.value.exit_code == USAGE
    with pytest.raises(Failure, match="no table in 'nowhere'"):
        list(decoder(settings, "nowhere.nothing", 2, print))
    nobody = f"mysql://u:p@127.0.0.1:{free_port}/d"
    gone = settings_of(either, ROWCAST_MYSQL_URL=nobody, ROWCAST_API_MYSQL_URL=nobody)
    with pytest.raises(Failure, match=r"mysql\.url") as raised:
        list(decoder(gone, "odd", 2, print))
    assert raised.value.exit_code == UNREACHABLE


def test_a_column_that_cannot_be_decoded_is_named(mariadb, settings_of, query):
    """As in the gap that its rows would give."""
    settings = settings_of(mariadb)
    migrate(settings)
    before = ["SET GLOBAL mysql56_temporal_format = OFF", "CREATE TABLE db.odd (a INT, u DATETIME)"]
    after = ["SET GLOBAL mysql56_temporal_format = ON", "INSERT INTO db.odd VALUES (1, NULL)"]
    written(settings, query, *before, *after)
    with pytest.raises(Failure, match=r"odd: column u \(type 12\) cannot be decoded") as raised:
        list(decoder(settings, "odd", 2, print))
    assert raised.value.exit_code == CONFIGURATION


def test_packed_transactions_are_looked_into(mysql, settings_of, query):
    """MySQL may compress a whole transaction, table maps too."""
    settings = settings_of(mysql)
    migrate(settings)
    with pymysql.connect(
        host="127.0.0.1", port=mysql.port, user="root", password=mysql.root_password, database=settings.reader.database
    ) as connection:
        connection.query("SET SESSION binlog_transaction_compression = ON")
        connection.query("CREATE TABLE packed (a INT)")
        connection.query("INSERT INTO packed VALUES (1)")
        connection.commit()
    heading, source = decoder(settings, "packed", 1, print)
    assert heading == "# no channel captures this table"
    assert '"a":%' in source

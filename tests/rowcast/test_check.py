import socket

import pymysql
import pytest

from rowcast.check import check, refuse_unfit
from rowcast.errors import CONFIGURATION, UNREACHABLE, Failure
from rowcast.migrate import migrate


@pytest.fixture
def ready(either, settings_of, tmp_path):
    """Settings over a migrated server, with a journal and ports of the test's own."""

    def _ready(**more: str):
        own = {
            "ROWCAST_JOURNAL_PATH": str(tmp_path / "new" / "journal.db"),
            "ROWCAST_GATEWAY_PORT": "0",
            "ROWCAST_API_PORT": "0",
        }
        settings = settings_of(either, **(own | more))
        migrate(settings)
        return settings

    return _ready


def bad(settings) -> dict[str, tuple[str, str]]:
    return {f.subject: (f.level, f.text) for f in check(settings) if f.level != "ok"}


def test_a_migrated_server_passes(ready):
    """After `rowcast migrate` on a server with our my.cnf there is nothing to mend and nothing to look at."""
    assert bad(ready()) == {}


def test_a_writer_that_cannot_save_is_found(ready, query):
    """The posting account is tried; the finding holds the GRANT that it lacks."""
    settings = ready()
    table = f"{settings.reader.database}.scraped_result"
    query(settings.admin, f"REVOKE INSERT ON {table} FROM '{settings.writer.user}'@'%'")
    (finding,) = (finding for finding in check(settings) if finding.level != "ok")
    assert (finding.level, finding.subject) == ("fail", "api.mysql_url")
    assert "INSERT command denied" in finding.text
    query(settings.admin, finding.mend)
    assert bad(settings) == {}


def test_looking_writes_nothing(ready, query):
    """The writer is tried with an INSERT of no row: the tables and the log stay as they were."""
    settings = ready()
    before = query(settings.admin, "SHOW BINARY LOGS")
    list(check(settings))
    assert query(settings.admin, "SHOW BINARY LOGS") == before
    assert query(settings.reader, "SELECT COUNT(*) FROM scraped_result") == [(0,)]


def test_a_writer_with_another_password_is_found(ready, settings_of, either):
    """Its failure is one finding among the others, not the end of the check."""
    good = ready()
    url = either.url(good.writer.user, "wr0ng", good.writer.database)
    settings = settings_of(either, ROWCAST_API_MYSQL_URL=url)
    level, text = bad(settings)["api.mysql_url"]
    assert level == "fail"
    assert "Access denied" in text
    assert "wr0ng" not in text


def test_one_account_for_everything_is_worth_a_look(either, ready, settings_of, accounts):
    """Posting with the account that reads everything works, and is not the best."""
    settings = ready()
    one = settings_of(either, ROWCAST_API_MYSQL_URL=accounts(either)["ROWCAST_MYSQL_URL"])
    migrate(one)
    assert bad(one)["api.mysql_url"][0] == "warn"
    assert settings.writer != one.writer


def test_columns_of_a_channel_must_exist(ready):
    """A misspelt column of a channel is found in its table."""
    settings = ready(ROWCAST_CHANNELS_CCTV_UPDATES_COLUMNS="id,snapshot_url")
    name = f"table {settings.reader.database}.cctv_detection_results"
    assert bad(settings)[name] == ("fail", "has no column snapshot_url")


def test_a_channel_with_updates_asks_for_more(either, ready, query):
    """What a channel's events need is looked at, for its table."""
    settings = ready(ROWCAST_CHANNELS_CCTV_UPDATES_EVENTS="insert,update,delete")
    query(settings.admin, f"CREATE TABLE {settings.reader.database}.camera (id INT PRIMARY KEY)")
    table = f"{settings.reader.database}.cctv_detection_results"
    assert bad(settings) == {}
    query(settings.admin, f"ALTER TABLE {table} ADD camera INT, ADD FOREIGN KEY (camera)"
                          f" REFERENCES {settings.reader.database}.camera (id) ON DELETE SET NULL")  # fmt: skip
    logged = either.installation.flavour == "mysql"  # by this version
    assert list(bad(settings)) == ([] if logged else [f"table {table}"])


def test_a_taken_port_is_found(ready):
    """A port that another program listens on is told, with the setting that changes it."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        level, text = bad(ready(ROWCAST_API_PORT=str(port)))["api.port"]
    assert level == "fail"
    assert f"127.0.0.1:{port}" in text


def test_a_journal_that_cannot_be_written_is_found(ready, tmp_path, monkeypatch):
    """A file in the place of its folder, and a folder without permission, are told."""
    (tmp_path / "file").touch()
    below = ready(ROWCAST_JOURNAL_PATH=str(tmp_path / "file" / "journal.db"))
    assert bad(below)["journal.path"] == ("fail", f"{tmp_path / 'file'} is no folder")
    monkeypatch.setattr("os.access", lambda *_: False)  # root may write everywhere
    assert bad(ready())["journal.path"] == ("fail", f"{tmp_path} cannot be written")


def test_a_full_disk_is_found(ready, monkeypatch):
    """Little room where the journal lies is worth a look."""
    monkeypatch.setattr("rowcast.check._ROOM", 1 << 62)
    assert bad(ready())["journal.path"][0] == "warn"


def test_starting_refuses_what_would_lose_rows(either, ready, query):
    """All fatal findings come in one message that ends with configuration's exit code; warnings let it pass."""
    settings = ready()
    query(settings.admin, "SET GLOBAL binlog_row_image = 'MINIMAL'")
    query(settings.admin, "SET GLOBAL sync_binlog = 0")
    try:
        with pytest.raises(Failure, match=r"binlog_row_image: is MINIMAL") as caught:
            refuse_unfit(settings)
        query(settings.admin, "SET GLOBAL binlog_row_image = 'FULL'")
        assert [f.subject for f in refuse_unfit(settings) if f.level == "warn"] == ["sync_binlog"]
    finally:
        query(settings.admin, "SET GLOBAL binlog_row_image = 'FULL'")
        query(settings.admin, "SET GLOBAL sync_binlog = 1")
    assert caught.value.exit_code == CONFIGURATION
    assert "sync_binlog" not in str(caught.value)


def test_an_unreachable_server_ends_the_check(settings_of, either, free_port):
    """Without the database there is nothing to look at: one message, the code of an unreachable dependency."""
    settings = settings_of(either, ROWCAST_MYSQL_URL=f"mysql://u:p@127.0.0.1:{free_port}/d", ROWCAST_API_MYSQL_URL="")
    with pytest.raises(Failure, match="Can't connect") as caught:
        list(check(settings))
    assert caught.value.exit_code == UNREACHABLE


def test_a_connection_cut_midway_is_a_failure(ready, monkeypatch):
    """An error in the middle of the questions is told like any other of the database."""

    def cut(*_args, **_kwargs):
        raise pymysql.OperationalError(2013, "Lost connection to MySQL server during query")

    settings = ready()
    monkeypatch.setattr("rowcast.check.preflight", cut)
    with pytest.raises(Failure, match="Lost connection") as caught:
        refuse_unfit(settings)
    assert caught.value.exit_code == UNREACHABLE

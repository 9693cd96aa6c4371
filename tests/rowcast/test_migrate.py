import threading

import pymysql
import pytest

from rowcast.errors import CONFIGURATION, INTERNAL, TEMPORARY, UNREACHABLE, Failure
from rowcast.loading import load
from rowcast.migrate import SqlFile, migrate, numbered_files
from rowcast.mysql_url import MysqlUrl

INSERT_SCRAPED = "INSERT INTO scraped_result (account, data, url) VALUES ('a', '{}', 'u')"
INSERT_DETECTION = "INSERT INTO cctv_detection_results (cctv_id, data) VALUES (3, '{}')"


def test_an_empty_server_is_made_ready(either, settings_of, query, database):
    """Database, tables and accounts are made, and everything done is said."""
    settings = settings_of(either)
    done = migrate(settings)
    assert done[0] == f"database {database} created"
    assert [line for line in done if line.endswith(" applied")] == [f"{file.name} applied" for file in numbered_files()]
    query(settings.writer, INSERT_SCRAPED)
    assert query(settings.reader, "SELECT id, account, url FROM scraped_result") == [(1, "a", "u")]
    assert query(settings.reader, "SELECT number, name FROM rowcast_migrations") == [(1, "001_tables.sql")]


def test_timestamps_default_to_utc_with_milliseconds(either, settings_of, query):
    """A row without a timestamp gets the moment in UTC, whatever zone its writer's session is in."""
    settings = settings_of(either)
    migrate(settings)
    with pymysql.connect(**settings.writer.arguments(), autocommit=True) as connection:
        connection.query("SET time_zone = '+09:00'")
        connection.query(INSERT_SCRAPED)
    ((age,),) = query(
        settings.reader,
        "SELECT ABS(TIMESTAMPDIFF(SECOND, `timestamp`, UTC_TIMESTAMP())) FROM scraped_result",
    )
    assert age < 60


def test_doing_it_again_changes_nothing_but_passwords(either, settings_of, accounts, query):
    """A second run applies no file, and gives the accounts the passwords that the settings now hold."""
    migrate(settings_of(either))
    changed = settings_of(
        either, ROWCAST_API_MYSQL_URL=accounts(either)["ROWCAST_API_MYSQL_URL"].replace("w%20p", "new")
    )
    assert changed.writer.password == "new"
    done = migrate(changed)
    assert all("account" in line for line in done)
    query(changed.writer, INSERT_SCRAPED)


def test_accounts_may_do_their_work_and_no_more(either, settings_of, query, database):
    """The writer inserts posts only, the demo account detections only, the reader writes nothing."""
    settings = settings_of(either)
    demo = MysqlUrl.parse(either.url(f"{database}_demo", "d", database))
    migrate(settings, demo)
    query(demo, INSERT_DETECTION)
    for url, statement in [
        (settings.writer, INSERT_DETECTION),
        (settings.writer, "SELECT * FROM scraped_result"),
        (settings.writer, "DELETE FROM scraped_result"),
        (demo, INSERT_SCRAPED),
        (demo, "SELECT * FROM cctv_detection_results"),
        (settings.reader, INSERT_SCRAPED),
        (settings.reader, "DROP TABLE scraped_result"),
        (settings.reader, "SELECT * FROM mysql.user"),
    ]:
        with pytest.raises(pymysql.OperationalError, match="denied"):
            query(url, statement)


def test_the_readers_schema_is_no_pattern(either, settings_of, query, database):
    """The underscore in a database's name does not open a database whose name has another character there."""
    settings = settings_of(either)
    migrate(settings)
    neighbour = database.replace("_", "X")
    query(settings.admin, f"CREATE DATABASE {neighbour}")
    query(settings.admin, f"CREATE TABLE {neighbour}.t (a INT)")
    with pytest.raises(pymysql.OperationalError, match="denied"):
        query(settings.reader, f"SELECT * FROM {neighbour}.t")


def test_the_reader_may_read_other_captured_schemas(mariadb, settings_of, query, database):
    """A channel over `database.table` gives the reader that database too."""
    settings = settings_of(mariadb, ROWCAST_CHANNELS_MINE_TABLE=f"{database}_other.t")
    query(settings.admin, f"CREATE DATABASE {database}_other")
    query(settings.admin, f"CREATE TABLE {database}_other.t (a INT)")
    migrate(settings)
    assert query(settings.reader, f"SELECT * FROM {database}_other.t") == []


def test_the_administrator_is_no_account_to_make(mariadb, database):
    """Where one account does everything, it is left as it is."""
    url = mariadb.root_url + database
    done = migrate(load(None, {"ROWCAST_MYSQL_URL": url}).settings)
    assert not [line for line in done if "account" in line]


def test_a_legacy_table_is_kept(mariadb, settings_of, query, database):
    """A table that is there already keeps its columns and rows."""
    settings = settings_of(mariadb)
    query(settings.admin, f"CREATE DATABASE {database}")
    query(settings.admin, f"CREATE TABLE {database}.cctv_detection_results (id INT PRIMARY KEY, extra INT)")
    query(settings.admin, f"INSERT INTO {database}.cctv_detection_results VALUES (5, 6)")
    migrate(settings)
    assert query(settings.reader, "SELECT * FROM cctv_detection_results") == [(5, 6)]


def test_two_at_once_do_the_work_once(either, settings_of):
    """Two runs that begin together both end well, and each file is applied by one of them."""
    settings = settings_of(either)
    start = threading.Barrier(2)
    done: list[list[str]] = []

    def run() -> None:
        start.wait()
        done.append(migrate(settings))

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(done) == 2
    assert [line for one in done for line in one if "applied" in line] == ["001_tables.sql applied"]


def test_a_migration_that_hangs_is_named(mariadb, settings_of, query, monkeypatch):
    """Whoever waits too long for another run is told so, with the code for "try again"."""
    settings = settings_of(mariadb)
    migrate(settings)
    monkeypatch.setattr("rowcast.migrate._LOCK_SECONDS", 0)
    from rowcast.migrate import _exclusive

    with pymysql.connect(**settings.admin.arguments()) as other, other.cursor() as cursor:
        with _exclusive(cursor, settings.reader.database):
            with pytest.raises(Failure, match="another `rowcast migrate`") as caught:
                migrate(settings)
            assert caught.value.exit_code == TEMPORARY
        migrate(settings)


def test_a_changed_file_is_refused(mariadb, settings_of):
    """What was applied cannot change behind the database's back."""
    settings = settings_of(mariadb)
    migrate(settings, steps=[*numbered_files(), SqlFile(901, "901_a.sql", "CREATE TABLE a (a INT)")])
    with pytest.raises(Failure, match=r"901_a\.sql is not what was applied") as caught:
        migrate(settings, steps=[*numbered_files(), SqlFile(901, "901_a.sql", "CREATE TABLE a (a BIGINT)")])
    assert caught.value.exit_code == CONFIGURATION


def test_a_newer_database_is_refused(mariadb, settings_of):
    """A database that a newer version migrated is not touched."""
    settings = settings_of(mariadb)
    newer = SqlFile(901, "901_a.sql", "CREATE TABLE a (a INT)")
    migrate(settings, steps=[*numbered_files(), newer])
    with pytest.raises(Failure, match=r"901_a\.sql was applied to this database, but"):
        migrate(settings)


def test_a_file_that_fails_is_tried_again(mariadb, settings_of):
    """A file is recorded only when all of it was applied; the failure names it."""
    settings = settings_of(mariadb)
    broken = SqlFile(901, "901_a.sql", "CREATE TABLE IF NOT EXISTS a (a INT); CREATE TABEL b (a INT)")
    with pytest.raises(Failure, match=r"901_a\.sql: You have an error in your SQL syntax") as caught:
        migrate(settings, steps=[*numbered_files(), broken])
    assert caught.value.exit_code == INTERNAL
    mended = broken._replace(text=broken.text.replace("TABEL", "TABLE"))
    assert migrate(settings, steps=[*numbered_files(), mended])[0] == "901_a.sql applied"


def test_a_wrong_password_is_a_matter_of_configuration(either, settings_of):
    """Access denied names the setting and the user, never the password."""
    wrong = either.url("root", "wr0ng", "")
    with pytest.raises(Failure, match=r"mysql\.admin_url \(root at .*Access denied") as caught:
        migrate(settings_of(either, ROWCAST_MYSQL_ADMIN_URL=wrong))
    assert caught.value.exit_code == CONFIGURATION
    assert "wr0ng" not in str(caught.value)


def test_an_unreachable_server_is_told_as_such(free_port, database):
    """Nobody listening gives the code for an unreachable dependency."""
    url = f"mysql://u:p@127.0.0.1:{free_port}/{database}"
    with pytest.raises(Failure, match=r"Can't connect") as caught:
        migrate(load(None, {"ROWCAST_MYSQL_URL": url}).settings)
    assert caught.value.exit_code == UNREACHABLE


def test_an_administrator_with_too_few_rights_is_told(either, settings_of, query, database):
    """One who may not create accounts is told which file failed and which setting to mend."""
    settings = settings_of(either)
    query(settings.admin, f"CREATE USER {database}_weak@'%' IDENTIFIED BY 'x'")
    query(settings.admin, f"GRANT ALL ON {database}.* TO {database}_weak@'%'")
    weak = settings_of(either, ROWCAST_MYSQL_ADMIN_URL=either.url(f"{database}_weak", "x", ""))
    with pytest.raises(Failure, match=r"account_reader\.sql for .*\n.*ROWCAST_MYSQL_ADMIN_URL") as caught:
        migrate(weak)
    assert caught.value.exit_code == CONFIGURATION


def test_a_missing_authority_file_is_told(database, mariadb):
    """?ssl_ca= with a file that is not there names the file."""
    url = mariadb.root_url + database + "?ssl_ca=/nonexistent/ca.pem"
    with pytest.raises(Failure, match=r"/nonexistent/ca\.pem: No such file") as caught:
        migrate(load(None, {"ROWCAST_MYSQL_URL": url}).settings)
    assert caught.value.exit_code == CONFIGURATION

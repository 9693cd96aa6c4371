from pathlib import Path

import pytest

from rowcast.errors import CONFIGURATION
from rowcast.loading import SettingsError, load
from rowcast.settings import Settings

URL = "mysql://u:s3cret@h/d"


def problems(file: Path | None = None, environment: dict[str, str] | None = None, flags=(), needs=()):
    with pytest.raises(SettingsError) as caught:
        load(file, environment or {}, flags, needs)
    assert caught.value.exit_code == CONFIGURATION
    assert "s3cret" not in str(caught.value)
    return [str(problem) for problem in caught.value.problems]


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Writes ``rowcast.toml`` into an own working directory."""
    monkeypatch.chdir(tmp_path)

    def _write(text: str) -> Path:
        Path("rowcast.toml").write_text(text, "utf-8")
        return Path("rowcast.toml")

    return _write


def test_nothing_set_gives_the_defaults(write):
    """Without file, environment and flags every setting has its default and no origin."""
    loaded = load(None, {})
    assert loaded.settings.gateway == Settings().gateway
    assert loaded.settings.tables_in("d") == {
        "cctv_updates": ("d", "cctv_detection_results"),
        "scraped_updates": ("d", "scraped_result"),
    }
    assert loaded.origins == {}


def test_later_sources_win(write):
    """A flag beats the environment, which beats the file, which beats the default; origins say so."""
    write("[gateway]\nport = 1001\nmax_message = 2000\nmax_subscriptions = 3\n")
    environment = {"ROWCAST_GATEWAY_PORT": "1002", "ROWCAST_GATEWAY_MAX_MESSAGE": "3000"}
    loaded = load(None, environment, ["gateway.port=1003"])
    gateway = loaded.settings.gateway
    assert (gateway.port, gateway.max_message, gateway.max_subscriptions) == (1003, 3000, 3)
    assert loaded.origins == {
        "gateway.port": "--set gateway.port",
        "gateway.max_message": "ROWCAST_GATEWAY_MAX_MESSAGE",
        "gateway.max_subscriptions": "rowcast.toml:4",
    }


def test_every_type_is_read_from_text(write):
    """Environment and flags give lists by commas, booleans, floats, paths and URLs."""
    environment = {
        "ROWCAST_API_KEYS": "one, two",
        "ROWCAST_AUTH_OPEN": "true",
        "ROWCAST_JOURNAL_KEEP_HOURS": "1.5",
        "ROWCAST_JOURNAL_PATH": "/x/journal.db",
        "ROWCAST_MYSQL_URL": URL,
        "ROWCAST_MYSQL_SERVER_ID": "77",
    }
    settings = load(None, environment).settings
    assert settings.api.keys == ("one", "two")
    assert settings.auth.open is True
    assert settings.journal.keep_hours == 1.5
    assert settings.journal.path == Path("/x/journal.db")
    assert settings.reader.password == "s3cret"
    assert settings.server_id == 77


def test_an_empty_variable_is_unset(write):
    """Compose passes variables that are not set as empty ones: they change nothing."""
    assert load(None, {"ROWCAST_API_PORT": "", "ROWCAST_CONFIG": ""}).origins == {}


def test_all_errors_are_told_at_once_with_their_places(write):
    """File, line and key, variable or flag stand before each error, and all of them come together."""
    write('[api]\nport = "8000"\nprot = 1\n\n[journal]\nsync = "fast"\n\n[mysql]\nurl = "mysql://u:s3cret@/d"\n')
    environment = {"ROWCAST_GATEWAY_PORT": "70000", "ROWCAST_GATEWAY_HOTS": "x", "ROWCAST_GATEWAY_ORIGINS": "a.b"}
    found = problems(None, environment, ["auth.open=maybe", "nonsense"])
    for start, part in [
        ("rowcast.toml:2: ", "api.port: expected int, got str (for example api.port = 8000)"),
        ("rowcast.toml:3: ", "unknown key api.prot (did you mean api.port?)"),
        ("rowcast.toml:6: ", "journal.sync: invalid enum value 'fast' (one of full, normal)"),
        ("rowcast.toml:9: ", "mysql.url: names no host"),
        ("ROWCAST_GATEWAY_PORT: ", "gateway.port: expected int <= 65535"),
        ("ROWCAST_GATEWAY_ORIGINS: ", '(for example gateway.origins = ["https://app.example.org"])'),
        ("ROWCAST_GATEWAY_HOTS: ", "did you mean ROWCAST_GATEWAY_HOST?"),
        ("--set auth.open: ", "auth.open: expected bool"),
        ("--set nonsense: ", "has no value"),
    ]:
        assert any(line.startswith(start) and part in line for line in found), (start, found)
    assert len(found) == 9


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[api\n", "rowcast.toml:1: is not valid TOML: Expected ']'"),
        ("[api]\nport = 1\nport = 2\n", "rowcast.toml:3: is not valid TOML: Cannot overwrite"),
        ("[api]\nport =", "rowcast.toml:2: is not valid TOML: Invalid value"),
        ("gateway = 5\n", "rowcast.toml:1: unknown key gateway (gateway is a table: write [gateway]"),
    ],
)
def test_malformed_toml_names_file_and_line(write, text, expected):
    """TOML that cannot be read is told with its line, and not as a setting that is missing."""
    write(text)
    (only,) = problems(needs=["mysql.url"] if "valid" in expected else [])
    assert only.startswith(expected)


def test_a_named_file_must_exist(write, tmp_path):
    """A missing rowcast.toml is fine, a missing --config or ROWCAST_CONFIG is not."""
    gone = tmp_path / "gone.toml"
    assert problems(gone) == [f"{gone}: there is no such settings file"]
    assert problems(None, {"ROWCAST_CONFIG": str(gone)}) == [f"{gone}: there is no such settings file"]


def test_channels_in_the_file_replace_the_default_ones(write):
    """A file that lists channels lists all of them; one with a default's name inherits its table."""
    write('[channels.cctv_updates]\nbigint = "string"\n[channels.mine]\ntable = "other.t"\ncolumns = ["a"]\n')
    settings = load(None, {"ROWCAST_MYSQL_URL": URL}).settings
    assert settings.tables == {"cctv_updates": ("d", "cctv_detection_results"), "mine": ("other", "t")}
    assert settings.channels["cctv_updates"].bigint == "string"
    assert settings.channels["mine"].columns == ("a",)


def test_environment_and_flags_add_to_channels(write):
    """They set keys of the channels that are there and make new ones."""
    environment = {"ROWCAST_CHANNELS_CCTV_UPDATES_BIGINT": "string", "ROWCAST_CHANNELS_MINE_TABLE": "t"}
    settings = load(None, environment, ["channels.yours.table=u"]).settings
    assert list(settings.channels) == ["cctv_updates", "scraped_updates", "mine", "yours"]
    assert settings.channels["cctv_updates"].bigint == "string"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('[channels.mine]\nbigint = "string"\n', "rowcast.toml:2: channel mine has no table"),
        ('[channels."a b"]\ntable = "t"\n', "rowcast.toml:2: 'a b' is no channel name"),
        ('[channels.mine]\ntable = "t"\nevents = ["truncate"]\n', "rowcast.toml:3: channels.mine.events: invalid"),
        ('[channels.mine]\ntable = "t"\ntabel = "t"\n', "rowcast.toml:3: unknown key channels.mine.tabel (did"),
        ('[channels.mine]\ntable = "a.b.c"\n', "rowcast.toml:2: channels.mine.table: 'a.b.c' names no table"),
        ('[channels.mine]\ntable = ".b"\n', "rowcast.toml:2: channels.mine.table: '.b' names no table"),
        ("[channels]\n", "channels: there is none"),
    ],
)
def test_bad_channels_are_refused(write, text, expected):
    """A channel without a table, with an unusable name, or with unknown keys is an error with its line."""
    write(text)
    (only,) = problems()
    assert only.startswith(expected)


def test_a_public_address_needs_auth_open(write):
    """Listening beyond loopback is refused until auth.open says that it is meant."""
    environment = {"ROWCAST_GATEWAY_HOST": "0.0.0.0", "ROWCAST_API_HOST": "::"}
    found = problems(None, environment)
    assert [line.partition(":")[0] for line in found] == ["ROWCAST_GATEWAY_HOST", "ROWCAST_API_HOST"]
    assert "auth.open = true" in found[0]
    load(None, environment | {"ROWCAST_AUTH_OPEN": "true"})
    load(None, {"ROWCAST_GATEWAY_HOST": "localhost", "ROWCAST_API_HOST": "::1"})


def test_needed_settings_must_be_set(write):
    """A needed key that is not set is told with its variable; one with a fallback is satisfied by that."""
    (only,) = problems(needs=["mysql.url"])
    assert only.startswith("mysql.url: is not set (set ROWCAST_MYSQL_URL=mysql://")
    load(None, {"ROWCAST_MYSQL_URL": URL}, needs=["mysql.url", "api.mysql_url", "mysql.admin_url"])
    load(None, {"ROWCAST_API_MYSQL_URL": URL}, needs=["api.mysql_url"])


def test_a_url_to_work_on_names_its_database(write):
    """Reader and writer need a database; the administrator does not."""
    bare = "mysql://u:s3cret@h"
    found = problems(None, {"ROWCAST_MYSQL_URL": bare, "ROWCAST_MYSQL_ADMIN_URL": bare})
    assert found == ["ROWCAST_MYSQL_URL: mysql.url: names no database (as in mysql://user:password@host:3306/database)"]


def test_reader_and_writer_must_fit_together(write):
    """They work on the same database, and one user has one password."""
    found = problems(None, {"ROWCAST_MYSQL_URL": URL, "ROWCAST_API_MYSQL_URL": "mysql://u:0ther@h/e"})
    assert found == [
        "ROWCAST_API_MYSQL_URL: api.mysql_url: posts go to the database 'e', but mysql.url follows 'd'"
        " (name the same database in both)",
        "ROWCAST_API_MYSQL_URL: api.mysql_url: user 'u' has another password in mysql.url"
        " (take two users, or one password)",
    ]


def test_two_servers_cannot_share_a_port(write):
    """The same port for gateway and API is an error; 0 is a free one for each."""
    (only,) = problems(None, {"ROWCAST_GATEWAY_PORT": "8000"})
    assert only == "ROWCAST_GATEWAY_PORT: gateway.port and api.port are both 8000"
    load(None, {}, ["gateway.port=0", "api.port=0"])


def test_secrets_may_come_from_files(write, tmp_path):
    """…_FILE names a file that holds the secret, its line end dropped; keys stand one a line."""
    (tmp_path / "url").write_text(URL + "\n")
    (tmp_path / "keys").write_text("one\ntwo\n")
    loaded = load(
        None,
        {"ROWCAST_MYSQL_URL_FILE": str(tmp_path / "url"), "ROWCAST_API_KEYS_FILE": str(tmp_path / "keys")},
    )
    assert loaded.settings.reader.host == "h"
    assert loaded.settings.api.keys == ("one", "two")
    assert loaded.origins["mysql.url"] == "ROWCAST_MYSQL_URL_FILE"


def test_secret_files_that_cannot_be_used_are_told(write, tmp_path):
    """A missing secret file, one beside its variable, and one for a setting that is no secret are errors."""
    (tmp_path / "url").write_text(URL)
    found = problems(
        None,
        {
            "ROWCAST_API_KEYS_FILE": "/nonexistent/keys",
            "ROWCAST_MYSQL_URL": URL,
            "ROWCAST_MYSQL_URL_FILE": str(tmp_path / "url"),
            "ROWCAST_API_PORT_FILE": "x",
        },
    )
    assert "ROWCAST_API_KEYS_FILE: /nonexistent/keys cannot be read: No such file or directory" in found
    assert "ROWCAST_MYSQL_URL_FILE: ROWCAST_MYSQL_URL is set too (keep one of them)" in found
    assert any(line.startswith("ROWCAST_API_PORT_FILE: is no setting of ours") for line in found)


def test_variables_of_others_are_left_alone(write):
    """./dev, the demo, the tests and Kubernetes may set variables that begin with our name."""
    load(
        None,
        {
            "ROWCAST_DEV_DIR": ".dev",
            "ROWCAST_DEMO_MYSQL_URL": URL,
            "ROWCAST_TEST_X": "1",
            "ROWCAST_PORT": "tcp://10.0.0.1:8080",
            "ROWCAST_SERVICE_HOST": "10.0.0.1",
            "ROWCAST_PORT_8080_TCP_ADDR": "10.0.0.1",
            "PATH": "/bin",
        },
    )

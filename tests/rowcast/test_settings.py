from pathlib import Path

import msgspec
import pytest

from rowcast.errors import CONFIGURATION, Failure
from rowcast.mysql_url import MysqlUrl
from rowcast.settings import Api, Journal, Mysql, Settings, settings_keys

READER = MysqlUrl.parse("mysql://reader:r3ader@h/d")
WRITER = MysqlUrl.parse("mysql://writer:wr1ter@h/d")


def test_every_key_has_a_type_a_text_and_its_own_variable():
    """Each setting of the tree says what it is, and no two share an environment variable."""
    keys = list(settings_keys(["NAME"]))
    assert len(keys) == len({key.environment for key in keys}) >= 25
    assert all(key.text and not key.text.endswith(".") for key in keys)
    assert {key.name for key in keys if key.secret} == {
        "mysql.url",
        "mysql.admin_url",
        "api.mysql_url",
        "api.keys",
    }


def test_defaults_satisfy_their_own_types():
    """A default outside of the bounds of its type would be refused when written down."""
    for key in settings_keys(["NAME"]):
        if key.default is not msgspec.UNSET and not isinstance(key.default, Path):
            msgspec.convert(key.default, key.type)


def test_writer_and_admin_fall_back_to_the_reader():
    """Only mysql.url is needed: the others default to it."""
    settings = Settings(mysql=Mysql(url=READER))
    assert settings.writer is settings.admin is settings.reader is READER
    assert Settings(mysql=Mysql(url=READER), api=Api(mysql_url=WRITER)).writer is WRITER


def test_an_unset_url_is_a_failure_with_its_variable():
    """Asking for an account that nothing gives ends with configuration's exit code."""
    with pytest.raises(Failure, match="ROWCAST_MYSQL_URL=mysql://") as caught:
        _ = Settings().reader
    assert caught.value.exit_code == CONFIGURATION


def test_the_derived_server_id_is_stable_and_differs_by_journal():
    """The same journal on the same host has one server id, above those that people choose; another has another."""
    one, two = (Settings(journal=Journal(path=Path(f"/x/{name}.db"))) for name in ("one", "two"))
    assert one.server_id == Settings(journal=Journal(path=Path("/x/one.db"))).server_id
    assert one.server_id != two.server_id
    assert 2**31 <= one.server_id < 2**32


def test_a_dumped_tree_shows_no_secret():
    """repr() of the whole tree holds no password and no key; ``secrets`` lists them for the log's mask."""
    settings = Settings(mysql=Mysql(url=READER), api=Api(mysql_url=WRITER, keys=("k3y",)))
    assert settings.secrets == ["r3ader", "wr1ter", "k3y"]
    assert not any(secret in repr(settings) for secret in settings.secrets)

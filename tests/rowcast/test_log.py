import io
import json
import logging

import msgspec
import pytest

from rowcast.log import Mask, set_up
from rowcast.mysql_url import MysqlUrl
from rowcast.settings import Api, Log, Mysql, Settings

SETTINGS = Settings(mysql=Mysql(url=MysqlUrl.parse("mysql://u:p%22ss%2Fw%20rd@h/d")), api=Api(keys=("k3y-k3y", "abc")))


class Terminal(io.StringIO):
    """A stream that is a terminal."""

    def isatty(self) -> bool:
        """It is."""
        return True


@pytest.fixture(autouse=True)
def root_logger():
    """Give the test run its own log back."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level
    logging.captureWarnings(capture=False)


def test_json_elsewhere_text_on_a_terminal():
    """Machines get one object a line with UTC times, people get a line."""
    machine, person = io.StringIO(), Terminal()
    for stream in (machine, person):
        set_up(Settings(), stream)
        logging.getLogger("room").warning("hello %s", "you", extra={"lag": 5})
    record = json.loads(machine.getvalue())
    assert record.pop("time").endswith("Z")
    assert record == {"level": "WARNING", "logger": "room", "message": "hello you", "lag": 5}
    assert person.getvalue().endswith("WARNING room: hello you\n")


def test_format_and_level_can_be_chosen():
    """log.format wins over what the stream is, log.level drops what is below it."""
    stream = Terminal()
    set_up(Settings(log=Log(format="json", level="error")), stream)
    logging.getLogger("room").warning("dropped")
    logging.getLogger("room").error("kept")
    (line,) = stream.getvalue().splitlines()
    assert json.loads(line)["message"] == "kept"


@pytest.mark.parametrize("form", ["json", "text"])
def test_secrets_are_masked_wherever_they_stand(form):
    """Message, arguments, extras and tracebacks show no password: as it is, in a URL, in JSON."""
    stream = io.StringIO()
    set_up(msgspec.structs.replace(SETTINGS, log=Log(format=form)), stream)
    log = logging.getLogger("room")
    try:
        int('p"ss/w rd')
    except ValueError:
        log.exception("%s %s", 'p"ss/w rd', "mysql://u:p%22ss%2Fw%20rd@h/d", extra={"key": "k3y-k3y"})
    assert "ss/w" not in stream.getvalue()
    assert "ss%2F" not in stream.getvalue()
    assert "k3y-k3y" not in stream.getvalue()
    assert "mysql://u:***@h/d" in stream.getvalue()


def test_very_short_secrets_do_not_blacken_the_log():
    """A secret of three letters would mask parts of words and hide nothing."""
    assert Mask(["abc"])("abcdef") == "abcdef"
    assert Mask(["abcd", "abcdef"])("abcdef abcd") == "*** ***"

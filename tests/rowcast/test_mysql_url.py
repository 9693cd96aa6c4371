import pytest

from rowcast.mysql_url import MysqlUrl


def test_all_parts_are_read():
    """User, password, host, port and database come from their places, percent-encoded parts decoded."""
    url = MysqlUrl.parse("mysql://us%40er:p%2Fa%20s%3As@db.example:3307/my%2Ddb")
    assert (url.user, url.password, url.host, url.port, url.database) == (
        "us@er",
        "p/a s:s",
        "db.example",
        3307,
        "my-db",
    )


def test_port_password_and_database_may_be_left_out():
    """The port is 3306 and password and database are empty when the URL has none."""
    url = MysqlUrl.parse("mysql://root@127.0.0.1")
    assert (url.port, url.password, url.database) == (3306, "", "")


def test_ipv6_host_is_bracketed():
    """An IPv6 address loses its brackets for connecting and gets them back in messages."""
    url = MysqlUrl.parse("mysql://u:p@[::1]:3307/d")
    assert url.host == "::1"
    assert url.address == "[::1]:3307"


def test_password_is_hidden():
    """Neither repr nor str show the password."""
    url = MysqlUrl.parse("mysql://u:s3cret@h/d")
    assert "s3cret" not in f"{url!r} {url}"
    assert str(url) == "mysql://u:***@h:3306/d"


def test_tls_options_become_connection_arguments():
    """An authority makes PyMySQL verify the certificate, and the identity when asked."""
    arguments = MysqlUrl.parse("mysql://u:p@h/d?ssl_ca=/etc/ca.pem&ssl_verify_identity=true").arguments()
    assert arguments["ssl_ca"] == "/etc/ca.pem"
    assert arguments["ssl_verify_cert"] is True
    assert arguments["ssl_verify_identity"] is True
    assert not [name for name in MysqlUrl.parse("mysql://u:p@h/d").arguments() if name.startswith("ssl")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("postgres://u:s3cret@h/d", "must begin with mysql://"),
        ("mysql://u:s3cret@/d", "names no host"),
        ("mysql://:s3cret@h/d", "names no user"),
        ("mysql://u:s3/cret@h/d", "percent-encoded"),
        ("mysql://u:s3#cret@h/d", "percent-encoded"),
        ("mysql://u:s3cret@h:99999/d", "is not of the form"),
        ("mysql://u:s3cret@h/d/e", "is not of the form"),
        ("mysql://u:s3cret@h/d?sslca=x", "unknown option 'sslca'"),
        ("mysql://u:s3cret@h/d?ssl_verify_identity=true", "without ssl_ca"),
        ("mysql://u:s3cret@h/d?ssl_ca=/x&ssl_verify_identity=yes", "true or false"),
    ],
)
def test_bad_urls_are_refused_without_their_password(text, expected):
    """Each kind of bad URL gets its own sentence, which never repeats the password."""
    with pytest.raises(ValueError, match=expected) as caught:
        MysqlUrl.parse(text)
    assert "s3" not in str(caught.value)
    assert "cret" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None  # urllib's own text would hold it

import ssl

import pymysql
import pytest

from rowcast.database import connect, failure
from rowcast.errors import CONFIGURATION, INTERNAL, TEMPORARY, UNREACHABLE, Failure
from rowcast.mysql_url import MysqlUrl


@pytest.fixture
def authority(mysql) -> str:
    """The certificate authority that MySQL makes for itself."""
    return str(mysql.datadir / "ca.pem")


def refused(text: str) -> Failure:
    with pytest.raises(Failure) as caught:
        connect(MysqlUrl.parse(text), "mysql.url")
    return caught.value


def test_tls_with_the_servers_authority(mysql, authority):
    """With ssl_ca the connection is encrypted, and the certificate was checked."""
    url = MysqlUrl.parse(f"{mysql.root_url}?ssl_ca={authority}")
    with connect(url, "mysql.url") as connection, connection.cursor() as cursor:
        cursor.execute("SHOW STATUS LIKE 'Ssl_cipher'")
        assert cursor.fetchone()[1]


def test_a_foreign_authority_is_refused(mysql, authority, tmp_path):
    """A server whose certificate is of another authority is not ours."""
    foreign = tmp_path / "ca.pem"
    context = ssl.create_default_context()
    certificates = context.get_ca_certs(binary_form=True)
    if not certificates:
        pytest.skip("this system trusts no authority whose certificate could be used")
    foreign.write_text(ssl.DER_cert_to_PEM_cert(certificates[0]))
    failure = refused(f"{mysql.root_url}?ssl_ca={foreign}")
    assert failure.exit_code == CONFIGURATION
    assert "CERTIFICATE_VERIFY_FAILED" in failure.text


def test_another_identity_is_refused(mysql, authority):
    """MySQL's own certificate names no host, so asking for its identity fails."""
    failure = refused(f"{mysql.root_url}?ssl_ca={authority}&ssl_verify_identity=true")
    assert failure.exit_code == CONFIGURATION
    assert "CERTIFICATE_VERIFY_FAILED" in failure.text


def test_a_server_without_tls_is_refused(mariadb, authority):
    """With ssl_ca nothing is sent in the clear to a server that offers no TLS."""
    failure = refused(f"{mariadb.root_url}?ssl_ca={authority}")
    assert failure.exit_code == CONFIGURATION
    assert "TLS" in failure.hint


def test_an_authority_that_is_none_is_refused(mysql, tmp_path):
    """A file that is no certificate is told with its name."""
    (tmp_path / "ca.pem").write_text("nothing")
    failure = refused(f"{mysql.root_url}?ssl_ca={tmp_path / 'ca.pem'}")
    assert failure.exit_code == CONFIGURATION
    assert str(tmp_path / "ca.pem") in failure.text


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (1045, CONFIGURATION),
        (1049, CONFIGURATION),
        (1142, CONFIGURATION),
        (1040, TEMPORARY),
        (2003, UNREACHABLE),
        (2013, UNREACHABLE),
        (1064, INTERNAL),
    ],
)
def test_errors_become_exit_codes(number, code):
    """Known numbers say whether to mend, to wait or to report; each has a hint."""
    told = failure(pymysql.OperationalError(number, "what the server says"), "mysql.url")
    assert told.exit_code == code
    assert told.hint
    assert told.text == "mysql.url: what the server says"

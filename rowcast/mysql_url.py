"""``mysql://user:password@host:3306/database``, read into a small type that keeps its password to itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlsplit

EXAMPLE = "mysql://user:password@host:3306/database"
_ENCODE = "write / ? # @ : in a user name or password percent-encoded, for example %2F for /"


@dataclass(frozen=True)
class MysqlUrl:
    """One account on one server. ``database`` may be empty, where a command does not need one.

    With ``ssl_ca`` the server must offer TLS with a certificate of that authority; ``ssl_verify_identity``
    compares its host name too. Without, TLS is used when offered and proves nothing about the server.
    """

    user: str
    password: str = field(repr=False)
    host: str
    port: int = 3306
    database: str = ""
    ssl_ca: str | None = None
    ssl_verify_identity: bool = False

    @classmethod
    def parse(cls, text: str) -> MysqlUrl:
        """The URL as a value; raises ``ValueError``, whose text never repeats the password."""
        try:
            parts = urlsplit(text)
            port = 3306 if parts.port is None else parts.port
        except ValueError:
            # urllib's own text would repeat the part after the colon: often the password
            raise ValueError(f"is not of the form {EXAMPLE}; {_ENCODE}") from None
        if parts.scheme not in {"mysql", "mariadb"}:
            raise ValueError(f"must begin with mysql://, as in {EXAMPLE}")
        _check_shape(parts)
        ssl_ca, ssl_verify_identity = _tls(parts.query)
        return cls(
            user=unquote(parts.username or ""),
            password=unquote(parts.password or ""),
            host=parts.hostname or "",
            port=port,
            database=unquote(parts.path.removeprefix("/")),
            ssl_ca=ssl_ca,
            ssl_verify_identity=ssl_verify_identity,
        )

    def __str__(self) -> str:
        """The URL as it was written, its password hidden."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        secret = ":***" if self.password else ""
        query = "" if self.ssl_ca is None else f"?ssl_ca={self.ssl_ca}"
        query += "&ssl_verify_identity=true" if self.ssl_verify_identity else ""
        return f"mysql://{quote(self.user)}{secret}@{host}:{self.port}/{quote(self.database)}{query}"

    @property
    def address(self) -> str:
        """``host:port``, for messages."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def arguments(self) -> dict[str, Any]:
        """Keyword arguments for ``pymysql.connect``: whom to ask, as whom, and how sure to be of it."""
        arguments: dict[str, Any] = {
            "host": self.host,
            "port": self.port,
            "user": self.user,
            "password": self.password,
            "charset": "utf8mb4",
        }
        if self.database:
            arguments["database"] = self.database
        if self.ssl_ca is not None:
            arguments |= {"ssl_ca": self.ssl_ca, "ssl_verify_cert": True}
            arguments["ssl_verify_identity"] = self.ssl_verify_identity
        return arguments


def _check_shape(parts: SplitResult) -> None:
    if not parts.hostname:
        raise ValueError(f"names no host; it should read {EXAMPLE}")
    if not parts.username:
        raise ValueError(f"names no user; it should read {EXAMPLE}")
    if parts.fragment or "/" in parts.path.removeprefix("/"):
        raise ValueError(f"is not of the form {EXAMPLE}; {_ENCODE}")


def _tls(query: str) -> tuple[str | None, bool]:
    options = dict(parse_qsl(query, keep_blank_values=True))
    ssl_ca = options.pop("ssl_ca", None)
    verify = options.pop("ssl_verify_identity", "false")
    if options:
        raise ValueError(f"has the unknown option {min(options)!r}; ssl_ca and ssl_verify_identity exist")
    if ssl_ca == "" or verify not in {"true", "false"}:
        raise ValueError("takes ?ssl_ca=FILE, and &ssl_verify_identity=true or false")
    if verify == "true" and ssl_ca is None:
        # PyMySQL would accept the option and, without an authority, check nothing
        raise ValueError("has ssl_verify_identity=true without ssl_ca=FILE, the authority to check against")
    return ssl_ca, verify == "true"

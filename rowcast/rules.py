"""What no single setting can tell: rules between them."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping

from rowcast.mysql_url import EXAMPLE
from rowcast.settings import Settings, variable
from rowcast.sources import Given, Problem

_FALLBACK = {"api.mysql_url": "mysql.url", "mysql.admin_url": "mysql.url"}


def missing(needs: Iterable[str], given: Mapping[str, Given]) -> Iterator[Problem]:
    """Keys that must be set, themselves or by the one they default to."""
    for name in needs:
        if name not in given and _FALLBACK.get(name) not in given:
            yield Problem(name, "is not set", f"set {variable(name)}={EXAMPLE}")


def broken(settings: Settings, given: Mapping[str, Given]) -> Iterator[Problem]:
    """Everything that does not fit together in a tree whose single values are right."""
    yield from _databases(settings, given)
    yield from _tables(settings, given)
    yield from _addresses(settings, given)


def _tables(settings: Settings, given: Mapping[str, Given]) -> Iterator[Problem]:
    for name, channel in settings.channels.items():
        parts = channel.table.split(".")
        if len(parts) > 2 or not all(parts):
            key = f"channels.{name}.table"
            yield Problem(given[key].where, f"{key}: {channel.table!r} names no table", "`table` or `database.table`")


def _databases(settings: Settings, given: Mapping[str, Given]) -> Iterator[Problem]:
    reader, writer = settings.mysql.url, settings.api.mysql_url
    for name, url in (("mysql.url", reader), ("api.mysql_url", writer)):
        if url and not url.database:
            yield Problem(given[name].where, f"{name}: names no database", f"as in {EXAMPLE}")
    if not reader or not writer:
        return
    where = given["api.mysql_url"].where
    if reader.database != writer.database:
        text = f"posts go to the database {writer.database!r}, but mysql.url follows {reader.database!r}"
        yield Problem(where, f"api.mysql_url: {text}", "name the same database in both")
    if reader.user == writer.user and reader.password != writer.password:
        text = f"user {writer.user!r} has another password in mysql.url"
        yield Problem(where, f"api.mysql_url: {text}", "take two users, or one password")


def _addresses(settings: Settings, given: Mapping[str, Given]) -> Iterator[Problem]:
    for section, host in (("gateway", settings.gateway.host), ("api", settings.api.host)):
        if not settings.auth.open and not _loopback(host):
            yield Problem(
                given[f"{section}.host"].where,
                f"{section}.host: {host} can be reached from other machines, and nobody has to log in",
                "set auth.open = true if that is meant, or listen on 127.0.0.1 behind a proxy",
            )
    if settings.gateway.port and settings.gateway.port == settings.api.port:
        where = (given.get("api.port") or given["gateway.port"]).where
        yield Problem(where, f"gateway.port and api.port are both {settings.api.port}")


def _loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False

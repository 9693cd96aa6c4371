"""Every setting, typed once: its key, type and bounds, default and text.

Environment names, ``docs/settings.md`` and ``rowcast config`` are derived from this tree, and
``rowcast/loading.py`` fills it.
"""

from __future__ import annotations

import json
import socket
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_origin

from msgspec import UNSET, Meta, Struct
from msgspec.structs import fields

from rowcast.errors import CONFIGURATION, Failure
from rowcast.mysql_url import EXAMPLE, MysqlUrl

Text = Annotated[str, Meta(min_length=1)]
Port = Annotated[int, Meta(ge=0, le=65535)]
Size = Annotated[int, Meta(ge=1024, le=1 << 30)]
Hours = Annotated[float, Meta(gt=0)]
Seconds = Annotated[float, Meta(gt=0)]
Origin = Annotated[str, Meta(pattern=r"^(\*|https?://[^/\s?#@]+)$")]
Names = Annotated[tuple[Text, ...], Meta(min_length=1)]
ServerId = Annotated[int, Meta(ge=1, le=2**32 - 1)]


def _about(text: str, *, secret: bool = False, example: object = None) -> Meta:
    return Meta(description=text, extra={"secret": secret, "example": example})


class Mysql(Struct, frozen=True):
    """The database whose log is followed."""

    url: Annotated[MysqlUrl | None, _about("account that follows the log and reads tables", secret=True)] = None
    admin_url: Annotated[MysqlUrl | None, _about("account for `rowcast migrate`; default `mysql.url`", secret=True)] = (
        None
    )
    server_id: Annotated[
        ServerId | None,
        _about("our number among the replicas; default derived from host name and journal path"),
    ] = None


class Api(Struct, frozen=True):
    """The HTTP API."""

    mysql_url: Annotated[
        MysqlUrl | None, _about("account that inserts posted rows; default `mysql.url`", secret=True)
    ] = None
    host: Annotated[Text, _about("address to listen on")] = "127.0.0.1"
    port: Annotated[Port, _about("port to listen on; 0 takes a free one")] = 8000
    max_body: Annotated[Size, _about("largest request body, bytes")] = 1 << 20
    max_readers: Annotated[int, Meta(ge=1), _about("event streams and long polls at a time")] = 1000
    keys: Annotated[tuple[Text, ...], _about("a writing request shows one of these; none: open", secret=True)] = ()

    def __repr__(self) -> str:
        return f"Api({self.host}:{self.port}, {len(self.keys)} keys)"  # a dumped tree shows no key


class Journal(Struct, frozen=True):
    """The durable log of events."""

    path: Annotated[Path, _about("the file, relative to the working directory")] = Path("journal.db")
    keep_hours: Annotated[Hours, _about("older events are dropped: who was away longer gets a gap")] = 72.0
    keep_bytes: Annotated[int, Meta(ge=1 << 20), _about("bytes of messages kept, the oldest dropped")] = 4 << 30
    sync: Annotated[
        Literal["full", "normal"],
        _about("`full` survives a power cut; `normal` may take back what browsers already hold"),
    ] = "full"


class Gateway(Struct, frozen=True):
    """The WebSocket server."""

    host: Annotated[Text, _about("address to listen on")] = "127.0.0.1"
    port: Annotated[Port, _about("port to listen on; 0 takes a free one")] = 8080
    origins: Annotated[
        tuple[Origin, ...],
        _about(
            "pages that may connect, as `https://host`, or `*`; none: our own and loopback",
            example=["https://app.example.org"],
        ),
    ] = ()
    max_buffer: Annotated[Size, _about("memory for what waits for a slow client; then it replays, bytes")] = 1 << 20
    max_subscriptions: Annotated[int, Meta(ge=1), _about("subscriptions of one connection")] = 64
    max_message: Annotated[Size, _about("largest message a client may send, bytes")] = 64 << 10
    compression: Annotated[bool, _about("compress larger frames for clients that can, once for all of them")] = True
    unread_seconds: Annotated[Seconds, _about("until a client that reads nothing of what waits is closed")] = 30.0


class Auth(Struct, frozen=True):
    """Who may connect."""

    open: Annotated[bool, _about("`true` serves everybody, on a public address too")] = False


class Log(Struct, frozen=True):
    """Our own log, on standard error."""

    level: Annotated[Literal["debug", "info", "warning", "error"], _about("least severity written")] = "info"
    format: Annotated[
        Literal["auto", "text", "json"], _about("`auto` is text on a terminal, else one JSON object a line")
    ] = "auto"


class Channel(Struct, frozen=True):
    """One channel: the rows of one table."""

    table: Annotated[Text, _about("table whose rows it carries: `table` or `database.table`")]
    columns: Annotated[Names | None, _about("columns carried; default all")] = None
    bigint: Annotated[Literal["number", "string"], _about("BIGINT as JSON number, or string for JavaScript's sake")] = (
        "number"
    )
    seed: Annotated[int, Meta(ge=0, le=100_000), _about("rows of the table that a new channel begins with")] = 1000
    events: Annotated[
        tuple[Literal["insert", "update", "delete"], ...],
        Meta(min_length=1),
        _about("kinds of change carried: `insert`, `update`, `delete`"),
    ] = ("insert",)

    def source(self, database: str) -> tuple[str, str]:
        """``(schema, table)``; a table without its own schema lies in ``database``."""
        schema, dot, table = self.table.partition(".")
        return (schema, table) if dot else (database, schema)


def default_channels() -> dict[str, Channel]:
    """The two channels of the first users."""
    return {
        "cctv_updates": Channel(table="cctv_detection_results"),
        "scraped_updates": Channel(table="scraped_result"),
    }


class Settings(Struct, frozen=True):
    """The whole tree, complete and checked."""

    mysql: Mysql = Mysql()
    api: Api = Api()
    journal: Journal = Journal()
    gateway: Gateway = Gateway()
    auth: Auth = Auth()
    log: Log = Log()
    channels: dict[str, Channel] = {}

    @property
    def reader(self) -> MysqlUrl:
        """The account that follows the log; raises ``Failure`` when unset."""
        return _needed(self.mysql.url, "mysql.url")

    @property
    def writer(self) -> MysqlUrl:
        """The account that inserts posted rows, else the reader; raises ``Failure`` when neither is set."""
        return _needed(self.api.mysql_url or self.mysql.url, "api.mysql_url")

    @property
    def admin(self) -> MysqlUrl:
        """The account that changes the schema, else the reader; raises ``Failure`` when neither is set."""
        return _needed(self.mysql.admin_url or self.mysql.url, "mysql.admin_url")

    @property
    def tables(self) -> dict[str, tuple[str, str]]:
        """``(schema, table)`` of each channel; raises ``Failure`` when ``mysql.url`` is unset."""
        return self.tables_in(self.reader.database)

    def tables_in(self, database: str) -> dict[str, tuple[str, str]]:
        """``(schema, table)`` of each channel, ``database`` being the schema of those that name none."""
        return {name: channel.source(database) for name, channel in self.channels.items()}

    @property
    def server_id(self) -> int:
        """``mysql.server_id``, or a number that stays the same for this host and this journal."""
        if self.mysql.server_id is not None:
            return self.mysql.server_id
        identity = f"{socket.gethostname()}:{self.journal.path.absolute()}"
        return 1 << 31 | zlib.crc32(identity.encode())  # the upper half: people number their servers from 1

    @property
    def secrets(self) -> list[str]:
        """Everything that may stand in no log and no message."""
        urls = (self.mysql.url, self.mysql.admin_url, self.api.mysql_url)
        return [*(url.password for url in urls if url and url.password), *self.api.keys]


class Key(NamedTuple):
    """One setting as its readers need it; ``name`` is dotted, and ``channels.NAME.…`` for a channel's."""

    name: str
    type: Any
    default: Any  # UNSET when it must be given
    text: str
    secret: bool
    typical: Any = None  # a right value, where the default is not telling

    @property
    def environment(self) -> str:
        """The name of its environment variable."""
        return variable(self.name)

    @property
    def many(self) -> bool:
        """Whether its value is a list, written with commas where there are no types."""
        return _contains(self.type, tuple)

    @property
    def url(self) -> bool:
        """Whether its value is a database URL."""
        return _contains(self.type, MysqlUrl)

    @property
    def example(self) -> str:
        """What a right value looks like, in TOML."""
        if choices := _choices(self.type):
            return f"one of {', '.join(choices)}"
        if self.url or self.default in {None, UNSET}:
            return ""
        default = [] if self.default == () else self.default
        return f"for example {self.name} = {json.dumps(self.typical or default, default=str)}"


def variable(name: str) -> str:
    """The environment variable of a dotted key."""
    return "ROWCAST_" + name.upper().replace(".", "_").replace("-", "_")


def settings_keys(channels: Iterable[str]) -> Iterator[Key]:
    """Every setting, in the tree's order, with those of the named channels."""
    for section in fields(Settings):
        if section.name != "channels":
            yield from section_keys(section.name, section.type)
    for channel in channels:
        yield from section_keys(f"channels.{channel}", Channel)


def section_keys(prefix: str, section: type[Struct]) -> Iterator[Key]:
    """The settings of one section of the tree."""
    for field in fields(section):
        about = field.type.__metadata__[-1]
        default = UNSET if field.required else field.default
        yield Key(
            f"{prefix}.{field.name}",
            field.type,
            default,
            about.description,
            about.extra["secret"],
            about.extra["example"],
        )


def _needed(url: MysqlUrl | None, key: str) -> MysqlUrl:
    if url is None:
        raise Failure(f"{key} is not set", f"set {variable(key)}={EXAMPLE}", CONFIGURATION)
    return url


def _contains(kind: Any, wanted: type) -> bool:
    return wanted in {kind, get_origin(kind)} or any(_contains(part, wanted) for part in get_args(kind))


def _choices(kind: Any) -> list[str]:
    if get_origin(kind) is Literal:
        return list(get_args(kind))
    return [choice for part in get_args(kind) for choice in _choices(part)]

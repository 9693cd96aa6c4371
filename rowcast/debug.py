"""`rowcast debug`: what the inside looks like, for whoever has to understand it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from cdc import newest_map
from cdc.control import Control, Server
from cdc.errors import SourceError, SourceRefused, StreamLost, UndecodableRow
from cdc.rows import Shape, compile_decoder
from cdc.tablemap import TableMap
from rowcast.errors import CONFIGURATION, INTERNAL, UNREACHABLE, USAGE, Failure
from rowcast.settings import Channel, Settings


def decoder(settings: Settings, table: str, files: int, say: Callable[[str], None]) -> Iterator[str]:
    """The source of the decoder of each channel over ``table``; of all its columns when no channel captures it.

    It is made for the newest table map in the newest ``files`` of the log. Raises ``Failure``.
    """
    place = Channel(table=table).source(settings.reader.database)
    channels = [name for name, source in settings.tables.items() if source == place]
    try:
        found, server = newest_map.find(
            settings.reader.arguments(), *place, files=files, reading=lambda file: say(f"reading {file}")
        )
        if found is None:
            raise _no_row(settings, place, files)
        for name in channels or [""]:
            yield f"# {f'channel {name}' if name else 'no channel captures this table'}"
            yield _source(settings, settings.channels.get(name), found, server)
    except UndecodableRow as error:
        raise Failure(str(error), "docs/dataformat.md lists what can be decoded", CONFIGURATION) from error
    except SourceError as error:
        raise _failure(error) from error


def _source(settings: Settings, channel: Channel | None, table: TableMap, server: Server) -> str:
    with Control(settings.reader.arguments()) as control:
        hidden = control.hidden_types(table.schema, table.table)
    columns = channel.columns if channel else None
    strings = channel is not None and channel.bigint == "string"
    return compile_decoder(table, Shape(columns, hidden, strings, server.charsets)).source


def _no_row(settings: Settings, place: tuple[str, str], files: int) -> Failure:
    """Why the log holds no row: there is no such table, or nobody wrote to it lately."""
    schema, table = place
    with Control(settings.reader.arguments()) as control:
        tables = control.tables(schema)
    if table in tables:
        text = f"the newest {files} files of the log hold no row of {schema}.{table}"
        return Failure(text, "write one, or look further back with --files", USAGE)
    captured = ", ".join(sorted({".".join(source) for source in settings.tables.values()}))
    there = f"{schema} has {', '.join(tables)}" if tables else f"there is no table in {schema!r} that we may see"
    return Failure(f"there is no table {schema}.{table}", f"{there}; channels carry {captured}", USAGE)


def _failure(error: SourceError) -> Failure:
    codes: dict[type[SourceError], int] = {StreamLost: UNREACHABLE, SourceRefused: CONFIGURATION}
    return Failure(f"mysql.url: {error}", error.hint, codes.get(type(error), INTERNAL))

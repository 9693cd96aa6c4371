"""What the rows of captured tables look like now, for channels whose log has not shown it yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from cdc import snapshot
from cdc.control import Control
from cdc.fetch import TableChannel
from cdc.position import Position

_TRIES = 5


class Present(NamedTuple):
    """What each channel's rows look like at one place of the log; channels whose table cannot be seen are left out."""

    place: Position
    columns: Mapping[str, bytes]


def look(control: Control, channels: Sequence[TableChannel], *, gtids: bool) -> Present:
    """Ask for the tables and for the log's end, until no ALTER has come in between."""
    before = _columns(control, channels)
    for _ in range(_TRIES):
        place = control.end(gtids=gtids)
        after = _columns(control, channels)
        if after == before:
            break
        before = after
    return Present(place, after)


def _columns(control: Control, channels: Sequence[TableChannel]) -> dict[str, bytes]:
    tables = {channel.channel: snapshot.shape(control, channel.schema, channel.table, channel.columns)
              for channel in channels}  # fmt: skip
    return {name: table.described for name, table in tables.items() if table.columns}

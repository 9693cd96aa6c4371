"""What the rows of each channel look like, and from which offset on.

A shape takes no offset of its own: one who does not ask for it would find a hole there. It lies in a table beside the
events, is written in the same commits, and there are few enough of them to be held in memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

import apsw
import msgspec

from journal.errors import JournalDamaged
from journal.schema import MAX_OFFSET, SET_ASIDE, ChannelRow, State, shape_checksum
from journal.types import Shape

Shapes = Mapping[str, tuple[Shape, ...]]
"""By channel, oldest first: the one in force at the floor, and every later one."""


def in_force(shapes: Sequence[Shape], offset: int) -> Shape | None:
    """The shape of the event with this offset; None when it is not known."""
    return next((shape for shape in reversed(shapes) if shape.first <= offset), None)


def extended(shapes: Sequence[Shape], new: Shape) -> tuple[Shape, ...]:
    """With a shape more, unless the one before is the same. One that begins where it does never had an event."""
    used = tuple(shape for shape in shapes if shape.first < new.first)
    return used if used and used[-1].columns == new.columns else (*used, new)


def kept(shapes: Sequence[Shape], floor: int) -> tuple[Shape, ...]:
    """Without those that no event kept has any more."""
    oldest = in_force(shapes, floor)
    return tuple(shape for shape in shapes if oldest is None or shape.first >= oldest.first)


class _Named(msgspec.Struct):
    name: str


_columns = msgspec.json.Decoder(list[_Named])


@lru_cache(maxsize=256)
def column_names(shapes: tuple[Shape, ...]) -> frozenset[str]:
    """Every column that rows of any of these shapes have."""
    return frozenset(column.name for shape in shapes for column in _columns.decode(shape.columns))


class ShapeDraft:
    """What a batch changes. ``pending`` begin behind the heads, in a transaction that is not whole yet.

    Those are in memory only: pieces that a restart finds in the file are never gone on with.
    """

    def __init__(self, shapes: Shapes, pending: Shapes) -> None:
        self.shapes = shapes
        self.pending = dict(pending)

    def note(self, channel: str, new: Shape, *, hidden: bool) -> None:
        """A channel's rows look like this from here on. ``hidden``: with the transaction's last piece."""
        if hidden:
            last = self.pending.get(channel) or self.shapes.get(channel)
            if not last or last[-1].columns != new.columns:
                self.pending[channel] = extended(self.pending.get(channel, ()), new)
        elif not (last := self.shapes.get(channel)) or last[-1].columns != new.columns:
            self.shapes = {**self.shapes, channel: extended(last or (), new)}

    def reveal(self) -> None:
        """What is pending holds."""
        for channel, shapes in self.pending.items():
            for shape in shapes:
                self.note(channel, shape, hidden=False)
        self.pending.clear()


def load_shapes(connection: apsw.Connection, state: State) -> Shapes:
    """Those of every channel; raises ``JournalDamaged`` when one is not what was written."""
    return {name: tuple(_load(connection, row)) for name, row in state.channels.items()}


def _load(connection: apsw.Connection, row: ChannelRow) -> Iterable[Shape]:
    bounds = (row.key(0), row.key(MAX_OFFSET))
    for key, checksum, columns in connection.execute(
        "SELECT id, crc, columns FROM shape WHERE id BETWEEN ? AND ? ORDER BY id", bounds
    ):
        if shape_checksum(key, columns) != checksum:
            raise JournalDamaged(f"A shape of channel {row.name} fails its checksum.", SET_ASIDE)
        yield Shape(row.offset(key), columns)


def store_shapes(connection: apsw.Connection, state: State, before: Shapes, after: Shapes) -> None:
    """Write what has changed, inside the caller's transaction."""
    for name, shapes in after.items():
        known = before.get(name, ())
        if shapes is not known:
            row = state.channels[name]
            for gone in set(known).difference(shapes):
                connection.execute("DELETE FROM shape WHERE id = ?", (row.key(gone.first),))
            for new in set(shapes).difference(known):
                key = row.key(new.first)
                values = (key, shape_checksum(key, new.columns), new.columns)
                connection.execute("INSERT INTO shape VALUES (?, ?, ?)", values)

"""The tables of the file, and what one row of them means.

``journal`` holds one row with everything that moves at a commit: the checkpoint, every channel's bounds, the
journal's age. It is written in the transaction that inserts the events, so the two cannot disagree, and it carries a
checksum of itself: a flipped bit in a channel's name would otherwise start that channel again at offset 1.

``event`` holds one row an event. Its key is ``channel id << 48 | offset``, which keeps a channel's events together
and in order in a plain rowid table (docs/decisions/0001-journal-on-sqlite.md has the figures).

``shape`` tells what the rows from an offset on look like (``journal/shapes.py``).
"""

from __future__ import annotations

import secrets
import zlib
from struct import Struct

import apsw
import msgspec

from journal.errors import JournalDamaged
from journal.types import ChannelState

APPLICATION_ID = 0x52_57_43_53  # "RWCS"; in the file's header, where file(1) and we look for it
VERSION = 3  # PRAGMA user_version; raised with every change of the tables

_SHAPE = """
CREATE TABLE shape (
    id      INTEGER PRIMARY KEY, -- channel id << 48 | the offset of the first row that has it
    crc     INTEGER NOT NULL,    -- of id and columns
    columns BLOB NOT NULL        -- JSON: [{"name", "type", "nullable", "key"}]
) STRICT;
"""
UPGRADES = {2: _SHAPE}
"""By version, what makes its tables those of the next."""

DDL = f"""
CREATE TABLE journal (
    one        INTEGER PRIMARY KEY CHECK (one = 1),
    epoch      TEXT NOT NULL,     -- the name of this journal's life
    created    INTEGER NOT NULL,  -- Unix seconds
    age        INTEGER NOT NULL,  -- seconds this journal has been open for writing, all runs together
    checkpoint TEXT,              -- where the writer resumes; durable together with the events before it
    channels   TEXT NOT NULL,     -- JSON: [{{"id", "name", "floor", "head", "bytes", "pending", "pending_bytes"}}]
    crc        INTEGER NOT NULL
) STRICT;
CREATE TABLE event (
    id        INTEGER PRIMARY KEY, -- channel id << 48 | offset
    op        TEXT NOT NULL,
    committed INTEGER NOT NULL,    -- the source's commit time, Unix microseconds
    age       INTEGER NOT NULL,    -- the journal's age at the append; retention counts from it
    crc       INTEGER NOT NULL,    -- of op, id, committed, message and old
    message   BLOB NOT NULL,
    old       BLOB NOT NULL        -- what an update's changed columns were; else empty
) STRICT;
{_SHAPE}
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {VERSION};
"""

OFFSET_BITS = 48
MAX_OFFSET = (1 << OFFSET_BITS) - 1
MAX_CHANNELS = (1 << (63 - OFFSET_BITS)) - 1
ROW_OVERHEAD = 48  # bytes of an event's row beside its message (measured: 42 with short messages)

_STATE = "SELECT epoch, created, age, checkpoint, channels, crc FROM journal"
_key_and_time = Struct(">qq").pack


class ChannelRow(msgspec.Struct, frozen=True, omit_defaults=True):
    """A channel's bounds as the file knows them.

    Behind ``head`` lie ``pending`` events, ``pending_bytes`` in all, of a transaction whose last piece has not come.
    """

    id: int
    name: str
    floor: int
    head: int
    bytes: int
    pending: int = 0
    pending_bytes: int = 0

    @property
    def count(self) -> int:
        """How many events are kept."""
        return self.head - self.floor + 1

    @property
    def stored(self) -> int:
        """About how many bytes of the file they take."""
        return self.bytes + ROW_OVERHEAD * self.count

    def key(self, offset: int) -> int:
        """The key of the event with this offset."""
        return self.id << OFFSET_BITS | offset

    def offset(self, key: int) -> int:
        """The other way round."""
        return key - (self.id << OFFSET_BITS)

    @property
    def last(self) -> int:
        """The newest offset in the file, visible or not."""
        return self.head + self.pending

    def state(self, rate: float = 0.0) -> ChannelState:
        """The bounds as readers know them."""
        return ChannelState(self.floor, self.head, self.bytes, rate)


class State(msgspec.Struct, frozen=True):
    """Everything that moves at a commit. Immutable: an append makes the next one, a failed append drops it."""

    epoch: str
    created: int
    age: int
    checkpoint: str | None
    channels: dict[str, ChannelRow]

    @property
    def given(self) -> int:
        """How many offsets were ever given, in all channels. It never falls, so an older copy has fewer."""
        return sum(row.head for row in self.channels.values())

    def row(self) -> tuple[str, int, int, str | None, str, int]:
        """The columns of the row in ``journal``, checksum included."""
        channels = msgspec.json.encode(list(self.channels.values())).decode()
        return (*(columns := (self.epoch, self.created, self.age, self.checkpoint, channels)), _seal(columns))


def _seal(columns: tuple[object, ...]) -> int:
    return zlib.crc32(msgspec.json.encode(columns))


_channel_rows = msgspec.json.Decoder(list[ChannelRow])


def load_state(connection: apsw.Connection) -> State:
    """Read the state of the last commit; raises ``JournalDamaged`` when it is not what was written."""
    try:
        ((*columns, crc),) = connection.execute(_STATE)
        intact = _seal(tuple(columns)) == crc
    except (ValueError, msgspec.MsgspecError):  # no row, or text that is none
        intact = False
    if not intact:
        raise JournalDamaged("The journal's state row fails its checksum.", SET_ASIDE)
    epoch, created, age, checkpoint, channels = columns
    return State(epoch, created, age, checkpoint, {row.name: row for row in _channel_rows.decode(channels)})


def new_epoch() -> str:
    """A name for a life that begins."""
    return secrets.token_hex(4)


def store_state(connection: apsw.Connection, state: State) -> None:
    """Write the state, inside the caller's transaction."""
    connection.execute("REPLACE INTO journal VALUES (1, ?, ?, ?, ?, ?, ?)", state.row())


_op_checksums: dict[str, int] = {}


def event_checksum(key: int, op: str, committed: int, message: bytes, old: bytes = b"") -> int:
    """The checksum of an event's row; also of its place, so that a row found under another key is a damaged one."""
    try:
        start = _op_checksums[op]
    except KeyError:
        start = _op_checksums[op] = zlib.crc32(op.encode())
    checksum = zlib.crc32(message, zlib.crc32(_key_and_time(key, committed), start))
    return zlib.crc32(old, checksum) if old else checksum


def shape_checksum(key: int, columns: bytes) -> int:
    """The checksum of a shape's row, its place included."""
    return zlib.crc32(columns, zlib.crc32(key.to_bytes(8, "big")))


SET_ASIDE = (
    "`rowcast serve` sets the file aside when it starts, with its -wal and -shm, and begins a new journal: that has a "
    "new epoch, and every subscriber is told of the gap."
)

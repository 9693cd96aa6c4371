"""Where we are in the source's log. Known only to this room; the journal keeps it as text.

Only the boundary between two transactions is a position: inside one, a resume would silently skip the rows whose
table map came before it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Literal, NamedTuple

import msgspec

Flavour = Literal["mariadb", "mysql"]


class Position(msgspec.Struct, frozen=True, omit_defaults=True):
    """A transaction boundary: binlog file and offset in bytes, and the GTID state there when the server keeps one.

    ``gtid`` is MariaDB's position (one ``domain-server-sequence`` for each domain, separated by commas) or
    MySQL's executed set (``uuid:1-5:7``); None where only file and offset are known.
    """

    file: str
    offset: int
    gtid: str | None = None

    def by_file(self, flavour: Flavour) -> bool:
        """Whether a reader asks for it by file and offset: the binlog library takes MySQL's empty set for none."""
        return self.gtid is None or (flavour == "mysql" and not self.gtid)

    def __str__(self) -> str:
        return f"{self.file}:{self.offset}" + (f" ({self.gtid})" if self.gtid else "")


class Written(NamedTuple):
    """Where in the log rows lie, when their statement began, in Unix seconds, and on the server of which number."""

    file: str
    offset: int
    timestamp: int
    server_id: int

    @property
    def place(self) -> tuple[int, int]:
        """For comparing."""
        return log_order(self.file, self.offset)


class Fingerprint(msgspec.Struct, frozen=True):
    """What a transaction looked like, so that it can be recognised when it is sent again.

    ``gtid`` is None on a server without GTIDs; ``digest`` covers commit time and every row image.
    """

    gtid: str | None
    digest: str


class Owed(msgspec.Struct, frozen=True, omit_defaults=True):
    """Rows that a channel may lack until they are fetched from its table: why, and whether its gap was told already.

    ``after`` is an offset up to which the channel was told before the gap; None where the gap was not told yet.
    """

    reason: str
    detail: str
    told: bool = False
    after: int | None = None


class Checkpoint(msgspec.Struct, frozen=True):
    """What a reader resumes from: it asks for ``start`` and must then be sent ``last`` again before anything new.

    ``start`` lies one transaction before ``end``. Coordinates alone prove nothing: after a RESET or a restore the
    same numbers can name other rows, and both servers then resume silently. ``last`` is None until the first
    transaction after a first start, and then ``start`` equals ``end``. ``held`` is where the oldest XA transaction
    begins that was prepared and not yet ended, None when there is none: the rows of its commit are to be read there.
    ``tables`` says which table fed each channel: a channel that was left out for a while, or had another table, has
    missed what came meanwhile. ``owed`` says which channels wait for rows behind a gap.
    """

    flavour: Flavour
    server: str
    start: Position
    end: Position
    last: Fingerprint | None = None
    held: Position | None = None
    tables: dict[str, str] = {}
    owed: Mapping[str, Owed] = {}

    @property
    def resume(self) -> Position:
        """Where a reader begins."""
        return self.held or self.start

    def encode(self) -> str:
        """The text that the journal keeps."""
        return _encoder.encode(self).decode()

    @classmethod
    def decode(cls, text: str) -> Checkpoint:
        """The checkpoint in ``text``; raises ValueError when it is none."""
        return _decoder.decode(text)


def unfed(text: str) -> str:
    """The checkpoint in ``text`` for a journal without history: each channel begins with its table's newest rows."""
    return msgspec.structs.replace(Checkpoint.decode(text), tables={}).encode()


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Checkpoint)
_TAG = re.compile(r"[a-z_][a-z0-9_]*", re.IGNORECASE)


class GtidState:
    """The GTIDs executed up to a boundary, advanced one transaction at a time."""

    def advance(self, gtid: str, first: int | None = None) -> None:
        """Count the transaction ``gtid`` as executed, with those of its origin from the number ``first`` on."""
        raise NotImplementedError

    def holds(self, gtid: str) -> bool:
        """Whether the transaction ``gtid`` was executed."""
        raise NotImplementedError

    def beyond(self, other: GtidState) -> str:
        """What was executed here and is certainly not in ``other``, as text; empty when there is nothing."""
        raise NotImplementedError

    @staticmethod
    def parse(flavour: Flavour, text: str) -> GtidState:
        """The state that ``text`` describes; raises ValueError when it is malformed."""
        return MariadbGtids(text) if flavour == "mariadb" else MysqlGtids(text)


class MariadbGtids(GtidState):
    """The newest GTID of every domain: ``0-1-100,7-2-5``.

    All domains count: a dump that starts with one of two domains replays the other from its beginning.
    """

    def __init__(self, text: str = "") -> None:
        parts = [part.strip() for part in text.split(",") if part.strip()]
        self._newest: dict[int, str] = {int(part.split("-")[0]): part for part in parts}
        for part in parts:
            if len([int(number) for number in part.split("-")]) != 3:
                raise ValueError(f"not a MariaDB GTID: {part!r}")

    def advance(self, gtid: str, first: int | None = None) -> None:
        """Count the transaction ``gtid`` as executed; those of its domain before it need no mention."""
        self._newest[int(gtid.split("-", 1)[0])] = gtid

    def holds(self, gtid: str) -> bool:
        """Whether the transaction ``gtid`` was executed: numbers of a domain only grow."""
        newest = self._newest.get(int(gtid.split("-", 1)[0]))
        return newest is not None and _number(gtid) <= _number(newest)

    def beyond(self, other: GtidState) -> str:
        """The newest of each domain, where ``other`` has not come so far or has another server's under its number."""
        theirs = dict(_numbered(gtid) for gtid in str(other).split(",") if gtid)
        ours = [self._newest[domain] for domain in sorted(self._newest)]
        return ",".join(gtid for gtid in ours if not other.holds(gtid) or theirs.get(_numbered(gtid)[0], gtid) != gtid)

    def __str__(self) -> str:
        if len(self._newest) == 1:
            return next(iter(self._newest.values()))
        return ",".join(self._newest[domain] for domain in sorted(self._newest))


def _number(gtid: str) -> int:
    return int(gtid.rpartition("-")[2])


def _numbered(gtid: str) -> tuple[tuple[str, int], str]:
    """A MariaDB GTID under its domain and number, which two servers may have given to two transactions."""
    return (gtid.split("-", 1)[0], _number(gtid)), gtid


class MysqlGtids(GtidState):
    """The executed set: intervals for each source, ``uuid:1-5:7,uuid2:1-3``."""

    def __init__(self, text: str = "") -> None:
        self._intervals: dict[str, list[list[int]]] = {}
        for part in text.replace("\n", "").split(","):
            if part.strip():
                self._add_part(part.strip())

    def _add_part(self, part: str) -> None:
        source, *ranges = part.split(":")
        if not ranges:
            raise ValueError(f"not a MySQL GTID set: {part!r}")
        tag = ""
        for text in ranges:
            if _TAG.fullmatch(text):  # a tag (MySQL 8.3 on) names the intervals that follow it
                tag = f":{text}"
                continue
            first, dash, last = text.partition("-")
            name = source.lower() + tag
            intervals = [*self._intervals.get(name, []), [int(first), int(last if dash else first)]]
            self._intervals[name] = _joined(intervals)

    def advance(self, gtid: str, first: int | None = None) -> None:
        """Count ``gtid`` (``uuid:7``) as executed, and those of its source from ``first`` on, joining intervals."""
        source, _, number = gtid.rpartition(":")
        last = int(number)
        first = last if first is None else first
        intervals = self._intervals.setdefault(source.lower(), [])
        if len(intervals) == 1 and intervals[0][1] == first - 1:  # as almost always
            intervals[0][1] = last
        else:
            self._intervals[source.lower()] = _joined([*intervals, [first, last]])

    def holds(self, gtid: str) -> bool:
        """Whether the transaction ``gtid`` was executed."""
        source, _, number = gtid.rpartition(":")
        return any(first <= int(number) <= last for first, last in self._intervals.get(source.lower(), ()))

    def beyond(self, other: GtidState) -> str:
        """The transactions that ``other`` does not hold, as a set."""
        theirs = MysqlGtids(str(other))
        missing = MysqlGtids()
        for source, intervals in self._intervals.items():
            left = intervals
            for first, last in theirs._intervals.get(source, ()):
                parts = [part for a, b in left for part in ([a, min(b, first - 1)], [max(a, last + 1), b])]
                left = [part for part in parts if part[0] <= part[1]]
            if left:
                missing._intervals[source] = left
        return str(missing)

    def __str__(self) -> str:
        parts = []
        for source, intervals in sorted(self._intervals.items()):
            parts += [source, *[f":{a}-{b}" if a != b else f":{a}" for a, b in intervals], ","]
        return "".join(parts[:-1])


def _joined(intervals: list[list[int]]) -> list[list[int]]:
    if len(intervals) == 1:
        return intervals
    joined: list[list[int]] = []
    for first, last in sorted(intervals):
        if joined and first <= joined[-1][1] + 1:
            joined[-1][1] = max(joined[-1][1], last)
        else:
            joined.append([first, last])
    return joined


def is_tagged(gtids: str) -> bool:
    """Whether a MySQL set holds tags, which the binlog library cannot ask for."""
    return re.search(r":[a-z_]", gtids, re.IGNORECASE) is not None


def log_order(file: str, offset: int) -> tuple[int, int]:
    """Sorts places of one server's log: files by their number, then by offset."""
    return _file_number(file), offset


@lru_cache(maxsize=16)
def _file_number(file: str) -> int:
    number = file.rpartition(".")[2]
    return int(number) if number.isdigit() else 0


def from_server(row: Mapping[str, object]) -> Position:
    """The position in a row of SHOW BINARY LOG STATUS or SHOW MASTER STATUS."""
    gtid = row.get("Executed_Gtid_Set")
    text = str(gtid).replace("\n", "") if gtid is not None else None
    return Position(str(row["File"]), int(str(row["Position"])), text)

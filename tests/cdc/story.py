"""Everything that an assembler tells of a log, to be compared with what another tells of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from cdc.assembler import Assembler
from cdc.committed import Committed, Piece
from cdc.errors import MalformedEvent
from cdc.shortcut import Shortcut
from cdc.tables import Capture
from journal.types import DELETE
from tests.cdc.forge import ORDERS, PARTS, Log, decoder, reads

CAPTURES = (
    ORDERS,
    PARTS,
    Capture("copy", "shop", "orders", (DELETE,)),
    Capture("one", "shop", "twice"),
    Capture("other", "shop", "twice"),
)
LARGE = 1 << 20  # one read for all of a log
Told = tuple[str, object, str, int]


class Story:
    """What an assembler told of a log, in order: everything, with the place that it had come to."""

    def __init__(self, log: Log, kind: type[Assembler] = Shortcut) -> None:
        self.told: list[Told] = []
        self.fed = 0  # events that went through the state machine
        self.machine = kind(
            log.flavour,
            CAPTURES,
            decoder,
            log.start,
            with_gtids=log.gtids,
            pass_on=self._pass_on,
            altered=self._altered,
        )

    def _tell(self, what: str, about: object) -> None:
        self.told.append((what, about, self.machine.file, self.machine.offset))

    def _pass_on(self, piece: Piece) -> bool:
        self._tell("piece", piece._replace(changes=list(piece.changes)))
        return True

    def _altered(self, capture: Capture) -> None:
        self._tell("altered", capture)

    def by_events(self, events: Sequence[bytes]) -> list[Told]:
        """Through the state machine, one event after the other."""
        return self._all(self.machine.feed(event) for event in events)

    def by_reads(self, events: Sequence[bytes], *sizes: int, joins: Callable[[], bool] = lambda: False) -> list[Told]:
        """By reads of these sizes."""
        machine = self.machine
        assert isinstance(machine, Shortcut)
        feed = machine.feed

        def count(event: bytes) -> Committed | None:
            self.fed += 1
            return feed(event)

        machine.feed = count  # type: ignore[method-assign]
        return self._all(done for packets in reads(events, *sizes) for _, done in machine.steps(packets, joins))

    def _all(self, steps: Iterator[Committed | None]) -> list[Told]:
        try:
            for done in steps:
                if done is not None:
                    self._tell("committed", done)
        except MalformedEvent as error:
            self._tell("error", str(error))
        self._tell("the end", None)
        return self.told

"""A channel as the readers of one event loop see it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from journal.rate import Rate
from journal.schema import ChannelRow
from journal.tail import Tail
from journal.types import ChannelState, Event, Shape


class Channel:
    """Visible bounds, memory tail and rate; and whom to wake when something arrives."""

    def __init__(
        self, row: ChannelRow, tail_bytes: int, clock: Callable[[], float], shapes: tuple[Shape, ...] = ()
    ) -> None:
        self.row = row
        self.shapes = shapes
        self.tail = Tail(tail_bytes)
        self.arrival = asyncio.Event()
        self._rate = Rate(clock)

    @property
    def state(self) -> ChannelState:
        """The bounds as ``JournalReader.channels`` gives them."""
        return self.row.state(self._rate.value())

    def adopt(self, row: ChannelRow, events: Sequence[Event] = (), shapes: tuple[Shape, ...] = ()) -> None:
        """Make a commit visible. Plain assignments, so that no reader can see half of it."""
        if row.floor > self.row.floor:
            self.tail.forget(row.floor)
        arrived = row.head - self.row.head
        self.row = row
        self.shapes = shapes
        if events:
            self.tail.extend(events)
            self._rate.add(arrived)
            self.wake()

    def wake(self) -> None:
        """Let everybody who waits look again."""
        self.arrival.set()
        self.arrival = asyncio.Event()

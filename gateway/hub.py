"""Who is live on what, and how far each channel has been handed out. No I/O of its own, no ``await``.

A group larger than a slice is not written to in one go: its slices wait in one queue, which gives way to everything
else after each. What comes meanwhile is written together with what a slice still waits for.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Collection, Mapping, Sequence
from operator import attrgetter

from gateway.batch_write import LEAST, Letter, OneByOne
from gateway.filters import FilterIndex
from gateway.frames import Run, runs
from gateway.group import SLICE, Group, Part, Slice
from gateway.stats import Stats
from gateway.subscription import Mode, Sink, Subscription
from journal.filter import Filter
from journal.types import Event, Shape

MOST_WRITES = 10_000  # in one publish, and bytes: after so many everybody reads the rest in pages, which give way
MOST_BYTES = 128 << 20
MOST_WAITING = 1 << 20  # bytes that a group's slices wait for, after which the same is done

_born = attrgetter("born")

Key = tuple[Filter | None, bool]  # the filter, and whether frames are compressed


class Topic:
    """One channel: the newest offset handed to its live subscriptions, and these, grouped by what bytes they get.

    ``shapes`` are those that everybody live who asks for them has been told, or will be told with the next event.
    """

    __slots__ = ("filters", "groups", "published", "shapes")

    def __init__(self, published: int, shapes: tuple[Shape, ...]) -> None:
        self.published = published
        self.shapes = shapes
        self.groups: dict[Key, Group] = {}
        self.filters = FilterIndex()  # those of ``groups``

    def join(self, subscription: Subscription) -> None:
        """Add it to its group."""
        where, deflate = key = (subscription.where, subscription.sink.deflate)
        group = self.groups.get(key)
        if group is None:
            group = self.groups[key] = Group(deflate=deflate)
            if where is not None:
                self.filters.add(where, group)
        group.join(subscription)

    def discard(self, subscription: Subscription) -> None:
        """Take it out of its group."""
        where = subscription.where
        key = (where, subscription.sink.deflate)
        group = self.groups[key]
        group.leave(subscription)
        if not group.slices:
            del self.groups[key]
            if where is not None:
                self.filters.remove(where, group)


class Hub:
    """Groups of live subscriptions. ``demoted`` is told of each one that has to read the journal again.

    ``soon`` has a function called in the next turn of the event loop. ``shapes`` tells what a channel's rows look like,
    as ``JournalReader.shapes`` does. ``crowded`` is asked whether many are on their way back.
    """

    def __init__(
        self,
        heads: Mapping[str, int],
        stats: Stats,
        soon: Callable[[Callable[[], None]], object],
        demoted: Callable[[Subscription], None] = lambda _: None,
        shapes: Callable[[str], tuple[Shape, ...]] = lambda _: (),
    ) -> None:
        self.most_writes = MOST_WRITES
        self.most_bytes = MOST_BYTES
        self.most_waiting = MOST_WAITING
        self.demoted = demoted
        self._shapes = shapes
        self._topics = {channel: Topic(head, shapes(channel)) for channel, head in heads.items()}
        self._stats = stats
        self._soon = soon
        self._waiting: deque[Slice] = deque()  # the slice that was written to longest ago stands first
        self._turning = False  # a turn is to come
        self._senior = False  # the last slice was written to because it had been live longest
        self.crowded: Callable[[], bool] = lambda: False  # many are being let in
        self.sender = OneByOne()

    def __contains__(self, channel: str) -> bool:
        return channel in self._topics

    def published(self, channel: str) -> int:
        """The newest offset handed to live subscriptions of ``channel``, or dealt out to them in the next turns."""
        return self._topics[channel].published

    def reached(self, subscription: Subscription) -> int:
        """The newest offset of which it has been sent whatever its filter lets pass."""
        place = subscription.place
        if place is None:
            return subscription.offset
        return place.sent if place.waits else self.published(subscription.channel)

    def settle(self, subscription: Subscription) -> bool:
        """Make a subscription live if it has everything that was published; tells whether it did."""
        topic = self._topics[subscription.channel]
        if subscription.offset != topic.published:
            return False
        # No await may stand between the comparison above and the join below. Both and publish() run on one event
        # loop: without an await nothing can be published in between, so nothing is missed and nothing comes twice.
        topic.join(subscription)
        subscription.mode = Mode.LIVE
        return True

    def leave(self, subscription: Subscription) -> None:
        """Forget a subscription for good; doing it twice is harmless."""
        if subscription.mode is Mode.LIVE:
            self._topics[subscription.channel].discard(subscription)
        subscription.mode = Mode.CLOSED

    def publish(self, events: Sequence[Event]) -> None:
        """Hand events, fresh from the journal and in its order, to everybody live on their channels.

        What would hold up the loop for too long is left to the journal's pages: everybody is sent there to read on.
        So is whoever is to be told of a new shape, which need not have an event yet.
        """
        for channel, topic in self._topics.items():
            shapes = self._shapes(channel)
            if shapes is not topic.shapes:
                self._reshape(topic, shapes)
        for channel, batch in _by_channel(events).items():
            if channel in self._topics:
                self._publish(self._topics[channel], batch)
        if self._waiting and not self._turning:
            self._turn()

    def _reshape(self, topic: Topic, shapes: tuple[Shape, ...]) -> None:
        """A whole group gets one run of bytes: who is to be told of a shape in between reads pages, which tell it."""
        topic.shapes = shapes
        if not shapes:
            return
        newest, news = shapes[-1], shapes[-1].first > topic.published
        for group in list(topic.groups.values()):
            asking = [subscription for subscription in group.members if subscription.columns is not None]
            self._demote([one for one in asking if news or one.columns != newest.columns])

    def _publish(self, topic: Topic, batch: Sequence[Event]) -> None:
        if batch[0].offset != topic.published + 1:
            batch = self._realign(topic, batch)
        if not batch:
            return
        if topic.groups:
            writes, size = self._stats.writes, self._stats.bytes
            for run in runs(batch):
                much = self._stats.writes - writes >= self.most_writes or self._stats.bytes - size >= self.most_bytes
                if much or any(place.group.size >= self.most_waiting for place in self._waiting):
                    self._send_to_journal(topic)
                    break
                self._hand_out(topic, run)
                topic.published = run.last
        topic.published = batch[-1].offset

    def _hand_out(self, topic: Topic, run: Run) -> None:
        small: list[tuple[Group, Part]] = []
        for deflate in (False, True):
            if group := topic.groups.get((None, deflate)):
                self._deliver(topic, group, Part(run.whole(deflate), len(run.events), run.last), small)
        if topic.filters:
            for groups, places in topic.filters.match(run.columns):
                for group in groups:
                    part = Part(run.some(places, group.deflate), len(places), run.last)
                    self._deliver(topic, group, part, small)
        if small:
            self._write_small(small)

    def _deliver(self, topic: Topic, group: Group, part: Part, small: list[tuple[Group, Part]]) -> None:
        """At once to a group of one slice that has everything; the slices of others wait for their turn.

        A handful is written to with those of other ``small`` groups, at the end of the run.
        """
        if group.few is None:
            self._waiting += group.add(part, topic.published)
        elif len(group.few) < LEAST:
            small.append((group, part))
        else:
            self._write(group, group.few, part)

    def _turn(self) -> None:
        """Write to slices that wait, to about as many connections as fill one."""
        room = SLICE
        self._turning = False
        try:
            while self._waiting and room > 0:
                place = self._next()
                room -= len(place.members)
                if place.members:  # else they have left since
                    self._advance(place)
        finally:
            if self._waiting:
                self._turning = True
                self._soon(self._turn)

    def _next(self) -> Slice:
        """The slice that was written to longest ago. When it is crowded, every second time who has been live longest.

        Those who come back have been away for seconds: nobody who stayed is to wait for all of them at each row. Even
        so nobody waits for more than twice as many slices as there are, and in calm all wait alike.
        """
        self._senior = not self._senior and self.crowded()
        if not self._senior:
            return self._waiting.popleft()
        place = min(self._waiting, key=_born)
        self._waiting.remove(place)
        return place

    def _advance(self, place: Slice) -> None:
        part, count = place.group.due(place)
        try:
            self._write(place.group, place.members, part)
        except Exception:  # whatever went wrong, nobody must wait in silence: they come back
            for sink in list(place.members):
                sink.abort()
            raise
        if place.members:
            place.group.written(place, part, count)
            if place.waits:
                self._waiting.append(place)

    def _write(self, group: Group, sinks: Collection[Sink], part: Part) -> None:
        late: list[Sink] = []
        ready: list[Sink] = []
        for sink in sinks:
            (late if sink.paused else ready).append(sink)
        self.sender.send(ready, part.data)
        self._count(len(ready), part)
        if late:
            self._demote(group.find(late))

    def _write_small(self, small: Sequence[tuple[Group, Part]]) -> None:
        """Write to each of the small groups what is theirs of a run. Nobody is in two: they are of one channel."""
        letters: list[Letter] = []
        late: list[tuple[Group, Sink]] = []
        for group, part in small:
            before = len(letters)
            for sink in group.few or ():
                if sink.paused:
                    late.append((group, sink))
                else:
                    letters.append((sink, part.data))
            self._count(len(letters) - before, part)
        self.sender.send_each(letters)
        for group, sink in late:
            self._demote(group.find([sink]))

    def _count(self, served: int, part: Part) -> None:
        stats = self._stats
        stats.deliveries += served * part.events
        stats.writes += served
        stats.bytes += served * len(part.data)

    def _demote(self, late: Sequence[Subscription]) -> None:
        for subscription in late:
            subscription.offset = self.reached(subscription)
            subscription.mode = Mode.REPLAYING
            self._topics[subscription.channel].discard(subscription)
            self._stats.demotions += 1
            self.demoted(subscription)

    def _realign(self, topic: Topic, batch: Sequence[Event]) -> Sequence[Event]:
        """Drop what was published before. After a hole everybody reads the journal, so that none passes it by."""
        batch = [event for event in batch if event.offset > topic.published]
        if batch and batch[0].offset != topic.published + 1:
            self._send_to_journal(topic)
        return batch

    def _send_to_journal(self, topic: Topic) -> None:
        for group in list(topic.groups.values()):
            self._demote(group.members)


def _by_channel(events: Sequence[Event]) -> Mapping[str, Sequence[Event]]:
    if len(channels := {event.channel for event in events}) == 1:  # nearly always
        return {channels.pop(): events}
    batches: defaultdict[str, list[Event]] = defaultdict(list)
    for event in events:
        batches[event.channel].append(event)
    return batches

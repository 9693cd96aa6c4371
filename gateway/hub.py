"""Who is live on what, and how far each channel has been handed out. No I/O of its own, no ``await``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from gateway.filters import FilterIndex
from gateway.frames import Run, runs
from gateway.stats import Stats
from gateway.subscription import Mode, Subscription
from journal.filter import Filter
from journal.types import Event, Shape

MOST_WRITES = 10_000  # in one publish, and bytes: after so many everybody reads the rest in pages, which give way
MOST_BYTES = 128 << 20

Group = set[Subscription]
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
            if where is not None and (where, not deflate) not in self.groups:
                self.filters.add(where)
            group = self.groups[key] = set()
        group.add(subscription)

    def discard(self, subscription: Subscription) -> None:
        """Take it out of its group."""
        where, deflate = key = (subscription.where, subscription.sink.deflate)
        group = self.groups[key]
        group.discard(subscription)
        if not group:
            del self.groups[key]
            if where is not None and (where, not deflate) not in self.groups:
                self.filters.remove(where)


class Hub:
    """Groups of live subscriptions. ``demoted`` is told of each one that has to read the journal again.

    ``shapes`` tells what a channel's rows look like, as ``JournalReader.shapes`` does.
    """

    def __init__(
        self,
        heads: Mapping[str, int],
        stats: Stats,
        demoted: Callable[[Subscription], None] = lambda _: None,
        shapes: Callable[[str], tuple[Shape, ...]] = lambda _: (),
    ) -> None:
        self.most_writes = MOST_WRITES
        self.most_bytes = MOST_BYTES
        self._shapes = shapes
        self._topics = {channel: Topic(head, shapes(channel)) for channel, head in heads.items()}
        self._stats = stats
        self.demoted = demoted

    def __contains__(self, channel: str) -> bool:
        return channel in self._topics

    def published(self, channel: str) -> int:
        """The newest offset handed to live subscriptions of ``channel``."""
        return self._topics[channel].published

    def reached(self, subscription: Subscription) -> int:
        """The newest offset of which it has been sent whatever its filter lets pass."""
        return self.published(subscription.channel) if subscription.mode is Mode.LIVE else subscription.offset

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
        batches: dict[str, list[Event]] = {}
        for event in events:
            batches.setdefault(event.channel, []).append(event)
        for channel, batch in batches.items():
            if channel in self._topics:
                self._publish(self._topics[channel], batch)

    def _reshape(self, topic: Topic, shapes: tuple[Shape, ...]) -> None:
        """A whole group gets one run of bytes: who is to be told of a shape in between reads pages, which tell it."""
        topic.shapes = shapes
        if not shapes:
            return
        newest, news = shapes[-1], shapes[-1].first > topic.published
        for group in list(topic.groups.values()):
            asking = [subscription for subscription in group if subscription.columns is not None]
            self._demote(topic, [one for one in asking if news or one.columns != newest.columns])

    def _publish(self, topic: Topic, batch: list[Event]) -> None:
        if batch[0].offset != topic.published + 1:
            batch = self._realign(topic, batch)
        if not batch:
            return
        if topic.groups:
            writes, size = self._stats.writes, self._stats.bytes
            for run in runs(batch):
                if self._stats.writes - writes >= self.most_writes or self._stats.bytes - size >= self.most_bytes:
                    self._send_to_journal(topic)
                    break
                self._hand_out(topic, run)
                topic.published = run.last
        topic.published = batch[-1].offset

    def _hand_out(self, topic: Topic, run: Run) -> None:
        groups = topic.groups
        for deflate in (False, True):
            if group := groups.get((None, deflate)):
                self._deliver(topic, group, run.whole(deflate), len(run.events))
        if topic.filters:
            for where, places in topic.filters.match(run.columns):
                for deflate in (False, True):
                    if group := groups.get((where, deflate)):
                        self._deliver(topic, group, run.some(places, deflate), len(places))

    def _deliver(self, topic: Topic, group: Group, data: bytes, events: int) -> None:
        late: list[Subscription] = []
        for subscription in group:
            sink = subscription.sink
            if sink.paused:
                late.append(subscription)
            else:
                sink.send(data)
        served = len(group) - len(late)
        self._stats.deliveries += served * events
        self._stats.writes += served
        self._stats.bytes += served * len(data)
        if late:
            self._demote(topic, late)

    def _demote(self, topic: Topic, late: Sequence[Subscription]) -> None:
        for subscription in late:
            subscription.offset = topic.published
            subscription.mode = Mode.REPLAYING
            topic.discard(subscription)
            self._stats.demotions += 1
            self.demoted(subscription)

    def _realign(self, topic: Topic, batch: list[Event]) -> list[Event]:
        """Drop what was published before. After a hole everybody reads the journal, so that none passes it by."""
        batch = [event for event in batch if event.offset > topic.published]
        if batch and batch[0].offset != topic.published + 1:
            self._send_to_journal(topic)
        return batch

    def _send_to_journal(self, topic: Topic) -> None:
        for group in list(topic.groups.values()):
            self._demote(topic, list(group))

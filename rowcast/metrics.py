"""The figures behind /metrics: read from the rooms' plain counters at the moment somebody asks."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from api.feed import FeedStats
from api.writer import ResultWriter
from cdc.capture import CATCHING_UP, DOWN, LIVE, STALLED, CaptureLoop
from gateway.stats import Stats
from journal.types import JournalReader

Figures = Callable[[], Iterator[Metric]]


def exposition(*figures: Figures) -> Callable[[], bytes]:
    """A function that renders all of them in Prometheus' text format."""
    registry = CollectorRegistry()
    for figure in figures:
        registry.register(_Asked(figure))
    return lambda: generate_latest(registry)


class _Asked(Collector):
    def __init__(self, figures: Figures) -> None:
        self._figures = figures

    def collect(self) -> Iterator[Metric]:
        return self._figures()


def journal_figures(journal: JournalReader) -> Figures:
    """Each channel's bounds, size and rate."""

    def figures() -> Iterator[Metric]:
        gauges = {
            "head": GaugeMetricFamily("rowcast_channel_head", "Newest offset", labels=["channel"]),
            "floor": GaugeMetricFamily("rowcast_channel_floor", "Oldest offset kept", labels=["channel"]),
            "bytes": GaugeMetricFamily("rowcast_channel_bytes", "Bytes of messages kept", labels=["channel"]),
            "rate": GaugeMetricFamily("rowcast_channel_rate", "Events a second, lately", labels=["channel"]),
        }
        for channel, state in journal.channels().items():
            for name, gauge in gauges.items():
                gauge.add_metric([channel], getattr(state, name))
        yield from gauges.values()

    return figures


def writer_figures(writer: ResultWriter) -> Figures:
    """What became of the rows that were posted."""

    def figures() -> Iterator[Metric]:
        stats = writer.stats
        yield CounterMetricFamily("rowcast_posts_saved", "Rows saved", value=stats.rows)
        yield CounterMetricFamily("rowcast_post_groups", "Commits that saved them", value=stats.groups)
        yield CounterMetricFamily("rowcast_posts_failed", "Rows that were not saved", value=stats.failed)
        yield CounterMetricFamily("rowcast_posts_unknown", "Rows of which nobody knows", value=stats.unknown)
        yield GaugeMetricFamily("rowcast_posts_queued", "Rows that wait", value=writer.queued)

    return figures


def feed_figures(stats: FeedStats) -> Figures:
    """Event streams and long polls, and what was sent to them."""

    def figures() -> Iterator[Metric]:
        yield GaugeMetricFamily("rowcast_feed_streams", "Event streams", value=stats.streams)
        yield GaugeMetricFamily("rowcast_feed_polls", "Long polls being answered", value=stats.polls)
        yield CounterMetricFamily("rowcast_feed_opened", "Event streams begun", value=stats.opened)
        yield CounterMetricFamily("rowcast_feed_asked", "Long polls begun", value=stats.asked)
        yield CounterMetricFamily("rowcast_feed_refused", "Of both, refused for want of room", value=stats.refused)
        yield CounterMetricFamily("rowcast_feed_deliveries", "Events written to them", value=stats.deliveries)
        yield CounterMetricFamily("rowcast_feed_bytes", "Bytes of these events", value=stats.bytes)
        yield CounterMetricFamily("rowcast_feed_gaps", "Gaps made for one reader", value=stats.gaps)
        yield CounterMetricFamily("rowcast_feed_pages", "Journal pages read for them", value=stats.pages)

    return figures


def capture_figures(capture: CaptureLoop) -> Figures:
    """The source's state and what was read of it."""

    def figures() -> Iterator[Metric]:
        stats = capture.stats
        yield CounterMetricFamily("rowcast_capture_transactions", "Transactions captured", value=stats.transactions)
        yield CounterMetricFamily("rowcast_capture_rows", "Rows captured", value=stats.rows)
        yield CounterMetricFamily("rowcast_capture_gaps", "Gaps announced", value=stats.gaps)
        yield CounterMetricFamily("rowcast_capture_connects", "Connections to the source", value=stats.connects)
        yield CounterMetricFamily("rowcast_capture_lost", "Connections lost", value=stats.lost)
        yield GaugeMetricFamily("rowcast_source_lag_seconds", "Commit to publish", value=capture.lag_ms / 1000)
        state = GaugeMetricFamily("rowcast_source_state", "1 for the state it is in", labels=["state"])
        for name in (LIVE, CATCHING_UP, STALLED, DOWN):
            state.add_metric([name], float(capture.state == name))
        yield state

    return figures


_NOW = {
    "connections": "WebSocket connections",
    "subscriptions": "Subscriptions",
    "deflating": "Connections with compression",
}
_SINCE_START = {
    "accepted": "WebSocket handshakes completed",
    "refused": "Requests that did not become a WebSocket",
    "requests": "Client frames answered",
    "errors": "Error frames sent",
    "deliveries": "Events written to clients",
    "replayed": "Of these, from journal pages",
    "bytes": "Bytes of data frames written",
    "demotions": "Live subscriptions sent back to replay",
    "gaps": "Gap frames made for one subscriber",
    "silent": "Connections cut for silence",
    "unread": "Connections closed for reading nothing",
    "overruns": "Connections cut for asking without reading",
}


def gateway_figures(stats: Stats) -> Figures:
    """Connections and what was sent to them."""

    def figures() -> Iterator[Metric]:
        for name, text in _NOW.items():
            yield GaugeMetricFamily(f"rowcast_gateway_{name}", text, value=getattr(stats, name))
        for name, text in _SINCE_START.items():
            yield CounterMetricFamily(f"rowcast_gateway_{name}", text, value=getattr(stats, name))

    return figures

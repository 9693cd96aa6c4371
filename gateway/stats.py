"""What the gateway counts."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Stats:
    """Plain counters since the start; the first three are how many there are now."""

    connections: int = 0
    subscriptions: int = 0
    deflating: int = 0  # of the connections, those with compression
    accepted: int = 0  # WebSocket handshakes completed
    refused: int = 0  # HTTP requests that did not become a WebSocket, health checks aside
    requests: int = 0  # client frames answered
    errors: int = 0  # error frames sent
    deliveries: int = 0  # events written, live and replayed
    replayed: int = 0  # of these, from journal pages
    writes: int = 0  # times that live subscribers were written to
    bytes: int = 0  # of data frames written
    pages: int = 0  # journal pages read for replay
    page_hits: int = 0  # journal pages that another subscriber had had read
    demotions: int = 0  # live subscriptions sent back to replaying: a full buffer, a hole, a batch too large for one go
    gaps: int = 0  # gap frames made for one subscriber (retention, epoch)
    silent: int = 0  # connections cut because nothing was heard of them
    unread: int = 0  # connections closed because they read nothing of what waited
    overruns: int = 0  # connections cut because they asked and did not read
    slow_handshakes: int = 0  # connections cut before they had said what they want

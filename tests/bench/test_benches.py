"""Each bench runs, with tiny loads and those contenders that are there without a download. How fast is no question."""

from __future__ import annotations

import pytest

from bench import decode, fanout, filters, ingest, latency, memory, slow, storm
from bench.decode import BINLOG, JOURNAL, LIBRARY
from bench.fanout import BROADCAST
from bench.figures import OURS
from bench.stage import Stage


def test_decode_counts_every_row(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ours, with and without its journal, the library and the server's own tool read the same log to its end."""
    contenders = {name: decode.CONTENDERS[name] for name in (OURS, JOURNAL, LIBRARY, BINLOG)}
    monkeypatch.setattr(decode, "CONTENDERS", contenders)
    wall, cpu = decode.throughput(stage, "mariadb", 20, 200, rounds=1)
    assert wall.skipped == cpu.skipped == {}
    assert {name: len(samples) for name, samples in wall.samples.items()} == dict.fromkeys(contenders, 1)


def test_a_burst_reaches_every_client(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ours and a peer hand a burst to all clients, of whom some are looked at frame by frame."""
    monkeypatch.setattr(fanout, "SERVERS", {name: fanout.SERVERS[name] for name in (OURS, BROADCAST)})
    wall, cpu = fanout.burst(stage, 10, {OURS: 50, BROADCAST: 20}, rounds=1)
    assert wall.skipped == cpu.skipped == {}
    assert set(wall.samples) == {OURS, BROADCAST}


def test_a_contender_that_fails_is_skipped_with_its_reason(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others are measured all the same."""

    def broken(*_: object) -> dict[str, object]:
        raise RuntimeError("no network")

    monkeypatch.setattr(decode, "CONTENDERS", {"broken": broken, BINLOG: decode.CONTENDERS[BINLOG]})
    wall, _ = decode.throughput(stage, "mariadb", 20, 100, rounds=2)
    assert wall.skipped == {"broken": "no network"}
    assert len(wall.samples[BINLOG]) == 2


def test_latency_sees_every_row_at_every_client(stage: Stage) -> None:
    """Rows posted to the whole product are timed where they arrive."""
    figures = latency.latency(stage, 3, {OURS: latency.BY_POST[OURS]}, 0.3, rounds=1)
    assert [figure.skipped for figure in figures] == [{}, {}, {}]
    assert all(figure.samples[OURS][0] > 0 for figure in figures)


def test_a_storm_ends_with_everybody_live(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients that were away come back to the whole product while it is written to and watched."""
    monkeypatch.setattr(storm, "_CALM", 0.3)
    figures = storm.storm(stage, 20, rounds=1)
    assert [(len(figure.samples[OURS]), figure.skipped) for figure in figures] == [(1, {})] * 4


def test_idle_connections_and_filters_are_counted(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections are opened and held, and each of them gets the rows of its own filter."""
    monkeypatch.setattr(memory, "_SETTLE", 0.1)
    monkeypatch.setattr(memory, "SERVERS", {OURS: fanout.SERVERS[OURS]})
    assert [figure.skipped for figure in memory.idle(stage, 250, rounds=1)] == [{}, {}, {}]
    (cost,) = filters.filters(stage, 20, 2, rounds=1)
    assert set(cost.samples) == {OURS, filters.WITHOUT}


def test_one_who_never_reads_is_compared_with_nobody(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same run with such a client and without."""
    monkeypatch.setattr(slow, "_WARM", 0.1)
    others, grown = slow.slow(stage, 5, 0.3, rounds=1)
    assert others.skipped == grown.skipped == {}
    assert set(others.samples) == {OURS, slow.WITHOUT}


def test_posts_are_counted_when_they_are_answered(stage: Stage) -> None:
    """Results are posted to the whole product, many at a time."""
    answered = ingest.one(stage, ingest.SYSTEMS[OURS], seconds=1)
    assert answered["rate"] > 0
    assert answered["p99"] >= answered["p50"] > 0

"""Each bench runs, with tiny loads and those contenders that are there without a download. How fast is no question."""

from __future__ import annotations

import pytest

from bench import decode, fanout
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

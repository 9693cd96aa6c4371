"""The process ends itself at each point between the log and the wire, under load."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from pathlib import Path

import apsw
import pytest

from devenv.database import Server
from journal.sqlite import SqliteJournal
from journal.types import FIRST, INSERT, Change, Transaction
from rowcast import failpoints
from rowcast.errors import CONFIGURATION, Failure
from tests.faults.conftest import MakeProduct
from tests.faults.load import Load, nothing_wrong
from tests.faults.recorder import Recorder

ROWS = 1500


@pytest.mark.parametrize("point", [point for point in failpoints.POINTS if point != failpoints.AFTER_PIECE])
async def test_a_process_that_dies_at_any_point_loses_nothing(
    mariadb: Server, make_product: MakeProduct, point: str
) -> None:
    """Killed between rows, commit and publish, under load: afterwards exactly the committed rows are there, once."""
    product = make_product(mariadb, start=False)
    product.start({failpoints.VARIABLE: f"{point}:7"})
    await product.ready()
    async with Recorder(product.gateway) as recorder:
        await recorder.live.wait()
        with Load(product, ROWS, rate=1000) as load:
            assert product.process is not None
            assert await asyncio.to_thread(product.process.wait, 30) == -signal.SIGKILL
            product.start()
            await load.finished()
            await nothing_wrong(product, [recorder])
        assert recorder.connects == 2


async def test_the_points_stand_where_their_names_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the file shows to others at each point: the rows are there from the commit on."""
    path = tmp_path / "journal.db"
    trail: list[tuple[str, str]] = []
    point = failpoints.Failpoint("", 1)

    def look(name: str) -> None:
        with contextlib.closing(apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)) as beside:
            trail.append((name, str(beside.execute("SELECT count(*) FROM event").get)))

    monkeypatch.setattr(point, "passed", look)
    journal = await SqliteJournal.open(path, ["c"], written=point.written)
    watched, publish = point.around(journal, lambda events: trail.append(("publish", str(len(events)))))
    publish(await watched.append([Transaction([Change("c", INSERT, b"{}")], "here", 0.0)]))
    await watched.append([Transaction((), "there", 0.0)])  # passes none
    small = trail[:]
    trail.clear()
    await watched.append([Transaction([Change("c", INSERT, b"{}")], "", 0.0, FIRST)])
    await journal.close()
    before, after, commit, published, piece = failpoints.POINTS
    assert small == [(before, "0"), (after, "0"), (commit, "1"), ("publish", "1"), (published, "1")]
    assert trail == [(before, "1"), (after, "1"), (piece, "2")]


def test_a_point_is_passed_so_many_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only passes of the named point count, and the last of them kills."""
    kills: list[int] = []
    monkeypatch.setattr("rowcast.failpoints.os.kill", lambda _, number: kills.append(number))
    point = failpoints.from_environment({failpoints.VARIABLE: "after-commit:2"})
    assert point is not None
    for name in ("after-commit", "before-append", "after-append"):
        point.passed(name)
    assert kills == []
    point.passed("after-commit")
    assert kills == [signal.SIGKILL]


@pytest.mark.parametrize("text", ["after-commit", "after-commit:0", "nowhere:1", "after-commit:x"])
def test_a_point_that_is_none_is_refused(text: str) -> None:
    """A misspelt failpoint would make a test prove nothing."""
    with pytest.raises(Failure, match="names no failpoint") as caught:
        failpoints.from_environment({failpoints.VARIABLE: text})
    assert caught.value.exit_code == CONFIGURATION


def test_unset_there_is_none() -> None:
    """Nothing is on the way."""
    assert failpoints.from_environment({}) is None

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from devenv import crew
from devenv.crew import Crew, Stopped
from tests.waiting import until

READY = "import signal, sys, time; {}; print('ready', flush=True); time.sleep(60)"


def run_until_stopped(folder: Path, command: list[str]) -> None:
    """Stop a program as soon as it is ready."""
    with Crew(folder / "log", folder / "run") as programs:
        programs.start("serve", command, os.environ, patience=20)
        asyncio.run(until(lambda: "ready" in (folder / "log" / "serve.log").read_text()))
        raise Stopped


@pytest.mark.parametrize(
    ("at_the_signal", "told"),
    [
        ("signal.signal(15, lambda *_: sys.exit(0))", False),
        ("pass", False),  # it knows no signals, and dies of this one
        ("signal.signal(15, lambda *_: sys.exit('cannot stop'))", True),
    ],
)
def test_a_program_that_cannot_stop_in_order_is_told_of(
    at_the_signal: str, told: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Whoever stops everything would never look into its log."""
    monkeypatch.setattr(crew, "_SIGNALS", ())  # those are the test runner's
    with pytest.raises(Stopped):
        run_until_stopped(tmp_path, [sys.executable, "-c", READY.format(at_the_signal)])
    shown = capfd.readouterr().err
    assert "dev: stopping serve" in shown
    assert ("dev: serve was to stop and ended with code 1. Its last words:\nready\ncannot stop" in shown) is told
    assert ("last words" in shown) is told

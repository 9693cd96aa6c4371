from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def demo(**environment: str) -> Iterator[subprocess.Popen[str]]:
    """`python -m demo` with these settings alone."""
    bare = {name: value for name, value in os.environ.items() if not name.startswith("ROWCAST_")}
    process = subprocess.Popen(
        [sys.executable, "-m", "demo"],
        cwd=ROOT,
        env=bare | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Its exit code and everything it said."""
    assert process.stdout is not None
    return process.wait(timeout=20), process.stdout.read()


def nowhere(port: int) -> str:
    """A database address on a port where nobody listens."""
    return f"mysql://legacy:topsecret@127.0.0.1:{port}/cams"


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_says_what_it_is_and_stops_at_once(free_port: int, stop: signal.Signals) -> None:
    """One line says that the traffic is made up and where it goes, without password; a signal ends it with 0."""
    with demo(ROWCAST_DEMO_MYSQL_URL=nowhere(1), ROWCAST_DEMO_PORT=str(free_port)) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert "demo traffic, not real" in line
        assert "cams on 127.0.0.1:1" in line
        picture = f"http://127.0.0.1:{free_port}/snapshot.svg?camera=1&label=dog&box=1,2,30,40&at=2026-11-23T08:19:33"
        with urllib.request.urlopen(picture) as response:
            assert b"DEMO" in response.read()
        process.send_signal(stop)
        started = time.monotonic()
        code, rest = ended(process)
        assert time.monotonic() - started < 5
    assert code == 0
    assert "topsecret" not in line + rest


def test_silent_database_does_not_hold_up_the_end(free_port: int) -> None:
    """While the database accepts and says nothing, a signal ends the demo all the same."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        url = nowhere(mute.getsockname()[1])
        with demo(ROWCAST_DEMO_MYSQL_URL=url, ROWCAST_DEMO_PORT=str(free_port)) as process:
            mute.settimeout(20)
            connection, _ = mute.accept()
            with connection:
                process.terminate()
                assert ended(process)[0] == 0


def test_port_in_use() -> None:
    """Exit 69, naming the port and the setting."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with demo(ROWCAST_DEMO_MYSQL_URL=nowhere(1), ROWCAST_DEMO_PORT=str(port)) as process:
            code, said = ended(process)
    assert code == 69
    assert f"127.0.0.1:{port}" in said
    assert "ROWCAST_DEMO_PORT" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("name", "environment"),
    [
        ("ROWCAST_DEMO_MYSQL_URL", {}),
        ("ROWCAST_DEMO_MYSQL_URL", {"ROWCAST_DEMO_MYSQL_URL": "mysql://legacy:topsecret@/"}),
        ("ROWCAST_DEMO_PORT", {"ROWCAST_DEMO_PORT": "http", "ROWCAST_DEMO_MYSQL_URL": nowhere(1)}),
        ("ROWCAST_DEMO_PORT", {"ROWCAST_DEMO_PORT": "65536", "ROWCAST_DEMO_MYSQL_URL": nowhere(1)}),
    ],
)
def test_bad_settings(name: str, environment: dict[str, str]) -> None:
    """Exit 78 with the setting's name, and no password."""
    with demo(**environment) as process:
        code, said = ended(process)
    assert code == 78
    assert name in said
    assert "topsecret" not in said
    assert "Traceback" not in said

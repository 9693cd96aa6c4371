"""Starts programs that do not outlive us, and ends them by the id that we were given.

Each runs in a process group of its own, so Ctrl-C in a terminal reaches only ./dev, which stops the others in order.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

# Linux kills the program when the thread that started it ends, kill -9 included. Set between fork and exec by a
# program of its own: preexec_fn is not safe once there are threads.
_LEASH = (
    "import ctypes, os, sys\n"
    "ctypes.CDLL(None).prctl(1, 9, 0, 0, 0)\n"  # PR_SET_PDEATHSIG, SIGKILL
    "os.getppid() == int(sys.argv[1]) or os._exit(1)\n"  # it died before the call
    "os.execvp(sys.argv[2], sys.argv[2:])\n"
)


def spawn(
    command: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    output: IO[bytes] | None = None,
    cwd: Path | None = None,
) -> subprocess.Popen[bytes]:
    """Start a program in its own process group, its output going to ``output`` (default: ours).

    From the main thread on Linux it dies with this process, however that ends.
    """
    return subprocess.Popen(
        [*_leash(), *command],
        env=environment,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT if output else None,
        process_group=0,
    )


def _leash() -> list[str]:
    if sys.platform != "linux" or threading.current_thread() is not threading.main_thread():
        return []
    return [sys.executable, "-IS", "-c", _LEASH, str(os.getpid())]


def end(process: subprocess.Popen[bytes], patience: float) -> int:
    """Ask the program and its children to stop, wait ``patience`` seconds, then kill them. Returns the exit code."""
    strike(process, signal.SIGTERM)
    try:
        return process.wait(patience)
    except subprocess.TimeoutExpired:
        strike(process)
        return process.wait()


def strike(process: subprocess.Popen[bytes], signum: signal.Signals = signal.SIGKILL) -> None:
    """Signal the program's process group, which only exists as long as nobody has collected the program."""
    if process.poll() is None:
        os.killpg(process.pid, signum)


def end_stray(note: Path, mark: str, patience: float) -> int | None:
    """End the process group that an earlier, killed parent noted in the file ``note``; its id, None if it is gone.

    Only if its command line holds ``mark``: the number may be somebody else's by now.
    """
    pid = int(note.read_text() or 0) if note.exists() else 0
    ours = pid > 0 and mark in command_line(pid)
    if ours:
        os.killpg(pid, signal.SIGTERM)
        deadline = time.monotonic() + patience
        while mark in command_line(pid):
            if time.monotonic() > deadline:
                os.killpg(pid, signal.SIGKILL)
            time.sleep(0.1)
    note.unlink(missing_ok=True)
    return pid if ours else None


def command_line(pid: int) -> str:
    """What the process was started with; empty when there is no such process."""
    shown = Path(f"/proc/{pid}/cmdline")
    if sys.platform == "linux":
        try:
            return shown.read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:
            return ""
    command = ["ps", "-ww", "-o", "args=", "-p", str(pid)]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()

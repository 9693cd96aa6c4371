"""The programs of one ``./dev up``: started in order, watched together, ended in reverse."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType, TracebackType
from typing import NamedTuple

from devenv.children import end, end_stray, spawn, strike
from devenv.database import Server
from devenv.errors import ChildDied
from devenv.settings import ROOT

_STRAY_SECONDS = 10
_ORDERLY = (None, 0, -signal.SIGTERM)  # None: a server of ours, which is gone
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(BaseException):
    """We were told to stop, by Ctrl-C or a signal. Not an error, and nobody's ``except Exception`` to catch."""


class Member(NamedTuple):
    """One program: ``process`` is None until it has been started, ``last_words`` is the end of its log."""

    name: str
    process: Callable[[], subprocess.Popen[bytes] | None]
    end: Callable[[], object]
    last_words: Callable[[], str]

    def exit_code(self) -> int | None:
        """How it ended; None before its start and while it runs."""
        process = self.process()
        return process.poll() if process else None


class Crew:
    """Starts programs that log into ``logs`` and notes their ids in ``notes``.

    As a context manager it turns the first signal into ``Stopped`` and, however it is left, ends everybody in
    reverse order. A second signal kills whoever is left.
    """

    def __init__(self, logs: Path, notes: Path) -> None:
        self.logs = logs
        self.notes = notes
        self._members: list[Member] = []
        self._stopping = False

    def __enter__(self) -> Crew:
        self.logs.mkdir(parents=True, exist_ok=True)
        self.notes.mkdir(parents=True, exist_ok=True)
        for signum in _SIGNALS:
            signal.signal(signum, self._told_to_stop)
        return self

    def start(
        self, name: str, command: Sequence[str], environment: Mapping[str, str], *, patience: float, quiet: bool = True
    ) -> None:
        """Start a program; ``quiet`` sends its output to its log file instead of the terminal."""
        log = self.logs / f"{name}.log"
        with log.open("wb") as output:
            process = spawn(command, environment=environment, output=output if quiet else None, cwd=ROOT)
        self._note(name).write_text(str(process.pid))
        self._members.append(Member(name, lambda: process, lambda: end(process, patience), lambda: _tail(log)))

    def start_server(self, server: Server) -> None:
        """Start a database server and take it along."""
        # first the member: a signal may come while it starts
        self._members.append(
            Member("database", lambda: server.process, server.stop, lambda: "\n".join(server.errors()[-5:]))
        )
        server.start()

    def finish(self, name: str, *, said: bool = False) -> None:
        """Wait until a program of a limited life has done its work, while watching the others.

        Raises ``ChildDied`` with its exit code; without words when it has ``said`` them itself.
        """
        member = next(member for member in self._members if member.name == name)
        while (code := member.exit_code()) is None:
            self.watch(but=name)
            time.sleep(0.05)
        self._members.remove(member)
        self._note(name).unlink(missing_ok=True)
        if code != 0:
            raise ChildDied("" if said else f"{name} failed:\n{member.last_words()}", code=_exit_code(code))

    def watch(self, but: str = "") -> None:
        """Raises ``ChildDied`` when somebody who should go on has ended."""
        for member in self._members:
            code = member.exit_code()
            if code is not None and member.name != but:
                how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
                said = f"{member.name} {how}, so everything is stopped; no row is lost. Its last words:"
                raise ChildDied(
                    f"{said}\n{member.last_words()}".rstrip(":\n"),
                    "  ./dev up      goes on where it was",
                    code=_exit_code(code),
                )

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._stopping = True
        for member in reversed(self._members):
            asked = kind is Stopped and member.exit_code() is None
            if asked:
                print(f"dev: stopping {member.name}", file=sys.stderr, flush=True)
            member.end()
            code = member.exit_code()
            if asked and code not in _ORDERLY:
                how = f"dev: {member.name} was to stop and ended with code {code}. Its last words:"
                print(f"{how}\n{member.last_words()}", file=sys.stderr, flush=True)
            self._note(member.name).unlink(missing_ok=True)

    def _told_to_stop(self, signum: int, frame: FrameType | None) -> None:
        if not self._stopping:
            self._stopping = True
            raise Stopped
        for member in self._members:
            process = member.process()
            if process:
                strike(process)  # no waiting here: what was interrupted may hold the process's lock

    def _note(self, name: str) -> Path:
        return self.notes / f"{name}.pid"


def end_strays(notes: Path, mark: str) -> list[str]:
    """End what an earlier, killed crew left behind, where Linux did not do it; the names of those that were."""
    return [note.stem for note in sorted(notes.glob("*.pid")) if end_stray(note, mark, _STRAY_SECONDS)]


def _exit_code(code: int) -> int:
    return code if code > 0 else 1


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-12:])

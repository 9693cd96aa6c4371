"""What the benches run on: private database servers, and contenders as programs of their own.

A program is told and answers in lines of JSON over its standard input and output, and ends when its input does.
"""

from __future__ import annotations

import json
import os
import queue
import shutil
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from devenv import settings
from devenv.database import Server, find_or_fetch
from devenv.errors import SetUpError, Unavailable
from devenv.installation import Flavour
from devenv.ports import free_port
from devenv.settings import ROOT
from devenv.venv import pip

BENCH = ROOT / "bench"
PEERS = BENCH / "peers"


class Program:
    """A contender, or the clients, as a process."""

    def __init__(self, command: Sequence[str], task: Mapping[str, Any], log: Path) -> None:
        self.name = Path(command[-1]).name
        self.log = log
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                list(command),
                cwd=ROOT,
                env=environment(task),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                process_group=0,
            )
        self._heard: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def ask(self, seconds: float, /, **order: Any) -> dict[str, Any]:
        """Tell it something and return its answer; raises ``RuntimeError`` when none comes within ``seconds``."""
        self.tell(**order)
        return self.hear(seconds)

    def tell(self, **order: Any) -> None:
        """Send a line."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        self._process.stdin.flush()

    def hear(self, seconds: float) -> dict[str, Any]:
        """Its next line."""
        try:
            line = self._heard.get(timeout=seconds)
        except queue.Empty:
            raise RuntimeError(f"{self.name} did not answer within {seconds:g} s, see {self.log.name}") from None
        if not line:
            raise RuntimeError(f"{self.name} ended, see {self.log.name}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _listen(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                self._heard.put(line)
        self._heard.put(b"")

    def close(self) -> None:
        """End it: its input first, then the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._listener.join()

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Stage:
    """Everything below one folder, which is emptied at the end except for what was measured.

    ``quick``: fewer rows, clients and rounds.
    """

    def __init__(self, dev_dir: Path, *, quick: bool) -> None:
        self.quick = quick
        self.home = dev_dir / "bench"
        self.folder = self.home / f"run-{os.getpid()}"
        self.log = self.home / "bench.log"
        self.versions: dict[str, str] = {}
        self._dev_dir = dev_dir
        self._servers: dict[Flavour, Server] = {}

    def __enter__(self) -> Stage:
        self.folder.mkdir(parents=True)
        self.log.write_bytes(b"")
        return self

    def __exit__(self, *_: object) -> None:
        for server in self._servers.values():
            server.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def server(self, flavour: Flavour) -> Server:
        """A database server of the run's own, durable as ``my.cnf`` has it. Raises ``SetUpError``."""
        if flavour not in self._servers:
            installation = find_or_fetch(self._dev_dir, flavour)
            server = Server(installation, self.folder / flavour)
            server.start()
            self._servers[flavour] = server
            self.versions[flavour] = installation.version().rpartition(" Ver ")[2].strip()
        return self._servers[flavour]

    def python(self, module: str, task: Mapping[str, Any]) -> Program:
        """Start a module of ours, such as ``bench.swarm``."""
        return Program([sys.executable, "-m", module], task, self.log)

    def peer(self, file: str, task: Mapping[str, Any] | None = None) -> Program:
        """Start a program of ``bench/peers/``. Raises ``Unavailable`` when what it needs cannot be had."""
        packages = {"packages": str(self.home / "python"), "port": free_port()}
        return Program(self.peer_command(file), packages | dict(task or {}), self.log)

    def peer_command(self, file: str) -> list[str]:
        """The command that runs a peer, installed first; Node looks for packages beside the program."""
        if not file.endswith(".mjs"):
            if file == "socketify_server.py":
                self._install_socketify()
            return [sys.executable, str(PEERS / file)]
        home = self.install_node_peers()
        return ["node", str(home / file)]

    def run(self, command: Sequence[str], task: Mapping[str, Any]) -> dict[str, Any]:
        """Run a program to its end; its last line, as JSON. Raises ``RuntimeError`` with its errors."""
        done = subprocess.run(
            list(command), cwd=ROOT, env=environment(task), capture_output=True, text=True, check=False, timeout=600
        )
        if done.returncode != 0:
            last = " ".join(done.stderr.strip().splitlines()[-3:])
            raise RuntimeError(f"{Path(command[-1]).name} ended with {done.returncode}: {last}")
        answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return answer

    def install_node_peers(self) -> Path:
        """The folder with the Node programs and their packages, in the versions of the lock."""
        if shutil.which("node") is None or shutil.which("npm") is None:
            raise Unavailable("node and npm are not installed", "  apt-get install nodejs npm")
        home = self.home / "peers"
        home.mkdir(exist_ok=True)
        for file in PEERS.glob("*.mjs"):
            shutil.copy(file, home)
        lock = (PEERS / "package-lock.json").read_bytes()
        marker = home / "installed.json"
        if not marker.exists() or marker.read_bytes() != lock:
            self._npm(home)
            marker.write_bytes(lock)
        self.versions["Node"] = subprocess.run(
            ["node", "--version"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        self.versions |= json.loads((PEERS / "package.json").read_text())["dependencies"]
        return home

    def _npm(self, home: Path) -> None:
        for name in ("package.json", "package-lock.json"):
            shutil.copy(PEERS / name, home)
        command = [
            "npm",
            "ci",
            "--ignore-scripts",
            "--no-audit",
            "--no-fund",
            "--cache",
            str(self._dev_dir / "cache/npm"),
        ]
        done = subprocess.run(command, cwd=home, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise Unavailable("npm could not install the peers: " + " ".join(done.stderr.split())[-200:])

    def _install_socketify(self) -> None:
        target = self.home / "python"
        if not (target / "socketify").exists():
            need = ["--no-deps", "--require-hashes", "--target", str(target), "-r", str(PEERS / "requirements.txt")]
            pip(settings.read(), Path(sys.prefix), *need)
        self.versions["socketify"] = (PEERS / "requirements.txt").read_text().partition("==")[2].split()[0]


def environment(task: Mapping[str, Any]) -> dict[str, str]:
    """For every program: what it shall do stands in one variable, where no process list shows a password."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ROWCAST_")}
    path = {"PYTHONPATH": task["packages"]} if "packages" in task else {}
    return kept | path | {"BENCH_TASK": json.dumps(task), "ROWCAST_CONFIG": os.devnull}


def reason(error: Exception) -> str:
    """Why something could not be measured, in one line."""
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:160] if isinstance(error, SetUpError | RuntimeError | OSError) else repr(error)[:160]


def peak_mib(pid: int | str = "self") -> float:
    """The most memory that a process has had so far, in MiB (proc(5), VmHWM)."""
    return _status(pid, "VmHWM")


def resident_mib(pid: int | str = "self") -> float:
    """The memory that a process has now, in MiB (proc(5), VmRSS)."""
    return _status(pid, "VmRSS")


def cpu_seconds(pid: int) -> float:
    """The CPU time that a process has used, its threads' included (proc(5), stat: utime and stime)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        raise Unavailable("CPU time is read from /proc, which this system has not") from None
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _status(pid: int | str, name: str) -> float:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except FileNotFoundError:
        raise Unavailable("memory is read from /proc, which this system has not") from None
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(name + ":"))

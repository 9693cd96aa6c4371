"""Programs run by Node, their output read line by line."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from collections.abc import Callable
from functools import cache
from types import TracebackType
from typing import Any, Self

DEADLINE = 20.0
HAS_WEBSOCKET = "process.exit(typeof WebSocket === 'function' ? 0 : 1)"


@cache
def node_command() -> tuple[str, ...] | str:
    """The command that runs Node with a global WebSocket, or the reason why there is none."""
    node = shutil.which("node")
    if node is None:
        return "no node on PATH"
    for flags in ((), ("--experimental-websocket",)):  # Node 22 and newer have it, Node 20 behind the flag
        if subprocess.run([node, *flags, "-e", HAS_WEBSOCKET], capture_output=True, check=False).returncode == 0:
            return (node, *flags)
    return "node is older than 20.10: it has no WebSocket"


class NodeProgram:
    """A running program that prints one JSON value per line and takes orders, one word per line."""

    def __init__(self, program: str, *arguments: str) -> None:
        command = node_command()
        assert isinstance(command, tuple), command
        self._command = [*command, program, *arguments]
        self._reader: asyncio.Task[None] | None = None
        self._said = asyncio.Condition()
        self.lines: list[Any] = []

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            async with self._said:
                self.lines.append(json.loads(line))
                self._said.notify_all()
        async with self._said:
            self.lines.append({"ended": await self._process.wait()})
            self._said.notify_all()

    async def until(self, reached: Callable[[list[Any]], bool]) -> list[Any]:
        """Wait until the lines so far satisfy `reached`, and return them."""
        try:
            async with asyncio.timeout(DEADLINE), self._said:
                await self._said.wait_for(lambda: reached(self.lines) or self._ended)
        except TimeoutError:
            raise AssertionError(f"not reached within {DEADLINE} s; heard: {self.lines}") from None
        assert reached(self.lines), f"the program has ended; heard: {self.lines}"
        return list(self.lines)

    @property
    def _ended(self) -> bool:
        return bool(self.lines) and "ended" in self.lines[-1]

    async def order(self, word: str) -> None:
        """Write a line to the program."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{word}\n".encode())
        await self._process.stdin.drain()

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            *self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        self._reader = asyncio.create_task(self._read())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._reader is not None
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
        await self._reader
        assert self._process.stdin is not None
        self._process.stdin.close()

"""The same bytes to many connections at once: one system call, where the kernel has one for it.

It saves a system call and the event loop's bookkeeping for each connection (docs/decisions/0028-one-system-call-for-a-
slice.md).
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from typing import Protocol

from gateway.group import SLICE
from gateway.subscription import Sink

log = logging.getLogger(__name__)

LEAST = 16  # sockets, below which the call is not worth its preparation


class Descriptors(Protocol):
    """Writes ``data`` to each; says how many bytes each took where any took less than all, None otherwise."""

    def write(self, data: bytes, descriptors: Sequence[int]) -> Sequence[int] | None:
        """Sockets that do not block; one that fails took none."""

    def close(self) -> None:
        """No more comes."""


class BatchWriter:
    """Sends to many connections at once whatever they can take, and leaves the rest to each one's own ``send``."""

    def __init__(self, sockets: Descriptors) -> None:
        self._sockets = sockets
        self._few = OneByOne()

    def send(self, sinks: Collection[Sink], data: bytes) -> None:
        """What ``sink.send(data)`` for each of ``sinks`` would do."""
        if len(sinks) < LEAST:
            self._few.send(sinks, data)
            return
        ready: list[Sink] = []
        descriptors: list[int] = []
        for sink in sinks:
            descriptor = sink.descriptor()
            if descriptor < 0:
                sink.send(data)
            else:
                ready.append(sink)
                descriptors.append(descriptor)
        rest = memoryview(data)  # for however many sinks: a copy of a large row for each would be all memory there is
        for start in range(0, len(ready), SLICE):
            taken = self._sockets.write(data, descriptors[start : start + SLICE])
            if taken is None:
                continue
            for sink, size in zip(ready[start : start + SLICE], taken, strict=True):
                if size < len(data):
                    sink.send(rest[size:])

    def close(self) -> None:
        """No more comes."""
        self._sockets.close()


class OneByOne:
    """The way everywhere else."""

    def send(self, sinks: Collection[Sink], data: bytes) -> None:
        """Send the same to each."""
        for sink in sinks:
            sink.send(data)

    def close(self) -> None:
        """Nothing is held."""


def best() -> BatchWriter | OneByOne:
    """How this machine sends to many."""
    try:
        from gateway.io_submit import Submission  # noqa: PLC0415 - some builds of Python have no ctypes

        return BatchWriter(Submission.tried())
    except (OSError, ImportError) as error:
        log.info("connections are written to one by one: %s", error)
        return OneByOne()

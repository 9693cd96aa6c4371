"""A context of Linux's io_submit(2), its native asynchronous I/O, for writing to many sockets by one system call.

For sockets nothing about it is asynchronous: each write is done within the call, as send(2) would do it, and its result
is there when the call returns. The interpreter's lock is free meanwhile.
"""

from __future__ import annotations

import ctypes
import os
import platform
import socket
import struct
import sys
from array import array
from collections.abc import Sequence
from contextlib import suppress
from itertools import accumulate

from gateway.group import SLICE

_SETUP, _DESTROY, _SUBMIT, _RESULTS = range(4)
_CALLS = {"x86_64": (206, 207, 209, 208), "aarch64": (0, 1, 2, 4)}  # their numbers, by machine
# A struct iocb is eight words. The third is what to do, and in its upper half the descriptor; then come where the bytes
# lie, and how many. A struct io_event is four: the first is the iocb's first, the third the result.
_IOCB, _EVENT = 8, 4
_WHICH, _WHAT, _WHERE, _SIZE = 0, 2, 3, 4
_RESULT = 2
_WRITE, _DESCRIPTOR = 1, 32  # IOCB_CMD_PWRITE, and so many bits up the descriptor
_WORD = 8
_TRIAL = b"whole"
_COPIED = 128 * 1024  # bytes in one call; one large row may be the piece of all


class Submission:
    """A context of io_submit(2) for at most ``most`` writes at a time. Raises OSError when there can be none."""

    def __init__(self, most: int = SLICE) -> None:
        calls = _CALLS.get(platform.machine())
        if calls is None or sys.platform != "linux" or struct.calcsize("P") != _WORD:
            raise OSError(f"io_submit is not known for {sys.platform} on {platform.machine()}")
        self._calls = calls
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._context = ctypes.c_ulong(0)
        self._blocks = array("Q", bytes(_WORD * _IOCB * most))
        self._events = array("q", bytes(_WORD * _EVENT * most))
        self._places = array("Q", [_address(self._blocks) + _WORD * _IOCB * i for i in range(most)])
        self._words = memoryview(self._blocks)
        self._order = list(range(most))
        self._words[_WHICH::_IOCB] = array("Q", self._order)
        self._answers = memoryview(self._events)
        self._call(_SETUP, most, ctypes.byref(self._context))

    @classmethod
    def tried(cls) -> Submission:
        """One that has shown that it does what it should; raises OSError, for there are kernels of many kinds."""
        made = cls()
        try:
            made._try()
        except BaseException:
            made.close()
            raise
        return made

    def _try(self) -> None:
        ours, other = socket.socketpair()
        with ours, other:
            ours.setblocking(False)
            if self.write(_TRIAL, [ours.fileno()]) is not None or other.recv(2 * len(_TRIAL)) != _TRIAL:
                raise OSError("io_submit did not write to a socket")
            with suppress(BlockingIOError):
                while True:
                    ours.send(bytes(1 << 16))
            if self.write(_TRIAL, [ours.fileno()]) != [0]:
                raise OSError("io_submit did not say that a socket was full")

    def write(self, data: bytes, descriptors: Sequence[int]) -> Sequence[int] | None:
        """See ``gateway.batch_write.Descriptors``. Behind an exception, or ``close``, no socket takes anything."""
        count = len(descriptors)
        return self._write(descriptors, array("Q", [_start(data)]) * count, array("Q", [len(data)]) * count)

    def write_each(self, pieces: Sequence[bytes], descriptors: Sequence[int]) -> Sequence[int] | None:
        """The same, with a piece for each."""
        sizes = array("Q", map(len, pieces))
        if sum(sizes) > _COPIED:
            return self._write(descriptors, array("Q", map(_start, pieces)), sizes)
        joined = b"".join(pieces)  # to ask for an address is dearer than to copy a small row
        starts = array("Q", accumulate(sizes, initial=_start(joined)))
        return self._write(descriptors, starts[:-1], sizes)

    def _write(self, descriptors: Sequence[int], starts: array[int], sizes: array[int]) -> Sequence[int] | None:
        count, end = len(descriptors), _IOCB * len(descriptors)
        if not self._context.value:
            return [0] * count
        self._words[_WHAT:end:_IOCB] = array("Q", [one << _DESCRIPTOR | _WRITE for one in descriptors])
        self._words[_WHERE:end:_IOCB] = starts
        self._words[_SIZE:end:_IOCB] = sizes
        try:
            refused = self._submit(count)
            self._collect(count - refused)
        except BaseException:
            self.close()  # results that were not collected would be taken for those of the next call
            raise
        done = count - refused
        which = self._answers[_WHICH : _EVENT * done : _EVENT].tolist()
        results = self._answers[_RESULT : _EVENT * done : _EVENT].tolist()
        if which == self._order[:count] and results == sizes.tolist():
            return None
        taken = [0] * count
        for place, result in zip(which, results, strict=True):
            taken[place] = max(0, result)
        return taken

    def _submit(self, count: int) -> int:
        """Have the first ``count`` blocks done; how many the kernel would not even begin, such as a closed one."""
        begun = refused = 0
        while begun < count:
            try:
                begun += self._call(_SUBMIT, self._context, count - begun, _address(self._places) + _WORD * begun)
            except OSError:
                begun += 1
                refused += 1
        return refused

    def _collect(self, count: int) -> None:
        """Wait for so many results, which are there already."""
        got = 0
        while got < count:
            place = _address(self._events) + _WORD * _EVENT * got
            with suppress(InterruptedError):
                got += self._call(_RESULTS, self._context, count - got, count - got, place, 0)

    def _call(self, which: int, *arguments: object) -> int:
        wide = [ctypes.c_long(one) if isinstance(one, int) else one for one in arguments]
        done: int = self._libc.syscall(ctypes.c_long(self._calls[which]), *wide)
        if done < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        return done

    def close(self) -> None:
        """Give it back to the kernel; doing it twice is harmless."""
        context, self._context = self._context, ctypes.c_ulong(0)
        if context.value:
            self._call(_DESTROY, context)


def _address(words: array[int]) -> int:
    return words.buffer_info()[0]


def _start(data: bytes) -> int:
    """Where it lies, for as long as it lives."""
    return ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p).value or 0

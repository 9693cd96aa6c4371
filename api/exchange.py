"""Statements over a connection that PyMySQL opened, waited for on the event loop instead of in a thread.

A thread would need the interpreter's lock after every call into the kernel. While the loop works through requests it
does not get it before its turn (``sys.getswitchinterval``, 5 ms): five waits of that kind for one group of rows.
Formats are those of "Client/Server Protocol" in MySQL's internals documentation; MariaDB's are the same.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress

import pymysql
from pymysql.connections import Connection
from pymysql.constants import CR
from pymysql.protocol import MysqlPacket, OKPacketWrapper

_HEAD = 4  # bytes before a packet's payload: its length, three of them, and its number
_LARGEST = (1 << 24) - 1  # bytes of payload; what is longer goes on in another packet
_QUERY = b"\x03"  # COM_QUERY
_QUIT = b"\x01\x00\x00\x00\x01"  # COM_QUIT as a whole packet


class Exchange:
    """One statement at a time. Whatever ends without the server's answer closes the connection: none can come late.

    ``timeout`` in seconds is for a statement and its answer. Between ``suspend`` and ``resume`` the connection is
    PyMySQL's own again, for use in a thread.
    """

    def __init__(self, connection: Connection, timeout: float) -> None:
        self.connection = connection
        self._timeout = timeout
        self._socket: socket.socket = connection._sock  # type: ignore[attr-defined]  # noqa: SLF001 - no other way to it

    @property
    def open(self) -> bool:
        """Whether a statement can be sent."""
        return bool(self.connection.open)

    def resume(self) -> None:
        """From here on nothing blocks."""
        self._socket.setblocking(False)

    def suspend(self) -> None:
        """From here on everything blocks, for ``timeout`` seconds at most."""
        self._socket.settimeout(self._timeout)

    async def ask(self, statement: bytes) -> OKPacketWrapper:
        """What the server says to a statement that gives no rows.

        Raises the ``pymysql.Error`` that it reports, or error 2013 for a connection that is lost: caused by a
        ``TimeoutError`` if the time was up.
        """
        try:
            async with asyncio.timeout(self._timeout):
                number = await self._send(_QUERY + statement)
                packet = _answer(await self._receive(number))
        except OSError as error:
            self.close()
            raise pymysql.OperationalError(CR.CR_SERVER_LOST, f"the connection was lost: {error!r}") from error
        except BaseException:
            self.close()
            raise
        if packet.is_error_packet():
            packet.raise_for_error()
        return OKPacketWrapper(packet)

    def leave(self) -> None:
        """Close an idle connection, with a word to the server as far as that does not block."""
        if self.open:
            with suppress(OSError):
                self._socket.send(_QUIT)
        self.close()

    def close(self) -> None:
        """Close the connection, without a word: in the middle of a statement, any would be taken for a part of it.

        Nothing blocks, and doing it twice is harmless.
        """
        # close() would wait for room to say good-bye
        self.connection._force_close()  # type: ignore[attr-defined]  # noqa: SLF001 - not in the stubs either

    async def _send(self, payload: bytes) -> int:
        """Send it in packets; the number that the answer will have."""
        number = 0
        for start in range(0, len(payload) + 1, _LARGEST):
            part = payload[start : start + _LARGEST]
            await self._write(len(part).to_bytes(3, "little") + bytes([number % 256]) + part)
            number += 1
        return number % 256

    async def _write(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            try:
                left = left[self._socket.send(left) :]
            except (BlockingIOError, ssl.SSLWantWriteError):
                await self._until_writable()
            except ssl.SSLWantReadError:
                await self._until_readable()

    async def _receive(self, number: int) -> bytes:
        """The payload of the one packet that is due; raises ``OSError`` for anything else."""
        data = bytearray()
        while (missing := _missing(data)) > 0:
            await self._until_readable()
            try:
                part = self._socket.recv(65536)
            except (BlockingIOError, ssl.SSLWantReadError):
                continue
            except ssl.SSLWantWriteError:
                await self._until_writable()
                continue
            if not part:
                raise ConnectionResetError("closed by the server")
            data += part
        if missing < 0 or data[_HEAD - 1] != number:  # the last words of a server that ends have the number 0
            raise ConnectionError("not the answer to what was sent")
        return bytes(data[_HEAD:])

    async def _until_readable(self) -> None:
        loop = asyncio.get_running_loop()
        await _called(loop.add_reader, loop.remove_reader, self._socket)

    async def _until_writable(self) -> None:
        loop = asyncio.get_running_loop()
        await _called(loop.add_writer, loop.remove_writer, self._socket)


def _answer(payload: bytes) -> MysqlPacket:
    """What a server says to a statement without rows: done, or an error. Raises ``OSError`` for anything else."""
    packet = MysqlPacket(payload, "utf8")
    if payload and (packet.is_error_packet() or packet.is_ok_packet()):
        return packet
    raise ConnectionError("neither done nor an error")


def _missing(data: bytearray) -> int:
    """How many bytes of a packet have not come; below 0 if there are more than it has."""
    if len(data) < _HEAD:
        return _HEAD - len(data)
    return _HEAD + int.from_bytes(data[:3], "little") - len(data)


async def _called(add: Callable[..., object], remove: Callable[[socket.socket], object], sock: socket.socket) -> None:
    """Wait until the loop says that the socket is ready."""
    ready = asyncio.get_running_loop().create_future()
    add(sock, _wake, ready)
    try:
        await ready
    finally:
        remove(sock)


def _wake(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)

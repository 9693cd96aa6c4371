"""The one file that knows the binlog library: it connects, authenticates, registers and asks for the dump.

Events are read from its socket, not through its iterator: that one reconnects by itself, in GTID mode from the set it
began with and in file mode from inside a transaction, and dies of column types that we do not even capture. Here a
lost connection is an error, StreamLost, and the next reader starts from the checkpoint. The private names this touches
are the ones in this file; a test pins them to the library's version.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from typing import Any

import pymysql
from pymysqlreplication import BinLogStreamReader

from cdc.control import CONNECT_TIMEOUT, ConnectArgs, translate
from cdc.errors import MalformedEvent, PositionLost, SourceError, SourceRefused, StreamLost, Superseded
from cdc.framing import PacketCutter, Packets
from cdc.position import Flavour, Position

_READ_SIZE = 256 * 1024
_OK, _EOF, _ERROR = 0x00, 0xFE, 0xFF
_FATAL_READING_LOG, _SAME_ID = 1236, 4052
# Words of error 1236 that say that the position is not in the log; its others say that the log cannot be read.
_NOT_THERE = {
    "purged": "purged",
    "could not find first log": "purged",
    "not in the master's binlog": "reset",
    "more gtids than": "reset",
    "position > file size": "reset",
    "impossible position": "reset",
}
_TOO_LARGE = "SET GLOBAL max_allowed_packet = 1073741824; then restart rowcast"
_DAMAGED = "the log may be damaged: compare with mariadb-binlog or mysqlbinlog --verify-binlog-checksum"


class BinlogSource:
    """One connection to one server's log: opened once, read until it fails, closed.

    ``heartbeat`` in seconds: a server with nothing to say says so that often, and silence for twice as long is a lost
    connection.
    """

    def __init__(self, connect: ConnectArgs, server_id: int, *, heartbeat: float = 5.0) -> None:
        self._connect = connect
        self._server_id = server_id
        self._heartbeat = heartbeat
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._connection: Any = None
        self._aborted = False

    def open(self, start: Position, flavour: Flavour) -> None:
        """Ask for the log from ``start`` on, which must be a transaction boundary."""
        reader = BinLogStreamReader(**self._reader_options(start, flavour))
        try:
            reader._BinLogStreamReader__connect_to_stream()  # noqa: SLF001 - see the module's docstring
        except pymysql.MySQLError as error:
            raise translate(error) from None
        except OSError as error:
            raise StreamLost(f"cannot reach the server: {error}") from None
        connection = reader._stream_connection  # noqa: SLF001
        self._connection = connection
        sock: socket.socket = connection._sock  # noqa: SLF001
        sock.settimeout(2 * self._heartbeat)
        with self._lock:
            self._socket = sock
        if self._aborted:
            self.abort()

    def _reader_options(self, start: Position, flavour: Flavour) -> dict[str, Any]:
        settings = {
            **self._connect,
            "connect_timeout": CONNECT_TIMEOUT,
            "read_timeout": 4 * self._heartbeat,
            # The library asks for checksums only when they are on now; older files that have them would be refused.
            "init_command": "SET @master_binlog_checksum = 'CRC32'",
        }
        options: dict[str, Any] = {
            "connection_settings": settings,
            "server_id": self._server_id,
            "blocking": True,
            "resume_stream": True,
            "slave_heartbeat": self._heartbeat,
            "report_slave": "rowcast",
            "enable_logging": False,  # it would log the connection settings, password included
            "pymysql_wrapper": _OneConnection(),
        }
        if start.by_file(flavour):
            # With is_mariadb the library would ignore file and offset and begin at the oldest log.
            return options | {"log_file": start.file, "log_pos": start.offset, "is_mariadb": False}
        return options | {"auto_position": start.gtid, "is_mariadb": flavour == "mariadb"}

    def events(self) -> Iterator[bytes]:
        """The events as they come, for ever; ends only by raising a SourceError."""
        for packets in self.reads():
            yield from packets.events()

    def reads(self) -> Iterator[Packets]:
        """The same, those of one read together."""
        cutter = PacketCutter(self._connection._next_seq_id)  # noqa: SLF001
        buffer = memoryview(bytearray(_READ_SIZE))
        while True:
            size = self._receive(buffer)
            for packets in cutter.feed(buffer[:size]):
                yield packets
                if packets.farewell is not None:
                    raise _ending(packets.farewell)

    def _receive(self, buffer: memoryview) -> int:
        sock = self._socket
        if sock is None:
            raise StreamLost("the source was closed")
        try:
            size = sock.recv_into(buffer)
        except TimeoutError:
            raise StreamLost(f"no event and no heartbeat for {2 * self._heartbeat:g} s") from None
        except (OSError, ValueError) as error:
            raise StreamLost(f"the connection broke: {error}") from None
        if size == 0:
            raise StreamLost("the server closed the connection")
        return size

    def abort(self) -> None:
        """End a blocked ``events`` from another thread. Closing the library's reader would deadlock instead."""
        self._aborted = True
        with self._lock:
            if self._socket is not None:
                try:
                    self._socket.shutdown(socket.SHUT_RDWR)
                except OSError:
                    return  # already gone

    def close(self) -> None:
        """Free the connection; for the thread that reads."""
        with self._lock:
            self._socket = None
            if self._connection is not None:
                self._connection._force_close()  # noqa: SLF001 - close() would wait for an answer in mid-stream


class _OneConnection:
    """What the library calls to connect: once. A second call would be its reconnect, which must never happen."""

    def __init__(self) -> None:
        self._used = False

    def __call__(self, **settings: Any) -> Any:
        if self._used:
            raise StreamLost("the binlog library tried to reconnect by itself")
        self._used = True
        return pymysql.connect(**settings)


def _ending(packet: bytes) -> SourceError:
    """Why the server ends the stream. In blocking mode its end is never an end of data."""
    if packet[0] == _EOF:
        return StreamLost("the server ended the stream")
    if not packet or packet[0] == _OK:
        return MalformedEvent(f"a packet of {len(packet)} bytes is too short for an event")
    if packet[0] != _ERROR:
        return StreamLost(f"the server sent a packet that begins with {packet[0]:#04x}")
    code = int.from_bytes(packet[1:3], "little")
    text = packet[3:].decode("utf-8", "replace")
    if text.startswith("#"):
        text = text[6:]
    return _from_server(code, text)


def _from_server(code: int, text: str) -> SourceError:
    if code == _SAME_ID or "same server_uuid" in text or "same server_id" in text:
        return Superseded(text, "give each reader its own mysql.server_id")
    if code == _FATAL_READING_LOG:
        reason = next((reason for words, reason in _NOT_THERE.items() if words in text.lower()), None)
        if reason is not None:
            return PositionLost(text, reason)
        return MalformedEvent(text, _TOO_LARGE if "max_allowed_packet" in text else _DAMAGED)
    if code in (1227, 1045, 1142):
        return SourceRefused(text, "GRANT REPLICATION SLAVE ON *.* to the account of mysql.url")
    return StreamLost(f"{code}: {text}")

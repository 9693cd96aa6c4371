"""Writers that play the legacy processes: plain SQL, transactions of many sizes, some rolled back.

Every row says who wrote it, in which transaction and as which of that writer's rows, so that a verdict needs nothing
but the rows that arrived and the table.
"""

from __future__ import annotations

import contextlib
import json
import random
import threading
import time
import zlib
from collections.abc import Callable
from typing import Any

import pymysql
from pymysql.cursors import Cursor

INSERT = "INSERT INTO cctv_detection_results (cctv_id, data, timestamp, snapshoot_url) VALUES "
ROLLED_BACK = 0.1  # of the transactions
SINGLE = 0.5  # of the transactions have one row
LARGEST = 20  # rows of a transaction


class Writer(threading.Thread):
    """Inserts about ``rows`` rows as camera ``number``, however often it must reconnect. ``seed`` fixes the shape.

    ``rate`` is about how many rows it sends in a second; None: as fast as it goes.
    """

    def __init__(
        self,
        connect: Callable[[], pymysql.Connection[Any]],
        number: int,
        rows: float,
        seed: int = 1,
        *,
        rate: float | None = None,
    ) -> None:
        super().__init__(name=f"writer-{number}", daemon=True)
        self._connect = connect
        self._number = number
        self._rows = rows
        self._rate = rate
        self._random = random.Random(f"{seed}/{number}")
        self._halt = threading.Event()
        self.between_transactions = threading.Lock()  # whoever holds it knows that none is under way
        self.written = 0  # rows sent, committed or not
        self.error: BaseException | None = None

    def run(self) -> None:
        """Write until all rows were sent or ``stop`` is called."""
        try:
            while self.written < self._rows and not self._halt.is_set():
                with contextlib.suppress(pymysql.OperationalError, pymysql.InterfaceError, OSError):
                    self._session()
                    continue
                time.sleep(0.05)  # the server is away
        except BaseException as error:
            self.error = error
            raise

    def stop(self) -> None:
        """Let the running transaction end, then stop."""
        self._halt.set()
        self.join()

    def _session(self) -> None:
        with contextlib.closing(self._connect()) as connection, connection.cursor() as cursor:
            while self.written < self._rows and not self._halt.is_set():
                begun = self.written
                with self.between_transactions:
                    self._transaction(connection, cursor)
                if self._rate is not None:
                    self._halt.wait((self.written - begun) / self._rate)

    def _transaction(self, connection: pymysql.Connection[Any], cursor: Cursor) -> None:
        size = 1 if self._random.random() < SINGLE else self._random.randint(2, LARGEST)
        transaction = self.written
        for _ in range(self._random.choice((1, 1, 2))):
            cursor.execute(INSERT + ", ".join(self._row(transaction) for _ in range(size)))
        if self._random.random() < ROLLED_BACK:
            connection.rollback()
        else:
            connection.commit()

    def _row(self, transaction: int) -> str:
        self.written += 1
        return row(self._number, transaction, self.written - 1)


def row(writer: int, transaction: int, seq: int) -> str:
    """The values of one row, as ``INSERT`` takes them."""
    data = {"writer": writer, "transaction": transaction, "seq": seq}
    data["hash"] = zlib.crc32(json.dumps(data).encode())
    return f"({writer}, '{json.dumps(data)}', NOW(3), NULL)"

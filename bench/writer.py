"""Writes rows at a steady rate, by SQL or by POST, each with the time at which it was written.

An order is ``{"rate": 100, "seconds": 5}``, and with ``"post": "host:port"`` the rows go there. It ends early when
another line comes; the answer says how many rows were written.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import select
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pymysql

from bench.detections import SCHEMA, TABLE, stamped

_AT_ONCE = 8  # a slow answer does not slow the rate
_CHANCE = random.Random(7)  # noqa: S311 - made-up rows


def main() -> None:
    """Write as told until the orders end."""
    task = json.loads(os.environ["BENCH_TASK"])
    mine = threading.local()
    for line in sys.stdin:
        order = json.loads(line)
        if "rate" not in order:
            continue
        write = poster(mine, order["post"]) if order.get("post") else inserter(mine, task)
        print(json.dumps({"rows": paced(write, order["rate"], order["seconds"])}), flush=True)


def paced(write: Callable[[], None], rate: float, seconds: float) -> int:
    """Write at ``rate``, whatever the answers take; how many rows there are in the end. Raises what writing raised."""
    pending: list[Future[None]] = []
    began = time.monotonic()
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for number in range(int(rate * seconds)):
            wait = began + number / rate - time.monotonic()
            if select.select([0], [], [], max(0.0, wait))[0]:
                break
            pending.append(pool.submit(write))
    for one in pending:
        one.result()
    return len(pending)


def inserter(mine: threading.local, task: dict[str, Any]) -> Callable[[], None]:
    """One committed row at a time, over a connection for each thread."""

    def write() -> None:
        if not hasattr(mine, "session"):
            address = {name: task[name] for name in ("host", "port", "user", "password")}
            mine.session = pymysql.connect(**address, database=SCHEMA, autocommit=True, ssl_disabled=True)
        mine.session.query(f"INSERT INTO {TABLE} (cctv_id, data) VALUES (17, '{stamped(_CHANCE)}')")  # noqa: S608 - ours

    return write


def poster(mine: threading.local, address: str) -> Callable[[], None]:
    """One result at a time, over a connection for each thread."""

    def write() -> None:
        if getattr(mine, "address", None) != address:
            mine.address, mine.http = address, http.client.HTTPConnection(address, timeout=30)
        body = f'{{"account":"shop","data":{stamped(_CHANCE)},"url":"https://example.org/item/1"}}'
        mine.http.request("POST", "/api/scraped-result", body, {"Content-Type": "application/json"})
        answer = mine.http.getresponse()
        answer.read()
        if answer.status != 201:
            raise RuntimeError(f"a POST was answered with {answer.status}")

    return write


if __name__ == "__main__":
    main()

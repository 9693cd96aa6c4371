"""Detections as cameras write them: the rows that every bench moves."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from typing import Any

import pymysql
from pymysql.constants import CLIENT

from devenv.database import Server
from devenv.settings import ROOT

SCHEMA, TABLE = "bench", "cctv_detection_results"
_INSERT = f"INSERT INTO {TABLE} (cctv_id, data, `timestamp`, snapshoot_url) VALUES "  # noqa: S608 - our own names
_LABELS = ("car", "person", "truck", "bicycle", "dog")
_PACKET = 500  # statements sent at a time


def connect(server: Server, **options: Any) -> pymysql.Connection[Any]:
    """A session in the bench's database, in autocommit mode."""
    return pymysql.connect(
        host="127.0.0.1",
        port=server.port,
        user="root",
        password=server.root_password,
        database=SCHEMA,
        charset="utf8mb4",
        ssl_disabled=True,
        autocommit=True,
        **options,
    )


def make_tables(server: Server) -> None:
    """The product's own tables in the bench's database, empty."""
    server.sql(f"DROP DATABASE IF EXISTS {SCHEMA}; CREATE DATABASE {SCHEMA}")
    server.sql((ROOT / "sql" / "001_tables.sql").read_text(), SCHEMA)


def insert(server: Server, rows: int, each: int) -> None:
    """Write ``rows`` rows in transactions of ``each``, without waiting for the disk: the log is the same."""
    server.sql("SET GLOBAL sync_binlog = 0; SET GLOBAL innodb_flush_log_at_trx_commit = 0")
    values = detections()
    with connect(server, client_flag=CLIENT.MULTI_STATEMENTS) as connection, connection.cursor() as cursor:
        statements = [_INSERT + ",".join(next(values) for _ in range(each)) for _ in range(rows // each)]
        size = max(1, _PACKET // each)
        for first in range(0, len(statements), size):
            cursor.execute(";".join(statements[first : first + size]))
            while cursor.nextset():
                pass
    server.sql("SET GLOBAL sync_binlog = 1; SET GLOBAL innodb_flush_log_at_trx_commit = 1")


def detections() -> Iterator[str]:
    """Rows as SQL, for ever the same."""
    chance = random.Random(7)  # noqa: S311 - made-up rows are no secret
    while True:
        cctv, millisecond = chance.randrange(1, 200), chance.randrange(1000)
        yield (
            f"({cctv},'{document(chance)}','2026-11-23 08:19:33.{millisecond:03}',"
            f"'https://cdn.example/{cctv}/2026-11-23/{chance.randrange(10**9)}.jpg')"
        )


def document(chance: random.Random) -> str:
    """One detection as JSON text."""
    box = ",".join(str(chance.randrange(1920)) for _ in range(4))
    return f'{{"label":"{chance.choice(_LABELS)}","confidence":{chance.random():.4f},"box":[{box}]}}'


def stamped(chance: random.Random) -> str:
    """A detection that says when it was written, on the clock that all processes of one machine share."""
    return f'{{"t":{time.monotonic_ns()},' + document(chance)[1:]

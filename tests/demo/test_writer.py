from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pymysql
import pytest

from demo.frames import frame_of
from demo.scene import Detection
from demo.writer import BadUrl, Database, Writer, values_of
from devenv.database import Server

TABLES = Path(__file__).resolve().parents[2] / "sql" / "001_tables.sql"
SEEN = Detection(3, "person", 0.91, (10, 100, 50, 120), 17)


def test_url() -> None:
    """The parts of an address, percent-decoded; the port is MySQL's by default, the password never shown."""
    database = Database.parse("mysql://legacy:p%40ss@db.example/cams")
    assert database == Database("db.example", 3306, "legacy", "p@ss", "cams")
    assert str(database) == "cams on db.example:3306"


@pytest.mark.parametrize(
    "url",
    ["", "cams", "postgres://u:secret@h/d", "mysql://h/d", "mysql://u:secret@h", "mysql://u:secret@h:99999/d", "mysql://u:secret@h/d/e"],
)  # fmt: skip
def test_bad_url(url: str) -> None:
    """Anything else is refused without repeating its password."""
    with pytest.raises(BadUrl) as caught:
        Database.parse(url)
    assert "secret" not in str(caught.value)


def test_row() -> None:
    """A row says that it is a demo's, is in UTC, and its picture's address tells the whole detection."""
    now = datetime(2026, 11, 23, 8, 19, 33, 120_999, tzinfo=UTC)
    camera, data, at, picture = values_of(SEEN, now, "http://127.0.0.1:8001/snapshot.svg")
    assert (camera, at) == (3, "2026-11-23 08:19:33.120")
    assert json.loads(data) == {
        "label": "person",
        "confidence": 0.91,
        "box": [10, 100, 50, 120],
        "track": 17,
        "demo": True,
    }
    frame = frame_of(dict(parse_qsl(urlsplit(picture).query)))
    assert (frame.camera, frame.box, frame.at) == (3, SEEN.box, "2026-11-23T08:19:33.120")


@pytest.fixture
def server(make_server: Callable[..., Server]) -> Server:
    """A MariaDB of the test's own with the project's tables in the database `cams`."""
    server = make_server()
    server.sql("CREATE DATABASE cams")
    with connected(server) as connection, connection.cursor() as cursor:
        for statement in TABLES.read_text().split(";\n"):
            if "CREATE TABLE" in statement:
                cursor.execute(statement)
        cursor.execute("CREATE USER legacy_camera@'%' IDENTIFIED BY 'demo'")
        cursor.execute("GRANT INSERT ON cams.cctv_detection_results TO legacy_camera@'%'")
    return server


@contextmanager
def connected(server: Server) -> Iterator[Any]:
    """A connection of the administrator's."""
    root = urlsplit(server.root_url)
    connection = pymysql.connect(
        host=root.hostname, port=root.port or 0, user=root.username, password=root.password or "", database="cams"
    )
    try:
        yield connection
    finally:
        connection.close()


def rows(server: Server) -> list[dict[str, Any]]:
    """All detections in the table, oldest first."""
    with connected(server) as connection, connection.cursor(pymysql.cursors.DictCursor) as cursor:
        cursor.execute("SELECT * FROM cctv_detection_results ORDER BY id")
        return list(cursor.fetchall())


def until(condition: Callable[[], object], seconds: float = 30.0) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "not reached in time"
        time.sleep(0.02)


@contextmanager
def writing(server: Server, said: list[str]) -> Iterator[Writer]:
    """A writer at work, with the account that may only INSERT."""
    database = Database.parse(server.url("legacy_camera", "demo", "cams"))
    writer = Writer(database, "http://127.0.0.1:8001/snapshot.svg", Random(1), said.append)
    stop = threading.Event()
    thread = threading.Thread(target=writer.run, args=(stop,))
    thread.start()
    try:
        yield writer
    finally:
        stop.set()
        thread.join(timeout=10)
        assert not thread.is_alive()


def test_rows_are_committed_one_by_one(server: Server) -> None:
    """Detections appear in the table with an account that may do nothing but INSERT, each as soon as it is seen."""
    said: list[str] = []
    with writing(server, said) as writer:
        until(lambda: writer.written >= 3)
        assert len(rows(server)) >= 3
    found = rows(server)
    assert len(found) == writer.written
    assert all(json.loads(row["data"])["demo"] is True for row in found)
    assert all(abs((datetime.now(UTC).replace(tzinfo=None) - row["timestamp"]).total_seconds()) < 120 for row in found)
    assert said == []


def test_database_goes_away_and_comes_back(server: Server) -> None:
    """The writer says once that it cannot write, and goes on by itself when the database is back."""
    said: list[str] = []
    with writing(server, said) as writer:
        until(lambda: writer.written >= 2)
        server.kill()
        until(lambda: said)
        server.start()
        before = writer.written
        until(lambda: writer.written >= before + 2)
        assert len(rows(server)) >= before + 1
    assert said[-1] == "writing again"
    assert len(said) == len(set(said))
    assert not any("demo:demo" in line or "'demo'" in line for line in said)

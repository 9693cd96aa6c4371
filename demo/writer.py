"""Writes detections the way the legacy process does: plain INSERTs, each its own transaction, whatever else happens."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from random import Random
from typing import NamedTuple, Self
from urllib.parse import unquote, urlsplit

import pymysql

from demo.frames import query_of
from demo.scene import Detection, Scene

INSERT = "INSERT INTO cctv_detection_results (cctv_id, data, timestamp, snapshoot_url) VALUES (%s, %s, %s, %s)"
STEP = 0.1  # seconds between two looks at the scene
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 10.0  # seconds between two attempts to connect


class BadUrl(ValueError):
    """The database's address cannot be understood; the text says why, without the address and its password."""


class Database(NamedTuple):
    """Where the rows go."""

    host: str
    port: int
    user: str
    password: str
    name: str

    @classmethod
    def parse(cls, url: str) -> Self:
        """From ``mysql://user:password@host:port/database``; raises ``BadUrl``."""
        parts = urlsplit(url)
        name = unquote(parts.path.removeprefix("/"))
        if parts.scheme != "mysql" or not parts.hostname or not parts.username or not name or "/" in name:
            raise BadUrl("expected mysql://user:password@host:port/database")
        try:
            port = parts.port or 3306
        except ValueError:
            raise BadUrl("the port is not a number between 0 and 65535") from None
        return cls(parts.hostname, port, unquote(parts.username), unquote(parts.password or ""), name)

    def __str__(self) -> str:
        """Without the password."""
        return f"{self.name} on {self.host}:{self.port}"


def values_of(detection: Detection, now: datetime, pictures_url: str) -> tuple[int, str, str, str]:
    """The row of one detection: camera, data, time in UTC, address of its picture. It says that it is a demo's."""
    at = now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3]
    data = {
        "label": detection.label,
        "confidence": detection.confidence,
        "box": detection.box,
        "track": detection.track,
        "demo": True,
    }
    return detection.camera, json.dumps(data), at.replace("T", " "), f"{pictures_url}?{query_of(detection, at)}"


class Writer:
    """Connects, writes as time passes, and connects again with growing pauses when the database goes away.

    What happens before the cameras meanwhile is not written: they have no memory.
    """

    def __init__(self, database: Database, pictures_url: str, random: Random, say: Callable[[str], None]) -> None:
        self._database = database
        self._pictures_url = pictures_url
        self._random = random
        self._scene = Scene(random)
        self._say = say
        self._trouble = ""
        self.written = 0

    def run(self, stop: threading.Event) -> None:
        """Write until ``stop`` is set."""
        pause = FIRST_PAUSE
        while not stop.is_set():
            before = self.written
            try:
                self._write(stop)
            except (pymysql.MySQLError, OSError) as error:
                self._complain(str(error.args[-1] if error.args else error))
                pause = FIRST_PAUSE if self.written > before else min(2 * pause, LONGEST_PAUSE)
                stop.wait(pause * self._random.uniform(0.5, 1.0))

    def _complain(self, trouble: str) -> None:
        """Once per kind of trouble, however often it comes."""
        if trouble != self._trouble:
            self._say(f"cannot write to {self._database}: {trouble}; trying again")
        self._trouble = trouble

    def _wrote(self) -> None:
        self.written += 1
        if self._trouble:
            self._say("writing again")
        self._trouble = ""

    def _write(self, stop: threading.Event) -> None:
        """Insert on one connection until it breaks or ``stop`` is set."""
        connection = pymysql.connect(
            host=self._database.host,
            port=self._database.port,
            user=self._database.user,
            password=self._database.password,
            database=self._database.name,
            autocommit=True,
            connect_timeout=5,
            read_timeout=10,
            write_timeout=10,
        )
        try:
            then = time.monotonic()
            while not stop.wait(STEP):
                now = time.monotonic()
                for detection in self._scene.advance(min(now - then, 1.0)):
                    row = values_of(detection, datetime.now(UTC), self._pictures_url)
                    with connection.cursor() as cursor:
                        cursor.execute(INSERT, row)
                    self._wrote()
                then = now
        finally:
            connection.close()

"""``python -m demo``: made-up camera traffic until SIGTERM or SIGINT.

ROWCAST_DEMO_MYSQL_URL  where to write, mysql://user:password@host:port/database
ROWCAST_DEMO_PORT       port of the pictures on 127.0.0.1, default 8001

Exit codes: 0 told to stop, 1 internal, 69 the port is taken, 78 configuration.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Mapping
from random import Random

from demo.pictures import HOST, Pictures
from demo.scene import CAMERAS
from demo.writer import BadUrl, Database, Writer

UNAVAILABLE, MISCONFIGURED = 69, 78  # sysexits.h
DEFAULT_PORT = "8001"


def say(text: str) -> None:
    """One line for the terminal."""
    print(f"demo: {text}", flush=True)


def main(environment: Mapping[str, str]) -> int:
    """Run until told to stop; the exit code."""
    port = environment.get("ROWCAST_DEMO_PORT", DEFAULT_PORT)
    if not (port.isascii() and port.isdecimal() and int(port) < 65536):
        say(f"ROWCAST_DEMO_PORT: expected a port number, got {port!r}")
        return MISCONFIGURED
    try:
        database = Database.parse(environment.get("ROWCAST_DEMO_MYSQL_URL", ""))
    except BadUrl as error:
        say(f"ROWCAST_DEMO_MYSQL_URL: {error}")
        return MISCONFIGURED
    try:
        pictures = Pictures(int(port))
    except OSError as error:
        say(f"cannot listen on {HOST}:{port}: {error.strerror}; set ROWCAST_DEMO_PORT to a free port")
        return UNAVAILABLE
    with pictures:
        return _write(database, pictures.url)


def _write(database: Database, pictures_url: str) -> int:
    stop = threading.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: stop.set())
    say(f"demo traffic, not real: detections of {len(CAMERAS)} made-up cameras go into {database}; {pictures_url}")
    writer = Writer(database, pictures_url, Random(), say)
    failed = threading.Event()

    def write() -> None:
        try:
            writer.run(stop)
        except BaseException:
            failed.set()
            stop.set()
            raise  # the interpreter prints it

    # A daemon: a database that does not answer must not hold up the end.
    thread = threading.Thread(target=write, name="writer", daemon=True)
    thread.start()
    stop.wait()
    thread.join(timeout=0.5)
    return 1 if failed.is_set() else 0


if __name__ == "__main__":
    sys.exit(main(os.environ))

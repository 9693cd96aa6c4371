"""The order in which the server itself says that rows were committed, by a decoder that shares no code with ours.

``mariadb-binlog -v`` prints every row of the log as a comment::

    START TRANSACTION
    ### INSERT INTO `rowcast`.`cctv_detection_results`
    ### SET
    ###   @1=41
    ###   @2=3
    COMMIT/*!*/;
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable, Iterator

from devenv.database import Server
from tests.faults.product import Product
from tests.faults.recorder import Seen

TABLE = "cctv_detection_results"
_FIRST_COLUMN = re.compile(r"###   @1=(\d+)")


def committed_ids(product: Product) -> list[int]:
    """The ids of every row that the log says was inserted, in the log's order."""
    server = product.server
    program = server.installation.program("mariadb-binlog", "mysqlbinlog")
    assert program is not None, "the installation has no mariadb-binlog"
    options = ["--no-defaults", "--verbose", "--base64-output=DECODE-ROWS"]
    if server.installation.flavour == "mariadb":  # MySQL's says at length that it does not filter GTIDs
        options.append(f"--database={product.database}")
    command = server.installation.command(program, *options, *(str(server.datadir / file) for file in files(server)))
    environment = server.installation.environment()
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True, errors="replace") as process:
        assert process.stdout is not None
        ids = list(inserted(process.stdout, f"### INSERT INTO `{product.database}`.`{TABLE}`"))
    assert process.returncode == 0, f"{program.name} ended with {process.returncode}"
    return ids


def inserted(lines: Iterable[str], insert: str) -> Iterator[int]:
    """The first columns of the rows under the heading ``insert``, of committed transactions only.

    A server that was killed may leave half a transaction at the end of a file; it rolled that back.
    """
    pending: list[int] = []
    ours = False
    for line in lines:
        if line.startswith(("START TRANSACTION", "BEGIN", "ROLLBACK")):
            pending.clear()
        elif line.startswith("COMMIT"):
            yield from pending
            pending.clear()
        elif line.startswith("### INSERT INTO"):
            ours = line.rstrip() == insert
        elif ours and (match := _FIRST_COLUMN.match(line)):
            pending.append(int(match[1]))
            ours = False


def in_commit_order(product: Product, *recordings: list[Seen]) -> None:
    """Every recording has the rows of the log, each once, in exactly the log's order."""
    logged = committed_ids(product)
    for seen in recordings:
        recorded = [event.message["id"] for event in seen]
        if recorded != logged:
            place = next((i for i, pair in enumerate(zip(recorded, logged, strict=False)) if pair[0] != pair[1]), None)
            raise AssertionError(f"{len(recorded)} rows recorded, {len(logged)} in the log, first difference: {place}")


def files(server: Server) -> list[str]:
    """The names of the log's files, oldest first."""
    return [line.split("\t")[0] for line in server.sql("SHOW BINARY LOGS").splitlines()]

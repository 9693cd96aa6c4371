"""python-mysql-replication with the standard library's json: rows of one table, each to a JSON text."""

import json
import os
import sys
import time

from pymysqlreplication import BinLogStreamReader
from pymysqlreplication.row_event import WriteRowsEvent


def plain(value):
    """MySQL's JSON comes with keys and strings as bytes, which json does not take."""
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, dict):
        return {plain(key): plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value


def main():
    """Read as many rows as the task says; print how long that took."""
    task = json.loads(os.environ["BENCH_TASK"])
    connection = {name: task[name] for name in ("host", "port", "user", "password")}
    stream = BinLogStreamReader(
        connection_settings=connection,
        server_id=7001,
        blocking=True,
        resume_stream=True,
        log_file=task["file"],
        log_pos=task["offset"],
        only_events=[WriteRowsEvent],
        only_schemas=[task["schema"]],
        only_tables=[task["table"]],
        enable_logging=False,
    )
    rows = size = began = cpu = 0
    for event in stream:
        began, cpu = began or time.monotonic(), cpu or time.process_time()
        for row in event.rows:
            values = plain(row["values"]) if task["flavour"] == "mysql" else row["values"]
            size += len(json.dumps(values, default=str))
        rows += len(event.rows)
        if rows >= task["rows"]:
            break
    seconds = {"seconds": time.monotonic() - began, "cpu": time.process_time() - cpu}
    print(json.dumps({"rows": rows, "bytes": size} | seconds))
    sys.stdout.flush()
    os._exit(0)  # closing the library's stream would wait for the server


main()

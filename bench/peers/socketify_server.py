"""uWebSockets through socketify: each row is made into text once, and published to a topic of uWebSockets' own."""

import asyncio
import json
import os
import sys
import threading

import rows
from socketify import App, CompressOptions, OpCode

app = App()
task = json.loads(os.environ["BENCH_TASK"])


def message(socket, _text, _opcode):
    """A client that has asked is served from now on."""
    socket.subscribe("rows")
    socket.send('{"type":"subscribed"}', OpCode.TEXT)


async def give(count):
    """A burst; between two rows the sockets have their turn, as between two events of a log."""
    for row in rows.burst(count):
        text = json.dumps({"channel": "cctv_updates", "message": row}, separators=(",", ":"))
        app.publish("rows", text, OpCode.TEXT)
        await asyncio.sleep(0)
    print('{"rows":true}', flush=True)


def listen():
    """Orders, from a thread of their own."""
    for line in sys.stdin:
        asyncio.run_coroutine_threadsafe(give(json.loads(line)["burst"]), app.loop.loop)
    os._exit(0)


def ready(config):
    """The port that was free."""
    print(json.dumps({"ready": config.port}), flush=True)
    threading.Thread(target=listen, daemon=True).start()


app.ws(
    "/*",
    {
        "compression": CompressOptions.DISABLED,
        "max_backpressure": 64 << 20,
        "idle_timeout": 120,
        "message": message,
    },
)
app.listen({"port": task["port"], "host": "127.0.0.1"}, ready)
app.run()

"""websockets: each row is made into text once, and broadcast to every client."""

import asyncio
import json
import os
import sys

import rows
import uvloop
import websockets
from websockets.asyncio.server import broadcast, serve

clients = set()


async def client(connection):
    """One client: answered, then served until it goes."""
    clients.add(connection)
    try:
        async for _ in connection:
            await connection.send('{"type":"subscribed"}')
    except websockets.ConnectionClosed:
        pass
    finally:
        clients.discard(connection)


async def give(count):
    """A burst; between two rows the sockets have their turn, as between two events of a log."""
    for row in rows.burst(count):
        broadcast(clients, json.dumps({"channel": "cctv_updates", "message": row}, separators=(",", ":")))
        await asyncio.sleep(0)


async def main():
    """Serve until the orders end."""
    server = await serve(client, "127.0.0.1", 0, compression=None, backlog=4096, ping_interval=None)
    print(json.dumps({"ready": server.sockets[0].getsockname()[1]}), flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        await give(json.loads(line)["burst"])
        print('{"rows":true}', flush=True)
    os._exit(0)


uvloop.run(main())

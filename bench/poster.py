"""Posts results as fast as they are answered, so many in flight."""

from __future__ import annotations

import asyncio
import json
import os
import time

import uvloop

from bench.arrivals import percentiles

_BODY = (
    b'{"account":"shop","data":{"price":9.5,"currency":"EUR","title":"A thing to be bought","stock":[1,2,3]},'
    b'"url":"https://example.org/item/1"}'
)


def main() -> None:
    """Post for so many seconds; print what came of it."""
    print(json.dumps(uvloop.run(post(json.loads(os.environ["BENCH_TASK"])))))


async def post(task: dict[str, int]) -> dict[str, float]:
    """Answers a second, counted after a second of warming up, and the milliseconds that they took."""
    end = time.monotonic() + 1 + task["seconds"]
    took: list[list[float]] = await asyncio.gather(*(one(task["port"], end) for _ in range(task["in_flight"])))
    every = sorted(each for taken in took for each in taken)
    return {"rate": len(every) / task["seconds"]} | percentiles(every)


async def one(port: int, end: float) -> list[float]:
    """One connection's answers, each in milliseconds; anything but a 201 ends the bench."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = f"POST /api/scraped-result HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
    request = head.encode() + b"Content-Length: %d\r\n\r\n" % len(_BODY) + _BODY
    warm = time.monotonic() + 1
    took: list[float] = []
    while (began := time.monotonic()) < end:
        writer.write(request)
        answer = await reader.readuntil(b"\r\n\r\n")
        if b" 201 " not in answer[:16]:
            raise RuntimeError(f"a POST was answered with {answer[:40]!r}")
        lines = answer.lower().split(b"\r\n")
        size = next(int(line[15:]) for line in lines if line.startswith(b"content-length:"))
        await reader.readexactly(size)
        if began >= warm:
            took.append((time.monotonic() - began) * 1000)
    writer.close()
    return took


if __name__ == "__main__":
    main()

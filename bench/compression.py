"""When compressing a frame pays: what it saves, and what it costs the one time that it is done for everybody.

    python bench/compression.py

Prints, for rows of several sizes and kinds, the bytes saved by permessage-deflate as the gateway does it (one message
at a time, nothing remembered between them), the CPU time for one frame, and how fast a client's link must be for the
saved time on the wire to be less than the time spent compressing. For a crowd the cost is shared: it is paid once.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from gateway.deflate import LEAST, packed

WORDS = [
    "camera",
    "person",
    "bicycle",
    "detected",
    "moving",
    "left",
    "right",
    "gate",
    "north",
    "yard",
    "night",
    "delivery",
    "parcel",
    "van",
    "door",
    "open",
]


def detection(random: Random, boxes: int) -> bytes:
    """A detection with so many boxes, as the capture writes it."""
    found = [
        {
            "label": random.choice(WORDS[1:3]),
            "confidence": round(random.random(), 4),
            "box": [random.randrange(2000) for _ in range(4)],
        }
        for _ in range(boxes)
    ]
    row = {
        "id": random.randrange(10**7),
        "cctv_id": random.randrange(100),
        "data": {"boxes": found},
        "timestamp": "2026-11-23T08:19:33.999",
        "snapshoot_url": f"https://cams.example.org/{random.randrange(10**7)}.jpg",
    }
    return framed(row)


def article(random: Random, words: int) -> bytes:
    """A scraped page's text."""
    text = " ".join(random.choice(WORDS) for _ in range(words))
    return framed(
        {"id": 7, "account": "shop", "data": {"title": text[:60], "text": text}, "url": "https://example.org/"}
    )


def noise(random: Random, size: int) -> bytes:
    """What does not compress: hexadecimal digits of random bytes."""
    return framed({"id": 7, "thumbnail": random.randbytes(size // 2).hex()})


def framed(row: dict[str, object]) -> bytes:
    """The text of a data frame."""
    return b'{"channel":"cctv_updates","offset":1042,"message":%b}' % json.dumps(row, separators=(",", ":")).encode()


def samples() -> Iterator[tuple[str, bytes]]:
    """A name and a frame's text for each row of the table."""
    random = Random(7)  # noqa: S311 - the same rows in every run
    for boxes in (0, 1, 3, 6, 12, 50, 500):
        yield f"detection, {boxes} boxes", detection(random, boxes)
    for words in (100, 1000, 20_000):
        yield f"text, {words} words", article(random, words)
    for size in (1000, 50_000):
        yield "noise", noise(random, size)


def microseconds(work: Callable[[], object]) -> float:
    """CPU time of one call, the best of five rounds."""
    best = float("inf")
    for _ in range(5):
        rounds, start = 0, time.process_time()
        while rounds < 20 or time.process_time() - start < 0.02:
            work()
            rounds += 1
        best = min(best, (time.process_time() - start) / rounds)
    return best * 1e6


def main() -> None:
    """Print the table."""
    print(f"frames below {LEAST} bytes are not compressed\n")
    print(f"{'row':<22}{'bytes':>9}{'packed':>9}{'left':>7}{'us':>9}{'MB/s':>8}{'pays below':>14}")
    for name, text in samples():
        size = len(packed(text))
        cost = microseconds(lambda text=text: packed(text))  # type: ignore[misc]
        saved = len(text) - size
        limit = f"{saved * 8 / cost:8.0f} Mbit/s" if saved > 0 else "never"
        print(
            f"{name:<22}{len(text):>9}{size:>9}{size / len(text):>7.0%}{cost:>9.1f}{len(text) / cost:>8.0f}{limit:>14}"
        )


if __name__ == "__main__":
    main()

"""The rows of a burst, the same as bench/alone.py makes; each peer turns them into text itself."""


def burst(count):
    """So many rows; the last one says that it is the last."""
    for number in range(count - 1):
        yield row(
            number, {"label": "car", "confidence": number % 10000 / 10000, "box": [number % 1920, 311, 1044, 905]}
        )
    yield row(count, {"end": True})


def row(number, data):
    """One detection."""
    url = f"https://cdn.example/17/2026-11-23/{number:09}.jpg"
    return {"id": number, "cctv_id": 17, "data": data, "timestamp": "2026-11-23T08:19:33.999", "snapshoot_url": url}

"""docs/dataformat.md is executed: what it says is inserted, and what it says arrives."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import NamedTuple

from devenv.database import Server
from tests.end_to_end.conftest import MakeProduct
from tests.faults.recorder import Recorder

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "dataformat.md"


class Sample(NamedTuple):
    """One line of the table."""

    column: str
    literal: str
    json: str


def samples() -> list[Sample]:
    found = re.findall(r"^\| `(.+?)` \| `(.*?)` \| `(.+?)` \|$", DOCUMENT.read_text(), re.MULTILINE)
    return [Sample(*line) for line in found]


async def test_every_line_of_the_document(either: Server, make_product: MakeProduct) -> None:
    """Both servers give the JSON of the document, value by value, and null for NULL."""
    lines = samples()
    assert len(lines) > 30
    product = make_product(either, settings={"ROWCAST_CHANNELS_SAMPLES_TABLE": "samples"}, start=False)
    columns = ", ".join(f"c{i} {line.column} NULL" for i, line in enumerate(lines))
    product.sql(f"CREATE TABLE samples (id INT PRIMARY KEY, {columns})")
    product.start()
    await product.ready()
    async with Recorder(product.gateway, "samples") as recorder:
        await recorder.live.wait()
        values = ", ".join(line.literal for line in lines)
        nulls = ", ".join(["NULL"] * len(lines))
        await asyncio.to_thread(product.sql, f"INSERT INTO samples VALUES (1, {values}), (2, {nulls})")
        await recorder.until_seen(2)
    row, empty = (seen.message for seen in recorder.seen)
    for i, line in enumerate(lines):
        assert row[f"c{i}"] == json.loads(line.json), line
        assert empty[f"c{i}"] is None, line
    assert recorder.gaps == []

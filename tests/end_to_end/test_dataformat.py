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


def samples(flavour: str) -> list[Sample]:
    """The lines for both servers, and those for this one."""
    sections = re.split(r"^## ", DOCUMENT.read_text(), flags=re.MULTILINE)
    wanted = ("Both servers\n", {"mariadb": "MariaDB\n", "mysql": "MySQL\n"}[flavour])
    text = "".join(section for section in sections if section.startswith(wanted))
    return [Sample(*line) for line in re.findall(r"^\| `(.+?)` \| `(.*?)` \| `(.+?)` \|$", text, re.MULTILINE)]


async def test_every_line_of_the_document(either: Server, make_product: MakeProduct) -> None:
    """Both servers give the JSON of the document, value by value, and null for NULL."""
    lines = samples(either.installation.flavour)
    assert len(lines) > 70
    product = make_product(either, settings={"ROWCAST_CHANNELS_SAMPLES_TABLE": "samples"}, start=False)
    columns = ", ".join(f"c{i} {_definition(line.column, i)}" for i, line in enumerate(lines))
    product.sql(f"CREATE TABLE samples (id INT PRIMARY KEY, {columns})")
    product.start()
    await product.ready()
    async with Recorder(product.gateway, "samples") as recorder:
        await recorder.live.wait()
        values = ", ".join(line.literal for line in lines)
        nulls = ", ".join(["NULL"] * len(lines))
        insert = f"SET sql_mode = 'ALLOW_INVALID_DATES'; INSERT INTO samples VALUES (1, {values}), (2, {nulls})"
        await asyncio.to_thread(product.sql, insert)
        await recorder.until_seen(2)
    row, empty = (seen.message for seen in recorder.seen)
    for i, line in enumerate(lines):
        assert row[f"c{i}"] == json.loads(line.json), line
        assert empty[f"c{i}"] is None, line
    assert recorder.gaps == []


def _definition(column: str, number: int) -> str:
    """A constraint comes after NULL."""
    kind, check, constraint = column.partition(" CHECK")
    return f"{kind} NULL{check}{constraint}".format(name=f"c{number}")

"""Row images made by hand, for decoders of tables that no server has."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from cdc.events import Rows
from cdc.rows import Decoder, Shape, compile_decoder
from cdc.tablemap import Column, TableMap

CHARSETS = {8: "latin1", 45: "utf8mb4", 63: "binary"}


def decoder(*columns: Column, hidden: Mapping[str, str] | None = None, **shape: Any) -> Decoder:
    """A decoder for a table of these columns."""
    table = TableMap("shop", "goods", columns, named=True)
    return compile_decoder(table, Shape(shape.get("columns"), hidden or {}, shape.get("bigint", False), CHARSETS))


def column(kind: int, meta: bytes = b"", *, name: str = "c", **more: Any) -> Column:
    """One column that may be NULL."""
    return Column(name, kind, meta, nullable=True, **more)


def rows(count: int, start: int = 0) -> Rows:
    """What an event says of images of ``count`` columns that are all there."""
    return Rows(1, count, b"\xff" * ((count + 7) // 8), start)


def value(one: Column, raw: bytes, **options: Any) -> Any:
    """What ``raw`` reads as in a table of this one column."""
    (message,) = decoder(one, **options)(b"\xfe" + raw, rows(1), len(raw) + 1)
    return json.loads(message)[one.name]

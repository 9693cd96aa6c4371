"""Writes the Python source of a reader for small JSON containers of one outline: straight-line code, one ``unpack``.

``read(data, at)`` looks first whether the container at ``at`` is of the outline that it was written for, and hands any
other to ``otherwise``. Nothing from a document reaches the source but the number and kinds of its values: keys,
templates and the readers of nested values are names that ``cdc/binary_json.py`` binds.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from struct import Struct
from types import CodeType
from typing import Any

LITERAL, INT16, UINT16, DOUBLE, STRING = 4, 5, 6, 11, 12
_NUMBERS = frozenset({INT16, UINT16, DOUBLE})
OFFSETS = Struct("<xH")
"""A value entry of a small container: its kind, and where the value lies."""

_VALUES = {
    LITERAL: "literals[{0}]",
    INT16: "{0}",
    UINT16: "{0}",
    DOUBLE: "encode(double(data, at + {0})[0])",
    STRING: "string(data, at + {0})",
}


def fields(kinds: bytes, keys: int, names: int) -> str:
    """The struct of a small container: count, ``keys`` bytes of key entries, the value entries, ``names`` bytes."""
    entries = "".join("Bh" if kind == INT16 else "BH" for kind in kinds)
    return f"<H2x{keys}s{entries}{names}s" if keys else f"<H2x{entries}"


def write(kinds: bytes, *, keyed: bool) -> str:
    """The source for values of these kinds, in an object or in an array."""
    entries = [f"kind_{i}, c{i}" for i in range(len(kinds))]
    told = [f"kind_{i}" for i in range(len(kinds))]
    if keyed:
        entries, told = ["keys", *entries, "names"], ["keys", *told, "names"]
    return "\n".join(
        [
            "def read(data, at):",
            "    try:",
            f"        count, {', '.join(entries)} = unpack(data, at)",
            "    except error:",
            "        return otherwise(data, at)",
            f"    if (count, {', '.join(told)}) != outline:",
            "        return otherwise(data, at)",
            *_result(kinds, keyed=keyed),
            "",
        ]
    )


def _result(kinds: bytes, *, keyed: bool) -> list[str]:
    if not keyed and _NUMBERS.issuperset(kinds):
        numbers = [f"double(data, at + c{i})[0]" if kind == DOUBLE else f"c{i}" for i, kind in enumerate(kinds)]
        return [f"    return encode(({', '.join(numbers)},))"]
    values = [_VALUES.get(kind, f"read_{i}(data, at + {{0}})").format(f"c{i}") for i, kind in enumerate(kinds)]
    return ["    return form % (", *[f"        {value}," for value in values], "    )"]


def executed(kinds: bytes, *, keyed: bool, names: Mapping[str, Any]) -> Callable[[bytes, int], bytes]:
    """The function ``read`` over these names."""
    namespace = dict(names)
    exec(_compiled(kinds, keyed), namespace)  # noqa: S102 - written above, of numbers alone
    read: Callable[[bytes, int], bytes] = namespace["read"]
    return read


@functools.lru_cache(maxsize=256)
def _compiled(kinds: bytes, keyed: bool) -> CodeType:
    return compile(write(kinds, keyed=keyed), "<JSON reader>", "exec")

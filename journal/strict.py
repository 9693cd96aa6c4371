"""JSON from clients, read strictly: no key twice, no ``NaN``, and a reason for what is refused."""

from __future__ import annotations

import json
from typing import Any


class NotJson(Exception):
    """Text that is not JSON as it should be; says why, in a few words."""


def parse(text: str) -> Any:
    """The value of a JSON text; raises ``NotJson``.

    By the standard library's parser, because it can refuse duplicate keys and NaN; msgspec takes the last of two keys.
    """
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except RecursionError:
        raise NotJson("nested too deep") from None
    except ValueError as error:
        raise NotJson(f"not JSON: {error}") from None


def quoted(value: object) -> str:
    """A client's value as short, harmless ASCII for a reason; anything but text by its type alone."""
    if not isinstance(value, str):
        return "nothing" if value is None else type(value).__name__
    return json.dumps(value if len(value) <= 64 else f"{value[:60]}...")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise NotJson(f"key {quoted(twice)} stands twice")
    return found


def _no_constant(name: str) -> Any:
    raise NotJson(f"not JSON: {name}")

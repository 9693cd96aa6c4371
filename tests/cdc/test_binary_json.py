from __future__ import annotations

import json
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc import binary_json
from cdc.errors import MalformedEvent

LITERALS = {None: 0, True: 1, False: 2}
INTEGERS = [(5, "<h", -(2**15), 2**15), (6, "<H", 0, 2**16), (7, "<i", -(2**31), 2**31), (8, "<I", 0, 2**32)]
INTEGERS += [(9, "<q", -(2**63), 2**63), (10, "<Q", 0, 2**64)]


def encoded(value: Any, *, large: bool) -> tuple[int, bytes]:
    """The type and bytes of a value, written after MySQL's description; containers with 16-bit or 32-bit offsets."""
    if value is None or isinstance(value, bool):
        return 4, bytes([LITERALS[value]])
    if isinstance(value, int):
        kind, form = next((kind, form) for kind, form, low, high in INTEGERS if low <= value < high)
        return kind, struct.pack(form, value)
    if isinstance(value, float):
        return 11, struct.pack("<d", value)
    if isinstance(value, str):
        text = value.encode()
        return 12, length(len(text)) + text
    kind = 0 if isinstance(value, dict) else 2
    return kind + large, container(value, large=large)


def container(value: dict[str, Any] | list[Any], *, large: bool) -> bytes:
    """Counts, key entries, value entries, then keys and values; small values stand in their entries."""
    width, number = (4, "<I") if large else (2, "<H")
    names = [key.encode() for key in value] if isinstance(value, dict) else []
    items = list(value.values()) if isinstance(value, dict) else value
    at = 2 * width + len(names) * (width + 2) + len(items) * (width + 1)
    key_entries, value_entries, rest = b"", b"", b"".join(names)
    for name in names:
        key_entries += struct.pack(number + "H", at, len(name))
        at += len(name)
    for item in items:
        kind, data = encoded(item, large=large)
        if kind in (4, 5, 6) or (large and kind in (7, 8)):
            value_entries += bytes([kind]) + data.ljust(width, b"\0")
        else:
            value_entries += bytes([kind]) + struct.pack(number, at)
            rest += data
            at += len(data)
    return struct.pack(number, len(items)) + struct.pack(number, at) + key_entries + value_entries + rest


def length(size: int) -> bytes:
    """Seven bits a byte, least significant first."""
    data = b""
    while size > 0x7F:
        data += bytes([size & 0x7F | 0x80])
        size >>= 7
    return data + bytes([size])


scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8"), max_size=300)
)
names = st.text(st.characters(codec="utf-8"), max_size=9)
documents = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=6) | st.dictionaries(names, inner), max_leaves=20
)


@given(documents, st.booleans())
def test_every_document_comes_back(document: Any, large: bool) -> None:
    """Each kind of value, in containers of both formats, nested in any way."""
    kind, data = encoded(document, large=large)
    arrived = json.loads(binary_json.document(bytes([kind]) + data))
    assert arrived == document
    assert json.dumps(arrived) == json.dumps(document)  # True is no 1, and -0.0 no 0


@given(documents, st.data())
def test_damage_is_an_error(document: Any, data: st.DataObject) -> None:
    """A document that was cut or changed is read as another, or raises what a row decoder takes for damage."""
    kind, body = encoded(document, large=False)
    damaged = bytearray(bytes([kind]) + body)[: data.draw(st.integers(1, len(body) + 1))]
    damaged[data.draw(st.integers(0, len(damaged) - 1))] ^= data.draw(st.integers(0, 255))
    try:
        binary_json.document(bytes(damaged))
    except (MalformedEvent, LookupError, ValueError, struct.error, RecursionError):
        return


def test_an_empty_column_is_null() -> None:
    """The server stores no bytes at all for a JSON null that an ALTER made."""
    assert binary_json.document(b"") == b"null"


@pytest.mark.parametrize("kind", [13, 14, 16, 200])
def test_unknown_kinds_are_named(kind: int) -> None:
    """A value of a newer server is not guessed."""
    with pytest.raises(MalformedEvent, match=f"unknown type {kind}"):
        binary_json.document(bytes([kind, 0, 0, 0]))


def test_a_document_that_contains_itself_ends() -> None:
    """An offset that points back to its own container does not run for ever."""
    loop = struct.pack("<HHBH", 1, 7, 2, 0)
    with pytest.raises((MalformedEvent, RecursionError)):
        binary_json.document(b"\2" + loop)

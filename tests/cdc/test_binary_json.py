from __future__ import annotations

import ast
import json
import struct
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cdc import binary_json, json_source
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


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Readers are given at the third time, and none are left from other tests."""
    monkeypatch.setattr(binary_json, "_OFTEN", 3)
    forget()
    yield 3
    forget()


def forget() -> None:
    """Know no outline any more."""
    binary_json._readers.clear()
    binary_json._tried.clear()
    for known in binary_json._outlines:
        known.clear()


def read(data: bytes) -> bytes | str:
    """The text, or what was raised."""
    try:
        return binary_json.document(data)
    except (MalformedEvent, RecursionError) as error:
        return type(error).__name__


def read_anew(data: bytes) -> bytes | str:
    """The same by a reader who has never seen a document."""
    forget()
    return read(data)


STRINGS = ["", "\0", "\x1f", '"', "\\", "\x7f", "\u2028", "é", "😀", "x" * 127, "x" * 128, "😀" * 32, "%s %b %%"]
strings = st.sampled_from(STRINGS) | st.text(st.characters(codec="utf-8"), max_size=9)
numbers = st.sampled_from(
    [0, -1, 1, -(2**15), 2**15 - 1, 2**15, 2**16 - 1, 2**16, -(2**31), 2**64 - 1]
) | st.sampled_from([0.0, -0.0, 0.1, 1e16, 1e17, 123456789012345680.0, 1e-7, 5e-324, 1.7976931348623157e308])
leaves = st.none() | st.booleans() | numbers | strings
siblings = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(strings, inner, max_size=4), max_leaves=10
)


def alike(value: Any, leaf: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Values of the same outline, or nearly: the same keys, other leaves."""
    if isinstance(value, dict):
        return st.fixed_dictionaries({key: alike(item, leaf) for key, item in value.items()})
    if isinstance(value, list):
        return st.tuples(*[alike(item, leaf) for item in value]).map(list)
    kinds = {bool: st.booleans(), int: numbers, float: numbers, str: strings}
    return kinds.get(type(value), leaf) | leaf


@given(data=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_readers_of_their_own_tell_the_same(often: int, data: st.DataObject) -> None:
    """Documents that are alike in keys and kinds, and some that are damaged: as if each were the first ever seen."""
    first = data.draw(st.dictionaries(strings, siblings, min_size=1, max_size=5))
    some = [first, *data.draw(st.lists(alike(first, leaves), min_size=1, max_size=4))]
    images = [bytes([kind]) + body for kind, body in (encoded(one, large=False) for one in some)]
    for image in list(images):
        damaged = bytearray(image)
        damaged[data.draw(st.integers(1, len(image) - 1))] ^= data.draw(st.integers(1, 255))
        images += [bytes(damaged), image[: data.draw(st.integers(1, len(image) - 1))]]
    expected = [read_anew(image) for image in images]
    forget()
    for _ in range(often):
        read(images[0])
    assert binary_json._readers
    for _ in range(often + 1):
        assert [read(image) for image in images] == expected


def test_a_container_that_ends_early_is_an_error() -> None:
    """An array that says that it has more values than there are bytes."""
    with pytest.raises(MalformedEvent, match="ends early"):
        binary_json.document(b"\2" + struct.pack("<HHBH", 2, 10, 5, 1))


def test_keys_that_lie_elsewhere_are_read_where_they_lie(often: int) -> None:
    """An outline is only kept when the bytes that it is known by hold all keys."""
    kind, body = encoded({"a": 1, "b": 2}, large=False)
    aside = (
        body[:4] + struct.pack("<HHHH", 20, 1, 19, 1) + body[12:18] + b"_ba"
    )  # the last of them ends before the first
    for last in (b"a", b"c", b"d"):
        for _ in range(often + 1):
            text = binary_json.document(bytes([kind]) + aside[:-1] + last)
            assert json.loads(text) == {last.decode(): 1, "b": 2}


def test_memory_stays_bounded(often: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many outlines are met often, and however many of them begin with the same key."""
    monkeypatch.setattr(binary_json, "_KEPT", 40)
    monkeypatch.setattr(binary_json, "_READERS_KEPT", 10)
    for i in range(100):
        for one in ({"k" * i: i}, {"k": i, f"{i:03}": None}):
            meet(one, often + 2)
        assert len(binary_json._outlines[0]) <= 40
        assert len(binary_json._readers) <= 10


def meet(one: Any, times: int) -> None:
    """Read a document so often, the same each time."""
    kind, body = encoded(one, large=False)
    for _ in range(times):
        assert json.loads(binary_json.document(bytes([kind]) + body)) == one


def chain(reader: binary_json.Reader) -> list[binary_json.Reader]:
    """The readers that are tried on one container, one after the other; what reads it by its outline is none."""
    found = []
    while reader is not binary_json._by_outline:
        found.append(reader)
        reader = reader.__globals__["otherwise"]
    return found


def test_few_readers_are_tried_on_one_container(often: int) -> None:
    """Outlines that begin with a key of the same place and length share what is tried: the latest, and not all."""
    most = 0
    for i in range(20):
        meet({"k": i, f"{i:03}": None}, often)
        (reader,) = binary_json._readers.values()
        most = max(most, len(chain(reader)))
    assert most == binary_json._TRIED


@pytest.mark.parametrize(("number", "given"), [(binary_json._WIDEST, 1), (binary_json._WIDEST + 1, 0)])
def test_a_wide_object_gets_no_reader(often: int, number: int, given: int) -> None:
    """The source of its reader would be long, and an array of so many values inside another is read by its outline."""
    meet({f"{i:02}": i for i in range(number)}, often + 1)
    assert len(binary_json._readers) == given
    forget()
    meet({"k": [*range(number)]}, often + 1)
    assert written(binary_json._readers) == 1 + given


@pytest.mark.parametrize("beside", [binary_json._TOGETHER - 1, binary_json._TOGETHER, binary_json._TOGETHER + 1, 30])
def test_few_containers_get_readers_together(often: int, beside: int) -> None:
    """Of very many in one object, side by side or inside each other, only some are written with it."""
    inside: list[Any] = [1]
    for _ in range(beside - 1):
        inside = [inside]
    for one in ({f"{i:02}": [i] for i in range(beside)}, {"k": inside}):
        forget()
        meet(one, often + 1)
        assert written(binary_json._readers) == 1 + min(beside, binary_json._TOGETHER)


def written(readers: Mapping[bytes, binary_json.Reader]) -> int:
    """How many readers were written: these, and those that they call for what is inside."""
    found = [one for one in readers.values() if one.__code__.co_filename == "<JSON reader>"]
    inside = ({k: v for k, v in one.__globals__.items() if k.startswith("read_")} for one in found)
    return len(found) + sum(map(written, inside))


@pytest.mark.parametrize("keyed", [True, False])
def test_the_source_of_a_reader_holds_numbers_alone(keyed: bool) -> None:
    """The number and kinds of its values make it, and no text stands in it."""
    source = json_source.write(bytes([2, 12, 11, 4, 7]), keyed=keyed)
    (function,) = ast.parse(source).body
    assert isinstance(function, ast.FunctionDef)
    strings = [
        node for node in ast.walk(function) if isinstance(node, ast.Constant) and not isinstance(node.value, int)
    ]
    assert strings == []


def test_readers_of_other_keys_have_one_source(often: int) -> None:
    """It is the same whatever the keys are called, and whatever the texts say."""
    for one in ({"k": "x", "n": 1}, {"import os": '"""', "\n": 2}):
        meet(one, often + 1)
    first, second = binary_json._readers.values()
    assert first.__code__ == second.__code__


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

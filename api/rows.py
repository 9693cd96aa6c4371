"""From the text of a body to rows that fit the table ``scraped_result``. No I/O.

``data`` is kept as the client wrote it (numbers of any length, the order of keys), so it is checked but never
decoded and encoded again.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, NamedTuple, NoReturn

import msgspec
from msgspec import Meta

from api.errors import Failure, InvalidBody, ItemFailure, NotJson

MAX_DEPTH = 31  # MariaDB's json_valid refuses more (JSON_DEPTH_LIMIT); MySQL would take 100
MAX_ITEM_ERRORS = 100

# Each field in quotes, as a JSON object spells it: more than one in a body may be a field given twice.
_QUOTED = tuple(f'"{name}"' for name in ("account", "data", "url", "timestamp"))
_LONG = 256  # a text of this length stands in a body once
_STRING = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_SURROGATES = re.compile(
    r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(?P<lone>u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)
_UTC = len("2026-11-23 08:19:33.999")  # behind it stands the zone
_POSITION = re.compile(r"\(byte (\d+)\)")
_PATH = re.compile(r"(.*) - at `(.*)`", re.DOTALL)
_FIELD = re.compile(r"(missing required|contains unknown) field `([^`]*)`")


class NewResult(msgspec.Struct, forbid_unknown_fields=True):
    """What a scraper posts."""

    account: Annotated[str, Meta(description="whose result it is; at most as long as its column")]
    data: Annotated[msgspec.Raw, Meta(description="any JSON value, nested at most 31 deep, kept as written")]
    url: Annotated[str, Meta(description="where it was found; at most as long as its column")]
    timestamp: (
        Annotated[datetime, Meta(tz=True, description="RFC 3339 with a zone; milliseconds are kept; default: now")]
        | None
    ) = None


class Row(NamedTuple):
    """One row of the table, as text; ``timestamp`` is in UTC, ``2026-11-23 08:19:33.999``."""

    account: str
    data: str
    url: str
    timestamp: str

    @property
    def size(self) -> int:
        """About how many bytes it holds."""
        return len(self.account) + len(self.data) + len(self.url)


_result = msgspec.json.Decoder(NewResult)
_array = msgspec.json.Decoder(list[msgspec.Raw])


def read_one(body: bytes, limits: Mapping[str, int]) -> Row:
    """The row of a body. ``limits`` are the lengths of the columns in characters, as far as they are known.

    Raises ``NotJson`` or ``InvalidBody``.
    """
    return _row(_text(body), limits)


def read_many(body: bytes, limits: Mapping[str, int], *, lines: bool) -> list[Row]:
    """The rows of a JSON array, or of newline-delimited JSON. One bad item refuses them all, naming each.

    Raises ``NotJson`` or ``InvalidBody``.
    """
    text = _text(body)
    items = [line for line in text.split("\n") if line.strip()] if lines else _items(text)
    if not items:
        raise InvalidBody(Failure(error="The batch is empty"))
    rows: list[Row] = []
    errors: list[ItemFailure] = []
    for index, item in enumerate(items):
        try:
            rows.append(_row(item, limits))
        except (NotJson, InvalidBody) as error:
            errors.append(ItemFailure(index=index, error=error.failure.error, path=error.failure.path))
            if len(errors) == MAX_ITEM_ERRORS:
                break
    if errors:
        raise InvalidBody(Failure(error="Some items cannot be saved; none was", errors=errors))
    return rows


def _text(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise NotJson(_at(body[: error.start].decode(), "not UTF-8")) from None


def _items(text: str) -> list[str]:
    try:
        return [bytes(item).decode() for item in _array.decode(text)]
    except RecursionError:
        raise _too_deep("$") from None
    except msgspec.ValidationError as error:
        _invalid(error)
    except msgspec.DecodeError as error:
        _malformed(text, error)


def _row(text: str, limits: Mapping[str, int]) -> Row:
    try:
        result = _result.decode(text)
    except RecursionError:
        raise _too_deep("$") from None
    except msgspec.ValidationError as error:
        _invalid(error)
    except msgspec.DecodeError as error:
        _malformed(text, error)
    data = bytes(result.data).decode()
    _check_depth(data)
    _check_repeated(text, data)
    _check_text("account", result.account, limits)
    _check_text("url", result.url, limits)
    return Row(result.account, data, result.url, _utc(result.timestamp))


def _check_depth(data: str) -> None:
    if data.count("[") + data.count("{") <= MAX_DEPTH:
        return
    depth = 0
    for bracket in re.findall(r"[][{}]", _STRING.sub("", data)):
        depth += 1 if bracket in "[{" else -1
        if depth > MAX_DEPTH:
            raise _too_deep("$.data")


def _check_repeated(text: str, data: str) -> None:
    """JSON allows a name twice, and parsers disagree on which counts: refuse it where it would decide a column."""
    envelope = text.replace(data, "0", 1) if len(data) >= _LONG else text
    for name in _QUOTED:
        if envelope.count(name) > 1:
            break
    else:
        return
    names = [name for name, _ in json.loads(envelope, object_pairs_hook=list, parse_int=str, parse_float=str)]
    for name in names:
        if names.count(name) > 1:
            raise InvalidBody(Failure(error=f"Field given twice at $.{name}", path=f"$.{name}"))


def _check_text(name: str, value: str, limits: Mapping[str, int]) -> None:
    path = f"$.{name}"
    if "\0" in value:
        raise InvalidBody(Failure(error=f"NUL character at {path}", path=path))
    limit = limits.get(name)
    if limit is not None and len(value) > limit:
        error = f"Too long at {path}: {len(value)} characters, at most {limit}"
        raise InvalidBody(Failure(error=error, path=path, limit=limit, length=len(value)))


def _utc(moment: datetime | None) -> str:
    """The text of a DATETIME(3). Finer digits are cut, not rounded: a result is never from the future."""
    if moment is None:
        return _now()
    try:
        utc = moment.astimezone(UTC)
    except OverflowError:
        utc = datetime.min  # noqa: DTZ901 (a year that the next line refuses)
    if utc.year < 1000:
        error = "Out of range at $.timestamp: in UTC the year must be 1000 to 9999"
        raise InvalidBody(Failure(error=error, path="$.timestamp"))
    return utc.isoformat(" ", "milliseconds")[:_UTC]


def _now() -> str:
    milliseconds = time.time_ns() // 1_000_000
    return f"{_second(milliseconds // 1000)}.{milliseconds % 1000:03d}"


@lru_cache(maxsize=1)  # rows come by the thousand in a second, and to spell one takes as long as to decode a row
def _second(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _too_deep(path: str) -> InvalidBody:
    return InvalidBody(
        Failure(error=f"Nested too deep at {path}: at most {MAX_DEPTH} levels", path=path, limit=MAX_DEPTH)
    )


def _invalid(error: msgspec.ValidationError) -> NoReturn:
    """From "Expected `str`, got `int` - at `$.account`" to an answer with that path."""
    text, path = str(error), "$"
    if at := _PATH.fullmatch(text):
        text, path = at.groups()
    if field := _FIELD.search(text):
        path += "." + field[2]
        text = "Missing field" if field[1].startswith("missing") else "Unknown field"
    raise InvalidBody(Failure(error=f"{text} at {path}", path=path)) from None


def _malformed(text: str, error: msgspec.DecodeError) -> NoReturn:
    """Say what is wrong and where. msgspec is quick and strict; the standard library knows the place better."""
    for escape in _SURROGATES.finditer(text):
        if escape["lone"]:
            raise NotJson(_at(text[: escape.start()], f"unpaired surrogate {escape[0]}")) from None
    try:
        json.loads(text, parse_int=str, parse_float=str)
    except json.JSONDecodeError as better:
        what = better.msg.removesuffix(" at").removesuffix(" starting")
        raise NotJson(_at(text[: better.pos], what[0].lower() + what[1:])) from None
    except RecursionError:
        raise _too_deep("$") from None
    place = _POSITION.search(str(error))  # NaN and Infinity, which the standard library takes
    before = text.encode()[: int(place[1])].decode(errors="ignore") if place else text
    raise NotJson(_at(before, "invalid character")) from None


def _at(before: str, what: str) -> Failure:
    line = before.count("\n") + 1
    column = len(before) - (before.rfind("\n") + 1) + 1
    error = f"The body is not JSON: {what} at line {line}, column {column}"
    return Failure(error=error, position=len(before.encode()), line=line, column=column)

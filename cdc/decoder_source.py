"""Writes the Python source of a table's decoder: straight-line code over the row image, one look at each byte.

``decode(body, at, end)`` gives the JSON objects of the row images in ``body[at:end]``; ``texts(body, at)`` gives one
image's columns one by one, and where the next image begins. Neighbours of fixed width are read together, rows without
NULL take a path of their own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from cdc import values
from cdc.cells import Cell

_HOMES = {
    "document": "cdc.binary_json",
    "decode_text": "cdc.charsets", "text": "cdc.charsets",
    "DATES": "cdc.temporal", "DATETIMES": "cdc.temporal", "TIMESTAMPS": "cdc.temporal", "time": "cdc.temporal",
    "TENTHS": "cdc.temporal", "HUNDREDTHS": "cdc.temporal", "THOUSANDTHS": "cdc.temporal",
    "TEN_THOUSANDTHS": "cdc.temporal",
    "UNUSUAL": "cdc.values", "base64": "cdc.values", "check_json": "cdc.values", "decimal": "cdc.values",
    "encode": "cdc.values", "float32": "cdc.values",
    "geometry": "cdc.values", "inet4": "cdc.values", "inet6": "cdc.values", "inflated": "cdc.values",
    "json_text": "cdc.values", "label_set": "cdc.values", "uuid": "cdc.values", "vector": "cdc.values",
}  # fmt: skip
_FIELD = re.compile(r"(\d*)([a-zA-Z])")
_INDENT = "    "


class Field(NamedTuple):
    """One column for the source: ``wanted`` columns are rendered, the others skipped over."""

    name: str
    cell: Cell
    nullable: bool
    wanted: bool


class _Column(NamedTuple):
    """A column in the making: ``variable`` holds its (first) field, or its bytes; ``bit`` is its place in the NULLs."""

    field: Field
    variable: str
    bit: int

    @property
    def variables(self) -> list[str]:
        """One for each field that is read, the length's for a sized column."""
        count = len(_FIELD.findall(self.field.cell.fields))
        first = "size" if self.field.cell.sized else self.variable
        return [first, *[f"{first}_{i}" for i in range(1, count)]]

    @property
    def arguments(self) -> list[str]:
        """The expressions that ``form`` formats."""
        cell = self.field.cell
        variables = [self.variable] if cell.sized else self.variables
        labels = f"{self.variable}_labels"
        return [value.format(*variables, labels=labels) for value in cell.values]

    @property
    def usual(self) -> list[str]:
        """The same by the shorter way, where there is one."""
        short = self.field.cell.usual
        return self.arguments if short is None else [short.format(self.variable)]

    @property
    def text(self) -> str:
        """The expression for the column's JSON text alone."""
        form, arguments = self.field.cell.form, self.arguments
        return arguments[0] if form == "%b" else f"{form.encode()!r} % ({', '.join(arguments)},)"

    @property
    def key(self) -> bytes:
        """What stands before its value."""
        return values.encode(self.field.name) + b":"


def write(title: str, fields: Sequence[Field]) -> str:
    """The source for a table of these columns."""
    columns = [
        _Column(field, f"c{i}_{re.sub(r'[^a-zA-Z0-9_]', '_', field.name)}", 1 << i) for i, field in enumerate(fields)
    ]
    return _Source(title, columns).text()


class _Source:
    def __init__(self, title: str, columns: Sequence[_Column]) -> None:
        self._columns = columns
        self._wanted = [column for column in columns if column.field.wanted]
        self._nullable = sum(column.bit for column in columns if column.field.nullable)
        self._short = any(column.field.cell.usual for column in self._wanted)
        self._bitmap = (len(columns) + 7) // 8
        self._structs: dict[str, str] = {}
        self._title = title

    def text(self) -> str:
        """All of it."""
        functions = [*self._decode(), "", "", *self._texts()]
        head = [f"# {ascii(self._title)[1:-1]}: {len(self._columns)} columns", "", *self._imports(), ""]
        labels = [f"{c.variable}_labels = {c.field.cell.labels!r}" for c in self._wanted if c.field.cell.labels]
        structs = [f'{name} = Struct("<{fields}").unpack_from' for fields, name in self._structs.items()]
        return "\n".join([*head, *labels, *structs, "", "", *functions, ""])

    def _imports(self) -> Iterator[str]:
        if self._structs:
            yield "from struct import Struct"
            yield ""
        values = " ".join(a for c in self._wanted for a in [*c.field.cell.values, c.field.cell.usual or ""])
        used = {*re.findall(r"(?<![.\w])[a-zA-Z]\w*", values), *(["UNUSUAL"] if self._short else [])}
        for home in sorted(set(_HOMES.values())):
            names = [name for name, module in _HOMES.items() if module == home and name in used]
            if names:
                yield f"from {home} import {', '.join(names)}"

    def _decode(self) -> Iterator[str]:
        yield "def decode(body, at, end):"
        yield "    messages = []"
        yield "    append = messages.append"
        yield "    while at < end:"
        yield from _indented(2, self._nulls())
        if not self._nullable:
            yield from _indented(2, self._usual())
        else:
            yield "        if not nulls:"
            yield from _indented(3, self._usual())
            yield "        else:"
            yield f"            at += {self._bitmap}"
            yield from _indented(3, self._careful())
            yield from _indented(3, self._append(self._with_nulls()))
        yield "    if at != end:"
        yield '        raise ValueError(f"the row images end at byte {at}, not {end}")'
        yield "    return messages"

    def _texts(self) -> Iterator[str]:
        yield "def texts(body, at):"
        yield from _indented(1, self._nulls())
        yield f"    at += {self._bitmap}"
        yield from _indented(1, self._careful())
        yield "    return ["
        for column in self._wanted:
            yield f"        {column.variable if column.field.nullable else column.text},"
        yield "    ], at"

    def _nulls(self) -> Iterator[str]:
        width = self._bitmap
        mask = hex((1 << len(self._columns)) - 1)
        bitmap = "body[at]" if width == 1 else f'int.from_bytes(body[at : at + {width}], "little")'
        yield f"nulls = {bitmap} & {mask}"
        if not self._nullable:
            yield from self._refusal()

    def _refusal(self) -> Iterator[str]:
        required = (1 << len(self._columns)) - 1 & ~self._nullable
        if required:
            yield f"if nulls & {hex(required)}:"
            yield '    raise ValueError("NULL in a column that is NOT NULL")'

    def _careful(self) -> Iterator[str]:
        """Reads a row where any nullable column may be missing: it holds text afterwards, the others their fields."""
        if self._nullable:
            yield from self._refusal()
        there: list[_Column] = []
        for column in self._columns:
            if not column.field.nullable:
                there.append(column)
                continue
            yield from self._reads(there)
            there = []
            yield f"if nulls & {hex(column.bit)}:"
            if column.field.wanted:
                yield f'    {column.variable} = b"null"'
                yield "else:"
                yield from _indented(1, self._reads([column]))
                yield f"    {column.variable} = {column.text}"
            else:
                yield "    pass"
                yield "else:"
                yield from _indented(1, self._reads([column]))
        yield from self._reads(there)

    def _reads(self, columns: Sequence[_Column], skipped: int = 0) -> Iterator[str]:
        """Reads columns that are all there, behind ``skipped`` bytes."""
        fields = "x" * skipped if skipped < 2 else f"{skipped}x"
        variables: list[str] = []
        for column in columns:
            cell, wanted = column.field.cell, column.field.wanted
            if wanted or cell.sized:
                fields += cell.fields
                variables += column.variables
            else:
                fields += f"{_size(cell.fields)}x"
            if cell.sized:
                yield from self._sized(fields, variables, column)
                fields, variables = "", []
        if fields:
            yield from self._unpack(fields, variables)
            yield f"at += {_size(fields)}"

    def _sized(self, fields: str, variables: Sequence[str], column: _Column) -> Iterator[str]:
        yield from self._unpack(fields, variables)
        size = "size | size_1 << 16" if "size_1" in variables else "size"
        if not column.field.wanted:
            yield f"at += {_size(fields)} + ({size})" if "|" in size else f"at += {_size(fields)} + size"
            return
        yield f"start = at + {_size(fields)}"
        yield f"at = start + ({size})" if "|" in size else "at = start + size"
        yield f"{column.variable} = body[start:at]"

    def _unpack(self, fields: str, variables: Sequence[str]) -> Iterator[str]:
        if fields == "B":
            yield f"{variables[0]} = body[at]"
        elif fields == "xB":
            yield f"{variables[0]} = body[at + 1]"
        elif variables:
            name = self._structs.setdefault(fields, f"unpack_{len(self._structs)}")
            targets = ", ".join(variables) if len(variables) > 1 else f"({variables[0]},)"
            yield f"{targets} = {name}(body, at)"

    def _usual(self) -> Iterator[str]:
        """Reads and appends a row without NULL; one with a value that is unusual is read once more, by ``texts``."""
        rendered = [(column.field.cell.form, column.usual) for column in self._wanted]
        if not self._short:
            yield from self._reads(self._columns, self._bitmap)
            yield from self._append(rendered)
            return
        yield "row = at"
        yield from self._reads(self._columns, self._bitmap)
        yield "try:"
        yield from _indented(1, self._append(rendered))
        yield "except UNUSUAL:"
        yield "    columns, at = texts(body, row)"
        yield f"    append({self._object(['%b'] * len(self._wanted))!r} % tuple(columns))"

    def _with_nulls(self) -> list[tuple[str, list[str]]]:
        return [
            ("%b", [column.variable]) if column.field.nullable else (column.field.cell.form, column.arguments)
            for column in self._wanted
        ]

    def _append(self, rendered: Sequence[tuple[str, Sequence[str]]]) -> Iterator[str]:
        """Each column's form and what it formats, as one object."""
        yield "append("
        for piece in self._pieces([form for form, _ in rendered]):
            yield f"    {piece!r}"
        yield "    % ("
        for _, arguments in rendered:
            for argument in arguments:
                yield f"        {argument},"
        yield "    )"
        yield ")"

    def _object(self, forms: Sequence[str]) -> bytes:
        return b"".join(self._pieces(forms))

    def _pieces(self, forms: Sequence[str]) -> Iterator[bytes]:
        mark = b"{"
        for column, form in zip(self._wanted, forms, strict=True):
            yield mark + column.key.replace(b"%", b"%%") + form.encode()
            mark = b","
        yield b"}" if self._wanted else b"{}"


def _size(fields: str) -> int:
    """Bytes that these struct letters read."""
    sizes = {"B": 1, "b": 1, "H": 2, "h": 2, "I": 4, "i": 4, "Q": 8, "q": 8, "d": 8, "s": 1, "x": 1}
    return sum(int(count or 1) * sizes[letter] for count, letter in _FIELD.findall(fields))


def _indented(depth: int, lines: Iterator[str]) -> Iterator[str]:
    return (_INDENT * depth + line for line in lines)

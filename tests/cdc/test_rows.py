# ruff: noqa: RUF001 - characters that look alike are the subject here
from __future__ import annotations

import json
import struct
from decimal import Decimal

import pytest

from cdc import charsets, tablemap
from cdc.errors import UndecodableRow
from cdc.rows import Shape, compile_decoder
from cdc.tablemap import TableMap
from tests.cdc.comparing import Column, compare, texts
from tests.cdc.database import Database, digits, gaps, rows
from tests.cdc.images import column

# Numbers


def bounds(bits: int) -> tuple[list[str], list[str]]:
    """The smallest and the largest, signed and unsigned."""
    signed = [str(-(1 << bits - 1)), "-1", "0", "1", str((1 << bits - 1) - 1)]
    return signed, ["0", "1", str(1 << bits - 1), str((1 << bits) - 1)]


def test_integers_keep_every_digit(database: Database) -> None:
    """Each width, signed and unsigned in turns, more than eight numeric columns, with YEAR and others in between."""
    columns = []
    for name, bits in [("TINYINT", 8), ("SMALLINT", 16), ("MEDIUMINT", 24), ("INT", 32), ("BIGINT", 64)]:
        signed, unsigned = bounds(bits)
        columns.append(Column(f"{name} UNSIGNED", "int", unsigned))
        columns.append(Column("YEAR", "int", ["0", "1901", "2026", "2155"]))
        columns.append(Column("VARCHAR(3)", "text", texts("x")))
        columns.append(Column(name, "int", signed))
    columns.append(Column("BIT(3)", "bits", ["5"]))
    columns.append(Column("BIGINT UNSIGNED", "int", ["18446744073709551615"]))
    compare(database, columns)


def test_big_integers_may_be_strings(database: Database) -> None:
    """A channel for JavaScript gets 64 bits as text, fewer as numbers."""
    database.run("CREATE TABLE t (a BIGINT UNSIGNED, b BIGINT, c INT)")
    start = database.end()
    database.run("INSERT INTO t VALUES (18446744073709551615, -9223372036854775808, -1)")
    (row,) = rows(database.read(start, "t", bigint_strings=True))
    assert row == {"a": "18446744073709551615", "b": "-9223372036854775808", "c": -1}


def test_decimals_are_exact(database: Database) -> None:
    """Every digit of the scale, in all the lengths that the packed format knows, zero without a sign."""
    columns = []
    for size, scale in [(1, 0), (5, 0), (9, 9), (10, 2), (18, 9), (19, 10), (28, 13), (38, 30), (65, 0), (65, 30)]:
        nines = "9" * (size - scale) + ("." + "9" * scale if scale else "")
        small = "0." + "0" * (scale - 1) + "1" if scale else "1"
        columns.append(
            Column(f"DECIMAL({size},{scale})", "text", [nines, "-" + nines, small, "-" + small, "0", "-0.0"])
        )
    columns.append(Column("DECIMAL(20,5) UNSIGNED", "text", ["12345.678", "100000000.1"]))
    compare(database, columns)


FLOATS = [
    "1.1", "-1.5e-7", "3.402823466e38", "-3.402823466e38", "1.17549435e-38", "1e-45", "16777217", "0", "0.1",
    "123456.789",
]  # fmt: skip
DOUBLES = [
    "1.1", "-1.5e-7", "1.7976931348623157e308", "2.2250738585072014e-308", "5e-324", "1e22", "0", "0.1", "-1e-5", "7",
]  # fmt: skip


def test_floats_are_the_shortest_that_read_back_the_same(database: Database) -> None:
    """Not one digit less gives the same float, 32 bits for FLOAT and 64 for DOUBLE."""
    database.run("CREATE TABLE t (f FLOAT, d DOUBLE)")
    start = database.end()
    database.run(f"INSERT INTO t VALUES {', '.join(f'({f}, {d})' for f, d in zip(FLOATS, DOUBLES, strict=True))}")
    arrived = rows(database.read(start, "t"))
    printed = database.select("SELECT CAST(f AS DOUBLE) + 0e0, d FROM t")
    for (single, double), row in zip(printed, arrived, strict=True):
        assert float(row["d"]) == float(double)
        assert Decimal(str(row["d"])) == Decimal(repr(float(row["d"])))
        stored = struct.pack("<f", float(single))
        assert struct.pack("<f", float(row["f"])) == stored
        length = len(str(row["f"]).split("e")[0].strip("-0.").replace(".", ""))
        if length > 1:
            assert struct.pack("<f", float(f"{float(row['f']):.{length - 1}g}")) != stored


def test_bits_are_numbers(database: Database) -> None:
    """From one to 64, whole bytes or not."""
    sizes = [1, 7, 8, 9, 16, 33, 63, 64]
    compare(database, [Column(f"BIT({n})", "bits", ["0", "1", str((1 << n) - 1)]) for n in sizes])


# Text


def test_strings_have_their_length_in_one_byte_or_two(database: Database) -> None:
    """Short and long CHAR, VARCHAR and TEXT of every size, with characters of one to four bytes."""
    values = texts("", "a", "ü", "日本語", "😀", "'\"\\\n\t\x01\u2028", "trailing  ")
    types = ["CHAR(10)", "CHAR(63)", "CHAR(64)", "CHAR(255)", "VARCHAR(10)", "VARCHAR(63)", "VARCHAR(64)"]
    types += ["VARCHAR(300)", "TINYTEXT", "TEXT", "MEDIUMTEXT", "LONGTEXT"]
    columns = [Column(name, "text", values) for name in types]
    long = Column("VARCHAR(300)", "text", [f"'{'ü' * 255}'", f"'{'x' * 300}'"])
    compare(database, [*columns, long, Column("MEDIUMTEXT", "text", [f"'{'é' * 40000}'"])])


def test_binary_strings_are_base64(database: Database) -> None:
    """BINARY is padded to its length again, from which the log strips zeros; the others are as they are."""
    values = ["''", "X'00'", "X'6100'", "X'FF00FF'", "X'000000'"]
    types = ["BINARY(3)", "BINARY(255)", "VARBINARY(3)", "VARBINARY(300)", "TINYBLOB", "BLOB", "MEDIUMBLOB", "LONGBLOB"]
    compare(database, [Column(name, "bytes", values) for name in types])


SINGLE_BYTE = [
    "armscii8", "ascii", "cp1250", "cp1251", "cp1256", "cp1257", "cp850", "cp852", "cp866", "dec8", "geostd8", "greek",
    "hebrew", "hp8", "keybcs2", "koi8r", "koi8u", "latin1", "latin2", "latin5", "latin7", "macce", "macroman", "swe7",
    "tis620",
]  # fmt: skip


def test_every_byte_of_the_small_character_sets(database: Database) -> None:
    """All 256 bytes of each set become what the server prints, where it prints anything but a question mark."""
    database.run("SET SESSION sql_mode = ''")
    database.run(
        "CREATE TABLE t ({})".format(", ".join(f"{name}_ CHAR(1) CHARACTER SET {name}" for name in SINGLE_BYTE))
    )
    start = database.end()
    line = ", ".join(["X'{0:02x}'"] * len(SINGLE_BYTE))
    database.run(
        "INSERT IGNORE INTO t VALUES {}".format(", ".join(f"({line.format(byte)})" for byte in range(33, 256)))
    )
    arrived = rows(database.read(start, "t"))
    printed = database.select("SELECT * FROM t")
    assert len(arrived) == 256 - 33
    for byte, (values, row) in enumerate(zip(printed, arrived, strict=True), 33):
        for name, value in zip(SINGLE_BYTE, values, strict=True):
            assert value == "?" or row[f"{name}_"] == value, f"byte {byte:#x} of {name}"


def test_every_character_set_of_the_server_is_known(database: Database) -> None:
    """There is none that a column could have and that we could not decode."""
    names = {str(name) for name, *_ in database.select("SHOW CHARACTER SET")}
    assert [name for name in names - {"binary", "filename"} if not charsets.decodable(name)] == []
    assert len(names) > 30


LARGE = {
    "big5": "中文，碁銹裏墻恒粧嫺•‾",
    "cp932": "日本語①～ｱ纊",
    "eucjpms": "日本語～∥－￠￡￢ｱ",
    "euckr": "한국어 갂똠방각하",
    "gb2312": "中文，你好",
    "gbk": "中文，囍—·",
    "sjis": "日本語〜‖−¢£¬ｱ\\",
    "ujis": "日本語〜ｱ丂\\",
    "utf8mb3": "aü日",
    "utf8mb4": "aü日😀",
    "utf16": "aü日😀",
    "utf16le": "aü日😀",
    "utf32": "aü日😀",
    "ucs2": "aü日",
}


def test_samples_of_the_large_character_sets(database: Database) -> None:
    """What the server can store in a set comes back, as CHAR, VARCHAR and TEXT."""
    sets = LARGE | ({"gb18030": "中文ḿ㐀"} if database.flavour == "mysql" else {})
    kinds = ("CHAR(20)", "VARCHAR(20)", "TEXT")
    wanted = [(f"{kind} CHARACTER SET {name}", sample) for name, sample in sets.items() for kind in kinds]
    columns = [Column(definition, "text", texts(sample, "")) for definition, sample in wanted]
    arrived = compare(database, columns, mode="STRICT_ALL_TABLES")
    assert list(arrived[0].values()) == [sample for _, sample in wanted]


def test_one_column_in_another_character_set(database: Database) -> None:
    """The log names one set for all and the exceptions by their place, among the strings and among the labels."""
    columns = [Column(f"VARCHAR(9) CHARACTER SET {name}", "text", texts("ä")) for name in ["utf8mb4"] * 6 + ["latin1"]]
    labels = [Column(f"ENUM('ä') CHARACTER SET {name}", "text", texts("ä")) for name in ["latin1"] + ["utf8mb4"] * 6]
    compare(database, [*columns, Column("INT", "int", ["1"]), *columns, *labels])


def test_labels_are_in_their_columns_character_set(database: Database) -> None:
    """ENUM and SET with labels that are not ASCII, in several sets; the invalid ENUM value; the empty SET."""
    columns = []
    for name in ("utf8mb4", "latin1", "utf16", "ucs2", "greek" if database.flavour == "mysql" else "latin2"):
        labels = {"greek": ("α", "ω"), "latin2": ("ł", "ő")}.get(name, ("ä", "é"))
        one, two = texts(*labels)
        columns.append(Column(f"ENUM({one}, {two}, 'c') CHARACTER SET {name}", "text", [one, two, "'c'", "0", "2"]))
        both = texts(",".join(labels))[0]
        columns.append(Column(f"SET({one}, {two}, 'c') CHARACTER SET {name}", "set", [one, both, "''", "7", "'c'"]))
    compare(database, columns)


def test_many_labels_take_more_bytes(database: Database) -> None:
    """An ENUM of more than 255 labels has two bytes, a SET up to eight, in the order of definition."""
    many = [f"l{i}" for i in range(300)]
    columns = [Column(f"ENUM({', '.join(texts(*many))})", "text", texts("l0", "l254", "l255", "l299"))]
    for size in (8, 9, 17, 33, 64):
        labels = many[:size]
        values = texts(labels[-1], ",".join(reversed(labels)), labels[0], "")
        columns.append(Column(f"SET({', '.join(texts(*labels))})", "set", values))
    compare(database, columns)


# Time


def test_dates_are_as_the_server_prints_them(database: Database) -> None:
    """Zero, partial and impossible dates included."""
    dates = texts("2026-11-23", "0000-00-00", "2026-00-00", "2026-11-00", "2026-02-31", "0001-01-01", "9999-12-31")
    compare(database, [Column("DATE", "text", dates)], mode="ALLOW_INVALID_DATES")


def test_datetimes_have_the_digits_of_their_column(database: Database) -> None:
    """Fractions of every length, zero dates with and without a fraction, no zone."""
    values = texts(
        "2026-11-23 08:19:33.987654", "0000-00-00", "1000-01-01", "9999-12-31 23:59:59", "2026-00-00 01:02:03"
    )
    columns = [Column(f"DATETIME({n})", "datetime", values) for n in range(7)]
    compare(database, columns, mode="ALLOW_INVALID_DATES")


def test_timestamps_are_in_utc(database: Database) -> None:
    """Whatever the writer's zone; zero is the zero date and not 1970."""
    values = texts(
        "2026-11-23 08:19:33.987654", "0000-00-00", "1970-01-01 00:00:01", "2038-01-19 03:14:07", "2000-02-29"
    )
    compare(database, [Column(f"TIMESTAMP({n}) NULL", "timestamp", values) for n in range(7)])
    start = database.end()
    with database.session("SET time_zone = '+05:30'") as session:
        session.query("INSERT INTO t (id, c0) VALUES (100, '2026-11-23 05:30:00')")
    assert rows(database.read(start, "t"))[0]["c0"] == "2026-11-23T00:00:00Z"


def test_times_may_be_long_and_negative(database: Database) -> None:
    """A negative time with a fraction, hours beyond a day, zero without a sign."""
    values = [
        "-12:34:56.789012",
        "838:59:59",
        "-838:59:59",
        "00:00:00",
        "-00:00:01.5",
        "-00:00:00.000001",
        "100:00:00.1",
    ]
    compare(database, [Column(f"TIME({n})", "text", texts(*values)) for n in range(7)])


# Tables


@pytest.mark.parametrize("count", [1, 8, 9, 16, 20])
def test_nulls_are_found_among_many_columns(maria: Database, count: int) -> None:
    """Each column alone NULL and alone not, with bitmaps that fill their bytes and that do not."""
    columns = [f"c{i}" for i in range(count)]
    maria.run("CREATE TABLE t ({})".format(", ".join(f"{name} INT" for name in columns)))
    start = maria.end()
    lines = [[None if (i == hole) is alone else i for i in range(count)] for hole in range(count) for alone in (1, 0)]
    texts = ["({})".format(", ".join("NULL" if value is None else str(value) for value in line)) for line in lines]
    maria.run(f"INSERT INTO t VALUES {', '.join(texts)}")
    assert rows(maria.read(start, "t")) == [dict(zip(columns, line, strict=True)) for line in lines]


def test_generated_and_invisible_columns_are_as_their_type(database: Database) -> None:
    """They are in the log like any other, and named."""
    database.run(
        "CREATE TABLE t (a INT, v INT AS (a * 2) VIRTUAL, s INT AS (a * 3) STORED, h INT DEFAULT 7 INVISIBLE, z INT)"
    )
    start = database.end()
    database.run("INSERT INTO t (a, z) VALUES (5, 6)")
    (row,) = rows(database.read(start, "t"))
    assert row == {"a": 5, "v": 10, "s": 15, "h": 7, "z": 6}


def test_functional_indexes_leave_no_column(oracle: Database) -> None:
    """MySQL's hidden columns behind indexes over expressions and arrays do not disturb the visible ones."""
    oracle.run("CREATE TABLE t (a INT, j JSON, b INT, KEY ((a + 1)), KEY ((CAST(j AS UNSIGNED ARRAY))))")
    start = oracle.end()
    oracle.run("INSERT INTO t VALUES (1, '[1, 2]', 3)")
    assert rows(oracle.read(start, "t")) == [{"a": 1, "j": [1, 2], "b": 3}]


def test_only_wished_columns_are_delivered(database: Database) -> None:
    """In the table's order; the others are skipped over."""
    database.run("CREATE TABLE t (a INT, secret TEXT, b INT, more TEXT, c INT)")
    start = database.end()
    database.run("INSERT INTO t VALUES (1, 'hidden', 2, NULL, 3)")
    assert rows(database.read(start, "t", columns=("c", "a"))) == [{"a": 1, "c": 3}]


def test_names_may_hold_anything(database: Database) -> None:
    """Spaces, quotes and letters beyond ASCII, in column names and in JSON columns."""
    json_type = "JSON" if database.flavour == "mysql" else 'LONGTEXT CHECK (json_valid(`my "düta`))'
    database.run(f'CREATE TABLE t (`a b` INT, `quo"te\\\\` INT, `日本` INT, `my "düta` {json_type})')
    start = database.end()
    database.run("""INSERT INTO t VALUES (1, 2, 3, '{"x": 1}')""")
    (row,) = rows(database.read(start, "t"))
    assert row == {"a b": 1, 'quo"te\\\\': 2, "日本": 3, 'my "düta': {"x": 1}}


def test_rows_of_then_have_the_names_of_then(database: Database) -> None:
    """A backlog read after columns were added, dropped, renamed and retyped, and the table dropped, is as it was."""
    database.run("CREATE TABLE t (id INT, name VARCHAR(10), flag ENUM('no', 'yes'))")
    start = database.end()
    database.run(
        "INSERT INTO t VALUES (1, 'one', 'yes')",
        "ALTER TABLE t ADD extra INT FIRST",
        "INSERT INTO t VALUES (10, 2, 'two', 'no')",
        "ALTER TABLE t RENAME COLUMN name TO title",
        "ALTER TABLE t MODIFY id BIGINT UNSIGNED, MODIFY flag ENUM('yes', 'no', 'maybe')",
        "INSERT INTO t VALUES (10, 18446744073709551615, 'three', 'maybe')",
        "ALTER TABLE t DROP extra",
        "INSERT INTO t VALUES (4, 'four', 'yes')",
        "DROP TABLE t",
    )
    assert rows(database.read(start, "t")) == [
        {"id": 1, "name": "one", "flag": "yes"},
        {"extra": 10, "id": 2, "name": "two", "flag": "no"},
        {"extra": 10, "id": 18446744073709551615, "title": "three", "flag": "maybe"},
        {"id": 4, "title": "four", "flag": "yes"},
    ]


# JSON


DOCUMENTS = [
    "null",
    "true",
    "[false, null, true]",
    "0",
    "-1",
    "32767",
    "-32768",
    "32768",
    "65535",
    "65536",
    "-2147483648",
    "2147483648",
    "4294967296",
    "-9223372036854775808",
    "18446744073709551615",
    "1.5",
    "-0.0",
    "1e100",
    "0.1",
    '""',
    '"ü日😀\\u0000\\"\\\\"',
    "{}",
    "[]",
    '{"": {}, "a": [], "ключ": {"日本": [[[]]]}}',
    '{"b": 1, "aa": 2, "a": 3}',
    '[1, 40000, 70000, 5000000000, 1.25, true, null, "x", [], {}]',
    json.dumps({f"key{i}": {"n": [i, i * 1000, i * 10**6], "s": "é" * (i % 300)} for i in range(200)}),
    json.dumps(["x" * 70000, {"deep": 1}, [2]]),
    json.dumps([70000] * 20000),
    json.dumps({f"k{i}": i for i in range(9000)}),
    json.dumps("y" * 200),
    "[" * 30 + "]" * 30,
]


def test_json_is_the_document_itself(database: Database) -> None:
    """Every kind and width of number, containers small and large, nested, empty; keys and texts in any language."""
    columns = [Column("JSON", "json", ["'{}'".format(text.replace("\\", "\\\\")) for text in DOCUMENTS])]
    arrived = compare(database, columns)
    expected = [json.loads(text, parse_float=digits) for text in DOCUMENTS]
    assert [row["c0"] for row in arrived[:-1]] == expected


OPAQUE = [
    "CAST('2026-11-23' AS DATE)",
    "CAST('2026-11-23 08:19:33.987654' AS DATETIME(6))",
    "CAST('0000-00-00' AS DATETIME)",
    "CAST('-12:34:56.789012' AS TIME(6))",
    "CAST('838:59:59' AS TIME)",
    "CAST(12345.6789 AS DECIMAL(20,10))",
    "CAST(-0.5 AS DECIMAL(3,1))",
    "CAST(1e5 AS DECIMAL(65,30))",
    "CAST(X'00FF80' AS BINARY)",
    "REPEAT(X'FF', 100)",
    "b'101'",
    "CAST(2026 AS YEAR)",
    "ST_GeomFromText('POINT(1 2)')",
    "CAST(18446744073709551615 AS UNSIGNED)",
    "1e0",
    "true",
]


def test_values_of_sql_types_inside_json(oracle: Database) -> None:
    """Dates, times, decimals and binary strings print as MySQL prints them."""
    values = [f"JSON_OBJECT('v', {value}, 'w', 1)" for value in OPAQUE]
    compare(oracle, [Column("JSON", "json", values)])


def test_json_in_a_text_column_stays_as_written(maria: Database) -> None:
    """MariaDB's JSON is text with a check: digits beyond a float, escapes and repeated keys are not touched."""
    maria.run("CREATE TABLE t (a JSON, b LONGTEXT CHECK (json_valid(b)), c LONGTEXT)")
    start = maria.end()
    text = '{"n": 1234567890123456789012345678901234567890.10, "k": 1, "k": 2, "e": "\\\\u00e9"}'
    maria.run(f"INSERT INTO t VALUES ('{text}', ' [1.0]', '{{\"x\": 1}}')")
    (change,) = [change for done in maria.read(start, "t") for change in done.changes]
    written = text.replace("\\\\", "\\")
    assert change.message.decode() == f'{{"a":{written},"b":[1.0],"c":"{{\\"x\\": 1}}"}}'


def test_text_that_only_claims_to_be_json_is_a_string(maria: Database) -> None:
    """With checks off the column may hold anything, and the row must stay JSON; half a surrogate pair is still JSON."""
    maria.run("CREATE TABLE t (a JSON, b INT)", "SET check_constraint_checks = 0")
    start = maria.end()
    bad = ["{", "NaN", "[1] x", "", "[" * 100_000]
    maria.run("INSERT INTO t VALUES {}".format(", ".join(f"({text}, 1)" for text in texts(*bad, '["\\ud800"]'))))
    assert [row["a"] for row in rows(maria.read(start, "t"))] == [*bad, ["\ud800"]]


# What this version cannot decode


@pytest.mark.parametrize(("type_", "number"), [("TIME(2)", 11), ("TIMESTAMP(3) NULL", 7), ("DATETIME", 12)])
def test_columns_that_cannot_be_decoded_are_told(maria: Database, type_: str, number: int) -> None:
    """A gap that names table, column and type; another channel's rows arrive. In the formats of before MySQL 5.6."""
    maria.run("SET GLOBAL mysql56_temporal_format = OFF")
    try:
        maria.run(f"CREATE TABLE t (id INT, d {type_})", "CREATE TABLE u (id INT)")
    finally:
        maria.run("SET GLOBAL mysql56_temporal_format = ON")
    start = maria.end()
    maria.run("INSERT INTO t VALUES (1, NULL)", "INSERT INTO u VALUES (1)")
    committed = maria.read(start, "t", "u")
    ((channel, detail),) = gaps(committed)
    assert (channel, rows(committed)) == ("t", [{"id": 1}])
    assert detail == f"test_cdc.t: column d (type {number}) cannot be decoded by this version"


def test_an_unknown_character_set_is_told() -> None:
    """By name where the server has told it, else by the collation's number."""
    for collation, text in [(5, "in the character set dec9"), (6, "with the unknown collation 6")]:
        table = TableMap("shop", "goods", (column(tablemap.VARCHAR, b"\x09\0", collation=collation),), named=True)
        with pytest.raises(UndecodableRow, match=rf"shop\.goods: column c \(type 15 {text}\)"):
            compile_decoder(table, Shape(None, {}, bigint_strings=False, charsets={5: "dec9"}))

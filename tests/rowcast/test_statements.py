from importlib.resources import files

import pytest

from rowcast.statements import fill, identifier, schema_pattern, split


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A; B;\n", ["A", "B"]),
        ("A ';' B; C \";\"", ["A ';' B", 'C ";"']),
        ("A 'it''s; \\'; so'; B", ["A 'it''s; \\'; so'", "B"]),
        ("A `na;me`; B", ["A `na;me`", "B"]),
        ("-- one; two\nA -- 'three\n, B; # four; \nC", ["A  \n, B", "C"]),
        ("A /* ; ' */ B; C", ["A   B", "C"]),
        ("/*!50100 A; B */; /*M! C; */", ["/*!50100 A; B */", "/*M! C; */"]),
        ("A 5--3; B", ["A 5--3", "B"]),
        (";; ;\n-- nothing\n", []),
    ],
)
def test_statements_end_at_semicolons_of_their_own(text, expected):
    """Semicolons in strings, names and comments end nothing; plain comments go, version comments stay."""
    assert split(text) == expected


def test_values_are_put_in_by_name():
    """Braces name a value; an unknown name is an error and not an empty text."""
    assert fill("GRANT {what} TO {user}", {"what": "ALL", "user": "'{what}'"}) == "GRANT ALL TO '{what}'"
    with pytest.raises(KeyError):
        fill("{unknown}", {})


def test_names_are_quoted():
    """A backtick in a name cannot end it, and a schema in a grant is no pattern."""
    assert identifier("a`b") == "`a``b`"
    assert schema_pattern("a_b%c") == r"`a\_b\%c`"


def test_our_files_have_balanced_quotes():
    """No statement of ours holds a quote that was never closed: the split would go wrong there."""
    for file in files("sql").iterdir():
        if file.name.endswith(".sql"):
            for statement in split(file.read_text("utf-8")):
                assert all(statement.count(quote) % 2 == 0 for quote in "'`\""), (file.name, statement)

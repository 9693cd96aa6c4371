import tomllib

from rowcast.toml_lines import key_lines, line_of

DOCUMENT = """\
top = 1
[api]                      # a comment
port = 8000
"max body" = 1
text = '''
[not.a.table]
port = 9
'''
list = [
  "a = 1",
]
[channels.one]
table = "t"
[ channels . "t w o" ]
table = "u"
gateway.port = 5
inline = { deep = { key = 1 } }
"""


def test_keys_are_found_on_their_lines():
    """Tables, plain, quoted and dotted keys are found; what looks like one inside a string is not."""
    tomllib.loads(DOCUMENT)
    lines = key_lines(DOCUMENT)
    assert lines == {
        "top": 1,
        "api": 2,
        "api.port": 3,
        "api.max body": 4,
        "api.text": 5,
        "api.list": 9,
        "channels.one": 12,
        "channels.one.table": 13,
        "channels.t w o": 14,
        "channels.t w o.table": 15,
        "channels.t w o.gateway.port": 16,
        "channels.t w o.inline": 17,
    }


def test_an_inline_key_has_the_line_of_its_table():
    """A key the scan does not see gets the line of the nearest one around it."""
    lines = key_lines(DOCUMENT)
    assert line_of(lines, "channels.t w o.inline.deep.key") == 17
    assert line_of(lines, "nowhere") is None

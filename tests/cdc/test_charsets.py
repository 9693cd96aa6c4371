from __future__ import annotations

import json

from cdc import charsets


def test_every_character_set_has_a_codec() -> None:
    """Each name in the table is one that Python knows, and latin1 is decodable without one."""
    for charset in charsets.CODECS:
        assert charsets.decode_text(b"", charset) == ""
    assert charsets.decodable("latin1")
    assert not charsets.decodable("klingon")


def test_bytes_that_are_not_valid_do_not_raise() -> None:
    """They become U+FFFD, and the row arrives."""
    assert charsets.text(b"a\xffb", "utf8mb4") == '"a\ufffdb"'.encode()
    assert json.loads(charsets.text(b"\xd8\x00", "utf16")) == "\ufffd"
    assert charsets.decode_text(b"A\xa4", "dec8") == "A\ufffd"


def test_latin1_is_windows_1252_without_holes() -> None:
    """The five bytes that Windows leaves unassigned are control characters; no byte raises."""
    text = charsets.decode_text(bytes(range(256)), "latin1")
    assert [ord(text[byte]) for byte in (0x81, 0x8D, 0x8F, 0x90, 0x9D)] == [0x81, 0x8D, 0x8F, 0x90, 0x9D]
    assert (text[0x80], text[0xE9], len(text)) == ("€", "é", 256)

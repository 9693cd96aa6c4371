"""The servers' character sets: bytes of a string column to JSON text. Pure functions."""

from __future__ import annotations

import codecs
from collections.abc import Mapping
from types import MappingProxyType

import msgspec

_encode = msgspec.json.Encoder().encode

CODECS: Mapping[str, str] = MappingProxyType(
    {
        "ascii": "ascii", "big5": "cp950", "cp1250": "cp1250", "cp1251": "cp1251", "cp1256": "cp1256",
        "cp1257": "cp1257", "cp850": "cp850", "cp852": "cp852", "cp866": "cp866", "cp932": "cp932",
        "eucjpms": "euc_jp", "euckr": "cp949", "gb18030": "gb18030", "gb2312": "gb2312", "gbk": "gbk",
        "greek": "iso8859-7", "hebrew": "iso8859-8", "hp8": "hp-roman8", "koi8r": "koi8-r", "koi8u": "koi8-u",
        "latin2": "iso8859-2", "latin5": "iso8859-9", "latin7": "iso8859-13", "macce": "mac-latin2",
        "macroman": "mac-roman", "sjis": "shift_jis", "tis620": "tis-620",
        "ucs2": "utf-16-be", "ujis": "euc_jp", "utf16": "utf-16-be", "utf16le": "utf-16-le", "utf32": "utf-32-be",
        "utf8": "utf-8", "utf8mb3": "utf-8", "utf8mb4": "utf-8",
    }
)  # fmt: skip
"""The servers' character sets that Python decodes, by the servers' names. ``latin1`` is not ISO 8859-1: see below."""

# ruff: noqa: RUF001 - characters that look alike are the subject here
# Where the servers' tables differ from Python's: (Python's characters, theirs), found by comparing every code.
_THEIRS = {
    "big5": ("‧﹑¯～⊕⊙∕﹨￥￠￡", "•､‾∼♁☉／＼¥¢£"),
    "cp866": ("№¤", "ⁿ²"),
    "eucjpms": ("〜‖−¢£¬", "～∥－￠￡￢"),
    "gb18030": ("\ue7c7ḿ", "ḿ\ue7c7"),
    "greek": ("‘’", "ʽʼ"),
    "hebrew": ("¯", "‾"),
    "koi8u": ("∙", "•"),
    "sjis": ("＼", "\\"),
    "ujis": ("＼", "\\"),
}
_TRANSLATIONS = {charset: str.maketrans(*characters) for charset, characters in _THEIRS.items()}

# Sets without a Python codec, as both servers convert each byte: where they differ from ISO 8859-1, from which byte on.
_OVER_LATIN1 = {
    "armscii8": {
        0xA1: "❁§։)(»«—.՝,-՟…՜՛՞ԱաԲբԳգԴդԵեԶզԷէԸըԹթԺժԻիԼլԽխԾծԿկՀհՁձՂղՃճՄմՅյՆնՇշՈոՉչՊպՋջՌռՍսՎվՏտՐրՑցՒւՓփՔքՕօՖֆ’'"
    },
    "dec8": {
        0xA4: "�", 0xA6: "�", 0xA8: "¤", 0xAC: "����", 0xB4: "�", 0xB8: "�", 0xBE: "�", 0xD0: "�", 0xD7: "Œ",
        0xDD: "Ÿ�", 0xF0: "�", 0xF7: "œ", 0xFD: "ÿ��",
    },
    "geostd8": {
        0x80: "€�‚�„…†‡�‰�‹�����‘’“”•–—���›����",
        0xC0: "აბგდევზჱთიკლმნჲოპჟრსტჳუფქღყშჩცძწჭხჴჯჰჵ�����������������������№��",
    },
    "keybcs2": {
        0x80: "ČüéďäĎŤčěĚĹÍľĺÄÁÉžŽôöÓůÚýÖÜŠĽÝŘťáíóúňŇŮÔšřŕŔ¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀"
              "αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\xa0",
    },
    "swe7": {0x40: "É", 0x5B: "ÄÖÅÜ", 0x60: "é", 0x7B: "äöåü" + "�" * 129},
}  # fmt: skip


def _table(pieces: Mapping[int, str]) -> str:
    characters = list(map(chr, range(256)))
    for start, piece in pieces.items():
        characters[start : start + len(piece)] = piece
    return "".join(characters)


# The servers' latin1 is Windows-1252 with its five unassigned bytes standing for the control characters they are in
# ISO 8859-1, where Python's cp1252 would raise.
_LATIN1 = "".join(
    chr(byte) if byte in (0x81, 0x8D, 0x8F, 0x90, 0x9D) else bytes([byte]).decode("cp1252") for byte in range(256)
)
_TABLES = {"latin1": _LATIN1} | {charset: _table(pieces) for charset, pieces in _OVER_LATIN1.items()}


def decodable(charset: str) -> bool:
    """Whether ``decode_text`` knows the character set."""
    return charset in CODECS or charset in _TABLES


def decode_text(raw: bytes, charset: str) -> str:
    """Bytes of a server character set as text. Bytes that are not valid in it become U+FFFD."""
    table = _TABLES.get(charset)
    if table is not None:
        return codecs.charmap_decode(raw, "strict", table)[0]
    decoded = raw.decode(CODECS[charset], "replace")
    translation = _TRANSLATIONS.get(charset)
    return decoded.translate(translation) if translation else decoded


def text(raw: bytes, charset: str) -> bytes:
    """A string column."""
    return _encode(decode_text(raw, charset))

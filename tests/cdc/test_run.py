from __future__ import annotations

import struct
import zlib
from typing import Any

import pytest

from cdc import pending
from cdc import tablemap as t
from cdc.assembler import Assembler
from cdc.committed import Committed
from cdc.rows import Decoder
from tests.cdc.forge import ID, Field, Log
from tests.cdc.story import LARGE, Story

PACKED = Field("text", t.BLOB_COMPRESSED, b"\2", collation=45)


def packed_row(number: int, text: bytes) -> bytes:
    """A row of ``ID`` and ``PACKED``, whose stream has a length of four bytes."""
    stream = zlib.compress(text)
    return b"\0" + struct.pack("<iHB", number, 5 + len(stream), 0x84) + len(text).to_bytes(4, "big") + stream


def test_what_a_replica_writes_has_the_time_of_its_commit_there() -> None:
    """MySQL's GTID then has a second time, that of the source, and a bit of the first says so."""
    log = Log("mysql")
    for number in range(4):
        log.insert(number, domain=7)
    by_events = Story(log, Assembler).by_events(log.sent_from(4))
    story = Story(log)
    assert story.by_reads(log.sent_from(4), LARGE) == by_events
    assert story.fed == len(log.sent_from(4)) - 3 * 5, "all but the first went the short way"
    times = [done.committed for _, done, *_ in by_events if isinstance(done, Committed)]
    assert times == [micro / 1e6 for micro in range(1700000000_123456, 1700000000_123460)]


@pytest.mark.parametrize("joins", [True, False])
def test_a_transaction_is_given_up_as_soon_as_it_weighs_too_much(joins: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its rows come with one read, but unpacked they may be far more than may be held: what is left stays packed."""
    monkeypatch.setattr(pending, "PIECE_BYTES", 50_000)
    log = Log("mariadb")
    for count in (1, 100):
        log.begin()
        log.table(7, "shop", "orders", ID, PACKED)
        for number in range(count):
            log.rows(packed_row(number, b"x" * 10_000))
        log.xid()
    by_events = Story(log, Assembler).by_events(log.sent_from(4))
    assert len([one for one in by_events if one[0] == "piece"]) == 20

    images, made = Decoder.images, 0

    def count_rows(self: Decoder, *where: Any) -> list[bytes]:
        nonlocal made
        messages = images(self, *where)
        made += len(messages)
        return messages

    monkeypatch.setattr(Decoder, "images", count_rows)
    assert Story(log).by_reads(log.sent_from(4), LARGE, joins=lambda: joins) == by_events
    assert made - 101 == 5, "of its rows so many were read twice"

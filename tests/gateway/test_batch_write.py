"""Writing to many sockets by one system call: real sockets, and the kernel's own answers."""

from __future__ import annotations

import asyncio
import logging
import platform
import socket
import tracemalloc
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest

from gateway import batch_write, io_submit
from gateway.batch_write import BatchWriter, OneByOne
from gateway.group import SLICE
from gateway.io_submit import Submission
from tests.gateway.clients import RawClient
from tests.gateway.conftest import MakeGateway
from tests.gateway.recorder import Recorder
from tests.gateway.stored import StoredJournal
from tests.models.kernel import Kernel

CCTV = "cctv_updates"
ROW = b'{"n":1}'

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def submission() -> Iterator[Submission]:
    """The kernel's, where there is one."""
    try:
        made = Submission.tried()
    except OSError as error:
        pytest.skip(f"no io_submit here: {error}")
    yield made
    made.close()


@pytest.fixture
def pairs() -> Iterator[list[Pair]]:
    """As many connections as are written to at once, our ends without blocking."""
    with ExitStack() as stack:
        made = [socket.socketpair() for _ in range(SLICE)]
        for pair in made:
            for end in pair:
                stack.enter_context(end)
                end.setblocking(False)
        yield made


def fill(sock: socket.socket) -> None:
    """Until it takes no more."""
    with suppress(BlockingIOError):
        while True:
            sock.send(bytes(1 << 16))


def received(sock: socket.socket) -> bytes:
    """All that has come."""
    data = b""
    with suppress(BlockingIOError):
        while more := sock.recv(1 << 20):
            data += more
    return data


class Wired(Recorder):
    """A connection with a socket of its own, which keeps what its own ``send`` was given."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self.sent: list[bytes | memoryview] = []
        self._number = descriptor

    def descriptor(self) -> int:
        """Its socket."""
        return self._number

    def send(self, data: bytes | memoryview) -> None:
        """Keep it."""
        self.sent.append(data)


def test_every_socket_gets_all(submission: Submission, pairs: list[Pair]) -> None:
    """In one call, and again and again, whatever the length."""
    for data in (b"x", bytes(range(256)) * 7, b"last"):
        assert submission.write(data, [ours.fileno() for ours, _ in pairs]) is None
        assert {received(other) for _, other in pairs} == {data}
    assert submission.write(b"few", [pairs[3][0].fileno()]) is None
    assert [received(other) for _, other in pairs[2:5]] == [b"", b"few", b""]


def test_every_socket_gets_its_own(submission: Submission, pairs: list[Pair]) -> None:
    """Pieces of any length, an empty one among them, and one of them full."""
    pieces = [bytes([number]) * (number * 7 % 31) for number in range(SLICE)]
    descriptors = [ours.fileno() for ours, _ in pairs]
    assert submission.write_each(pieces, descriptors) is None
    assert [received(other) for _, other in pairs] == pieces
    fill(pairs[5][0])
    expected = [0 if number == 5 else len(piece) for number, piece in enumerate(pieces)]
    assert submission.write_each(pieces, descriptors) == expected
    assert [received(other) for _, other in pairs[:5]] == pieces[:5]


@pytest.mark.parametrize("which", [[0], [SLICE - 1], [3, 4, 70], list(range(SLICE))])
def test_a_full_socket_takes_nothing_or_some(submission: Submission, pairs: list[Pair], which: list[int]) -> None:
    """It is told how much each took, and nothing waits for the full ones."""
    data = bytes(3_000_000)  # more than any takes at once
    short = b"short"
    for number in which:
        fill(pairs[number][0])
    taken = submission.write(short, [ours.fileno() for ours, _ in pairs])
    assert taken is not None
    assert list(taken) == [0 if number in which else len(short) for number in range(SLICE)]
    others = [number for number in range(SLICE) if number not in which]
    taken = submission.write(data, [ours.fileno() for ours, _ in pairs])
    assert taken is not None
    assert [0 < taken[number] < len(data) for number in others] == [True] * len(others)
    assert [len(received(pairs[number][1])) - len(short) for number in others] == [taken[number] for number in others]


@pytest.mark.parametrize("which", [[0], [SLICE - 1], [3, 4, 70], list(range(SLICE))])
@pytest.mark.parametrize("end", [0, 1])
def test_an_ended_socket_takes_nothing(submission: Submission, pairs: list[Pair], which: list[int], end: int) -> None:
    """Neither ours that was closed nor one whose other end is; all others are written to."""
    descriptors = [ours.fileno() for ours, _ in pairs]
    for number in which:
        pairs[number][end].close()
    taken = submission.write(ROW, descriptors)
    assert taken is not None
    assert list(taken) == [0 if number in which else len(ROW) for number in range(SLICE)]
    assert submission.write(ROW, descriptors) == taken, "it can be used again"
    others = [pair for number, pair in enumerate(pairs) if number not in which]
    assert {received(other) for _, other in others} <= {ROW * 2}


def test_the_rest_is_left_to_each_connection(submission: Submission, pairs: list[Pair]) -> None:
    """What a socket did not take goes through its connection's own ``send``, and so does all where something waits."""
    data = bytes(range(256)) * 4000
    whole, full, waits = (Wired(pairs[0][0].fileno()), Wired(pairs[1][0].fileno()), Wired(-1))
    pairs[0][0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
    others = [Wired(ours.fileno()) for ours, _ in pairs[2:]]
    fill(pairs[1][0])
    BatchWriter(submission).send([whole, full, waits, *others], data)
    assert (full.sent, waits.sent) == ([data], [data])
    for sink, (_, other) in zip([whole, *others], [pairs[0], *pairs[2:]], strict=True):
        assert received(other) + b"".join(sink.sent) == data
    rests = [rest for sink in others for rest in sink.sent]
    assert rests, "all took everything: nothing was tried"
    assert all(isinstance(rest, memoryview) and rest.obj is data for rest in rests), "each has a copy of its own"


def test_a_large_row_for_all_is_not_copied(submission: Submission, pairs: list[Pair]) -> None:
    """One row may pass every filter there is: each socket takes what it can of the same bytes."""
    row = bytes(range(256)) * 8192  # 2 MiB
    tracemalloc.start()
    try:
        taken = submission.write_each([row] * SLICE, [ours.fileno() for ours, _ in pairs])
        assert tracemalloc.get_traced_memory()[1] < len(row)
    finally:
        tracemalloc.stop()
    assert taken is not None
    assert all(size > 0 for size in taken)
    assert [received(other) for _, other in pairs] == [row[:size] for size in taken]


def test_each_gets_its_own_and_the_rest(submission: Submission, pairs: list[Pair]) -> None:
    """Where sockets take a part, or nothing, and where something waits."""
    sinks = [Wired(-1 if number == 3 else ours.fileno()) for number, (ours, _) in enumerate(pairs)]
    pieces = [bytes([number]) * (1_000_000 if number % 2 else 10) for number in range(SLICE)]
    BatchWriter(submission).send_each(list(zip(sinks, pieces, strict=True)))
    assert sinks[3].sent == [pieces[3]]
    assert any(sink.sent for sink in sinks[4:]), "all took everything: nothing was tried"
    for sink, (_, other), piece in zip(sinks, pairs, pieces, strict=True):
        assert received(other) + b"".join(sink.sent) == piece


def test_more_than_one_call_takes(submission: Submission, pairs: list[Pair]) -> None:
    """A group may be larger than what is written to at once."""
    sinks = [Wired(ours.fileno()) for ours, _ in pairs for _ in range(3)]
    BatchWriter(submission).send(sinks, ROW)
    assert {received(other) for _, other in pairs} == {ROW * 3}
    BatchWriter(submission).send_each([(sink, ROW) for sink in sinks])
    assert {received(other) for _, other in pairs} == {ROW * 3}
    assert not any(sink.sent for sink in sinks)


def test_it_can_be_closed_twice(pairs: list[Pair]) -> None:
    """A gateway that was drained is drained again where everything is closed; a late row takes the other way."""
    with ExitStack() as stack:
        try:
            submission = Submission.tried()
        except OSError as error:
            pytest.skip(f"no io_submit here: {error}")
        stack.callback(submission.close)
        submission.close()
        assert submission.write(ROW, [ours.fileno() for ours, _ in pairs]) == [0] * SLICE


def test_an_answer_that_was_not_collected_is_nobodys(
    submission: Submission, pairs: list[Pair], monkeypatch: pytest.MonkeyPatch
) -> None:
    """When a write breaks off, nothing is written any more: what the kernel still has to say would be misread."""

    def breaks_off(_: int) -> None:
        raise MemoryError

    descriptors = [ours.fileno() for ours, _ in pairs]
    with monkeypatch.context() as patch:
        patch.setattr(submission, "_collect", breaks_off)
        with pytest.raises(MemoryError):
            submission.write(ROW, descriptors)
    fill(pairs[7][0])
    assert submission.write(ROW, descriptors) == [0] * SLICE


def test_few_are_written_to_one_by_one() -> None:
    """For a handful the call is not worth its preparation."""
    sinks = [Wired(1) for _ in range(batch_write.LEAST - 1)]
    BatchWriter(Kernel()).send(sinks, ROW)  # it knows none of them
    BatchWriter(Kernel()).send_each([(sink, ROW) for sink in sinks])
    assert [sink.sent for sink in sinks] == [[ROW, ROW]] * len(sinks)


@pytest.mark.parametrize("machine", ["vax", "refuses"])
def test_where_it_cannot_be_had(
    machine: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """On another machine, and where the kernel knows no such call, it goes one by one, and the log says why."""
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setitem(io_submit._CALLS, "refuses", (9999, 9999, 9999, 9999))
    assert isinstance(batch_write.best(), OneByOne)
    assert "connections are written to one by one: " in caplog.text


async def test_pongs_and_rows_keep_their_order(make_gateway: MakeGateway, journal: StoredJournal) -> None:
    """An answer that still waits in the transport goes first, whatever is written to the socket meanwhile."""
    gateway = await make_gateway()
    clients = [await RawClient.open(gateway) for _ in range(20)]
    for one in clients:
        await one.say(type="subscribe", channel=CCTV)
        assert [(await one.take())["type"] for _ in range(2)] == ["subscribed", "live"]
    for number in range(1, 51):
        for connection in list(gateway._shared.connections)[::3]:
            connection._reply(b"\x8a\x00")  # an empty pong, which the library takes without a word
        gateway.publish(await journal.append(CCTV, [b'{"n":%d}' % number]))
        await asyncio.sleep(0)
    for one in clients:
        assert [(await one.take())["offset"] for _ in range(50)] == list(range(1, 51))


async def test_a_gateway_is_drained_twice(make_gateway: MakeGateway) -> None:
    """Once by whoever stops in order, and once more where everything is closed that was opened."""
    gateway = await make_gateway()
    await gateway.drain(1)
    await gateway.drain(1)


async def test_a_connection_that_ends_has_no_socket_to_write_to(make_gateway: MakeGateway) -> None:
    """Its number may be somebody else's at any moment; and one that something waits for goes by its transport."""
    gateway = await make_gateway()
    one, other = await RawClient.open(gateway), await RawClient.open(gateway)
    ending, waiting = gateway._shared.connections
    assert min(ending.descriptor(), waiting.descriptor()) >= 0
    ending._transport.abort()
    waiting._transport.write(bytes(1 << 24))
    assert (ending.descriptor(), waiting.descriptor()) == (-1, -1)
    one.close()
    other.close()

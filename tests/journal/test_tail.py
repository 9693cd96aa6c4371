from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from journal.tail import EVENT_OVERHEAD, Tail
from journal.types import Event
from tests.journal.rows import A, offsets


def events(first: int, *sizes: int) -> list[Event]:
    """Events with these message sizes, from an offset on."""
    return [Event(A, offset, "insert", b"x" * size, 0.0) for offset, size in enumerate(sizes, first)]


def test_it_holds_the_end_within_its_bytes() -> None:
    """The oldest go when the limit is passed; what is asked for before them is not here."""
    tail = Tail(3 * (EVENT_OVERHEAD + 10))
    tail.extend(events(1, 10, 10))
    tail.extend(events(3, 10, 10))

    assert tail.read(0, 10, 1000) is None
    assert offsets(tail.read(1, 10, 1000) or []) == [2, 3, 4]
    assert offsets(tail.read(3, 10, 1000) or []) == [4]


def test_an_event_too_large_empties_it() -> None:
    """An event beyond the limit is not held, nor anything before it: the tail has no holes."""
    tail = Tail(1000)
    tail.extend(events(1, 10, 10_000))
    assert len(tail) == 0
    assert tail.read(0, 10, 1000) is None

    tail.extend(events(3, 10))
    assert offsets(tail.read(2, 10, 1000) or []) == [3]


def test_what_was_trimmed_is_forgotten() -> None:
    """Events below the floor leave memory too, some or all of them."""
    tail = Tail(10_000)
    tail.extend(events(1, 10, 10, 10, 10))
    tail.forget(3)
    assert tail.read(1, 10, 1000) is None
    assert offsets(tail.read(2, 10, 1000) or []) == [3, 4]

    tail.forget(99)
    assert len(tail) == 0
    tail.extend(events(5, 10))
    assert offsets(tail.read(4, 10, 1000) or []) == [5]


@given(
    limit=st.integers(0, 3000),
    steps=st.lists(st.one_of(st.lists(st.integers(0, 900), max_size=5), st.integers(0, 40)), max_size=20),
)
def test_it_is_always_the_end_of_the_list(limit: int, steps: list[list[int] | int]) -> None:
    """Whatever is added and forgotten: the tail is the longest end of the whole that fits, and counts it right."""
    tail, whole, floor = Tail(limit), list[Event](), 1
    for step in steps:
        if isinstance(step, int):
            floor = min(max(floor, step), len(whole) + 1)
            tail.forget(floor)
        else:
            more = events(len(whole) + 1, *step)
            whole += more
            tail.extend(more)
        held = tail._events
        assert held == whole[len(whole) - len(held) :]
        assert tail._size == sum(len(event.message) + EVENT_OVERHEAD for event in held) <= limit

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc.position import (
    Checkpoint,
    Fingerprint,
    GtidState,
    MariadbGtids,
    MysqlGtids,
    Position,
    from_server,
    log_order,
)

A = "3e11fa47-71ca-11e1-9e33-c80aa9429562"
B = "89c4b900-e754-11f1-b05d-02fc00000001"

numbers = st.integers(1, 40)
sources = st.sampled_from([A, B, f"{A}:blue", f"{B}:green_2"])


def members(text: str) -> set[tuple[str, int]]:
    """A MySQL GTID set as the transactions that it names, read here once more and the slow way."""
    found = set()
    for part in filter(None, text.split(",")):
        source, *rest = part.split(":")
        if rest[0][0].isalpha():
            source = f"{source}:{rest.pop(0)}"
        for interval in rest:
            first, _, last = interval.partition("-")
            found |= {(source, n) for n in range(int(first), int(last or first) + 1)}
    return found


# MySQL's sets


@given(st.lists(st.tuples(sources, numbers)))
def test_a_mysql_set_is_the_set_of_what_it_was_given(gtids: list[tuple[str, int]]) -> None:
    """Whatever the order, holes and repeats, the text names exactly the transactions that were counted."""
    state = MysqlGtids()
    for source, number in gtids:
        state.advance(f"{source}:{number}")
    assert members(str(state)) == set(gtids)


@given(st.sets(st.tuples(sources, numbers)), st.sets(st.tuples(sources, numbers)))
def test_what_a_mysql_set_lacks_is_named(ours: set[tuple[str, int]], theirs: set[tuple[str, int]]) -> None:
    """Every transaction of ours that is not in theirs, and no other."""
    mine, other = MysqlGtids(), MysqlGtids()
    for state, gtids in ((mine, ours), (other, theirs)):
        for source, number in gtids:
            state.advance(f"{source}:{number}")
    assert members(mine.beyond(other)) == ours - theirs


@pytest.mark.parametrize(
    ("ours", "theirs", "lacking"),
    [
        ("0-1-7", "0-1-7", ""),
        ("0-1-7", "0-2-9", ""),  # whether 0-1-7 is below it, the position does not say
        ("0-1-7", "0-2-7", "0-1-7"),
        ("0-1-7,5-1-3", "0-1-6,7-1-1", "0-1-7,5-1-3"),
    ],
)
def test_what_a_mariadb_position_lacks_is_named(ours: str, theirs: str, lacking: str) -> None:
    """A domain that has not come so far, or that has another server's transaction under the number."""
    assert MariadbGtids(ours).beyond(MariadbGtids(theirs)) == lacking


@given(st.lists(st.tuples(sources, numbers)))
def test_a_mysql_set_is_written_in_its_shortest_form(gtids: list[tuple[str, int]]) -> None:
    """Neighbours are joined: no interval begins where another one ends."""
    state = MysqlGtids()
    for source, number in gtids:
        state.advance(f"{source}:{number}")
    found = members(str(state))
    starts = [(source, n) for source, n in found if (source, n - 1) not in found]
    assert sum(part.count(":") - (":blue" in part or ":green" in part) for part in str(state).split(",")) == len(starts)


@given(st.sets(st.tuples(sources, numbers)), st.tuples(sources, numbers))
def test_a_mysql_set_goes_on_from_its_text(gtids: set[tuple[str, int]], one_more: tuple[str, int]) -> None:
    """Parsing the text and counting one more gives the set of all."""
    state = MysqlGtids()
    for source, number in gtids:
        state.advance(f"{source}:{number}")
    again = MysqlGtids(str(state))
    again.advance("{}:{}".format(*one_more))
    assert members(str(again)) == gtids | {one_more}


@given(st.sets(st.tuples(sources, numbers)), sources, numbers, st.integers(0, 9))
def test_a_mysql_set_takes_several_at_once(gtids: set[tuple[str, int]], source: str, first: int, more: int) -> None:
    """Those of one source from a number on: as if each were counted by itself."""
    state = MysqlGtids()
    for each in gtids:
        state.advance("{}:{}".format(*each))
    state.advance(f"{source}:{first + more}", first)
    assert members(str(state)) == gtids | {(source, number) for number in range(first, first + more + 1)}
    assert str(MysqlGtids(str(state))) == str(state)


def test_a_gap_in_a_mysql_set_closes() -> None:
    """The transaction that was missing joins the intervals on both sides."""
    state = MysqlGtids(f"{A}:1-5:7-9")
    state.advance(f"{A}:6")
    assert str(state) == f"{A}:1-9"


def test_a_mysql_set_is_read_as_servers_write_it() -> None:
    """Line breaks between sources and capital letters are theirs, one line of small letters is ours."""
    assert str(MysqlGtids(f"{A.upper()}:1-5:11,\n{B}:1")) == f"{A}:1-5:11,{B}:1"


def test_overlapping_intervals_are_joined_when_read() -> None:
    """A set written by hand with overlapping or unordered intervals is the same set."""
    assert str(MysqlGtids(f"{A}:5-9:1-6")) == str(MysqlGtids(f"{A}:1-9:2-3")) == f"{A}:1-9"


def test_tags_keep_their_own_intervals() -> None:
    """A tag (MySQL 8.3 on) names the intervals behind it, which do not join those without one."""
    state = MysqlGtids(f"{A}:1-3:blue:4-5:7")
    state.advance(f"{A}:blue:6")
    state.advance(f"{A}:4")
    assert str(state) == f"{A}:1-4,{A}:blue:4-7"


@pytest.mark.parametrize("text", [A, f"{A}:x-y", f"{A}:1-", f"{A}::1", f"{A}:1:"])
def test_a_malformed_mysql_set_is_refused(text: str) -> None:
    """What is no set raises ValueError."""
    with pytest.raises(ValueError, match=r"not a MySQL GTID set|invalid literal"):
        MysqlGtids(text)


# MariaDB's positions


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 3), st.integers(1, 1000))))
def test_a_mariadb_position_is_the_newest_of_each_domain(gtids: list[tuple[int, int, int]]) -> None:
    """Every domain is there once, with the GTID that was counted last, in the order of domains."""
    state = MariadbGtids()
    newest = {}
    for domain, server, sequence in gtids:
        state.advance(f"{domain}-{server}-{sequence}")
        newest[domain] = f"{domain}-{server}-{sequence}"
    assert str(state) == ",".join(newest[domain] for domain in sorted(newest))


def test_a_mariadb_position_keeps_the_other_domains() -> None:
    """Counting in one domain leaves what was read of the others: a dump without them replays them from the start."""
    state = MariadbGtids("0-1-100, 7-2-5")
    state.advance("0-3-101")
    assert str(state) == "0-3-101,7-2-5"


@pytest.mark.parametrize("text", ["0-1", "a-b-c", "0-1-2-3", f"{A}:1-5"])
def test_a_malformed_mariadb_position_is_refused(text: str) -> None:
    """What is no position raises ValueError."""
    with pytest.raises(ValueError, match=r"not a MariaDB GTID|invalid literal"):
        MariadbGtids(text)


@given(st.sets(st.tuples(sources, numbers)), st.tuples(sources, numbers))
def test_a_mysql_set_knows_what_it_holds(gtids: set[tuple[str, int]], asked: tuple[str, int]) -> None:
    """Exactly the transactions that were counted, whatever the letters of the source."""
    state = MysqlGtids()
    for source, number in gtids:
        state.advance(f"{source}:{number}")
    assert state.holds(f"{asked[0].upper()}:{asked[1]}") == (asked in gtids)


@pytest.mark.parametrize(
    ("gtid", "held"), [("0-9-100", True), ("0-1-101", False), ("7-2-1", True), ("7-2-6", False), ("3-1-1", False)]
)
def test_a_mariadb_position_holds_what_came_before_it(gtid: str, *, held: bool) -> None:
    """Numbers of a domain only grow, whichever server wrote them; another domain has none."""
    assert MariadbGtids("0-1-100,7-2-5").holds(gtid) is held


def test_the_flavour_decides_how_gtids_are_read() -> None:
    """Each server's text is read by its own class, the empty one included."""
    assert isinstance(GtidState.parse("mariadb", "0-1-1"), MariadbGtids)
    assert isinstance(GtidState.parse("mysql", f"{A}:1"), MysqlGtids)
    assert str(GtidState.parse("mariadb", "")) == str(GtidState.parse("mysql", "")) == ""


# Positions and checkpoints


@given(st.integers(1, 10**7), st.integers(4, 10**9), st.integers(1, 10**7), st.integers(4, 10**9))
def test_places_of_a_log_sort_by_file_and_offset(file: int, offset: int, other: int, place: int) -> None:
    """Files sort by number, also beyond the six digits that their names are padded to."""
    left, right = log_order(f"binlog.{file:06d}", offset), log_order(f"binlog.{other:06d}", place)
    assert (left < right) == ((file, offset) < (other, place))


def test_a_file_without_a_number_comes_first() -> None:
    """A name that nobody can order is not later than any other."""
    assert log_order("odd-name", 4) < log_order("binlog.000001", 4)


def test_the_servers_row_becomes_a_position() -> None:
    """Both words for the log's end give file, offset, and MySQL's set without its line breaks."""
    row = {"File": "binlog.000002", "Position": 1234, "Executed_Gtid_Set": f"{A}:1-5,\n{B}:1"}
    assert from_server(row) == Position("binlog.000002", 1234, f"{A}:1-5,{B}:1")
    assert from_server({"File": "binlog.000002", "Position": 1234}) == Position("binlog.000002", 1234)


@given(
    st.builds(
        Checkpoint,
        st.sampled_from(["mariadb", "mysql"]),
        st.text(max_size=40),
        *[st.builds(Position, st.text(max_size=20), st.integers(0, 2**40), st.none() | st.text(max_size=60))] * 2,
        st.none() | st.builds(Fingerprint, st.none() | st.text(max_size=60), st.text(max_size=30)),
        st.none() | st.just(Position("binlog.000001", 4, "0-1-1")),
    )
)
def test_a_checkpoint_survives_the_journal(checkpoint: Checkpoint) -> None:
    """What the journal keeps as text is the same checkpoint again."""
    assert Checkpoint.decode(checkpoint.encode()) == checkpoint


def test_a_checkpoint_from_before_xa_was_held_is_read() -> None:
    """Journals outlive versions: what has no such word holds nothing."""
    position = Position("binlog.000001", 4)
    text = Checkpoint("mysql", "a", position, position).encode().replace(',"held":null', "")
    assert "held" not in text
    assert Checkpoint.decode(text) == Checkpoint("mysql", "a", position, position)


@pytest.mark.parametrize("text", ["", "{}", '{"flavour":"oracle"}', "null"])
def test_a_text_that_is_no_checkpoint_is_refused(text: str) -> None:
    """A foreign text raises ValueError."""
    with pytest.raises(ValueError, match=r".*"):
        Checkpoint.decode(text)


def test_positions_print_for_people() -> None:
    """A gap's position reads as file and offset, with the GTIDs where there are any."""
    assert str(Position("binlog.000001", 4)) == "binlog.000001:4"
    assert str(Position("binlog.000001", 4, "0-1-7")) == "binlog.000001:4 (0-1-7)"

from __future__ import annotations

import json

import pytest

from gateway.session import Outcome, Rules, Session
from gateway.wire import Error, Pong, Unsubscribed
from journal.filter import MAX_SCANNED
from journal.opening import Bounds
from journal.texts import Gap, Subscribed
from tests.gateway.recorder import Recorder

CHANNELS = {"a": Bounds("k3f9", 1, 10), "b": Bounds("k3f9", 5, 10), "c": Bounds("k3f9", 1, 0)}


@pytest.fixture
def session() -> Session:
    return Session(Rules(CHANNELS.get, max_subscriptions=2), Recorder())


def say(session: Session, **frame: object) -> Outcome:
    return session.receive(json.dumps(frame))


def channels(session: Session) -> list[str]:
    return [subscription.channel for subscription in session.subscriptions]


def test_subscribe_is_answered_and_opens(session: Session) -> None:
    """A subscribe opens a subscription at the offset that its answer names, and the answer repeats the id."""
    outcome = say(session, type="subscribe", channel="a", id=1)
    assert outcome.replies == (Subscribed(subscription="a", epoch="k3f9", offset=10, recovered=True, id=1),)
    assert outcome.opened is session.subscriptions[0]
    assert outcome.opened.offset == 10
    assert outcome.closed is None


def test_a_resume_below_the_floor_gets_a_gap(session: Session) -> None:
    """What retention took is announced right after the answer."""
    outcome = say(session, type="subscribe", channel="b", epoch="k3f9", offset=2)
    assert outcome.replies == (
        Subscribed(subscription="b", epoch="k3f9", offset=4, recovered=False),
        Gap(subscription="b", after=2, before=5, reason="retention"),
    )


def test_a_foreign_epoch_gets_a_gap_even_when_nothing_is_there(session: Session) -> None:
    """Another epoch is announced on an empty channel too: the client must forget what it has."""
    outcome = say(session, type="subscribe", channel="c", epoch="old", offset=7)
    assert outcome.replies == (
        Subscribed(subscription="c", epoch="k3f9", offset=0, recovered=False),
        Gap(subscription="c", after=0, before=1, reason="epoch"),
    )


@pytest.mark.parametrize(("offset", "believed"), [(10, False), (11, True), (11, False)])
def test_a_client_ahead_of_us_may_be_right(offset: int, believed: bool) -> None:
    """An offset of our epoch beyond what was given is asked about; if it may be right, no word in this epoch."""
    asked = []

    def ahead(channel: str, offset: int) -> bool:
        asked.append((channel, offset))
        return believed

    session = Session(Rules(CHANNELS.get, max_subscriptions=2, ahead=ahead), Recorder())
    say(session, type="subscribe", channel="a", epoch="old", offset=99)
    outcome = say(session, type="subscribe", channel="a", epoch="k3f9", offset=offset)
    assert asked == [("a", 11)] * (offset > 10)
    assert (outcome.away, outcome.replies == ()) == (believed, believed)


def test_a_filter_beyond_the_bound_of_all_is_a_limit() -> None:
    """One filter too many for everybody together is refused by its own code, and what is open stays open."""
    session = Session(Rules(CHANNELS.get, max_subscriptions=2), Recorder())
    kept = [session._rules.filters.get("a", {f"k{number}": {"ne": 1}}) for number in range(MAX_SCANNED)]
    opened = say(session, type="subscribe", channel="b").opened
    (error,) = say(session, type="subscribe", channel="a", where={"another": {"ne": 1}}, id=3).replies
    assert isinstance(error, Error)
    assert (error.code, error.id, str(MAX_SCANNED) in error.reason) == ("limit", 3, True)
    assert session.subscriptions == (opened,)
    kept.clear()
    assert say(session, type="subscribe", channel="a", where={"another": {"ne": 1}}).opened


def test_subscribing_again_replaces(session: Session) -> None:
    """The second subscribe to a channel closes the first, also when the limit is reached."""
    first = say(session, type="subscribe", channel="a").opened
    say(session, type="subscribe", channel="b")
    outcome = say(session, type="subscribe", channel="a", last=3)
    assert outcome.closed is first
    assert outcome.opened is not None
    assert outcome.opened.offset == 7
    assert sorted(channels(session)) == ["a", "b"]


def test_the_limit_holds(session: Session) -> None:
    """One subscription too many is refused, and the others stay."""
    say(session, type="subscribe", channel="a")
    say(session, type="subscribe", channel="b")
    (error,) = say(session, type="subscribe", channel="c", id="x").replies
    assert error == Error(code="limit", reason="no more than 2 subscriptions on one connection", id="x")
    assert channels(session) == ["a", "b"]


def test_filters_that_mean_the_same_are_one(session: Session) -> None:
    """A subscription carries its compiled filter; another way to write it is the same one; none stays none."""
    say(session, type="subscribe", channel="a", where={"cctv_id": 3})
    say(session, type="subscribe", channel="b", where={"cctv_id": {"in": [3]}})
    first, second = session.subscriptions
    assert first.where is second.where is not None
    say(session, type="subscribe", channel="b", where={})
    assert session.subscriptions[-1].where is None


def test_a_bad_filter_is_refused_and_changes_nothing(session: Session) -> None:
    """The error names the place, and the subscription that was there stays as it was."""
    kept = say(session, type="subscribe", channel="a").opened
    outcome = say(session, type="subscribe", channel="a", where={"cctv_id": {"is": 3}}, id=4)
    (error,) = outcome.replies
    assert isinstance(error, Error)
    assert (error.code, error.reason[:34], error.id) == ("bad_filter", "where.cctv_id.is: no such operator", 4)
    assert (outcome.opened, outcome.closed, session.subscriptions) == (None, None, (kept,))


def test_an_unknown_channel_is_refused(session: Session) -> None:
    """The answer names the channel as harmless text."""
    for kind in ("subscribe", "unsubscribe"):
        (error,) = say(session, type=kind, channel="\ud800").replies
        assert error == Error(code="unknown_channel", reason='no channel "\\ud800": GET /api/channels lists them')


def test_unsubscribe_closes_and_may_be_repeated(session: Session) -> None:
    """Unsubscribing what is not subscribed is answered all the same."""
    opened = say(session, type="subscribe", channel="a").opened
    outcome = say(session, type="unsubscribe", channel="a", id=2)
    assert outcome == Outcome((Unsubscribed(subscription="a", id=2),), closed=opened)
    assert say(session, type="unsubscribe", channel="a") == Outcome((Unsubscribed(subscription="a"),))
    assert session.subscriptions == ()


def test_ping_and_auth(session: Session) -> None:
    """A ping is answered; a token is refused, since this version has no use for it."""
    assert say(session, type="ping", id=1.5).replies == (Pong(id=1.5),)
    (error,) = say(session, type="auth", token="x", id=3).replies
    assert error == Error(code="bad_request", reason="authentication is not configured", id=3)


def test_garbage_gets_one_error(session: Session) -> None:
    """What cannot be understood gets one error, with the id when there is one."""
    (error,) = session.receive('{"type":"subscribe","id":5}').replies
    assert error == Error(code="bad_request", reason="object missing required field channel", id=5)

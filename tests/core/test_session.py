"""What a node sends on one connection is told apart."""

from __future__ import annotations

import pytest

from clustercache._core.session import Session, What
from clustercache._core.wire import ServerError
from tests.core.subscribed import (
    HIGH,
    LOW,
    PLAIN,
    push,
)


def test_what_a_node_sends_is_told_apart():
    session = Session()
    assert session.idle
    session.shake_hands([(("HELLO", 3), True), (("CLIENT", "SETINFO"), False)])
    assert not session.settled
    data = session.subscribe([LOW])
    assert data == b"*2\r\n$10\r\nSSUBSCRIBE\r\n$8\r\nfoo{bar}\r\n"
    assert session.take({b"proto": 3}).what is What.NOTHING
    assert session.take(ServerError("ERR unknown subcommand")).what is What.NOTHING
    assert session.settled
    assert session.holds(LOW)
    assert not session.in_force(LOW)
    assert session.take(push(b"ssubscribe", LOW.name, 1)) == (What.JOINED, LOW, None, None)
    assert session.in_force(LOW)
    came = session.take(push(b"smessage", LOW.name, b"data"))
    assert came == (What.MESSAGE, LOW, LOW.name, b"data")
    came = session.take([b"pmessage", b"n*", b"news", b"data"])
    assert came == (What.MESSAGE, PLAIN, b"news", b"data")
    assert session.take(push(b"invalidate", [b"k"])).what is What.NOTHING
    assert session.take(b"out of step").what is What.NOTHING
    assert session.take([]).what is What.NOTHING
    assert session.take(push(b"sunsubscribe", LOW.name, 0)).what is What.EVICTED
    assert session.idle


def test_a_handshake_that_is_refused_is_unwelcome():
    session = Session()
    session.shake_hands([(("AUTH", "x"), True)])
    error = ServerError("WRONGPASS invalid")
    assert session.take(error) == (What.UNWELCOME, None, None, error)


def test_our_own_unsubscribing_is_none_of_the_nodes():
    session = Session()
    session.subscribe([LOW])
    session.take(push(b"ssubscribe", LOW.name, 1))
    session.unsubscribe([LOW])
    assert session.holds(LOW)
    assert not session.idle
    assert session.take(push(b"sunsubscribe", LOW.name, 0)).what is What.LEFT
    assert session.idle


def test_an_unsubscribing_that_is_refused_has_left_all_the_same():
    session = Session()
    session.subscribe([LOW])
    session.take(push(b"ssubscribe", LOW.name, 1))
    session.unsubscribe([LOW])
    came = session.take(ServerError("MOVED 5061 b:7000"))
    assert (came.what, came.subscription) == (What.LEFT, LOW)
    assert not session.holds(LOW)


def test_a_subscribing_that_is_refused_is_asked_no_more():
    session = Session()
    session.subscribe([LOW, HIGH])
    error = ServerError("MOVED 5061 b:7000")
    assert session.take(error) == (What.REFUSED, LOW, None, error)
    assert list(session.asked) == [HIGH]
    assert session.take(b"+a reply that is no confirmation").what is What.NOTHING


@pytest.mark.parametrize(
    ("message", "reply", "data"),
    [
        (None, b"PONG", b""),
        (None, [b"pong", b""], b""),
        (b"hi", b"hi", b"hi"),
        (b"hi", [b"pong", b"hi"], b"hi"),
    ],
)
def test_only_the_users_own_pings_are_answered_to_the_user(message, reply, data):
    session = Session()
    assert session.ping() == b"*1\r\n$4\r\nPING\r\n"
    assert session.idle
    session.ping(message, told=True)
    assert not session.idle
    assert session.take(reply).what is What.NOTHING
    assert session.take(reply) == (What.PONG, None, None, data)


def test_a_ping_that_is_refused_is_no_pong():
    session = Session()
    session.ping(told=True)
    assert session.take(ServerError("NOPERM")).what is What.NOTHING


def test_two_commands_about_one_subscription_are_both_awaited():
    session = Session()
    session.subscribe([LOW])
    session.unsubscribe([LOW])
    session.subscribe([LOW])
    for word in (b"ssubscribe", b"sunsubscribe"):
        session.take(push(word, LOW.name, 1))
        assert not session.in_force(LOW)
    session.take(push(b"ssubscribe", LOW.name, 1))
    assert session.in_force(LOW)

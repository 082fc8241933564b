"""Pub/sub as desired state: where subscriptions belong, and what is missing there."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clustercache._core.messages import (
    BACK,
    CHANGED,
    EVICTED,
    FORKED,
    LOST,
    Kind,
)
from clustercache._core.subscriptions import (
    choose_home,
    nodes_of,
    reconcile,
)
from tests.core.subscribed import (
    HALF,
    HIGH,
    KEYS,
    LAST,
    LOW,
    MIXED,
    NEWS,
    PLAIN,
    PROMOTED,
    TWO,
    A,
    B,
    C,
    Nodes,
)
from tests.core.topologies import SLOTS, shard, topology


@pytest.fixture
def nodes():
    return Nodes()


# ------------------------------------------------------------------------------------ the places


def test_each_subscription_has_its_place():
    assert nodes_of(NEWS, TWO, B) == (B,)
    assert nodes_of(PLAIN, TWO, None) == ()
    assert nodes_of(LOW, TWO, B) == (A,)
    assert nodes_of(HIGH, TWO, A) == (B,)
    assert nodes_of(KEYS, TWO, A) == (A, B)
    assert nodes_of(HIGH, topology((0, 5, shard("a"))), A) == ()


@pytest.mark.parametrize(
    ("home", "order", "avoid", "chosen"),
    [
        (None, (A, B), (), A),
        (B, (A, B), (), B),
        (B, (A, B), (B,), A),
        (C, (A, B), (), A),
        (C, (A, B), (A,), B),
        (B, (A, B), (A, B), B),
        (C, (A, B), (A, B), A),
        (C, (), (), None),
    ],
)
def test_the_home_stays_as_long_as_it_will_do(home, order, avoid, chosen):
    assert choose_home(home, order, avoid) == chosen


SUBSCRIPTIONS = st.sampled_from([NEWS, PLAIN, LOW, HIGH, KEYS])
PLACES = st.dictionaries(st.sampled_from([A, B, C]), st.frozensets(SUBSCRIPTIONS))


@given(PLACES, PLACES)
def test_reconciling_turns_what_is_into_what_is_wanted(desired, actual):
    state = {node: set(held) for node, held in actual.items()}
    actions = reconcile(desired, actual)
    for node, joins, subscriptions in actions:
        held = state.setdefault(node, set())
        assert subscriptions
        for one in subscriptions:
            assert (one in held) is not joins, "asked for what is so already"
            (held.add if joins else held.discard)(one)
    assert {n: s for n, s in state.items() if s} == {n: set(s) for n, s in desired.items() if s}
    assert reconcile(desired, state) == []
    assert [a.joins for a in actions] == sorted((a.joins for a in actions), reverse=True)


# ------------------------------------------------------------------------------ what the user sees


def test_a_subscription_is_told_when_all_its_nodes_have_confirmed_it(nodes):
    nodes.silent = {B}
    nodes.want(KEYS)
    assert nodes.told == []
    assert nodes.state.joining([KEYS])
    nodes.answer(B, KEYS)
    assert nodes.told == [("psubscribe", KEYS.name, 1)]
    assert not nodes.state.joining([KEYS, NEWS])


def test_subscriptions_are_counted_as_servers_count_them(nodes):
    nodes.want(NEWS, PLAIN, LOW, HIGH)
    assert sorted(nodes.told) == [
        ("psubscribe", b"n*", 2),
        ("ssubscribe", b"foo", 2),
        ("ssubscribe", b"foo{bar}", 1),
        ("subscribe", b"news", 1),
    ]
    nodes.state.unwant(Kind.SHARD)
    assert nodes.told == []
    nodes.turn()
    assert {(kind, data) for kind, _, data in nodes.told} == {
        ("sunsubscribe", 1),
        ("sunsubscribe", 0),
    }
    assert nodes.state.active
    nodes.state.unwant(Kind.CHANNEL, [b"news"])
    nodes.turn()
    assert nodes.told == [("unsubscribe", b"news", 1)]


def test_to_subscribe_twice_is_confirmed_twice_and_the_later_handler_counts(nodes):
    nodes.want(NEWS)
    nodes.want(NEWS, handler=print)
    assert nodes.told == [("subscribe", b"news", 1)] * 2
    nodes.message(nodes.state.home)
    assert nodes.state.events.pop().handler is print


def test_to_subscribe_twice_before_the_first_is_confirmed_is_confirmed_once(nodes):
    nodes.silent = {A}
    nodes.want(NEWS)
    nodes.want(NEWS)
    nodes.answer(A, NEWS)
    assert nodes.told == [("subscribe", b"news", 1)]


def test_to_unsubscribe_from_what_is_not_subscribed_is_confirmed_at_once(nodes):
    nodes.state.unwant(Kind.CHANNEL, [b"x"])
    nodes.state.unwant(Kind.PATTERN)
    assert nodes.told == [("unsubscribe", b"x", 0), ("punsubscribe", None, 0)]
    assert not nodes.state.active


def test_what_was_never_asked_of_a_node_is_left_at_once(nodes):
    nodes.state.want(Kind.CHANNEL, {b"news": None})
    nodes.state.unwant(Kind.CHANNEL)
    nodes.state.unwant(Kind.CHANNEL)
    assert nodes.told == [("unsubscribe", b"news", 0), ("unsubscribe", None, 0)]


def test_to_subscribe_again_while_leaving_is_told_as_both_and_is_no_gap(nodes):
    nodes.want(NEWS)
    nodes.silent = {A}
    nodes.state.unwant(Kind.CHANNEL)
    nodes.turn()
    nodes.state.unwant(Kind.CHANNEL, [b"news"])
    nodes.want(NEWS)
    assert nodes.told == [("subscribe", b"news", 1), ("unsubscribe", b"news", 0)]
    nodes.answer(A, NEWS, joins=False)
    nodes.answer(A, NEWS)
    assert nodes.told == [("subscribe", b"news", 1)]


def test_messages_come_until_the_unsubscribing_is_confirmed(nodes):
    nodes.want(NEWS, handler=print)
    nodes.silent = {A}
    nodes.state.unwant(Kind.CHANNEL)
    nodes.turn()
    nodes.message(A, data=b"late")
    assert nodes.state.events[-1].handler is print
    nodes.answer(A, NEWS, joins=False)
    nodes.message(A, data=b"too late")
    assert [kind for kind, *_ in nodes.told] == ["subscribe", "message", "unsubscribe"]


def test_a_lost_node_confirms_what_it_was_to_leave(nodes):
    nodes.want(NEWS)
    nodes.silent = {A}
    nodes.state.unwant(Kind.CHANNEL)
    nodes.turn()
    nodes.state.lost(A, LOST)
    assert nodes.told[-1] == ("unsubscribe", b"news", 0)
    nodes.state.lost(A, LOST)
    assert nodes.told == []


def test_a_pong_is_told(nodes):
    nodes.state.open(A).ping(b"hi", told=True)
    nodes.state.received(A, b"hi")
    assert nodes.told == [("pong", None, b"hi")]


# ----------------------------------------------------------------------------------------- gaps


def test_a_lost_connection_begins_a_gap_and_the_next_confirmation_ends_it(nodes):
    nodes.want(LOW, HIGH)
    assert len(nodes.told) == 2
    nodes.state.lost(A, LOST)
    assert nodes.told == [("gap", LOW.name, LOST)]
    nodes.turn()
    assert nodes.told == [("gap", LOW.name, BACK)]


def test_a_promotion_moves_what_belonged_on_the_old_primary(nodes):
    nodes.want(LOW, HIGH, KEYS)
    assert len(nodes.told) == 3
    actions = nodes.turn(PROMOTED)
    assert actions[0][:2] == (C, True)
    assert set(actions[0].subscriptions) == {LOW, KEYS}
    assert [action[:2] for action in actions[1:]] == [(A, False)]
    assert nodes.told == [
        ("gap", LOW.name, CHANGED),
        ("gap", KEYS.name, CHANGED),
        ("gap", LOW.name, BACK),
        ("gap", KEYS.name, BACK),
    ]
    assert nodes.turn() == []


def test_a_new_primary_is_joined_for_keyspace_notifications(nodes):
    nodes.want(KEYS)
    third = SLOTS // 3
    wider = topology(
        (0, third, shard("a")), (third + 1, 2 * third, shard("b")), (2 * third, LAST, shard("c"))
    )
    assert [action[:2] for action in nodes.turn(wider)] == [(C, True)]
    assert nodes.state.spread
    nodes.state.unwant(Kind.PATTERN)
    nodes.turn()
    assert not nodes.state.spread


def test_what_a_node_unsubscribes_by_itself_is_subscribed_again(nodes):
    nodes.want(LOW)
    nodes.answer(A, LOW, joins=False)
    assert [action[:2] for action in nodes.turn()] == [(A, True)]
    assert nodes.told[1:] == [("gap", LOW.name, EVICTED), ("gap", LOW.name, BACK)]


def test_a_home_that_cannot_be_reached_is_moved_away_from(nodes):
    nodes.want(NEWS)
    nodes.state.lost(A, LOST)
    assert [action[:2] for action in nodes.turn(avoid={A})] == [(B, True)]
    assert nodes.state.home == B
    assert nodes.turn() == []


def test_a_slot_without_an_owner_leaves_its_channels_astray_until_it_has_one(nodes):
    nodes.known = topology((0, HALF - 1, shard("a")))
    nodes.want(HIGH)
    assert nodes.state.stray
    assert nodes.state.joining([HIGH])
    nodes.turn(TWO)
    assert not nodes.state.stray
    assert nodes.told == [("ssubscribe", b"foo", 1)]


def test_a_child_begins_anew_and_gets_nothing_twice(nodes):
    nodes.want(LOW)
    nodes.message(A, one=LOW)
    nodes.state.forked()
    assert nodes.told == [("gap", LOW.name, FORKED)]
    assert nodes.state.sessions == {}


def test_nothing_is_whole_before_the_topology_is_known(nodes):
    nodes.state.want(Kind.CHANNEL, {b"news": None})
    nodes.state.open(A).subscribe([NEWS])
    nodes.answer(A, NEWS)
    assert nodes.told == []


# ---------------------------------------------------------------------------------- messages once


def test_keyspace_notifications_come_from_every_primary(nodes):
    nodes.want(KEYS)
    nodes.told  # noqa: B018 - forget
    nodes.message(A, b"__keyspace@0__:x", KEYS)
    nodes.message(B, b"__keyspace@0__:y", KEYS)
    assert [channel for _, channel, _ in nodes.told] == [b"__keyspace@0__:x", b"__keyspace@0__:y"]


def test_what_the_bus_carries_everywhere_comes_once(nodes):
    nodes.want(MIXED)
    nodes.told  # noqa: B018 - forget
    for node in (A, B):
        nodes.message(node, b"__keyboard__:x", MIXED)
    assert nodes.told == [("pmessage", b"__keyboard__:x", b"1")]


def test_the_old_home_counts_until_the_new_one_has_confirmed(nodes):
    nodes.want(NEWS)
    nodes.silent = {A, B}
    nodes.turn(avoid={A})
    nodes.told  # noqa: B018 - forget
    nodes.message(A)
    nodes.answer(B, NEWS)
    nodes.message(A)
    nodes.message(B)
    assert [kind for kind, *_ in nodes.told] == ["message", "gap", "message"]


def test_a_message_before_the_home_is_connected_counts(nodes):
    nodes.want(NEWS)
    nodes.silent = {A}
    nodes.turn(avoid={A})
    nodes.state.lost(B, LOST)
    nodes.told  # noqa: B018 - forget
    nodes.message(A)
    assert [kind for kind, *_ in nodes.told] == ["message"]


def test_a_message_that_nobody_wants_is_dropped(nodes):
    nodes.want(LOW)
    nodes.told  # noqa: B018 - forget
    nodes.message(A, one=HIGH)
    assert nodes.told == []

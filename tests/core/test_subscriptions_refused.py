"""A subscription that a node refuses goes elsewhere, waits, or is wanted no more."""

from __future__ import annotations

import pytest

from clustercache._core.messages import (
    CHANGED,
    LOST,
    Kind,
)
from clustercache._core.slots import key_slot
from tests.core.subscribed import (
    HIGH,
    KEYS,
    LOW,
    NEWS,
    PROMOTED,
    TWO,
    A,
    B,
    C,
    Nodes,
)


@pytest.fixture
def nodes():
    return Nodes()


def test_a_redirect_is_followed_and_patched(nodes):
    nodes.silent = {A}
    nodes.want(LOW)
    slot = key_slot(LOW.name)
    decision = nodes.refuse(A, LOW, f"MOVED {slot} b:7000")
    assert (decision.patch, decision.refresh, decision.to) == (True, True, B)
    moved = TWO.with_moved(slot, B)
    assert [action[:2] for action in nodes.turn(moved)] == [(B, True)]
    assert nodes.told == [("ssubscribe", LOW.name, 1)]


def test_a_node_that_serves_not_for_now_is_asked_again_after_a_pause(nodes):
    nodes.silent = {A}
    nodes.want(LOW, NEWS)
    for attempt in range(40):
        decision = nodes.refuse(A, (LOW, NEWS)[attempt % 2], "CLUSTERDOWN Hash slot not served")
        assert decision.refresh
        assert nodes.turn() == []
        assert nodes.state.due is not None
        if attempt % 2:
            nodes.now = nodes.state.due + 0.2
            nodes.turn()
    nodes.answer(A, LOW)
    nodes.answer(A, NEWS)
    assert [kind for kind, *_ in nodes.told] == ["ssubscribe", "subscribe"]


def test_what_is_held_back_on_one_node_stays_on_the_others(nodes):
    nodes.silent = {B}
    nodes.want(KEYS)
    nodes.refuse(B, KEYS, "LOADING Redis is loading the dataset in memory")
    assert nodes.turn() == []
    nodes.now = nodes.state.due
    assert [action[:2] for action in nodes.turn()] == [(B, True)]


def test_a_gap_begins_where_a_subscription_in_force_is_refused_elsewhere(nodes):
    nodes.want(KEYS)
    nodes.silent = {C}
    nodes.turn(PROMOTED)
    nodes.refuse(C, KEYS, "LOADING Redis is loading the dataset in memory")
    assert nodes.told[1:] == [("gap", KEYS.name, CHANGED)]


def test_what_is_refused_for_good_is_wanted_no_more(nodes):
    nodes.silent = {B}
    nodes.want(NEWS, KEYS)
    assert not nodes.refuse(B, KEYS, "NOPERM No permissions to access a channel").refresh
    assert list(nodes.state.wanted) == [NEWS]
    assert [action[:2] for action in nodes.turn()] == [(A, False)]
    assert nodes.told == [("subscribe", b"news", 1)]


def test_what_was_in_force_and_is_refused_for_good_is_counted_no_more(nodes):
    nodes.want(LOW, HIGH)
    nodes.state.lost(A, LOST)
    nodes.silent = {A}
    nodes.turn()
    nodes.refuse(A, LOW, "NOPERM No permissions to access a channel")
    nodes.want(HIGH)
    assert nodes.told[-1] == ("ssubscribe", b"foo", 1)


def test_a_refusal_of_what_is_being_left_confirms_that(nodes):
    nodes.silent = {A}
    nodes.want(LOW)
    nodes.state.unwant(Kind.SHARD)
    nodes.refuse(A, LOW, "MOVED 1 b:7000")
    assert nodes.told == [("sunsubscribe", LOW.name, 0)]


def test_a_refused_handshake_says_whether_to_wait_or_to_tell(nodes):
    session = nodes.state.open(A)
    session.shake_hands([(("HELLO", 3), True)])
    decision = nodes.refuse(A, None, "LOADING Redis is loading the dataset in memory")
    assert decision.refresh

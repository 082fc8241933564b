"""Pub/sub as desired state: where subscriptions belong, and what is missing there."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clustercache._core.messages import (
    BACK,
    CHANGED,
    EVICTED,
    FORKED,
    LOST,
    Event,
    Kind,
    Subscription,
    is_everywhere,
    keyspace_pattern,
    named,
    shaped,
)
from clustercache._core.session import Session, What
from clustercache._core.slots import key_slot
from clustercache._core.subscriptions import (
    Subscriptions,
    choose_home,
    nodes_of,
    primaries,
    reconcile,
)
from clustercache._core.wire import Push, ServerError
from tests.core.topologies import SLOTS, address, shard, topology

LAST = SLOTS - 1
HALF = SLOTS // 2
A, B, C = map(address, "abc")
TWO = topology((0, HALF - 1, shard("a")), (HALF, LAST, shard("b")))
PROMOTED = topology((0, HALF - 1, shard("c")), (HALF, LAST, shard("b")))
NEWS = Subscription(Kind.CHANNEL, b"news")
PLAIN = Subscription(Kind.PATTERN, b"n*")
LOW = Subscription(Kind.SHARD, b"foo{bar}")  # slot 5061, of a
HIGH = Subscription(Kind.SHARD, b"foo")  # slot 12182, of b
KEYS = Subscription(Kind.PATTERN, b"__keyspace@0__:*")
MIXED = Subscription(Kind.PATTERN, b"__key*__:*")


def push(*items):
    made = Push()
    made.extend(items)
    return made


class Nodes:
    """Connections that do as they are told, and confirm at once unless they are silent."""

    def __init__(self, known=TWO):
        self.known = known
        self.state = Subscriptions()
        self.silent = set()
        self.now = 0.0

    def turn(self, known=None, *, order=None, avoid=()):
        self.known = known or self.known
        order = order or primaries(self.known)
        actions = self.state.reconcile(self.known, order=order, avoid=avoid, now=self.now)
        for node, joins, subscriptions in actions:
            session = self.state.sessions.get(node) or self.state.open(node)
            (session.subscribe if joins else session.unsubscribe)(subscriptions)
            if node not in self.silent:
                for one in subscriptions:
                    self.answer(node, one, joins=joins)
        return actions

    def answer(self, node, one, *, joins=True):
        word = one.kind.joins if joins else one.kind.leaves
        return self.state.received(node, push(word.encode(), one.name, 1))

    def want(self, *subscriptions, handler=None):
        for kind, name in subscriptions:
            self.state.want(kind, {name: handler})
        self.turn()

    def message(self, node, channel=b"c", one=NEWS, data=b"1"):
        parts = [one.name, channel] if one.kind is Kind.PATTERN else [one.name]
        self.state.received(node, push(one.kind.message.encode(), *parts, data))

    def refuse(self, node, one, text, jitter=1.0):
        came = self.state.received(node, ServerError(text))
        assert came.subscription == one
        return self.state.refused(
            node, came, backoff=(0.01, 0.1), now=self.now, jitter=jitter
        ).decision

    @property
    def told(self):
        events = [(event.type, event.channel, event.data) for event in self.state.events]
        self.state.events.clear()
        return events


@pytest.fixture
def nodes():
    return Nodes()


# ------------------------------------------------------------------------------------ the names


@pytest.mark.parametrize(
    ("name", "everywhere"),
    [
        (b"__keyspace@0__:*", True),
        (b"__keyevent@*__:expired", True),
        (b"__key*__:*", True),
        (b"__keys[p]ace@0__:k", True),
        (b"__keyspace@0__:plain", True),
        (b"__key", True),
        (b"__keyboard*", False),
        (b"*", False),
        (b"__*", False),
        (b"news", False),
    ],
)
def test_a_pattern_that_begins_as_keyspace_notifications_do_belongs_everywhere(name, everywhere):
    assert is_everywhere(Subscription(Kind.PATTERN, name)) is everywhere
    assert not is_everywhere(Subscription(Kind.SHARD, name))


def test_a_channel_belongs_everywhere_if_it_is_one_of_keyspace_notifications():
    assert is_everywhere(Subscription(Kind.CHANNEL, b"__keyevent@0__:expired"))
    assert not is_everywhere(Subscription(Kind.CHANNEL, b"__key*__:*"))


def test_keyspace_patterns_are_spelt_as_servers_spell_them():
    assert keyspace_pattern("keyspace", "user:*", 0, "utf-8") == b"__keyspace@0__:user:*"
    assert keyspace_pattern("keyevent", b"expired", 3, "utf-8") == b"__keyevent@3__:expired"


def test_names_are_taken_as_redis_py_takes_them():
    one = SimpleNamespace(name="c", handler=len)
    found = named(("a", b"b", one), {"d": print}, "utf-8", "strict")
    assert found == {b"a": None, b"b": None, b"c": len, b"d": print}
    assert named((["a", "b"], "c"), {}, "utf-8", "strict") == dict.fromkeys([b"a", b"b", b"c"])
    assert named((), {}, "utf-8", "strict") == {}


def test_a_message_has_redis_pys_fields():
    event = Event("pmessage", b"\xc3\xa4", b"1", b"*")
    raw = {"type": "pmessage", "pattern": b"*", "channel": b"\xc3\xa4", "data": b"1"}
    assert shaped(event, None) == raw
    text = {"type": "pmessage", "pattern": "*", "channel": "ä", "data": "1"}
    assert shaped(event, ("utf-8", "strict")) == text
    assert shaped(Event("subscribe", b"c", 2), ("utf-8", "strict"))["data"] == 2


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


# --------------------------------------------------------------------------------- one connection


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


MAPS = (TWO, PROMOTED, topology((0, HALF - 1, shard("b"))))
ALL = (NEWS, PLAIN, LOW, HIGH, KEYS)
STEPS = st.one_of(
    st.tuples(st.sampled_from(["wanted", "unwanted"]), st.sampled_from(ALL)),
    st.tuples(
        st.sampled_from(["lost", "muted", "evicted", "redirected"]), st.sampled_from([A, B, C])
    ),
    st.tuples(st.just("turn"), st.sampled_from(MAPS)),
)


class Weather(Nodes):
    """Nodes to which anything may happen, by the names of STEPS."""

    def wanted(self, one):
        self.state.want(one.kind, {one.name: None})

    def unwanted(self, one):
        self.state.unwant(one.kind, [one.name])

    def lost(self, node):
        self.state.lost(node, LOST)

    def muted(self, node):
        self.silent ^= {node}
        self.lost(node)

    def evicted(self, node):
        session = self.state.sessions.get(node)
        if session is not None and node not in self.silent:
            for one in [one for one in session.confirmed if one.kind is Kind.SHARD]:
                self.answer(node, one, joins=False)

    def redirected(self, node):
        session = self.state.sessions.get(node)
        if session is not None and node in self.silent and session.asked:
            self.refuse(node, next(iter(session.asked)), "MOVED 1 c:7000", jitter=0.0)

    def clears_up(self, known):
        for node in list(self.silent):
            self.muted(node)
        self.now = 1000.0
        self.turn(known)
        self.turn(known)

    def story_of(self, one):
        """Return "out", "whole" or "broken", which the user was told of a subscription at last."""
        now = "out"
        for event in self.state.events:
            if event.channel != one.name:
                continue
            if event.type == one.kind.leaves:
                now = "out"
            elif event.type == one.kind.joins:
                now = "whole" if now == "out" else now
            else:
                assert now == ("broken" if event.data == BACK else "whole")
                now = "whole" if event.data == BACK else "broken"
        return now


@given(st.lists(STEPS, max_size=40), st.sampled_from(MAPS[:2]))
def test_whatever_happened_everything_wanted_is_whole_two_turns_later(steps, last):
    weather = Weather()
    for step, what in steps:
        getattr(weather, step)(what)
    weather.clears_up(last)
    state = weather.state
    assert weather.turn(last) == []
    assert not state.leaving
    for one in ALL:
        places = nodes_of(one, last, state.home) if one in state.wanted else ()
        assert {n for n, s in state.sessions.items() if s.in_force(one)} == set(places)
        assert weather.story_of(one) == ("whole" if one in state.wanted else "out")


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


# -------------------------------------------------------------------------------------- refusals


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

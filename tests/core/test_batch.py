"""The rounds of a pipeline: what may go out again, and in which order."""

from __future__ import annotations

from itertools import combinations, permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clustercache._core.address import Address
from clustercache._core.batch import Batch, Unit
from clustercache._core.commands import Safety
from clustercache._core.decisions import Call, Event, Trouble, Verb

HERE, THERE = Address("here", 1), Address("there", 2)
RESEND = frozenset({Safety.READ, Safety.SAME, Safety.COUNT})
MOVED = Event(Trouble.MOVED, HERE, THERE, 5)
ASK = Event(Trouble.ASK, HERE, THERE, 5)
TRYAGAIN = Event(Trouble.TRYAGAIN, HERE)
LOST = Event(Trouble.NO_REPLY, HERE)
REFUSED = Event(Trouble.ERROR, HERE)


def unit(order, *keys, safety=Safety.SAME, splittable=False):
    encoded = [key.encode() for key in keys]
    return Unit(order, encoded, Call(safety, RESEND, splittable), f"{order}")


def absorb(batch, **events):
    """Give each unit of a round its event; None is a plain reply. Units are named u0, u1, ..."""
    troubles = []
    for name, event in events.items():
        one = next(u for u in batch.units if u.order == int(name[1:]))
        if event is None:
            one.done = True
        else:
            troubles.append((one, event))
    return batch.absorb(troubles, took=0.0, backoff=(0.01, 0.1), jitter=lambda: 0.5)


def orders(units):
    return [one.order for one in units]


def test_units_go_out_in_the_order_of_the_calls():
    batch = Batch([unit(1, "b"), unit(0, "a"), unit(2, "a")])
    assert orders(batch.round()) == [0, 1, 2]


def test_what_has_a_reply_never_goes_out_again():
    batch = Batch([unit(0, "a"), unit(1, "b")])
    absorb(batch, u0=None, u1=MOVED)
    assert orders(batch.round()) == [1]
    assert batch.pending[0].target == THERE


def test_a_redirected_command_that_was_overtaken_fails_as_not_applied():
    batch = Batch([unit(0, "a", "b"), unit(1, "a")])
    absorb(batch, u0=TRYAGAIN, u1=None)
    assert batch.pending == []
    assert batch.units[0].verdict is Verb.RAISE_OVERTAKEN


def test_a_lost_command_that_was_overtaken_has_an_unknown_outcome():
    batch = Batch([unit(0, "a"), unit(1, "a")])
    absorb(batch, u0=LOST, u1=None)
    assert batch.units[0].verdict is Verb.RAISE_UNKNOWN


def test_a_later_command_that_fails_for_good_counts_as_executed():
    batch = Batch([unit(0, "a"), unit(1, "a")])
    absorb(batch, u0=MOVED, u1=REFUSED)
    assert [one.verdict for one in batch.units] == [Verb.RAISE_OVERTAKEN, Verb.RAISE_REPLY]


def test_a_later_command_that_may_have_been_executed_overtakes():
    batch = Batch([unit(0, "a"), unit(1, "a", safety=Safety.NEVER)])
    absorb(batch, u0=MOVED, u1=LOST)
    assert [one.verdict for one in batch.units] == [Verb.RAISE_OVERTAKEN, Verb.RAISE_UNKNOWN]


@pytest.mark.parametrize("event", [MOVED, LOST])
def test_a_later_command_that_ended_as_it_did_is_no_obstacle(event):
    batch = Batch([unit(0, "a"), unit(1, "a")])
    absorb(batch, u0=event, u1=event)
    assert orders(batch.round()) == [0, 1]


def test_a_refused_command_is_overtaken_by_a_later_one_that_lost_its_reply():
    batch = Batch([unit(0, "a"), unit(1, "a")])
    absorb(batch, u0=MOVED, u1=LOST)
    assert batch.units[0].verdict is Verb.RAISE_OVERTAKEN
    assert orders(batch.round()) == [1]


def test_reads_overtake_no_reads():
    reads = {"safety": Safety.READ}
    batch = Batch([unit(0, "a"), unit(1, "a", **reads), unit(2, "a", **reads)])
    absorb(batch, u0=None, u1=MOVED, u2=None)
    assert orders(batch.round()) == [1]
    absorb(batch, u1=LOST)
    assert orders(batch.round()) == [1]
    batch = Batch([unit(0, "a", **reads), unit(1, "a", **reads)])
    absorb(batch, u0=MOVED, u1=LOST)
    assert orders(batch.pending) == [0, 1]


def test_a_write_overtakes_a_read_and_a_read_a_write():
    for first, second in permutations([Safety.READ, Safety.SAME]):
        batch = Batch([unit(0, "a", safety=first), unit(1, "a", safety=second)])
        absorb(batch, u0=MOVED, u1=None)
        assert batch.units[0].verdict is Verb.RAISE_OVERTAKEN
    batch = Batch([unit(0, "a", safety=Safety.READ), unit(1, "b"), unit(2, "a")])
    absorb(batch, u0=LOST, u1=None, u2=None)
    assert batch.units[0].verdict is Verb.RAISE_UNKNOWN


def test_overtaking_runs_through_a_chain_of_lost_commands():
    batch = Batch([unit(0, "a"), unit(1, "a", "b"), unit(2, "b")])
    absorb(batch, u0=MOVED, u1=LOST, u2=None)
    verdicts = [one.verdict for one in batch.units]
    assert verdicts == [Verb.RAISE_OVERTAKEN, Verb.RAISE_UNKNOWN, None]


def test_commands_of_one_key_wait_for_one_that_goes_elsewhere():
    batch = Batch([unit(0, "a"), unit(1, "a"), unit(2, "b")])
    absorb(batch, u0=ASK, u1=TRYAGAIN, u2=MOVED)
    assert orders(batch.round()) == [0, 2]
    absorb(batch, u0=None, u2=None)
    assert orders(batch.round()) == [1]


def test_what_waits_makes_those_behind_it_wait():
    batch = Batch([unit(0, "a"), unit(1, "a", "b"), unit(2, "b")])
    absorb(batch, u0=ASK, u1=TRYAGAIN, u2=TRYAGAIN)
    assert orders(batch.round()) == [0]


def test_a_command_that_is_split_gives_its_place_to_its_keys():
    whole = unit(0, "a", "b", splittable=True)
    batch = Batch([whole, unit(1, "c")])
    step = absorb(batch, u0=TRYAGAIN, u1=MOVED)
    assert [decision.verb for _, decision in step.decisions] == [Verb.SPLIT, Verb.SEND]
    batch.replace(whole, [unit(0, "a"), unit(0, "b")])
    assert [one.keys for one in batch.round()] == [(b"a",), (b"b",), (b"c",)]


def test_the_longest_pause_of_those_that_go_on_is_the_rounds():
    batch = Batch([unit(0, "a"), unit(1, "b", safety=Safety.NEVER)])
    assert absorb(batch, u0=MOVED, u1=REFUSED).pause == 0.0
    batch = Batch([unit(0, "a"), unit(1, "b")])
    assert absorb(batch, u0=MOVED, u1=TRYAGAIN).pause > 0.0


EVENTS = st.sampled_from([None, None, MOVED, ASK, TRYAGAIN, LOST, REFUSED])
UNITS = st.lists(
    st.tuples(st.lists(st.sampled_from("abc"), min_size=1, max_size=2), st.sampled_from(Safety)),
    min_size=1,
    max_size=8,
)


@given(UNITS, st.data())
def test_no_two_commands_of_a_key_are_executed_out_of_order(made, data):
    batch = Batch([unit(n, *keys, safety=safety) for n, (keys, safety) in enumerate(made)])
    executed: dict[bytes, list[int]] = {}
    for _ in range(50):
        if not batch.pending:
            break
        troubles = []
        ready = batch.round()
        assert ready, "a round without a command would never end"
        for one in ready:
            event = data.draw(EVENTS)
            if event in {None, LOST}:  # the worst case: what was lost was executed
                for key in one.keys:
                    executed.setdefault(key, []).append(one.order)
            if event is None:
                one.done = True
            else:
                troubles.append((one, event))
        batch.absorb(troubles, took=0.0, backoff=(0.01, 0.1), jitter=lambda: 0.5)
    # What ended in an error counts as refused, or as unknown: its caller is told so.
    failed = {one.order for one in batch.units if one.verdict is not None}
    for order in executed.values():
        last = {number: place for place, number in enumerate(order) if number not in failed}
        for first, second in combinations(sorted(last), 2):
            reads = made[first][1] is made[second][1] is Safety.READ
            assert reads or last[first] < last[second], "the last to act is the last"


@pytest.mark.parametrize("safety", Safety)
@pytest.mark.parametrize("event", [MOVED, ASK, LOST])
def test_a_lone_command_is_decided_as_outside_of_a_batch(safety, event):
    batch = Batch([unit(0, "a", safety=safety)])
    absorb(batch, u0=event)
    again = event is not LOST or safety is not Safety.NEVER
    assert bool(batch.pending) == again

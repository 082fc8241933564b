"""When the map is learnt anew, from whom, and how often at most. The clock is the test's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clustercache._core.address import Address
from clustercache._core.refresh import (
    COOL_DOWN,
    PROBE_LEAST,
    PROBE_MOST,
    RefreshPolicy,
    probe_pause,
    whom_to_ask,
)
from clustercache._core.topology import Claim, Node, Shard, Topology

A, B, C, D, E = (Address("h", port) for port in range(1, 6))


def topology(*nodes):
    return Topology.of([Claim(0, 16383, Shard(nodes[0], tuple(nodes[1:])))])


def test_nothing_is_due_before_somebody_asks():
    policy = RefreshPolicy()
    assert not policy.wanted
    assert policy.due_in(0.0) is None


def test_the_first_request_is_due_at_once():
    policy = RefreshPolicy()
    policy.want()
    assert policy.wanted
    assert policy.due_in(100.0) == 0.0


def test_a_refresh_serves_all_requests_made_before_it():
    policy = RefreshPolicy()
    for _ in range(5):
        policy.want()
    policy.begin(0.0, nodes=6, jitter=0.5)
    assert policy.due_in(1000.0) is None


def test_a_request_in_the_cool_down_is_kept_and_waits_it_out():
    policy = RefreshPolicy()
    policy.want()
    policy.begin(10.0, nodes=6, jitter=0.5)
    policy.want()
    assert policy.due_in(10.0) == pytest.approx(COOL_DOWN)
    assert policy.due_in(10.0 + COOL_DOWN / 2) == pytest.approx(COOL_DOWN / 2)
    assert policy.due_in(10.0 + 2 * COOL_DOWN) == 0.0


def test_hints_are_handed_out_once_without_duplicates_in_order():
    policy = RefreshPolicy()
    policy.want(B, A)
    policy.want(A, C)
    assert policy.begin(0.0, nodes=1, jitter=0.0) == (B, A, C)
    policy.want()
    assert policy.begin(1.0, nodes=1, jitter=0.0) == ()


def cool_down(nodes, jitter):
    policy = RefreshPolicy()
    policy.begin(0.0, nodes=nodes, jitter=jitter)
    policy.want()
    return policy.due_in(0.0)


def test_the_cool_down_is_jittered_and_grows_with_the_cluster():
    assert cool_down(6, 0.0) == pytest.approx(COOL_DOWN / 2)
    assert cool_down(6, 1.0) == pytest.approx(COOL_DOWN * 1.5)
    assert cool_down(50, 0.5) == pytest.approx(COOL_DOWN)
    assert cool_down(1000, 0.5) == pytest.approx(COOL_DOWN * 20)


@given(st.lists(st.tuples(st.floats(0, 0.2), st.booleans()), max_size=60), st.floats(0, 1))
def test_no_request_is_lost_and_no_two_refreshes_are_nearer_than_the_cool_down(steps, jitter):
    policy, now, last = RefreshPolicy(), 0.0, None
    for wait, asks in steps:
        now += wait
        if asks:
            policy.want()
        begins = policy.due_in(now) == 0.0
        if begins:
            assert last is None or now - last >= COOL_DOWN * (0.5 + jitter) * 0.999
            policy.begin(now, nodes=3, jitter=jitter)
            last = now
        assert policy.wanted or begins or not asks
    now += policy.due_in(now) or 0.0
    assert policy.due_in(now + 1e-9) in {None, 0.0}


def test_hints_are_asked_first_and_seeds_last():
    known = topology(Node(A), Node(B), Node(C))
    assert whom_to_ask(known, [C], [E, A], [B, A, C]) == [C, B, A, E]


def test_unhealthy_nodes_are_asked_after_healthy_ones():
    known = topology(Node(A, healthy=False), Node(B), Node(C))
    assert whom_to_ask(known, [], [E], [A, C, B]) == [C, B, A, E]


def test_without_a_map_there_are_only_the_seeds():
    assert whom_to_ask(None, [], [A, B, A], []) == [A, B]


ADDRESSES = st.lists(st.sampled_from([A, B, C, D, E]), max_size=6)


@given(ADDRESSES, st.lists(st.sampled_from([A, B, C, D, E]), min_size=1, max_size=3), ADDRESSES)
def test_the_seeds_are_always_on_the_list_and_nobody_twice(hints, seeds, order):
    asked = whom_to_ask(topology(Node(A), Node(B)), hints, seeds, order)
    assert set(seeds) <= set(asked)
    assert len(asked) == len(set(asked))
    assert asked[: len(set(hints))] == list(dict.fromkeys(hints))


def test_probes_come_every_50_to_100_milliseconds():
    assert probe_pause(0.0) == PROBE_LEAST == 0.05
    assert probe_pause(1.0) == PROBE_MOST == 0.1

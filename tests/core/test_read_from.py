"""Which node of a shard answers a read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clustercache._core.address import Address
from clustercache._core.commands import COMMANDS, find, resolve
from clustercache._core.decisions import Event, Trouble
from clustercache._core.read_from import (
    POLICIES,
    SAMPLED,
    Candidate,
    Health,
    ReadFrom,
    casts_doubt,
    facts_of,
    goes_on,
    is_read,
    may_read,
    plan,
    smoothed,
)
from clustercache.config import ClusterConfig, from_url
from clustercache.exceptions import ConfigurationError

WELL, DOUBTFUL, OUT = Candidate(), Candidate(Health.DOUBTFUL), Candidate(Health.OUT)
ZONED = [Candidate(zone="b"), Candidate(zone="a"), Candidate(zone="b"), Candidate(zone="a")]
SPREADING = [
    ReadFrom.PREFER_REPLICA,
    ReadFrom.ROUND_ROBIN,
    ReadFrom.LOWEST_LATENCY,
    ReadFrom.same_zone("a"),
]
EVERY = [ReadFrom.PRIMARY, ReadFrom.PRIMARY_THEN_REPLICA, *SPREADING]


def timed(*latencies):
    return [Candidate(latency=seconds) for seconds in latencies]


def order(policy, nodes, turn=0):
    return plan(policy, nodes).order(turn)


@pytest.mark.parametrize(
    ("policy", "nodes", "expected"),
    [
        (ReadFrom.PRIMARY, [WELL, WELL], [0]),
        (ReadFrom.PRIMARY, [WELL, DOUBTFUL], [0]),
        (ReadFrom.PRIMARY, [OUT, WELL], []),
        (ReadFrom.PREFER_REPLICA, [WELL, WELL, WELL], [1, 2, 0]),
        (ReadFrom.PREFER_REPLICA, [WELL, OUT, WELL], [2, 0]),
        (ReadFrom.PREFER_REPLICA, [WELL, OUT], [0]),
        (ReadFrom.ROUND_ROBIN, [WELL, WELL, WELL], [0, 1, 2]),
        (ReadFrom.ROUND_ROBIN, [OUT, WELL, WELL], [1, 2]),
        (ReadFrom.PRIMARY_THEN_REPLICA, [WELL, WELL, WELL], [0, 1, 2]),
        (ReadFrom.PRIMARY_THEN_REPLICA, [OUT, WELL, WELL], [1, 2]),
        (ReadFrom.LOWEST_LATENCY, timed(0.3, 0.1, 0.2), [1, 2, 0]),
        (ReadFrom.LOWEST_LATENCY, timed(0.3), [0]),
        (ReadFrom.same_zone("a"), ZONED, [1, 3, 2, 0]),
        (ReadFrom.same_zone("b"), ZONED, [2, 0, 1, 3]),
        (ReadFrom.same_zone("c"), ZONED, [1, 2, 3, 0]),
    ],
)
def test_a_policy_orders_the_nodes(policy, nodes, expected):
    assert order(policy, nodes) == expected


def test_those_of_one_group_take_turns():
    nodes = [WELL] * 4
    assert [order(ReadFrom.PREFER_REPLICA, nodes, turn) for turn in range(4)] == [
        [1, 2, 3, 0], [2, 3, 1, 0], [3, 1, 2, 0], [1, 2, 3, 0],
    ]  # fmt: skip


@pytest.mark.parametrize("policy", [policy for policy in EVERY if policy != ReadFrom.PRIMARY])
def test_a_doubtful_replica_comes_last_and_serves_where_nobody_else_can(policy):
    assert order(policy, [WELL, DOUBTFUL])[-1] == 1
    assert order(policy, [OUT, DOUBTFUL]) == [1]
    assert order(policy, [OUT, OUT]) == []


@pytest.mark.parametrize("policy", SPREADING)
def test_a_primary_whose_replicas_are_gone_is_guarded(policy):
    assert plan(policy, [WELL, OUT, DOUBTFUL]).guarded
    assert plan(policy, [WELL]).guarded
    assert not plan(policy, [WELL, WELL]).guarded


@pytest.mark.parametrize("policy", [ReadFrom.PRIMARY, ReadFrom.PRIMARY_THEN_REPLICA])
def test_a_primary_that_serves_reads_anyway_is_not_guarded(policy):
    assert not plan(policy, [WELL, OUT]).guarded


def test_a_node_that_was_not_measured_is_asked_first():
    assert order(ReadFrom.LOWEST_LATENCY, timed(0.1, None, 0.2))[:2] == [1, 0]


def test_slower_nodes_are_measured_now_and_then():
    nodes = timed(0.3, 0.1, 0.2)
    turns = [order(ReadFrom.LOWEST_LATENCY, nodes, turn)[0] for turn in range(SAMPLED + 1)]
    assert turns.count(1) == SAMPLED - 1
    assert min(turns) == 0
    assert turns.count(2) == 1


def test_a_node_whose_zone_is_not_known_is_asked_first():
    assert order(ReadFrom.same_zone("a"), [*ZONED, WELL])[0] == 4


@given(
    st.sampled_from(EVERY),
    st.lists(
        st.builds(
            Candidate,
            st.sampled_from(Health),
            st.none() | st.floats(0, 1),
            st.sampled_from([None, "", "a", "b"]),
        ),
        min_size=1,
        max_size=5,
    ),
    st.integers(0, 100),
)
def test_each_node_is_asked_once_at_most_and_never_one_that_is_out(policy, nodes, turn):
    asked = order(policy, nodes, turn)
    assert len(set(asked)) == len(asked)
    assert all(nodes[at].health is not Health.OUT for at in asked)
    if policy != ReadFrom.PRIMARY:
        assert len(asked) == sum(node.health is not Health.OUT for node in nodes)
        health = [nodes[at].health.value for at in asked]
        assert health == sorted(health)


# Troubles ----------------------------------------------------------------------------------------

PRIMARY, OTHER = Address("p", 1), Address("q", 1)


@pytest.mark.parametrize("trouble", list(Trouble))
def test_another_node_is_asked_at_once_where_the_trouble_is_the_nodes(trouble):
    own = {Trouble.UNREADY, Trouble.UNREACHABLE, Trouble.BROKEN_OFF, Trouble.NO_REPLY}
    assert goes_on(trouble) is (trouble in own)


@pytest.mark.parametrize(
    ("event", "doubt"),
    [
        (Event(Trouble.UNREADY), True),
        (Event(Trouble.MOVED, to=PRIMARY), True),
        (Event(Trouble.MOVED, to=OTHER), False),
        (Event(Trouble.NO_REPLY), False),
    ],
)
def test_a_replica_that_refuses_or_sends_back_to_its_primary_is_doubted(event, doubt):
    assert casts_doubt(event, PRIMARY) is doubt


def test_latency_is_smoothed():
    assert smoothed(None, 1.0) == 1.0
    assert smoothed(1.0, 2.0) == pytest.approx(1.2)


@pytest.mark.parametrize(
    ("replies", "facts"),
    [
        ((b"role:slave\r\nmaster_link_status:up\r\n", b"availability_zone:az1\r\n"), (True, "az1")),
        (("role:slave\r\nmaster_link_status:down\r\n", "availability_zone:\r\n"), (False, "")),
        ((b"role:master\r\n", b"redis_version:7.0\r\n"), (True, "")),
        ((None, None), (True, "")),
    ],
)
def test_a_node_tells_of_its_link_and_its_zone(replies, facts):
    assert facts_of(replies) == facts


# Commands ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "read"),
    [
        (("GET", "k"), True),
        (("MGET", "k", "l"), True),
        (("EVAL_RO", "s", "1", "k"), True),
        (("XREAD", "STREAMS", "k", "0"), True),
        (("XREAD", "BLOCK", "0", "STREAMS", "k", "0"), False),
        (("SET", "k", "v"), False),
        (("GETEX", "k"), False),
        (("HSCAN", "k", "0"), False),
        (("TOUCH", "k"), False),
        (("EVALSHA_RO", "s", "1", "k"), False),
        (("PING",), False),
        (("DBSIZE",), False),
        (("UNHEARD-OF", "k"), False),
    ],
)
def test_replicas_serve_reads_alone(args, read):
    assert is_read(*resolve(args)) is read


def test_whatever_a_replica_may_serve_is_readonly_and_has_keys():
    served = [spec for spec in COMMANDS.values() if may_read(spec)]
    assert len(served) > 80
    assert all(spec.readonly and not spec.refused for spec in served)
    assert find("GET") in served


# Policies ----------------------------------------------------------------------------------------


def test_each_policy_has_a_name_for_urls():
    for name in POLICIES:
        policy = ReadFrom.named(name)
        assert repr(policy) == f"ReadFrom.{name.upper()}"
        assert policy == getattr(ReadFrom, name.upper())
    assert repr(ReadFrom.same_zone("a")) == "ReadFrom.same_zone('a')"


def test_a_policy_says_what_it_needs():
    assert [policy.spreads for policy in EVERY] == [False, False, True, True, True, True]
    assert [policy for policy in EVERY if policy.by_zone] == [ReadFrom.same_zone("a")]
    assert [policy for policy in EVERY if policy.by_latency] == [ReadFrom.LOWEST_LATENCY]


def test_the_url_names_policy_and_zone():
    config = from_url("redis://h?read_from=same_zone&availability_zone=az1")
    assert config.read_from == ReadFrom.SAME_ZONE
    assert config.reads(config.read_from) == ReadFrom.same_zone("az1")
    assert config.reads(ReadFrom.same_zone("az2")) == ReadFrom.same_zone("az2")
    assert from_url("redis://h").read_from == ReadFrom.PRIMARY


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: from_url("redis://h?read_from=anybody"), "prefer_replica"),
        (lambda: from_url("redis://h?read_from=same_zone"), "availability_zone"),
        (lambda: from_url("redis://h", read_from="prefer_replica"), "ReadFrom"),
        (lambda: from_url("redis://h", read_from=ReadFrom.same_zone("")), "availability_zone"),
        (lambda: ClusterConfig(seeds=(PRIMARY,), read_from=ReadFrom.SAME_ZONE), "same_zone"),
    ],
)
def test_what_cannot_be_meant_is_refused(make, says):
    with pytest.raises(ConfigurationError, match=says):
        make()

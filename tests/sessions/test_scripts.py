"""What the scripts answer at each real server is what `Memory` answers, and leaves the same."""

from __future__ import annotations

from time import time
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clustercache import Cluster
from clustercache.localcluster import LocalCluster
from clustercache.sessions.calls import Call, Loaded
from clustercache.sessions.memory import Memory
from clustercache.sessions.scripts import PENDING
from clustercache.sessions.settings import SessionSettings
from clustercache.sessions.store import ClusterWay
from tests.clusters import need_server

pytestmark = pytest.mark.live

NEAR = 5000
"""Milliseconds that clocks, and runs, may be apart."""
DIGESTS = [bytes([n]) * 32 for n in range(4)]
NONCES = [b"nonce--%d" % n for n in range(3)]
FIELDS = [":a", ":b"]
NEVER = 10**9
SELECTORS = ["m1", "m2", "m3"]
TIMES = {b"_c", b"_a", b"_x", b"_r", b"_kpx"}

digests, nonces, fields = map(st.sampled_from, (DIGESTS, NONCES, FIELDS))
values = st.sampled_from([b"1", b"2", b"\x00\xff"])
selectors = st.sampled_from(SELECTORS)
creates = st.builds(
    lambda digest, idle, lifetime, pairs: Call(
        "create", "s", (digest, idle, lifetime, *(word for pair in pairs for word in pair))
    ),
    digests,
    st.sampled_from([60_000, 120_000]),
    st.sampled_from([90_000, 200_000]),
    st.lists(st.tuples(fields, values), max_size=2),
)


@st.composite
def saves(draw):
    sets = draw(st.dictionaries(fields, values, max_size=2))
    gone = draw(st.lists(fields, max_size=1))
    compared = draw(st.dictionaries(fields, st.none() | values, max_size=2))
    nonce = draw(st.just(b"") | nonces)
    mode = draw(st.sampled_from(["", "", "rotate", "renew", "renew"]))
    args = [
        draw(digests),
        nonce,
        draw(st.sampled_from([b"", b"", b"1"])),
        draw(st.just(b"") | nonces),
        mode,
        draw(digests) if mode else b"",
        draw(st.sampled_from([-1, 60_000])),
        draw(st.sampled_from([0, NEVER])),
        draw(st.sampled_from([b"", b"", 50_000])),
        draw(st.sampled_from([b"", b"", b"", 70_000, -5])),
        len(sets),
        len(gone),
        len(compared),
        *(word for pair in sets.items() for word in pair),
        *gone,
    ]
    for name, stored in compared.items():
        args += (name, int(stored is not None), stored or b"")
    return Call("save", "s", tuple(args), draw(st.booleans()))


def save(digest, nonce, *, again=b"", seen=b""):
    return Call("save", "s", (digest, nonce, again, seen, "", b"", 1, 0, b"", b"", 0, 0, 0))


@st.composite
def many_saves(draw):
    digest, first = draw(digests), draw(st.integers(0, 99))
    return [save(digest, b"fill%04d" % (first + n)) for n in range(16)]


def reserve(selector, limit, refuse, pending, dead):
    return Call("reserve", "u", (selector, 100_000, limit, int(refuse), pending, *dead))


reserves = st.builds(
    reserve,
    selectors,
    st.integers(0, 2),
    st.booleans(),
    st.sampled_from([PENDING, -1]),
    st.lists(selectors, max_size=2),
)
settles = st.builds(
    lambda selector, epoch: Call("settle", "u", (selector, epoch)),
    selectors,
    st.sampled_from([b"0", b"4000000000000001", b"4000000000000002"]),
)
others = st.sampled_from(
    [
        Call("revoke", "u", (100_000,)),
        Call("members", "u"),
        Call("members", "u", ("m1", "m2")),
        Call("drop", "u", ("m1", "+m1")),
        Call("exists", "s"),
        Call("load", "s"),
        Call("facts", "s"),
    ]
)
steps = st.lists(
    creates.map(lambda one: [one])
    | saves().map(lambda one: [one])
    | saves().map(lambda one: [one])
    | many_saves()
    | reserves.map(lambda one: [one])
    | settles.map(lambda one: [one])
    | others.map(lambda one: [one])
    | st.just([Call("unlink", "s", (), lasting=True)]),
    min_size=1,
    max_size=12,
)


@pytest.fixture(scope="module", params=["valkey", "redis-6.2", "redis-7.0"])
def client(request):
    server = need_server(request.param)
    with LocalCluster.standalone(server=server.path) as lc, Cluster.from_url(lc.url) as made:
        yield made


def pass_a_millisecond():
    """Return in a later millisecond: what comes at one time has no order."""
    start = int(time() * 1000)
    while int(time() * 1000) < start + 1:
        pass


class Twins:
    """A server and a memory that are asked the same."""

    def __init__(self, client):
        self.client, self.memory = client, Memory()
        self.way = ClusterWay(client, SessionSettings(), lambda _: None)
        self.prefix = uuid4().hex

    def ask(self, call):
        call = call._replace(key=f"{self.prefix}:{call.key}")
        pass_a_millisecond()
        return self.way.ask([call])[0], self.memory.ask([call])[0]

    def state(self, name):
        """Return what each has of a key, and what is left of its time; nothing that is over."""
        key, now = f"{self.prefix}:{name}", int(time() * 1000)
        held = self.memory._find(key)
        if name == "s":
            there = self.client.hgetall(key)
            here = {} if held is None else held.fields
        else:
            there = _still(self.client.zrange(key, 0, -1, withscores=True), now)
            here = {} if held is None else _still(held.scores.items(), now)
        ends = 0 if held is None else held.ends - now
        return (there, self.client.pttl(key) if there else 0), (dict(here), ends if here else 0)


def _still(scores, now):
    return {one: score for one, score in scores if score > now}


def near(one, other):
    """Tell whether two answers are the same, but for the clock."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(
            near(int(one[k]), int(other[k])) if k in TIMES else near(one[k], other[k]) for k in one
        )
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(near, one, other))
    if isinstance(one, float | int) and isinstance(other, float | int):
        # A count, or an epoch, is exact.
        exact = one < 100 or one >= 4e15
        return one == other if exact else abs(one - other) < NEAR
    return one == other


def facts_apart(reply):
    """Return what `facts` answers with its times as numbers."""
    return [int(word) if word is not None and word.isdigit() else word for word in reply]


@settings(max_examples=60)
@given(story=steps)
def test_every_sequence_of_calls_is_answered_alike(client, story):
    twins = Twins(client)
    for call in (one for some in story for one in some):
        there, here = twins.ask(call)
        if call.op == "facts":
            there, here = facts_apart(there), facts_apart(here)
        if isinstance(there, Loaded):
            there, here = tuple(there), tuple(here)
        # Nobody asks how much a drop found: what is over may count, or not.
        assert call.op == "drop" or near(there, here), (call, there, here)
        for name in ("s", "u"):
            left, right = twins.state(name)
            assert near(left, right), (call, left, right)


def test_a_save_that_is_sent_again_counts_once_within_sixteen_saves(client):
    twins = Twins(client)
    digest = DIGESTS[0]
    twins.ask(Call("create", "s", (digest, 60_000, 60_000)))
    twins.ask(save(digest, b"seen----"))
    for number in range(15):
        twins.ask(save(digest, b"other%03d" % number))
    late = save(digest, b"lost----", again=b"1", seen=b"seen----")
    for reply in twins.ask(late):
        assert reply[:2] == [b"ok", 0]  # it is applied now
    for reply in twins.ask(late):
        assert reply[:2] == [b"ok", 0]
    counts = [state[0][b"_n"].count(b"lost----") for state in twins.state("s")]
    assert counts == [1, 1]


def test_a_save_that_is_sent_again_after_sixteen_others_is_unknown(client):
    twins = Twins(client)
    digest = DIGESTS[0]
    twins.ask(Call("create", "s", (digest, 60_000, 60_000)))
    for number in range(16):
        twins.ask(save(digest, b"other%03d" % number))
    for reply in twins.ask(save(digest, b"lost----", again=b"1")):
        assert reply == [b"unknown"]


def test_a_login_under_way_is_spared_and_then_is_not(client):
    twins = Twins(client)
    twins.ask(reserve("m1", 1, refuse=True, pending=PENDING, dead=()))
    for reply in twins.ask(reserve("m2", 1, refuse=True, pending=PENDING, dead=("m1",))):
        assert reply == [b"full", [b"+m1", b"m1"]]
    twins.ask(Call("settle", "u", ("m1", b"0")))
    for reply in twins.ask(reserve("m2", 1, refuse=True, pending=PENDING, dead=("m1",))):
        assert reply == [b"ok", b"0", []]

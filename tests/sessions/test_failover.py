"""A session's shard is away: what is read is stale, what is written waits, nobody is logged out."""

from __future__ import annotations

import threading
from time import monotonic
from uuid import uuid4

import pytest

from clustercache.exceptions import OutcomeUnknownError, SessionUnavailableError
from clustercache.localcluster import LocalCluster
from tests.sessions.stores import Places, Told

pytestmark = pytest.mark.faults

SOON = 0.5
"""Seconds in which what waits for nobody is answered."""


@pytest.fixture
def lc():
    with LocalCluster() as made:
        yield made


@pytest.fixture
def open_here(store_class, lc):
    with Places(store_class, lc.url) as places:
        yield places.open


def on_node(store, lc, node, **options):
    """Return a stored session that lives on a node."""
    while True:
        made = store.create({"a": 1}, **options)
        if lc.node_for(store.plans.key(made.selector)) is node:
            return made


def other_on(lc, store, node):
    """Return a token of no session, that would live on a node."""
    while True:
        selector = uuid4().hex[:16]
        if lc.node_for(store.plans.key(selector)) is node:
            return f"{selector}.{'A' * 22}"


def strike(lc, fault, node):
    (lc.kill if fault == "kill" else lc.stop)(node)


def took(act):
    """Return what an act returns, or raises, and how long it takes."""
    before = monotonic()
    try:
        result = act()
    except SessionUnavailableError as error:
        result = error
    return result, monotonic() - before


@pytest.mark.parametrize("fault", ["kill", "stop"])
def test_a_primary_fails_and_nobody_is_logged_out(lc, open_here, fault):
    told = Told()
    store = open_here(hooks=(told,))
    victim = lc.primaries[0]
    sick, healthy = on_node(store, lc, victim), on_node(store, lc, lc.primaries[1])
    unknown = other_on(lc, store, victim)
    (replica,) = lc.replicas_of(victim)
    replicated(lc, replica, victim)
    strike(lc, fault, victim)

    loaded, first = took(lambda: store.load(sick.token))
    assert loaded.stale
    assert loaded["a"] == 1
    assert loaded.public_id == sick.public_id
    assert first < 2.0
    again, second = took(lambda: store.load(sick.token))
    assert again["a"] == 1
    if again.stale:  # else the replica was promoted meanwhile
        assert second < SOON
        wrong = f"{sick.selector}.{'A' * 22}"
        for token in (wrong, unknown):
            error, seconds = took(lambda token=token: store.load(token))
            if store.load(sick.token).stale:
                assert isinstance(error, SessionUnavailableError)
                assert seconds < SOON
                assert error.retry_after == 1
    other, seconds = took(lambda: store.load(healthy.token))
    assert not other.stale
    assert seconds < SOON

    loaded["a"] = 2
    loaded.incr("n")
    store.save(loaded)  # waits for the promotion
    assert not loaded.stale
    back = store.load(sick.token)
    assert dict(back) == {"a": 2, "n": 1}
    assert "session_stale" in told.kinds()
    assert "session_unknown" not in told.kinds()
    assert store.load(unknown) is None


def replicated(lc, replica, primary):
    """Wait until a replica has all that its primary has."""
    end = monotonic() + 10
    while True:
        there = primary.call("INFO", "replication")
        mine = replica.call("INFO", "replication")
        offsets = [
            next(line for line in text.splitlines() if line.startswith(name)).split(":")[1]
            for text, name in ((there, "master_repl_offset"), (mine, "slave_repl_offset"))
        ]
        if offsets[0] == offsets[1]:
            return
        assert monotonic() < end


@pytest.mark.parametrize("fault", ["kill", "stop"])
def test_a_shard_that_is_wholly_away_fails_at_once_and_is_back_soon(lc, open_here, fault):
    store = open_here(deadline=2.0)
    victim = lc.primaries[0]
    sick, healthy = on_node(store, lc, victim), on_node(store, lc, lc.primaries[1])
    (replica,) = lc.replicas_of(victim)
    strike(lc, fault, replica)
    strike(lc, fault, victim)
    error, first = took(lambda: store.load(sick.token))
    assert isinstance(error, SessionUnavailableError)
    assert first < 2.5
    for _ in range(3):
        error, seconds = took(lambda: store.load(sick.token))
        assert isinstance(error, SessionUnavailableError)
        assert seconds < SOON
        assert store.load(healthy.token) is not None
    sick["a"] = 2
    before = monotonic()
    with pytest.raises((SessionUnavailableError, OutcomeUnknownError)):
        store.save(sick)
    assert monotonic() - before < 2.5
    (lc.restart if fault == "kill" else lc.resume)(victim)
    up = monotonic()
    while not loads(store, sick.token):
        assert monotonic() - up < 20
    assert monotonic() - up < 1.5


def loads(store, token):
    """Tell whether the store can say anything of a session: the server kept nothing."""
    try:
        store.load(token)
    except SessionUnavailableError:
        return False
    return True


def test_a_server_that_stands_alone_is_restarted(store_class):
    with LocalCluster.standalone() as lc, Places(store_class, lc.url) as places:
        store = places.open(deadline=2.0)
        (node,) = lc.nodes
        made = store.create({"a": 1}, user="u")
        lc.kill(node)
        error, seconds = took(lambda: store.load(made.token))
        assert isinstance(error, SessionUnavailableError)
        assert seconds < 2.5
        error, seconds = took(lambda: store.load(made.token))
        assert isinstance(error, SessionUnavailableError)
        assert seconds < SOON
        lc.restart(node)
        up = monotonic()
        while not loads(store, made.token):
            assert monotonic() - up < 20
        assert monotonic() - up < 1.5
        assert store.load(made.token) is None  # it kept nothing
        fresh = store.create({"b": 1})
        assert store.load(fresh.token)["b"] == 1


def test_a_save_waits_for_a_server_that_is_restarted(store_class):
    with LocalCluster.standalone() as lc, Places(store_class, lc.url) as places:
        store = places.open()
        (node,) = lc.nodes
        store.create({"a": 1})
        lc.kill(node)
        timer = threading.Timer(0.5, lambda: lc.restart(node))
        timer.start()
        fresh, seconds = took(lambda: store.create({"b": 1}))
        timer.join()
        assert seconds < 8
        assert store.load(fresh.token)["b"] == 1


def test_a_short_deadline_leaves_time_for_a_replica(lc, open_here):
    store = open_here(deadline=1.0)
    victim = lc.primaries[0]
    made = on_node(store, lc, victim)
    replicated(lc, lc.replicas_of(victim)[0], victim)
    lc.stop(victim)
    loaded, seconds = took(lambda: store.load(made.token))
    assert loaded["a"] == 1
    assert loaded.stale
    assert seconds < 1.2


def test_logins_and_lists_while_a_shard_is_away(lc, open_here):
    store = open_here(deadline=1.5)
    victim = lc.primaries[0]
    (replica,) = lc.replicas_of(victim)
    index = store.plans.index
    user = next(f"u{n}" for n in range(99) if lc.node_for(index.key(f"u{n}")) is not victim)
    sick = on_node(store, lc, victim, user=user)
    healthy = on_node(store, lc, lc.primaries[1], user=user)
    lc.kill(replica)
    lc.kill(victim)
    for act in (
        lambda: store.sessions_of(user),
        lambda: store.login(sick, user),
        lambda: store.delete(sick),
    ):
        before = monotonic()
        with pytest.raises((SessionUnavailableError, OutcomeUnknownError)):
            act()
        assert monotonic() - before < 3.0
    assert store.load(healthy.token).user == user

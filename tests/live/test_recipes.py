"""Durable writes, scripts, functions and locks on real servers."""

from __future__ import annotations

import time

import pytest
import redis
from redis.exceptions import LockError, LockNotOwnedError

from clustercache import Cluster
from clustercache.exceptions import NotReplicatedError
from clustercache.localcluster import LocalCluster

pytestmark = pytest.mark.live
KEY = "{d}key"
SOURCE = "return {KEYS[1], ARGV[1]}"
LIBRARY = """#!lua name=mine
redis.register_function('first', function(keys, args) return {keys[1], args[1]} end)
"""


@pytest.fixture(scope="module")
def fragile():
    """A cluster to break; each test leaves it ready again."""
    with LocalCluster(node_timeout=1.0) as made:
        yield made


@pytest.fixture
def client(cluster, shell):
    with shell.from_url(cluster.url) as made:
        yield made


def eventually(condition, timeout=20.0):
    limit = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < limit, "not within the time"
        time.sleep(0.01)


# ------------------------------------------------------------------------------- durable writes


def test_a_replica_that_is_well_acknowledges(client):
    with client.durable(replicas=1, timeout=5.0, strict=True) as d:
        assert d.set(KEY, "v") is True
        assert d.acknowledged == 1
        assert d.mset({f"d{number}": number for number in range(20)}) is True
        assert d.acknowledged == 1


def test_a_replica_that_is_stopped_does_not(fragile, shell):
    with shell.from_url(fragile.url) as client:
        client.set(KEY, "v")
        (replica,) = fragile.replicas_of(fragile.node_for(KEY))
        fragile.stop(replica)
        try:
            with client.durable(replicas=1, timeout=0.2) as d:
                assert d.set(KEY, "w") is True
                assert d.acknowledged == 0
            with pytest.raises(NotReplicatedError) as caught:
                client.durable(replicas=1, timeout=0.2, strict=True).set(KEY, "w")
            assert caught.value.acknowledged == 0
        finally:
            fragile.resume(replica)
    fragile.wait_ready()


def test_durable_writes_go_on_through_a_failover(fragile, shell):
    with shell.from_url(fragile.url) as client:
        client.set(KEY, "v")
        (heir,) = fragile.replicas_of(fragile.node_for(KEY))
        fragile.failover(heir)
        assert client.durable().set(KEY, "w") is True
        fragile.wait_ready()
        with client.durable(timeout=5.0, strict=True) as d:
            d.set(KEY, "x")
            assert d.acknowledged == 1


def test_waiting_for_a_disk_that_is_not_written_is_refused(client):
    with pytest.raises(redis.ResponseError, match=r"(?i)appendonly|unknown command"):
        client.durable(local=True).set(KEY, "v")


def test_waiting_for_disks(fragile, shell):
    for node in fragile.nodes:
        node.call("CONFIG", "SET", "appendonly", "yes")
    fragile.wait_ready()
    with shell.from_url(fragile.url) as client, client.durable(timeout=5.0, local=True) as d:
        d.set(KEY, "v")
        assert (d.local, d.acknowledged) == (True, 1)


# -------------------------------------------------------------------------- scripts and functions


def test_a_script_is_sent_where_it_lacks(cluster, client):
    client.script_flush()
    script = client.register_script(SOURCE)
    for number in range(20):
        key = f"s{number}"
        assert script(keys=[key], args=["x"]) == [key.encode(), b"x"]
    assert client.script_exists(script.sha) == [True]


def test_a_script_that_is_loaded_is_on_every_primary(cluster, client):
    client.script_flush()
    sha = client.script_load(SOURCE)
    for node in cluster.primaries:
        assert node.call("SCRIPT", "EXISTS", sha) == [1]
    assert client.evalsha(sha, 1, KEY, "x") == [KEY.encode(), b"x"]
    assert client.eval(SOURCE, 1, KEY, "x") == [KEY.encode(), b"x"]
    assert client.script_flush()
    assert client.script_exists(sha) == [False]


def test_a_script_survives_a_failover(fragile, shell):
    with shell.from_url(fragile.url) as client:
        script = client.register_script(SOURCE)
        assert script(keys=[KEY], args=["x"]) == [KEY.encode(), b"x"]
        (heir,) = fragile.replicas_of(fragile.node_for(KEY))
        fragile.failover(heir)
        assert script(keys=[KEY], args=["x"]) == [KEY.encode(), b"x"]
    fragile.wait_ready()


def test_functions_are_on_every_primary(cluster, client):
    client.function_flush()
    assert client.function_load(LIBRARY) == b"mine"
    for number in range(20):
        key = f"f{number}"
        assert client.fcall("first", 1, key, "x") == [key.encode(), b"x"]
    dump = client.function_dump()
    assert client.function_delete("mine")
    with pytest.raises(redis.ResponseError):
        client.fcall("first", 1, KEY, "x")
    assert client.function_restore(dump)
    assert client.fcall("first", 1, KEY, "x") == [KEY.encode(), b"x"]
    assert client.function_flush()
    assert not any(client.function_list().values())


# ---------------------------------------------------------------------------------------- locks


def test_a_lock_has_one_holder(client):
    first, second = (client.lock("{d}lock", timeout=10, sleep=0.01) for _ in range(2))
    assert first.acquire()
    assert first.locked()
    assert first.owned()
    assert not second.owned()
    assert not second.acquire(blocking=False)
    assert not second.acquire(blocking_timeout=0.05)
    assert first.extend(5)
    assert 10_000 < client.pttl("{d}lock") <= 15_000
    assert first.extend(3, replace_ttl=True)
    assert client.pttl("{d}lock") <= 3_000
    assert first.reacquire()
    assert 9_000 < client.pttl("{d}lock") <= 10_000
    first.release()
    assert not first.locked()
    with second:
        assert second.owned()
    with pytest.raises(LockError):
        second.release()


def test_a_lock_that_was_lost_says_so(client):
    lock = client.lock("{d}lock", timeout=10, thread_local=False)
    assert lock.acquire()
    client.set("{d}lock", "another's")
    for action in (lock.reacquire, lambda: lock.extend(1), lock.release):
        with pytest.raises(LockNotOwnedError):
            action()
    client.delete("{d}lock")


def test_a_lock_survives_a_failover(fragile, shell):
    with shell.from_url(fragile.url) as client:
        lock = client.lock(KEY + "lock", timeout=30)
        assert lock.acquire()
        with Cluster.from_url(fragile.url) as other:
            assert other.durable(timeout=5.0, strict=True).set(KEY, "v"), "and the lock before it"
        (heir,) = fragile.replicas_of(fragile.node_for(KEY))
        fragile.failover(heir)
        assert lock.owned()
        assert lock.extend(5)
        assert lock.reacquire()
        assert not client.lock(KEY + "lock").acquire(blocking=False)
        lock.release()
    fragile.wait_ready()

"""Reads by policy while nodes refuse, fall silent, or are gone."""

from __future__ import annotations

import contextvars
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from clustercache import ReadFrom, _readers
from clustercache.exceptions import (
    DeadlineExceededError,
    PoolTimeoutError,
    ShardUnavailableError,
)
from clustercache.testing import FakeCluster, delay, error
from tests.asyncs import sync_only
from tests.shells.readings import (  # noqa: F401 - a fixture
    KEY,
    LINK_DOWN,
    LINK_UP,
    OTHER,
    both,
    client_of,
    gets,
    kill,
    stats_of,
    wait_until,
)


@pytest.fixture
def fake():
    with FakeCluster(primaries=2, replicas=2) as cluster:
        yield cluster


@pytest.fixture
def primary(fake):
    return fake.owner(KEY)


@pytest.mark.parametrize(
    "text", ["MASTERDOWN Link with MASTER is down", "LOADING x", "CLUSTERDOWN x"]
)
@pytest.mark.parametrize("name", ["GET", "MGET"])
def test_a_replica_that_refuses_is_left_out_and_tried_again_later(fake, primary, text, name):
    one, _other = primary.replicas
    one.on(name, error(text))
    with client_of(fake, ReadFrom.PREFER_REPLICA) as client:
        client.mset({KEY: "1", OTHER: "2"})
        began = time.monotonic()
        read = {"GET": lambda: client.get(KEY), "MGET": lambda: client.mget(KEY, OTHER)[0]}[name]
        assert [read() for _ in range(10)] == [b"1"] * 10
        assert time.monotonic() - began < 0.3, "a refusal made calls wait"
        assert gets([one], name)[0] == 1
        assert gets([primary], name) == [0]
        one.off(name)
        wait_until(lambda: read() == b"1" and gets([one], name)[0] > 3)


def test_a_replica_without_its_link_is_left_out_until_it_has_it_again(fake, primary):
    one, _other = primary.replicas
    one.on("INFO", LINK_DOWN)
    with client_of(fake, ReadFrom.PREFER_REPLICA) as client:
        for _ in range(20):
            client.get(KEY)
        assert gets([one]) == [1], "the read along with which it was asked"
        wait_until(lambda: client.get(KEY) is None and gets([one], "INFO")[0] >= 4)
        assert gets([one]) == [1]
        one.on("INFO", LINK_UP)
        wait_until(lambda: client.get(KEY) is None and gets([one])[0] > 3)


def test_replicas_without_their_link_serve_where_nobody_else_can(fake, primary):
    for replica in primary.replicas:
        replica.on("INFO", LINK_DOWN)
    with client_of(fake, ReadFrom.PRIMARY_THEN_REPLICA) as client:
        client.set(KEY, "1")
        kill(primary)
        began = time.monotonic()
        assert [client.get(KEY) for _ in range(10)] == [b"1"] * 10
        assert time.monotonic() - began < 0.3


@pytest.mark.parametrize("text", ["MASTERDOWN x", "CLUSTERDOWN x"])
def test_a_shard_that_refuses_altogether_is_asked_again_until_the_deadline(fake, primary, text):
    for node in (primary, *primary.replicas):
        node.on("GET", error(text))
    with client_of(fake, ReadFrom.ROUND_ROBIN, deadline=0.5) as client:
        with pytest.raises(DeadlineExceededError) as raised:
            client.get(KEY)
        assert len(raised.value.attempts) > 5
        assert sum(gets([primary, *primary.replicas])) < 100, "it was asked without a pause"
        for node in (primary, *primary.replicas):
            node.off("GET")
        assert client.get(KEY) is None


# Nodes that are gone -----------------------------------------------------------------------------


def test_a_read_goes_to_a_replica_as_soon_as_the_primary_is_gone(fake, primary):
    with client_of(fake, ReadFrom.PRIMARY_THEN_REPLICA) as client:
        client.mset({KEY: "1", OTHER: "2"})
        client.get(KEY)
        assert sum(gets(primary.replicas)) == 0
        kill(primary)
        began = time.monotonic()
        assert [client.get(KEY) for _ in range(10)] == [b"1"] * 10
        assert [client.mget(KEY, OTHER) for _ in range(10)] == [[b"1", b"2"]] * 10
        assert time.monotonic() - began < 0.3
        primary.start_accepting()
        before = gets([primary])[0]
        wait_until(lambda: client.get(KEY) == b"1" and gets([primary])[0] > before + 3)


def test_a_read_waits_for_a_silent_primary_for_one_socket_timeout(fake, primary):
    with client_of(fake, ReadFrom.PRIMARY_THEN_REPLICA) as client:
        client.set(KEY, "1")
        client.get(KEY)
        primary.pause()
        began = time.monotonic()
        assert client.get(KEY) == b"1"
        assert 0.3 <= time.monotonic() - began < 0.45
        began = time.monotonic()
        assert [client.get(KEY) for _ in range(10)] == [b"1"] * 10
        assert time.monotonic() - began < 0.2
        primary.resume()
        wait_until(lambda: not stats_of(client, primary)["suspected"])


@pytest.mark.parametrize("name", ["GET", "MGET"])
def test_a_silent_replica_is_avoided_until_it_answers(fake, primary, name):
    one, _other = primary.replicas
    with client_of(fake, ReadFrom.PREFER_REPLICA) as client:
        client.mset({KEY: "1", OTHER: "2"})
        read = {"GET": lambda: client.get(KEY), "MGET": lambda: client.mget(KEY, OTHER)[0]}[name]
        for _ in range(6):
            read()
        one.pause()
        began = time.monotonic()
        assert [read() for _ in range(20)] == [b"1"] * 20
        assert 0.3 <= time.monotonic() - began < 0.6
        assert stats_of(client, one)["suspected"]
        one.resume()
        wait_until(lambda: not stats_of(client, one)["suspected"])
        before = gets([one], name)[0]
        wait_until(lambda: read() == b"1" and gets([one], name)[0] > before + 3)


def test_a_replica_that_came_is_found(fake, primary, monkeypatch):
    monkeypatch.setattr(_readers, "REFRESHED", 0.5)  # seconds
    one, _other = primary.replicas
    fake.fail(one)
    with client_of(fake, ReadFrom.PREFER_REPLICA) as client:
        client.get(KEY)
        fake.recover(one)
        wait_until(lambda: client.get(KEY) is None and gets([one])[0] > 3, timeout=4.0)


@sync_only
def test_a_primary_is_protected_when_its_replicas_are_gone(fake, primary):
    for replica in primary.replicas:
        fake.fail(replica)
    primary.on("GET", delay(0.5, b"1"))
    options = {"max_connections": 4, "socket_timeout": 2.0}
    with (
        client_of(fake, ReadFrom.PREFER_REPLICA, **options) as client,
        ThreadPoolExecutor(8) as executor,
    ):
        reads = [executor.submit(client.get, KEY) for _ in range(8)]
        wait_until(lambda: gets([primary])[0] == 2)
        began = time.monotonic()
        assert client.set(KEY, "1")
        assert time.monotonic() - began < 0.3, "reads took the connections that a write needs"
        assert [read.result() for read in reads] == [b"1"] * 8
        assert stats_of(client, primary)["pool"] <= 3


def test_a_read_that_finds_no_place_says_so(fake, primary):
    for replica in primary.replicas:
        fake.fail(replica)
    primary.on("GET", delay(0.6, b"1"))
    options = {"max_connections": 2, "max_in_flight": 2, "socket_timeout": 2.0}
    with (
        client_of(fake, ReadFrom.PREFER_REPLICA, **options) as client,
        ThreadPoolExecutor(1) as executor,
    ):
        first = executor.submit(client.get, KEY)
        wait_until(lambda: gets([primary])[0] == 1)
        with pytest.raises(PoolTimeoutError), client.deadline(0.2):
            client.get(KEY)
        assert first.result() == b"1"
        with client.deadline(3.0):
            assert client.mget(KEY, OTHER) == [None, None]


# Nobody is left ----------------------------------------------------------------------------------


def suspected(client, nodes):
    return [stats_of(client, node)["suspected"] for node in nodes]


@pytest.fixture
def silent_shard(fake, primary):
    """A client that suspects all nodes of a shard, and these."""
    nodes = [primary, *primary.replicas]
    options = {"socket_timeout": 0.1, "max_waiting": 2}
    with client_of(fake, ReadFrom.PREFER_REPLICA, **options) as client:
        client.set(KEY, "1")
        for _ in range(4):
            client.get(KEY)
        for node in nodes:
            node.pause()
        with pytest.raises(DeadlineExceededError), client.deadline(0.6):
            client.get(KEY)
        assert suspected(client, nodes) == [True] * 3
        yield client, nodes
        for node in nodes:
            node.resume()


@pytest.mark.parametrize("which", [0, 1])
def test_a_read_waits_for_whichever_node_answers_first(silent_shard, which):
    client, nodes = silent_shard
    with ThreadPoolExecutor(2) as executor:
        calls = [executor.submit(client.get, KEY), executor.submit(client.mget, KEY, OTHER)]
        threading.Event().wait(0.1)
        assert not any(call.done() for call in calls)
        nodes[which].resume()
        assert [call.result() for call in calls] == [b"1", [b"1", None]]


def test_no_more_reads_wait_than_may(silent_shard):
    client, _ = silent_shard
    with ThreadPoolExecutor(4) as executor, client.deadline(0.5):
        contexts = [contextvars.copy_context() for _ in range(4)]
        calls = [executor.submit(context.run, client.get, KEY) for context in contexts]
        kinds = {type(call.exception()) for call in calls}
    assert kinds == {ShardUnavailableError, DeadlineExceededError}


def test_a_slot_without_an_owner_is_waited_for(fake, primary):
    with client_of(fake, ReadFrom.PREFER_REPLICA, deadline=0.5) as client:
        client.get(OTHER)
        fake.unassign(KEY)
        with pytest.raises(DeadlineExceededError):
            client.get(KEY)
        with pytest.raises(DeadlineExceededError):
            client.mget(KEY, OTHER)
        fake.move(KEY, primary)
        assert client.get(KEY) is None


def test_a_full_pool_to_a_replica_is_waited_for(fake, primary):
    for replica in primary.replicas:
        replica.on("GET", delay(0.4, b"1"))
    options = {"max_connections": 1, "max_in_flight": 1, "socket_timeout": 2.0}
    with (
        client_of(fake, ReadFrom.PREFER_REPLICA, **options) as client,
        ThreadPoolExecutor(2) as executor,
    ):
        calls = [executor.submit(client.get, KEY) for _ in range(2)]
        wait_until(lambda: sum(gets(primary.replicas)) == 2)
        with pytest.raises(PoolTimeoutError), client.deadline(0.1):
            client.get(KEY)
        assert [call.result() for call in calls] == [b"1", b"1"]


def test_a_probe_of_a_lost_link_ends_with_the_client(fake, primary):
    for replica in primary.replicas:
        replica.on("INFO", LINK_DOWN)
    client = client_of(fake, ReadFrom.PREFER_REPLICA)
    wait_until(lambda: client.get(KEY) is None and sum(gets(primary.replicas, "INFO")) > 4)
    client.close()
    wait_until(lambda: not any(node.connections for node in fake.replicas))

"""Many threads, few connections: no reply is ever another caller's, and nobody waits for ever."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from clustercache import Cluster
from clustercache._core.slots import key_slot
from clustercache._sync.health import Suspicion
from clustercache.exceptions import (
    ClosedError,
    DeadlineExceededError,
    PoolTimeoutError,
    ShardUnavailableError,
)
from clustercache.testing import FakeCluster, delay, error, partial, push, simple

ROUNDS = 1000


@pytest.fixture
def fake():
    with FakeCluster(primaries=2, replicas=1) as cluster:
        yield cluster


def helpers():
    return [one for one in threading.enumerate() if one.name == "clustercache"]


def wait_until(condition, timeout=5.0):
    limit = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < limit, "the condition did not come true"
        threading.Event().wait(0.005)


def in_threads(count, work):
    """Run work(0), work(1), ... at once, and return the results; the first exception is raised."""
    with ThreadPoolExecutor(count) as executor:
        return list(executor.map(work, range(count)))


def echo(command, connection):
    """Reply with what was asked for, so that a reply tells whose it is."""
    return command[1]


def redirecting(node, other):
    """Let every third GET be redirected to a node that redirects some back, with pushes between."""
    state = {"count": 0}

    def answer(command, connection):
        state["count"] += 1
        turn = state["count"] % 6
        slot = key_slot(command[1])
        if turn == 1:
            return error(f"ASK {slot} {other.address}")
        if turn == 3:
            return error(f"MOVED {slot} {other.address}")
        if turn == 5:
            connection.send(push(b"invalidate", [command[1]]))
        return command[1]

    node.on("GET", answer)


def test_two_threads_with_one_connection_and_redirects_never_mix_replies(fake):
    a, b = fake.primaries
    redirecting(a, b)
    redirecting(b, a)
    options = {"max_connections": 1, "deadline": 20.0}
    with Cluster.from_url(fake.url, **options) as client:

        def work(thread):
            for number in range(ROUNDS // 2):
                key = f"t{thread}-{number}"
                assert client.get(key) == key.encode()

        in_threads(2, work)
        sizes = [node["pool"] for node in client.stats()["nodes"].values()]
    assert max(sizes) <= 1


def test_many_threads_with_few_connections_never_mix_replies(fake):
    for node in fake.primaries:
        node.on("GET", echo)
        node.on("MGET", lambda command, connection: list(command[1:]))
    with Cluster.from_url(fake.url, max_connections=3, deadline=20.0) as client:

        def work(thread):
            for number in range(ROUNDS // 10):
                keys = [f"t{thread}-{number}-{place}" for place in range(3)]
                assert client.get(keys[0]) == keys[0].encode()
                assert client.mget(keys) == [key.encode() for key in keys]

        in_threads(10, work)
        for node in client.stats()["nodes"].values():
            assert node["pool"] <= 3
            assert node["in_flight"] == 0


def test_a_timeout_in_the_middle_of_a_reply_closes_the_connection(fake):
    """Whoever comes next must not read the late half: many rounds, one connection."""
    owner = fake.owner("bar")
    answers = []
    for number in range(150):
        answers += [partial(b"$5\r\nla"), b"%05d" % number]
    owner.on("GET", answers)
    with Cluster.from_url(fake.url, max_connections=1) as client:
        client.exists("bar")
        for number in range(150):
            with pytest.raises(DeadlineExceededError), client.deadline(0.01):
                client.get("bar")
            assert client.get("bar") == b"%05d" % number


def test_a_reply_that_comes_after_the_deadline_is_nobodys(fake):
    owner = fake.owner("bar")
    owner.on("GET", [delay(0.1, b"late"), b"mine"])
    with Cluster.from_url(fake.url, max_connections=1) as client:
        client.exists("bar")
        with pytest.raises(DeadlineExceededError), client.deadline(0.05):
            client.get("bar")
        threading.Event().wait(0.1)  # until the late reply would be there
        assert client.get("bar") == b"mine"


def test_the_reply_to_asking_is_never_taken_for_the_commands(fake):
    """The deadline passes while ASKING is unanswered and the slot arrives where it was asked."""
    source, target = fake.owner("bar"), fake.owner("foo")
    source.on("GET bar", error(f"ASK {key_slot('bar')} {target.address}"))
    target.on("ASKING", delay(0.35, simple("OK")))
    target.on("GET bar", b"mine")
    with Cluster.from_url(fake.url, max_connections=2) as client:
        client.get("foo")
        with ThreadPoolExecutor(1) as executor:

            def late():
                with client.deadline(0.3):
                    return client.get("bar")

            future = executor.submit(late)
            target.wait_for(lambda: target.received("ASKING"))
            fake.move("bar", target)
            client.get("{bar}other")  # MOVED: the map follows
            with pytest.raises(DeadlineExceededError):
                future.result()
        assert client.get("bar") == b"mine"
        assert client.get("bar") == b"mine"


@pytest.mark.parametrize("keys", [["bar"], ["bar", "foo"]], ids=["direct", "split"])
def test_a_deadline_nearer_than_socket_timeout_suspects_nobody(fake, keys):
    owner = fake.owner("bar")
    owner.on("MGET", delay(0.2, [b"late"]))
    with Cluster.from_url(fake.url, socket_timeout=1.0) as client:
        client.exists("bar", "foo")
        for _ in range(5):
            with pytest.raises(DeadlineExceededError), client.deadline(0.02):
                client.mget(keys)
        assert client.stats()["nodes"][owner.address]["errors"] == 0
        assert not helpers()


def test_a_full_pool_is_waited_for_and_then_is_a_pool_timeout(fake):
    owner = fake.owner("bar")
    owner.on("GET", lambda command, connection: delay(0.4, b"slow"))
    with Cluster.from_url(fake.url, max_connections=1, socket_timeout=2.0) as client:
        client.exists("bar")
        with ThreadPoolExecutor(1) as executor:
            slow = executor.submit(client.get, "bar")
            owner.wait_for(lambda: owner.received("GET"))
            refused = pytest.raises(PoolTimeoutError, match="max_connections")
            with refused as caught, client.deadline(0.1):
                client.get("{bar}2")
            assert caught.value.command == "GET"
            assert caught.value.slot == key_slot("bar")
            assert caught.value.node == owner.address
            assert not client.stats()["nodes"][owner.address]["suspected"]
            assert client.exists("bar") == 0  # waits its turn
            assert slow.result() == b"slow"


def test_no_more_than_max_waiting_calls_wait_for_a_sick_shard(fake):
    sick, well = fake.owner("bar"), fake.owner("foo")
    options = {"max_waiting": 2, "socket_timeout": 0.1, "deadline": 3.0}
    with Cluster.from_url(fake.url, **options) as client:
        client.get("bar")
        sick.pause()
        with ThreadPoolExecutor(4) as executor:
            calls = [executor.submit(client.get, "bar") for _ in range(3)]
            wait_until(lambda: client.stats()["nodes"][sick.address]["suspected"])
            suspicion = client._map.suspicions[client._map.slots[key_slot("bar")].address]
            # One waits on its connection; whoever comes now waits for the shard.
            calls += [executor.submit(client.get, "bar") for _ in range(2)]
            wait_until(lambda: suspicion._waiting >= 2)
            began = time.monotonic()
            with pytest.raises(ShardUnavailableError, match="calls wait already") as caught:
                client.get("bar")
            assert time.monotonic() - began < 0.5
            assert caught.value.node == sick.address
            assert client.get("foo") is None  # a healthy shard never waits
            sick.resume()
            assert sum(call.exception() is None for call in calls) >= 3
        assert well.received("GET")


def test_a_suspicion_that_ends_while_it_is_looked_at_is_no_error(fake, monkeypatch):
    class Fleeting:
        address = fake.nodes[0].address
        looks = 0

        @property
        def suspicion(self):
            Fleeting.looks += 1
            return over if Fleeting.looks == 1 else None

    over, pool = Suspicion(None), Fleeting()
    over.over.set()
    with Cluster.from_url(fake.url) as client:
        monkeypatch.setattr(client._executor, "_chosen", lambda slot, target: pool)
        command = SimpleNamespace(deadline=time.monotonic() + 5)
        request = SimpleNamespace(command=command, slot=0)
        assert client._executor._route(request, None) is pool


@pytest.mark.parametrize("redirect", ["ASK", "MOVED"])
def test_a_redirect_to_a_suspected_node_waits_without_a_busy_loop(fake, redirect):
    source, sick = fake.owner("bar"), fake.owner("foo")
    with Cluster.from_url(fake.url, socket_timeout=0.05, deadline=5.0) as client:
        client.mget("bar", "foo")
        sick.pause()
        with ThreadPoolExecutor(1) as executor:
            call = executor.submit(client.get, "foo")
            wait_until(lambda: client.stats()["nodes"][sick.address]["suspected"])
            source.on("GET", error(f"{redirect} {key_slot('bar')} {sick.address}"))
            began = time.thread_time()
            with pytest.raises(DeadlineExceededError), client.deadline(0.5):
                client.get("bar")
            assert time.thread_time() - began < 0.2
            sick.resume()
            assert call.result() is None


def test_the_helper_thread_is_gone_after_recovery(fake):
    sick = fake.owner("bar")
    with Cluster.from_url(fake.url, socket_timeout=0.1) as client:
        assert client.get("bar") is None
        assert not helpers()
        sick.pause()
        with ThreadPoolExecutor(1) as executor:
            call = executor.submit(client.get, "bar")
            wait_until(helpers)
            assert len(helpers()) == 1
            sick.resume()
            assert call.result() is None
        wait_until(lambda: not helpers())
        assert client.get("bar") is None


def test_one_helper_serves_many_threads_and_one_refresh_serves_many_requests(fake):
    with Cluster.from_url(fake.url, deadline=5.0) as client:
        client.get("bar")
        owner = fake.owner("bar")
        owner.on("GET", [error("CLUSTERDOWN x")] * 16 + [b"up"])
        before = client.stats()["refreshes"]
        began = time.monotonic()
        assert set(in_threads(8, lambda _: client.get("bar"))) == {b"up"}
        took = time.monotonic() - began
        assert len(helpers()) <= 1
        # At the least 50 ms lie between two, whoever asks.
        assert client.stats()["refreshes"] - before <= 2 + took / 0.05


def test_a_healthy_shard_never_waits_for_a_sick_one(fake):
    sick = fake.owner("bar")
    with Cluster.from_url(fake.url, socket_timeout=0.05, max_connections=2) as client:
        client.mget("bar", "foo")
        sick.pause()
        with ThreadPoolExecutor(4) as executor:
            calls = [executor.submit(client.get, "bar") for _ in range(4)]
            slowest = 0.0
            for _ in range(100):
                began = time.monotonic()
                client.set("foo", "x")
                slowest = max(slowest, time.monotonic() - began)
            sick.resume()
            assert [call.result() for call in calls] == [None] * 4
        assert slowest < 0.5


def test_closing_lets_calls_finish_and_refuses_later_ones(fake):
    owner = fake.owner("bar")
    client = Cluster.from_url(fake.url)
    client.get("bar")
    owner.on("GET", delay(0.2, b"finished"))
    with ThreadPoolExecutor(1) as executor:
        call = executor.submit(client.get, "bar")
        owner.wait_for(lambda: len(owner.received("GET")) == 2)
        client.close()
        assert call.result() == b"finished"
    with pytest.raises(ClosedError):
        client.get("bar")
    with pytest.raises(ClosedError):
        client.mget("bar", "foo")
    client.close()
    for node in fake.nodes:
        node.wait_for(lambda node=node: not node.connections)


def test_closing_while_the_map_is_learnt_leaves_nothing_behind(fake):
    for node in fake.nodes:
        node.on("CLUSTER SLOTS", delay(0.3, node.slots_reply()))
    client = Cluster.from_url(fake.url)
    with ThreadPoolExecutor(1) as executor:
        call = executor.submit(client.get, "bar")
        fake.nodes[0].wait_for(lambda: fake.nodes[0].received("CLUSTER SLOTS"))
        client.close()
        assert isinstance(call.exception(), ClosedError)
    with pytest.raises(ClosedError):
        client.get("bar")
    for node in fake.nodes:
        node.wait_for(lambda node=node: not node.connections)
    assert not helpers()

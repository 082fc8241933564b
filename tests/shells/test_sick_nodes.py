"""What a sick, full or faulty node does to the calls of others: as little as can be."""

from __future__ import annotations

import gc
import os
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from clustercache import Cluster
from clustercache._sync.probe import ViewProbe
from clustercache.config import from_url
from clustercache.exceptions import ConfigurationError, DeadlineExceededError, NoClusterError
from clustercache.testing import (
    FakeCluster,
    array,
    delay,
    error,
    raw,
    silence,
    simple,
)


@pytest.fixture
def fake():
    with FakeCluster(primaries=2) as cluster:
        yield cluster


def wait_until(condition, timeout=5.0):
    limit = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < limit, "the condition did not come true"
        threading.Event().wait(0.005)


def test_a_node_whose_acl_refuses_ping_is_well_again_when_it_answers(fake):
    node = fake.owner("bar")
    node.on("PING", error("NOPERM User app has no permissions to run the 'ping' command"))
    with Cluster.from_url(fake.url, socket_timeout=0.1, deadline=5.0) as client:
        client.set("bar", "1")
        node.pause()
        with ThreadPoolExecutor(1) as executor:
            call = executor.submit(client.get, "bar")
            wait_until(lambda: client.stats()["nodes"][node.address]["suspected"])
            node.resume()
            assert call.result() == b"1"
        wait_until(lambda: not client.stats()["nodes"][node.address]["suspected"])
        assert client.get("bar") == b"1"


def test_replicas_that_the_map_did_not_know_tell_of_their_promotion():
    with FakeCluster(primaries=2, replicas=1) as fake:
        bare = array(*(
            [min(node.slots), max(node.slots), [node.host, node.port, node.id]]
            for node in fake.primaries
        ))  # fmt: skip
        for node in fake.nodes:
            node.on("CLUSTER SLOTS", bare)
        with Cluster.from_url(fake.url, socket_timeout=0.1, deadline=5.0) as client:
            client.set("bar", "1")
            for node in fake.nodes:
                node.off("CLUSTER SLOTS")
            owner = fake.owner("bar")
            (replica,) = owner.replicas
            owner.pause()
            with ThreadPoolExecutor(1) as executor:
                call = executor.submit(client.get, "bar")
                replica.wait_for(lambda: replica.received("CLUSTER SLOTS"), 2.0)
                fake.promote(replica)
                began = time.monotonic()
                assert call.result() == b"1"
                assert time.monotonic() - began < 0.4
            owner.resume()


@pytest.mark.parametrize("limited", [False, True], ids=["direct", "with a deadline"])
def test_a_node_is_suspected_after_one_socket_timeout(fake, limited):
    node = fake.owner("bar")
    with Cluster.from_url(fake.url, socket_timeout=0.4, deadline=3.0) as client:
        client.set("bar", "1")
        node.pause()
        began = time.monotonic()
        with ThreadPoolExecutor(1) as executor:
            call = executor.submit(bounded if limited else Cluster.get, client, "bar")
            wait_until(lambda: client.stats()["nodes"][node.address]["suspected"])
            took = time.monotonic() - began
            node.resume()
            assert call.result() == b"1"
        assert 0.4 <= took < 0.75


def bounded(client, key):
    with client.deadline(3.0):
        return client.get(key)


def test_a_view_that_comes_in_pieces_is_read_whole(fake):
    node = fake.nodes[0]
    whole = node.slots_reply().encode(3)
    rest = whole[20:] + node.nodes_reply().encode(3)
    node.on("CLUSTER SLOTS", raw(whole[:20]))
    node.on("CLUSTER NODES", delay(0.2, raw(rest)))
    config = from_url(node.url)
    probe = ViewProbe(config.seeds[0], config, None)
    wait_until(lambda: probe.ask(0.01))
    views = []
    wait_until(lambda: views.append(probe.view(0.01)) or views[-1])
    assert len(node.received("CLUSTER SLOTS")) == 1
    assert len(views[-1].claims) == 2
    probe.close()


def test_a_probe_that_gets_no_answer_connects_anew(fake):
    node = fake.owner("bar")
    options = {"socket_timeout": 0.1, "socket_connect_timeout": 0.1}
    with Cluster.from_url(fake.url, deadline=3.0, **options) as client:
        client.set("bar", "1")
        # Both questions are lost, as by a host that lost its power and came back.
        node.on("PING", [silence(), simple("PONG")])
        node.on("GET", [silence(), b"1"])
        with ThreadPoolExecutor(1) as executor:
            call = executor.submit(client.get, "bar")
            wait_until(lambda: len(node.received("PING")) == 2)
            wait_until(lambda: not client.stats()["nodes"][node.address]["suspected"])
            assert client.get("bar") == b"1"
            assert isinstance(call.exception(), DeadlineExceededError)


def test_a_suspected_node_is_found_at_the_second_address_of_its_name(fake, monkeypatch):
    node = fake.owner("bar")
    look_up = socket.getaddrinfo

    def two_addresses(host, port, **options):
        (nobody,) = look_up("127.0.0.2", 1, **options)[:1]
        return [nobody, *look_up(host, port, **options)]

    monkeypatch.setattr(socket, "getaddrinfo", two_addresses)
    with Cluster.from_url(fake.url, socket_timeout=0.1, deadline=5.0) as client:
        client.set("bar", "1")
        node.on("GET", [delay(0.3, b"1"), b"1"])
        assert client.get("bar") == b"1"
        wait_until(lambda: not client.stats()["nodes"][node.address]["suspected"])
        assert client.get("bar") == b"1"


def test_a_rebuilt_cluster_is_found_by_a_seed_that_is_a_name():
    with FakeCluster(primaries=3) as old, FakeCluster(primaries=3) as new:
        url = f"redis://localhost:{old.nodes[0].port}"
        with Cluster.from_url(url, deadline=5.0) as client:
            assert client.set("bar", "old")
            for node, other in zip(old.nodes, new.nodes, strict=True):
                node.on("CLUSTER SLOTS", other.slots_reply())
                node.on("CLUSTER NODES", other.nodes_reply())
            client._map.helper.refresh()
            wait_until(lambda: str(client._map.slots[0].address) == new.nodes[0].address)
            assert client.get("bar") is None


def test_a_client_that_nobody_has_any_more_lets_its_helper_end(fake):
    node = fake.owner("bar")
    client = Cluster.from_url(fake.url, socket_timeout=0.05, deadline=0.3)
    client.set("bar", "1")
    node.pause()
    with pytest.raises(DeadlineExceededError):
        client.get("bar")
    assert helpers()
    del client
    gc.collect()
    wait_until(lambda: not helpers())
    node.resume()


def helpers():
    return [thread for thread in threading.enumerate() if thread.name == "clustercache"]


def test_a_node_that_has_no_place_for_another_client_is_not_suspected(fake):
    node = fake.owner("bar")
    with Cluster.from_url(fake.url, deadline=3.0) as client:
        client.set("bar", "1")
        full = error("ERR max number of clients reached")
        node.on("HELLO", full)
        node.on("GET", [delay(0.3, b"1"), b"1"])
        with ThreadPoolExecutor(2) as executor:
            calls = [executor.submit(client.get, "bar") for _ in range(2)]
            assert [call.result() for call in calls] == [b"1", b"1"]
        assert not client.stats()["nodes"][node.address]["suspected"]


def test_a_split_call_keeps_no_connection_to_a_healthy_node_while_another_is_silent(fake):
    sick, healthy = fake.owner("bar"), fake.owner("foo")
    url = fake.url
    with Cluster.from_url(url, max_connections=1, socket_timeout=0.5, deadline=3.0) as client:
        client.mset({"foo": "1", "bar": "2"})
        sick.pause()
        with ThreadPoolExecutor(1) as executor:
            split = executor.submit(client.mget, "foo", "bar")
            wait_until(lambda: healthy.received("MGET"))
            began = time.monotonic()
            assert client.get("foo") == b"1"
            assert time.monotonic() - began < 0.3
            sick.resume()
            assert split.result() == [b"1", b"2"]


def test_a_deadline_that_cuts_connecting_short_suspects_nobody(fake):
    node = fake.owner("bar")
    with Cluster.from_url(fake.url) as client:
        client.set("foo", "1")
        node.on("CLIENT SETINFO", delay(0.1, simple("OK")))
        with pytest.raises(DeadlineExceededError), client.deadline(0.05):
            client.get("bar")
        assert not client.stats()["nodes"][node.address]["suspected"]
        assert client.get("bar") is None


def test_a_surplus_reply_is_nobodys(fake):
    node = fake.owner("bar")
    with Cluster.from_url(fake.url) as client:
        client.set("bar", "mine")
        node.on("GET", [raw(b"$1\r\nA\r\n$6\r\nSECRET\r\n")])
        assert client.get("bar") == b"A"
        node.off("GET")
        assert client.get("bar") == b"mine"


def test_a_silent_seed_leaves_time_for_the_others(fake):
    silent, other = fake.nodes
    silent.on("HELLO", silence())
    urls = [silent.url, other.url]
    with Cluster.from_url(urls, deadline=1.0) as client:
        key = next(key for key in ("bar", "foo") if fake.owner(key) is other)
        assert client.get(key) is None


def test_a_deadline_covers_all_silent_seeds(fake):
    for node in fake.nodes:
        node.on("HELLO", silence())
    began = time.monotonic()
    with Cluster.from_url(fake.urls, deadline=0.3) as client, pytest.raises(NoClusterError):
        client.get("bar")
    assert time.monotonic() - began < 1.0


def test_the_child_of_a_thread_keeps_its_deadline_while_a_timer_ticks(fake):
    fake.owner("bar").on("GET", silence())
    read, write = os.pipe()
    client = Cluster.from_url(fake.url, deadline=0.5, socket_timeout=0.3)
    client.set("bar", "1")

    def forked():
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGALRM, lambda *_: None)
            signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
            try:
                client.get("bar")
            except DeadlineExceededError:
                os.write(write, b"in time")
            finally:
                os._exit(0)
        children.append(pid)

    children: list[int] = []
    thread = threading.Thread(target=forked)
    thread.start()
    thread.join()
    os.close(write)
    try:
        wait_until(lambda: os.waitpid(children[0], os.WNOHANG)[0] == children[0], 5.0)
    except AssertionError:
        os.kill(children[0], signal.SIGKILL)
        os.waitpid(children[0], 0)
        raise
    with os.fdopen(read, "rb") as answer:
        assert answer.read() == b"in time"
    client.close()


@pytest.mark.parametrize("url", ["redis://a:7000,b:7001", "redis://a:+5", "redis://a:5_0"])
def test_an_address_that_cannot_be_meant_is_refused(url):
    with pytest.raises(ConfigurationError):
        Cluster.from_url(url)


def test_a_retry_policy_is_one():
    with pytest.raises(ConfigurationError, match="RetryPolicy"):
        Cluster.from_url("redis://a", retry=3)

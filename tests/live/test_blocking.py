"""Blocking commands on real servers: woken by others, and carried along by what moves."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from clustercache import Cluster
from clustercache._core.slots import key_slot
from clustercache.localcluster import LocalCluster
from tests.asyncs import both  # noqa: F401 - for both clients

pytestmark = pytest.mark.live
LIST, ZSET, STREAM, TO = "{b}list", "{b}zset", "{b}stream", "{b}to"


@pytest.fixture(scope="module")
def fragile():
    """A cluster to break; each test leaves it ready again."""
    with LocalCluster(node_timeout=1.0) as made:
        yield made


@pytest.fixture
def client(cluster):
    with Cluster.from_url(cluster.url) as made:
        made.delete(LIST, ZSET, STREAM, TO)
        yield made


@pytest.fixture
def pool():
    with ThreadPoolExecutor(2) as executor:
        yield executor


def eventually(condition, timeout=20.0):
    limit = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < limit, "not within the time"
        time.sleep(0.01)


def blocked(node, count=1):
    return f"blocked_clients:{count}\r" in node.call("INFO", "clients")


@pytest.mark.parametrize(
    "case",
    [
        (lambda r: r.blpop(LIST), lambda r: r.rpush(LIST, "v"), (LIST.encode(), b"v")),
        (lambda r: r.brpop(LIST, 30), lambda r: r.rpush(LIST, "v"), (LIST.encode(), b"v")),
        (lambda r: r.blmove(LIST, TO, 0), lambda r: r.rpush(LIST, "v"), b"v"),
        (lambda r: r.brpoplpush(LIST, TO, 0), lambda r: r.rpush(LIST, "v"), b"v"),
        (
            lambda r: r.blmpop(0, 1, LIST, direction="LEFT"),
            lambda r: r.rpush(LIST, "v"),
            [LIST.encode(), [b"v"]],
        ),
        (lambda r: r.bzpopmin(ZSET), lambda r: r.zadd(ZSET, {"v": 1}), (ZSET.encode(), b"v", 1.0)),
        (lambda r: r.bzpopmax(ZSET), lambda r: r.zadd(ZSET, {"v": 1}), (ZSET.encode(), b"v", 1.0)),
        (
            lambda r: r.bzmpop(0, 1, [ZSET], min=True),
            lambda r: r.zadd(ZSET, {"v": 1}),
            [ZSET.encode(), [[b"v", b"1"]]],
        ),
        (
            lambda r: r.xread({STREAM: "$"}, block=0),
            lambda r: r.xadd(STREAM, {"f": "v"}, id="1-1"),
            [[STREAM.encode(), [(b"1-1", {b"f": b"v"})]]],
        ),
    ],
    ids=["BLPOP", "BRPOP", "BLMOVE", "BRPOPLPUSH", "BLMPOP", "BZPOPMIN", "BZPOPMAX", "BZMPOP",
         "XREAD"],
)  # fmt: skip
def test_another_client_wakes_it(cluster, client, pool, case):
    call, feed, result = case
    future = pool.submit(call, client)
    eventually(lambda: blocked(cluster.node_for(LIST)))
    with Cluster.from_url(cluster.url) as other:
        feed(other)
    assert future.result(5) == result


def test_a_group_waits_for_its_messages(cluster, client, pool):
    client.xgroup_create(STREAM, "g", mkstream=True)
    future = pool.submit(client.xreadgroup, "g", "c", {STREAM: ">"}, block=0)
    eventually(lambda: blocked(cluster.node_for(STREAM)))
    client.xadd(STREAM, {"f": "v"}, id="1-1")
    assert future.result(5) == [[STREAM.encode(), [(b"1-1", {b"f": b"v"})]]]


def test_nothing_comes_of_an_empty_list(client):
    began = time.monotonic()
    assert client.blpop(LIST, 0.2) is None
    assert 0.15 < time.monotonic() - began < 1.0


def test_a_deadline_ends_it_without_an_error(client):
    began = time.monotonic()
    with client.deadline(0.5):
        assert client.blpop(LIST) is None
        assert client.bzpopmin(ZSET) is None
        assert not client.xread({STREAM: "$"}, block=0)
    assert time.monotonic() - began < 2.5


def test_a_call_that_blocks_takes_its_decoding_along(cluster):
    with Cluster.from_url(cluster.url, decode_responses=True) as client:
        client.rpush(LIST, "ä")
        assert client.blpop(LIST, 1) == (LIST, "ä")


def test_a_blocked_call_survives_a_manual_failover(fragile, pool):
    with Cluster.from_url(fragile.url) as client:
        client.delete(LIST, STREAM)
        old = fragile.node_for(LIST)
        (heir,) = fragile.replicas_of(old)
        futures = [
            pool.submit(client.blpop, LIST, 60),
            pool.submit(client.xread, {STREAM: "0"}, None, 0),
        ]
        eventually(lambda: blocked(old, 2))
        fragile.failover(heir)
        eventually(lambda: blocked(heir, 2))
        client.rpush(LIST, "v")
        client.xadd(STREAM, {"f": "v"}, id="1-1")
        assert futures[0].result(5) == (LIST.encode(), b"v")
        assert futures[1].result(5)[0][0] == STREAM.encode()
    fragile.wait_ready()


def test_a_blocked_call_follows_its_slot(fragile, pool):
    with Cluster.from_url(fragile.url) as client:
        client.delete(LIST, STREAM)
        slot = key_slot(LIST)
        old = fragile.node_for(slot)
        new = next(node for node in fragile.primaries if node is not old)
        future = pool.submit(client.blpop, LIST, 60)
        eventually(lambda: blocked(old))
        new.call("CLUSTER", "SETSLOT", slot, "IMPORTING", old.node_id)
        old.call("CLUSTER", "SETSLOT", slot, "MIGRATING", new.node_id)
        for node in (new, old):
            node.call("CLUSTER", "SETSLOT", slot, "NODE", new.node_id)
        eventually(lambda: blocked(new))
        client.rpush(LIST, "v")
        assert future.result(5) == (LIST.encode(), b"v")
    fragile.wait_ready()

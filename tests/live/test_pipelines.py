"""Pipelines and transactions on real servers."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import redis

from clustercache._core.slots import key_slot
from clustercache.localcluster import LocalCluster
from tests.clusters import need_server

pytestmark = pytest.mark.live
TAG = "{pipelines}"
COMMANDS = [
    ("SET", "p:1", "a"),
    ("SET", "p:2", "b", "EX", 100, "GET"),
    ("APPEND", "p:1", "c"),
    ("GET", "p:1"),
    ("HSET", "p:h", "f", 1, "g", 2),
    ("HGETALL", "p:h"),
    ("HMGET", "p:h", "f", "none"),
    ("ZADD", "p:z", 1.5, "m", 2, "n"),
    ("ZRANGE", "p:z", 0, -1, "WITHSCORES"),
    ("ZSCORE", "p:z", "m"),
    ("SADD", "p:s", "x", "y"),
    ("SMEMBERS", "p:s"),
    ("LPUSH", "p:l", "1", "2"),
    ("LRANGE", "p:l", 0, -1),
    ("INCRBYFLOAT", "p:n", 1.5),
    ("TTL", "p:none"),
    ("EXPIRE", "p:1", 100),
    ("TYPE", "p:h"),
    ("GET", "p:none"),
    ("EXISTS", "p:1"),
    ("XADD", "p:x", "1-1", "f", "v"),
    ("XRANGE", "p:x", "-", "+"),
    ("BITCOUNT", "p:1"),
    ("GEOADD", "p:g", 13.36, 38.11, "Palermo"),
    ("GEOPOS", "p:g", "Palermo"),
]


def forget(client):
    client.delete(*{words[1] for words in COMMANDS})


def executed(pipe, commands, **options):
    for words in commands:
        pipe.execute_command(*words)
    return pipe.execute(**options)


@pytest.mark.parametrize("protocol", [2, 3, None])
@pytest.mark.parametrize("decode", [False, True])
def test_results_are_those_of_redis_pys_pipeline(cluster, protocol, decode, shell):
    options = {"protocol": protocol, "decode_responses": decode}
    with (
        shell.from_url(cluster.url, **options) as ours,
        redis.RedisCluster(
            host="127.0.0.1", port=cluster.nodes[0].address.port, **options
        ) as theirs,
    ):
        forget(ours)
        expected = executed(theirs.pipeline(), COMMANDS)
        forget(ours)
        assert executed(ours.pipeline(), COMMANDS) == expected
        forget(ours)
        tagged = [(name, TAG + key, *rest) for name, key, *rest in COMMANDS]
        with ours.pipeline(transaction=True) as transaction:
            assert executed(transaction, tagged) == expected
        ours.delete(*{words[1] for words in tagged})


def test_an_error_among_the_executed_names_its_call_and_leaves_the_others(cluster, shell):
    with shell.from_url(cluster.url) as client:
        pipe = client.pipeline(transaction=True)
        pipe.set(f"{TAG}e", "x").incr(f"{TAG}e").get(f"{TAG}e")
        with pytest.raises(redis.ResponseError, match=r"Command # 2 \(INCRBY\) of pipeline"):
            pipe.execute()
        assert client.get(f"{TAG}e") == b"x"
        pipe.set(f"{TAG}e", "y").execute_command("SET", f"{TAG}e")
        with pytest.raises(redis.ResponseError, match=r"Command # 2 \(SET\) of pipeline"):
            pipe.execute()
        assert client.get(f"{TAG}e") == b"x", "a call that could not be queued keeps all back"


def test_ten_thousand_calls_over_all_slots_have_their_own_results(cluster, shell):
    with shell.from_url(cluster.url, deadline=30) as client:
        pipe = client.pipeline()
        for number in range(10_000):
            pipe.set(f"p:many:{number % 500}", number, get=True)
        results = pipe.execute()
        again = client.pipeline()
        for number in range(10_000):
            again.get(f"p:many:{number % 500}")
        last = [str(9_500 + number % 500).encode() for number in range(10_000)]
        assert again.execute() == last
        assert results[500:] == [str(number).encode() for number in range(9_500)]
        client.delete(*(f"p:many:{number}" for number in range(500)))


LONG = """
import asyncio, resource, sys
from clustercache import AsyncCluster

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

async def main():
    async with AsyncCluster.from_url(sys.argv[1]) as client:
        pipe = client.pipeline()
        for number in range(300_000):
            pipe.set(f"long:{number % 1000}", "x")
        before = peak()
        results = await pipe.execute()
        assert len(results) == 300_000 and all(results)
        print(peak() - before)

asyncio.run(main())
"""


def test_a_long_pipeline_of_the_asyncio_client_needs_little_more_than_its_bytes(cluster):
    # In a process of its own, whose peak no other test has raised before.
    words = [sys.executable, "-c", LONG, cluster.url]
    root = Path(__file__).parents[2]
    done = subprocess.run(words, cwd=root, capture_output=True, text=True, check=True)
    # The results' list alone is 2.4 MB; one window's writes and replies are the rest.
    assert int(done.stdout) < 16_000_000, done.stdout


def test_what_is_watched_keeps_a_transaction_from_overwriting(cluster, shell):
    with shell.from_url(cluster.url) as client:
        client.set(f"{TAG}w", "1")
        with client.pipeline(transaction=True) as pipe:
            pipe.watch(f"{TAG}w")
            assert pipe.get(f"{TAG}w") == b"1"
            client.set(f"{TAG}w", "2")
            pipe.multi()
            pipe.set(f"{TAG}w", "3")
            with pytest.raises(redis.WatchError):
                pipe.execute()
            assert client.get(f"{TAG}w") == b"2"
            pipe.watch(f"{TAG}w")
            pipe.unwatch()
            client.set(f"{TAG}w", "4")
            assert pipe.set(f"{TAG}w", "5").execute() == [True]


def test_threads_that_count_under_watch_lose_no_count(cluster, shell):
    key = f"{TAG}count"
    with shell.from_url(cluster.url, deadline=30) as client:
        client.delete(key)

        def count_up(pipe):
            before = int(pipe.get(key) or 0)
            pipe.multi()
            pipe.set(key, before + 1)

        with ThreadPoolExecutor(8) as executor:
            list(executor.map(lambda _: client.transaction(count_up, key), range(80)))
        assert client.get(key) == b"80"
        assert not any(node["in_flight"] for node in client.stats()["nodes"].values())
    assert not [one for one in threading.enumerate() if one.name == "clustercache"]


@pytest.mark.parametrize("server", ["valkey", "redis-7.0", "redis-6.2"])
def test_a_half_moved_slot_is_asked_with_asking_before_multi(server, shell):
    here, there = f"{TAG}here", f"{TAG}there"
    slot = key_slot(here)
    with (
        LocalCluster(replicas=0, server=need_server(server).path) as lc,
        shell.from_url(lc.url) as client,
    ):
        client.set(here, "1")
        source = lc.node_for(here)
        target = next(node for node in lc.primaries if node is not source)
        target.call("CLUSTER", "SETSLOT", slot, "IMPORTING", source.node_id)
        source.call("CLUSTER", "SETSLOT", slot, "MIGRATING", target.node_id)
        pipe = client.pipeline(transaction=True)
        assert pipe.set(there, "2").incr(there).execute() == [True, 3]
        assert pipe.incr(here).execute() == [2]
        assert client.pipeline().incr(there).incr(here).incr(there).execute() == [4, 3, 5]
        pipe.watch(there)
        assert pipe.get(there) == b"5"
        pipe.multi()
        assert pipe.incr(there).execute() == [6]
        pipe.watch(there)
        client.incr(there)
        pipe.multi()
        with pytest.raises(redis.WatchError):
            pipe.incr(there).execute()

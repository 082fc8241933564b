"""The near cache on real servers: what is written elsewhere is never served for long."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from time import monotonic

import pytest

from clustercache import AsyncCluster, Cluster
from clustercache._core.slots import key_slot
from clustercache.caching.attendant import ATTENDANT
from clustercache.caching.near import MISSING, NearCache
from clustercache.caching.tracker import Tracker
from clustercache.localcluster import LocalCluster
from tests.clusters import need_server, need_tls
from tests.nearby import await_true, keys_on, nearby

pytestmark = pytest.mark.live
PROMPT = 0.5
"""Seconds in which a push comes on a machine that is busy; it takes a millisecond."""


@pytest.fixture(scope="module", params=["valkey", "redis-7.0", "redis-6.2"])
def lc(request):
    with LocalCluster(3, 0, server=need_server(request.param).path) as made:
        yield made


@pytest.fixture
def here(lc):
    with nearby(lc.url, near=NearCache(max_silence=2.0)) as made:
        yield made


@pytest.fixture
def other(lc):
    """Somebody else's client."""
    with Cluster.from_url(lc.url) as made:
        yield made


@pytest.fixture
def keys(lc):
    """A key of each primary."""
    return [keys_on(lc, node, prefix="live")[0] for node in lc.primaries]


@pytest.mark.parametrize(
    "write",
    [
        lambda r, key: r.set(key, "new"),
        lambda r, key: r.delete(key),
        lambda r, key: r.append(key, "x"),
        lambda r, key: r.pexpire(key, 20),
        lambda r, key: r.eval("return redis.call('set', KEYS[1], 'x')", 1, key),
    ],
    ids=["set", "delete", "append", "expire", "script"],
)
def test_a_write_elsewhere_is_seen_at_once(here, other, keys, write):
    for key in keys:
        other.set(key, "old")
        here.warm(key)
        assert here.near.get(key) == b"old"
        write(other, key)
        here.await_gone(key, PROMPT)


def test_what_comes_next_is_what_was_written(here, other, keys):
    for turn in range(50):
        for key in keys:
            other.set(key, turn)
            assert here.fetch(key) == b"%d" % turn
            await_true(lambda key=key, turn=turn: here.get(key) == b"%d" % turn, PROMPT)


def test_a_key_that_expires_goes(here, other, keys):
    other.set(keys[0], "v", px=150)
    here.warm(keys[0])
    here.await_gone(keys[0], 5.0)
    assert here.fetch(keys[0]) is None


def test_an_absence_is_kept_and_ends_with_a_write(here, other, keys):
    other.delete(*keys)
    await_true(lambda: here.near.get(keys[0]) is None or (here.fetch(keys[0]), False)[1])
    other.set(keys[0], "v")
    await_true(lambda: here.near.get(keys[0]) is MISSING, PROMPT)


def test_an_absence_is_kept_for_a_second_at_the_most(here, other, keys):
    other.delete(*keys)
    await_true(lambda: here.near.get(keys[0]) is None or (here.fetch(keys[0]), False)[1])
    assert here.await_gone(keys[0], 2.0) <= 1.1


def test_an_emptied_node_takes_its_own_entries_only(lc, here, other, keys):
    for key in keys:
        other.set(key, "v")
    here.warm(*keys)
    lc.primaries[0].call("FLUSHALL")
    here.await_gone(keys[0], PROMPT)
    assert here.has(keys[1])
    assert here.has(keys[2])


def test_a_write_of_ones_own_is_read_at_once(here, keys):
    for turn in range(200):
        here.set(keys[0], turn)
        assert here.get(keys[0]) == b"%d" % turn
        assert here.get(keys[0]) == b"%d" % turn


def test_a_read_that_a_write_overtakes_is_not_kept(here, other, keys):
    other.set(keys[0], "old")
    here.warm(*keys)
    here.near.discard([keys[0]])
    (reading,) = here.tracker.read([keys[0]])
    with reading:
        other.set(keys[0], "new")
        await_true(lambda: not here.near._coherence.stands(reading.token), PROMPT)
        assert not reading.keep(reading.data)
    assert here.fetch(keys[0]) == b"new"


def test_many_keys_are_read_from_all_primaries_at_once(here, other):
    names = [b"many:%d" % number for number in range(100)]
    for name in names:
        other.set(name, name)
    here.warm(names[0], *names[1:5])
    readings = here.tracker.read(names)
    assert [reading.data for reading in readings] == names
    for reading in readings:
        with reading:
            assert reading.keep(reading.data)
    assert [here.near.get(name) for name in names] == names


def test_a_table_that_overflows_loses_entries_and_no_invalidations(lc, here, other):
    names = [b"table:%d" % number for number in range(60)]
    for name in names:
        other.set(name, "old")
    for node in lc.primaries:
        node.call("CONFIG", "SET", "tracking-table-max-keys", 5)
    try:
        here.warm(names[0])
        for name in names:
            here.fetch(name)
        await_true(lambda: sum(map(here.has, names)) <= 20, what="the table did not overflow")
        assert any(map(here.has, names))
        for name in names:
            other.set(name, "new")
        await_true(lambda: not any(map(here.has, names)), PROMPT)
    finally:
        for node in lc.primaries:
            node.call("CONFIG", "SET", "tracking-table-max-keys", 1_000_000)


def trackers_of(node):
    """The ids of connections that a node tracks."""
    lines = node.call("CLIENT", "LIST").splitlines()
    facts = [dict(pair.partition("=")[::2] for pair in line.split()) for line in lines]
    return [fact["id"] for fact in facts if "t" in fact["flags"]]


def test_nothing_is_served_behind_a_cut_and_all_is_again_soon(lc, here, other, keys):
    for key in keys:
        other.set(key, "v")
    here.warm(*keys)
    (mine,) = trackers_of(lc.primaries[0])
    lc.primaries[0].call("CLIENT", "KILL", "ID", mine)
    here.await_gone(keys[0], PROMPT)
    assert here.has(keys[1])
    here.warm(*keys)
    assert trackers_of(lc.primaries[0]) != [mine]


def test_reads_go_on_while_the_connection_is_cut_again_and_again(lc, here, other, keys):
    other.set(keys[0], "v")
    for _ in range(10):
        here.warm(keys[0])
        for name in trackers_of(lc.primaries[0]):
            lc.primaries[0].call("CLIENT", "KILL", "ID", name)
        assert here.fetch(keys[0]) == b"v"


def test_there_is_one_connection_to_each_primary(lc, here, keys):
    here.warm(*keys)
    assert [len(trackers_of(node)) for node in lc.primaries] == [1, 1, 1]


def test_threads_share_the_connections(here, other, keys):
    problems = []
    here.warm(*keys)

    def work(number):
        try:
            for turn in range(150):
                key = keys[(number + turn) % 3]
                if here.get(key) not in {None, b"0", b"1", b"2"}:
                    problems.append(key)
                here.near.discard([key])
                if turn % 10 == 0:
                    here.set(key, turn % 3)
        except Exception as error:  # noqa: BLE001 - told in the main thread
            problems.append(error)

    other.delete(*keys)
    for key in keys:
        await_true(lambda key=key: here.near.get(key) in {MISSING, None}, PROMPT)
    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems
    assert not here.near._coherence._inflight
    for key in keys:
        await_true(lambda key=key: here.get(key) == other.get(key), PROMPT)


def test_asyncio_and_threads_share_what_is_near(lc, here, other, keys):
    other.set(keys[0], "v")
    here.warm(*keys)
    here.near.discard(keys)

    async def main():
        readings = await here.tracker.aread(keys)
        for reading in readings:
            with reading:
                reading.keep(reading.data)
        return [reading.data for reading in readings]

    assert asyncio.run(main())[0] == b"v"
    assert here.near.get(keys[0]) == b"v"
    other.set(keys[0], "w")
    here.await_gone(keys[0], PROMPT)


def test_what_is_pushed_while_a_loop_is_busy_is_heard_all_the_same(here, other, keys):
    other.set(keys[0], "v")
    here.warm(*keys)

    async def main():
        for reading in await here.tracker.aread(keys):
            reading.close()
        assert any(listener.loops for listener in here.tracker.listeners)
        for _ in range(5):
            here.warm(keys[0])
            other.set(keys[0], "w")
            here.await_gone(keys[0], PROMPT)  # the loop waits for it, too, and reads nothing

    asyncio.run(main())


def test_a_cancelled_read_leaves_no_token(here, keys):
    here.warm(keys[0])
    here.near.discard(keys)

    async def main():
        task = asyncio.create_task(here.tracker.aread(keys))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert not here.near._coherence._inflight
    here.warm(*keys)


def test_an_asyncio_client_alone_has_a_near_cache(lc, keys):
    async def main():
        near = NearCache()
        async with AsyncCluster.from_url(lc.url) as client:
            await client.set(keys[0], "v")
            with Tracker(client._knowledge, near) as tracker:
                limit = monotonic() + 10
                while near.get(keys[0]) is MISSING:
                    (reading,) = await tracker.aread([keys[0]])
                    with reading:
                        reading.keep(reading.data)
                    assert monotonic() < limit
                    await asyncio.sleep(0.001)
                await client.set(keys[0], "w")
                while near.get(keys[0]) is not MISSING:
                    assert monotonic() < limit
                    await asyncio.sleep(0.001)

    asyncio.run(main())


def test_a_child_begins_anew_and_its_parent_goes_on(here, other, keys):
    other.set(keys[0], "old")
    here.warm(*keys)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            empty = here.lacks(keys[0])
            here.warm(keys[0])
            os.write(write, b"r")
            here.await_gone(keys[0])
            code = 0 if empty and here.get(keys[0]) == b"new" else 2
        finally:
            os._exit(code)
    os.close(write)
    assert os.read(read, 1) == b"r"
    os.close(read)
    assert here.has(keys[0])
    other.set(keys[0], "new")
    here.await_gone(keys[0], PROMPT)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    here.warm(*keys)


def test_nothing_is_left_when_the_last_tracker_is_closed(lc, keys):
    with nearby(lc.url) as one, nearby(lc.url) as two:
        one.warm(*keys)
        two.warm(*keys)
        names = [thread.name for thread in threading.enumerate()]
        assert names.count("clustercache-near") == 1
    assert "clustercache-near" not in [thread.name for thread in threading.enumerate()]
    assert not ATTENDANT._trackers
    await_true(lambda: not any(trackers_of(node) for node in lc.primaries))
    assert two.lacks(keys[0])
    (reading,) = two.tracker.read([keys[0]])
    assert reading.data is MISSING


def test_a_tracker_that_was_dropped_ends_the_thread(lc, keys):
    with Cluster.from_url(lc.url) as client:
        client.ping()
        tracker = Tracker(client._map, NearCache())
        tracker.read(keys)
        assert ATTENDANT._thread is not None
        del tracker
        await_true(lambda: ATTENDANT._thread is None, 5.0)


def test_a_client_of_the_older_protocol_has_a_near_cache(lc, keys):
    with nearby(lc.url, protocol=2, decode_responses=True) as here:
        here.client.set(keys[0], "v")
        here.warm(keys[0])
        assert here.near.get(keys[0]) == b"v"


def test_who_may_not_be_tracked_is_told_once_and_asks_the_servers(lc, keys, caplog):
    for node in lc.primaries:
        node.call("ACL", "SETUSER", "plain", "on", ">p", "~*", "+@all", "-client|tracking"
                  if lc.server.version >= (7,) else "-client")  # fmt: skip
    url = lc.url.replace("redis://", "redis://plain:p@")
    with caplog.at_level(logging.WARNING, "clustercache.near"), nearby(url) as here:
        here.client.set(keys[0], "v")
        here.fetch(keys[0])
        await_true(lambda: len(caplog.records) >= 3)
        assert here.fetch(keys[0]) == b"v"
        assert here.lacks(keys[0])
    assert len(caplog.records) == 3
    assert all("command=CLIENT" in record.getMessage() for record in caplog.records)


def test_a_slot_that_moved_is_not_served(lc, here, other, keys):
    source, target = lc.primaries[:2]
    slot, key = key_slot(keys[0]), keys[0]
    other.set(key, "v")
    here.warm(key)
    for here_, there in ((source, target), (target, source)):
        there.call("CLUSTER", "SETSLOT", slot, "IMPORTING", here_.node_id)
        here_.call("CLUSTER", "SETSLOT", slot, "MIGRATING", there.node_id)
        here_.call("MIGRATE", there.host, there.port, "", 0, 5000, "KEYS", key)
        for node in (there, here_, lc.primaries[2]):
            node.call("CLUSTER", "SETSLOT", slot, "NODE", there.node_id)
        other.set(key, there.node_id)
        here.await_gone(key, here.near.max_silence)
        here.warm(key)
        assert here.near.get(key) == there.node_id.encode()


def test_an_absence_ends_when_its_slot_moves(lc, here, other, keys):
    source, target = lc.primaries[:2]
    slot, key = key_slot(keys[0]), keys[0]
    other.delete(key)
    await_true(lambda: here.near.get(key) is None or (here.fetch(key), False)[1])
    try:
        for node in (target, source, lc.primaries[2]):
            node.call("CLUSTER", "SETSLOT", slot, "NODE", target.node_id)
        other.set(key, "v")
        here.await_gone(key, 1.1)
    finally:
        target.call("DEL", key)
        for node in (source, target, lc.primaries[2]):
            node.call("CLUSTER", "SETSLOT", slot, "NODE", source.node_id)


def seize(slot, taker, keeper):
    """Let a node take a slot, which its owner hears by gossip: it drops its keys, 6.2 silently."""
    taker.call("CLUSTER", "SETSLOT", slot, "IMPORTING", keeper.node_id)
    taker.call("CLUSTER", "SETSLOT", slot, "NODE", taker.node_id)

    def known():
        return not keeper.call("CLUSTER", "COUNTKEYSINSLOT", slot)

    await_true(known, what="the slot's owner has not heard of it")


def test_a_slot_that_was_lost_with_its_keys_is_not_served(lc, here, other, keys):
    source, target = lc.primaries[:2]
    slot, key = key_slot(keys[0]), keys[0]
    other.set(key, "v")
    here.warm(key)
    try:
        seize(slot, target, source)
        here.await_gone(key, here.near.max_silence)
        await_true(lambda: here.get(key) is None, what="the new owner is not read")
    finally:
        target.call("DEL", key)
        seize(slot, source, target)
        lc.wait_ready()


def test_one_server_alone_has_a_near_cache():
    with LocalCluster.standalone() as lc, nearby(lc.url) as here:
        here.client.set("k", "v")
        here.warm(b"k")
        with Cluster.from_url(lc.url) as other:
            other.set("k", "w")
        here.await_gone(b"k", PROMPT)


def test_a_near_cache_over_tls():
    with LocalCluster(3, 0, server=need_tls().path, tls=True) as lc, nearby(lc.url) as here:
        names = [b"tls:%d" % number for number in range(200)]
        for name in names:
            here.client.set(name, b"x" * 2000)
        here.warm(*names[:10])
        readings = here.tracker.read(names)
        assert all(reading.data == b"x" * 2000 for reading in readings)
        for reading in readings:
            reading.close()
        here.client.set(names[0], "new")
        here.await_gone(names[0], PROMPT)


def test_a_push_takes_the_time_of_its_way(here, other, keys, record_property):
    took = []
    for turn in range(100):
        other.set(keys[turn % 3], turn)
        here.warm(keys[turn % 3])
        other.set(keys[turn % 3], -turn)
        took.append(here.await_gone(keys[turn % 3], PROMPT))
    record_property("median_push_seconds", sorted(took)[50])
    assert sorted(took)[50] < 0.02

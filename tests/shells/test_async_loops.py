"""One client in several event loops: each has its connections, all share the map, none is noisy."""

from __future__ import annotations

import asyncio
import gc
import threading
import warnings

import pytest

from clustercache import AsyncCluster
from clustercache.testing import FakeCluster, delay
from tests.loops import LOOPS, new_loop, run, until
from tests.shells.ticks import KEY, OTHER, closed, echo, keys, lines, received

pytestmark = pytest.mark.parametrize("loop", LOOPS)


@pytest.fixture
def fake():
    with FakeCluster(primaries=2) as cluster:
        for node in cluster.nodes:
            node.on("GET", echo)
        yield cluster


def slots_asked(fake):
    return sum(len(node.received("CLUSTER SLOTS")) for node in fake.nodes)


async def both(r, count=10):
    asked = [*keys(count), *keys(count, OTHER)]
    assert [one.decode() for one in await asyncio.gather(*map(r.get, asked))] == asked


def test_a_second_loop_has_connections_of_its_own_and_the_same_map(fake, loop):
    r = AsyncCluster.from_url(fake.url)
    seen = []
    for _ in range(3):
        before = {node: len(node.received("GET")) for node in fake.nodes}
        run(both(r), loop=loop)
        seen.append({node: lines(node.received("GET")[before[node] :]) for node in fake.nodes})
    assert slots_asked(fake) == 1
    for node in fake.nodes:
        assert [len(one[node]) for one in seen] == [1, 1, 1]
        assert len(set.union(*(one[node] for one in seen))) == 3
    run(r.aclose(), loop=loop)


def test_connections_of_a_closed_loop_are_dropped_without_noise(fake, loop):
    r = AsyncCluster.from_url(fake.url)
    for _ in range(3):
        run(both(r), loop=loop)  # collects garbage, and warnings are errors
    first = next(iter(fake.nodes))

    async def last():
        await both(r)
        await closed(*fake.nodes, but=1)
        await r.aclose()
        await closed(*fake.nodes)

    run(last(), loop=loop)
    assert len(first.all_connections) >= 4


def test_a_loop_that_is_closed_with_calls_under_way_harms_no_later_one(fake, loop):
    node = fake.owner(KEY)
    r = AsyncCluster.from_url(fake.url)

    async def left_behind():
        await r.exists(KEY)
        node.on("GET", delay(0.2, b"late"))
        calls = [asyncio.create_task(r.get(key)) for key in keys(3)]
        await received(node, "GET", 3)
        return calls

    with asyncio.Runner(loop_factory=lambda: new_loop(loop)) as runner:
        calls = runner.run(left_behind())
    assert all(call.cancelled() for call in calls)
    node.on("GET", echo)
    run(both(r), loop=loop)
    run(r.aclose(), loop=loop)


def test_two_loops_in_two_threads_share_one_client_at_once(fake, loop):
    r = AsyncCluster.from_url(fake.url)
    run(r.exists(KEY), loop=loop)
    began = threading.Barrier(2, timeout=5)
    failures = []

    async def work():
        began.wait()
        for _ in range(100):
            await both(r, 5)

    def thread():
        try:
            run(work(), loop=loop, collect=False, debug=True)
        except BaseException as error:  # noqa: BLE001 - told below
            failures.append(error)

    threads = [threading.Thread(target=thread) for _ in range(2)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(30)
    assert not failures
    for node in fake.nodes:
        assert len(lines(node.received("GET"))) == 2
    assert slots_asked(fake) == 1
    run(r.aclose(), loop=loop)


def test_loops_of_two_kinds_share_one_client(fake, loop):
    r = AsyncCluster.from_url(fake.url)
    for kind in ("asyncio", loop, "asyncio", loop):
        run(both(r), loop=kind)
    assert slots_asked(fake) == 1
    run(r.aclose(), loop=loop)


def test_what_one_loop_learns_the_others_know(fake, loop):
    r = AsyncCluster.from_url(fake.url)
    run(both(r), loop=loop)
    source, target = fake.owner(KEY), fake.owner(OTHER)
    fake.move(KEY, target)
    for node in fake.nodes:
        node.off("GET")

    async def redirected():
        assert await r.get(KEY) is None
        before = slots_asked(fake)
        await until(lambda: before > 1 or slots_asked(fake) > 1)

    run(redirected(), loop=loop, tasks=True)
    moved = len(source.received("GET"))

    async def knows():
        assert await r.get(KEY) is None

    run(knows(), loop=loop)
    assert len(source.received("GET")) == moved
    run(r.aclose(), loop=loop)


def test_a_client_is_closed_from_another_loop_than_it_was_used_in(fake, loop):
    r = AsyncCluster.from_url(fake.url)
    run(both(r), loop=loop)
    run(r.aclose(), loop=loop)
    run(closed(*fake.nodes), loop=loop)


def test_a_client_that_is_dropped_in_a_running_loop_is_quiet_and_closes(fake, loop):
    async def main():
        r = AsyncCluster.from_url(fake.url)
        await both(r)
        del r
        gc.collect()
        await closed(*fake.nodes)

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        run(main(), loop=loop)
    assert [str(one.message) for one in told] == []


def test_a_client_that_is_dropped_after_its_loop_is_quiet_and_closes(fake, loop):
    r = AsyncCluster.from_url(fake.url)
    run(both(r), loop=loop)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        del r
        gc.collect()
    assert [str(one.message) for one in told] == []
    run(closed(*fake.nodes), loop=loop)


def test_a_client_that_nothing_was_asked_of_is_dropped_and_closed_without_a_loop(fake, loop):
    r = AsyncCluster.from_url(fake.url)
    run(r.aclose(), loop=loop)
    del r
    AsyncCluster.from_url(fake.url)
    gc.collect()
    assert not any(node.all_connections for node in fake.nodes)

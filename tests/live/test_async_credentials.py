"""Passwords that change under load in asyncio, and providers that take their time."""

from __future__ import annotations

import asyncio
import re
import threading
import time

import pytest

from clustercache import AsyncCluster
from clustercache.localcluster import LocalCluster

pytestmark = pytest.mark.live
KEYS = [f"k{number}" for number in range(30)]


@pytest.fixture(scope="module")
def guarded():
    with LocalCluster(3, 0, username="root", password="r00t") as made:
        yield made


@pytest.fixture
def app(guarded):
    """A user; returns what sets its passwords, by whatever thread may wait for it."""

    def set_user(*rules):
        for node in guarded.nodes:
            node.call("ACL", "SETUSER", "app", *rules)

    set_user("reset", "on", ">first", "allkeys", "allchannels", "+@all")
    yield set_user
    for node in guarded.nodes:
        node.call("ACL", "DELUSER", "app")


class Provider:
    """Streams, as redis-py's do."""

    def __init__(self, password="first"):
        self.password = password
        self.callbacks = []
        self.threads = set()

    def get_credentials(self):
        self.threads.add(threading.get_ident())
        return "app", self.password

    def on_next(self, callback):
        self.callbacks.append(callback)

    def change(self, password):
        self.password = password
        for callback in self.callbacks:
            callback(object())


def urls(cluster):
    return [f"redis://{node.address}" for node in cluster.nodes]


def users_connections(cluster):
    lists = {node: node.call("CLIENT", "LIST") for node in cluster.nodes}
    return {
        (node.port, line.split()[0])
        for node, text in lists.items()
        for line in text.splitlines()
        if " user=app " in line
    }


def logins(node):
    """How often AUTH came to a node."""
    (found,) = re.findall(r"cmdstat_auth:calls=(\d+)", node.call("INFO", "commandstats")) or [0]
    return int(found)


async def load(r, counts, stop):
    """Call without a pause; the count of each key says how far it came."""
    while not stop.is_set():
        for key, value in zip(KEYS, await asyncio.gather(*map(r.incr, KEYS)), strict=True):
            assert value == counts[key] + 1, "no call is lost or made twice"
            counts[key] = value


async def some_more(counts):
    goal = counts[KEYS[0]] + 50
    limit = time.monotonic() + 30
    while counts[KEYS[0]] < goal:
        assert time.monotonic() < limit
        await asyncio.sleep(0.001)


@pytest.mark.parametrize("how", ["on_next", "on_next elsewhere", "reauthenticate"])
def test_a_password_is_rotated_under_load_on_live_connections(guarded, app, how):
    provider = Provider()

    async def main():
        counts, stop = dict.fromkeys(KEYS, 0), asyncio.Event()
        async with AsyncCluster.from_url(urls(guarded), credential_provider=provider) as r:
            await r.flushall()
            work = asyncio.create_task(load(r, counts, stop))
            await some_more(counts)
            before = await asyncio.to_thread(users_connections, guarded)
            await asyncio.to_thread(app, ">second")
            if how == "on_next":
                provider.change("second")
            elif how == "on_next elsewhere":
                await asyncio.to_thread(provider.change, "second")
            else:
                provider.password = "second"
                await r.reauthenticate()
            await some_more(counts)
            await asyncio.to_thread(app, "<first")
            await some_more(counts)
            assert before <= await asyncio.to_thread(users_connections, guarded)
            stop.set()
            await work

    asyncio.run(main())
    assert threading.get_ident() not in provider.threads, "it may block"


def test_a_leased_connection_is_renewed_when_it_is_given_back(guarded, app):
    provider = Provider()

    async def main():
        async with AsyncCluster.from_url(urls(guarded), credential_provider=provider) as r:
            await r.set("k", "1")
            pool = r._here().map.slots[r.keyslot("k")]
            own = await pool.lease(time.monotonic() + 5)
            await own.call(("MULTI",), seconds=5)
            await asyncio.to_thread(app, ">second")
            provider.password = "second"
            await r.reauthenticate()
            before = await asyncio.to_thread(logins, guarded.node_for("k"))
            assert await own.call(("GET", "k"), ("EXEC",), seconds=5) == [b"QUEUED", [b"1"]]
            pool.release(own)
            assert await pool.lease(time.monotonic() + 5) is own
            assert await own.call(("ACL", "WHOAMI"), seconds=5) == [b"app"]
            pool.release(own)
            assert own in pool._idle
            assert await asyncio.to_thread(logins, guarded.node_for("k")) == before + 1

    asyncio.run(main())


class Slow(Provider):
    """Has redis-py's coroutine, which is asked instead."""

    def get_credentials(self):
        raise AssertionError("it would block")

    async def get_credentials_async(self):
        await asyncio.sleep(0.01)
        return "app", self.password


def test_a_provider_that_can_be_awaited_is_awaited(guarded, app):
    async def main():
        async with AsyncCluster.from_url(urls(guarded), credential_provider=Slow()) as r:
            assert await r.set("k", "1") is True
            await r.reauthenticate()

    asyncio.run(main())


def test_all_loops_take_the_new_credentials(guarded, app):
    provider = Provider()
    r = AsyncCluster.from_url(urls(guarded), credential_provider=provider)
    used, renewed = threading.Event(), threading.Event()

    async def elsewhere():
        await r.set("k", "1")
        used.set()
        await asyncio.to_thread(renewed.wait, 20)
        pool = r._here().map.slots[r.keyslot("k")]
        limit = time.monotonic() + 5
        while pool._renewal is None or pool._shared.outstanding:
            assert time.monotonic() < limit
            await asyncio.sleep(0.001)
        return await r.get("k")

    async def here():
        await asyncio.to_thread(used.wait, 20)
        await r.get("k")
        provider.password = "second"
        await asyncio.to_thread(app, ">second")
        await r.reauthenticate()

    results = []
    thread = threading.Thread(target=lambda: results.append(asyncio.run(elsewhere())))
    thread.start()
    try:
        asyncio.run(here())
    finally:
        renewed.set()
        thread.join()
    assert results == [b"1"]
    asyncio.run(r.aclose())

"""Loops that ended, or are another process's: what was under way there does no harm."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import time

import pytest

from clustercache import AsyncCluster
from clustercache.testing import FakeCluster, delay, silence, simple

KEY = "bar"
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")


class Provider:
    answers, waits = True, False

    def get_credentials(self):
        raise AssertionError("the other one is asked")

    async def get_credentials_async(self):
        if not self.answers:
            self.waits = True
            await asyncio.sleep(60)
        return ("secret",)


async def until(condition):
    limit = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < limit
        await asyncio.sleep(0.001)


def orphan(r):
    """Make a call whose caller goes before it ends."""
    call = asyncio.ensure_future(r.get(KEY))
    call._log_destroy_pending = False
    return call.get_coro()


async def learns(r, fake):
    for node in fake.nodes:
        node.on("CLUSTER SLOTS", silence())
    call = orphan(r)
    await until(lambda: any(node.received("CLUSTER SLOTS") for node in fake.nodes))
    call.close()


async def connects(r, fake):
    await r.initialize()
    node = fake.owner(KEY)
    node.on("HELLO", silence())
    before = len(node.received("HELLO"))
    call = orphan(r)
    await until(lambda: len(node.received("HELLO")) > before)
    call.close()


async def suspects(r, fake):
    await r.get(KEY)
    for node in fake.nodes:
        node.on("GET", silence())
        node.on("PING", silence())
    call = orphan(r)
    address = fake.owner(KEY).address
    await until(lambda: r.stats()["nodes"][address]["suspected"])
    await until(lambda: fake.owner(KEY).received("PING"))
    call.close()


async def refreshes(r, fake):
    await r.get(KEY)
    r._here().map.helper.refresh()
    await asyncio.sleep(0)


async def renews(r, fake):
    await r.get(KEY)
    r.config.credential_provider.answers = False
    r._here().map.renewals.soon()
    await until(lambda: r.config.credential_provider.waits)


@pytest.fixture(params=["asyncio", "uvloop"])
def new_loop(request):
    if request.param == "asyncio":
        return asyncio.new_event_loop
    return pytest.importorskip("uvloop").new_event_loop


@pytest.fixture
def fake():
    with FakeCluster(primaries=2, replicas=1) as cluster:
        yield cluster


@pytest.mark.parametrize("again", [False, True], ids=["dropped", "used again"])
@pytest.mark.parametrize("work", [learns, connects, suspects, refreshes, renews])
def test_what_a_closed_loop_left_under_way_makes_no_noise(fake, new_loop, work, again, caplog):
    provider, loop = Provider(), new_loop()
    r = AsyncCluster.from_url(fake.url, socket_timeout=0.1, credential_provider=provider)
    loop.run_until_complete(work(r, fake))
    assert any(not task.done() for task in asyncio.all_tasks(loop))
    loop.close()
    for node in fake.nodes:
        for name in ("CLUSTER SLOTS", "HELLO", "GET", "PING"):
            node.off(name)
    if again:
        provider.answers = True
        assert asyncio.run(r.get(KEY)) is None
        asyncio.run(r.aclose())
    del r, loop
    gc.collect()
    assert not [record for record in caplog.records if record.name == "asyncio"]


def test_what_ends_in_a_child_takes_nothing_from_its_parents_selector(fake, new_loop):
    """Both processes have one epoll set: what one takes out of it, the other hears no more."""
    node = fake.owner(KEY)
    r = AsyncCluster.from_url(fake.url, socket_connect_timeout=5.0, deadline=3.0)

    async def begin_to_connect():
        await r.initialize()
        before = len(node.received("HELLO"))
        node.on("HELLO", delay(0.5, simple("OK")))
        call = asyncio.ensure_future(r.get(KEY))
        await until(lambda: len(node.received("HELLO")) > before)
        return call

    async def finish(call):
        assert await call is None
        await r.aclose()

    with asyncio.Runner(loop_factory=new_loop) as runner:
        call = runner.run(begin_to_connect())
        child = os.fork()
        if child == 0:  # pragma: no cover - another process
            signal.alarm(10)
            for task in asyncio.all_tasks(runner.get_loop()):
                task.get_coro().close()
            gc.collect()
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        runner.run(finish(call))

"""What the tests of reads by policy share."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from clustercache import Cluster, ReadFrom

KEY, OTHER = "bar", "foo"

SPREADING = [ReadFrom.PREFER_REPLICA, ReadFrom.ROUND_ROBIN, ReadFrom.LOWEST_LATENCY]
LINK_DOWN = b"role:slave\r\nmaster_link_status:down\r\n"
LINK_UP = b"role:slave\r\nmaster_link_status:up\r\n"


@pytest.fixture(autouse=True)
def both(shell, request, monkeypatch):
    """Let `Cluster` be either client, here and in the module."""
    for names in (globals(), vars(request.module)):
        if "Cluster" in names:
            monkeypatch.setitem(names, "Cluster", shell)


def client_of(fake, policy, **options):
    options = {"deadline": 5.0, "socket_timeout": 0.3} | options
    return Cluster.from_url(fake.url, read_from=policy, **options)


def gets(nodes, name="GET"):
    return [len(node.received(name)) for node in nodes]


def wait_until(condition, timeout=5.0):
    limit = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < limit, "the condition did not come true"
        threading.Event().wait(0.005)


def kill(node):
    """End a primary; until one is promoted, the others go on to name it."""
    node.stop_accepting()
    node.drop_connections()


def stats_of(client, node):
    return client.stats()["nodes"][node.address]


# Tasks -------------------------------------------------------------------------------------------


async def until(condition, seconds=5.0):
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)


async def begun(owner, coroutine, name="BLPOP"):
    """Begin a call, and return its task once the node has it."""
    before = len(owner.received(name))
    task = asyncio.create_task(coroutine)
    await until(lambda: len(owner.received(name)) > before or task.done())
    return task


async def cancelled(task):
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def alone():
    """Tell whether no other task is left than the one that asks."""
    return asyncio.all_tasks() == {asyncio.current_task()}

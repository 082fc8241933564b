"""What the asyncio client hears of sentinels, and that it ends with it."""

from __future__ import annotations

import asyncio
import gc

import pytest

from clustercache import AsyncCluster
from clustercache._async import announcements
from clustercache.testing import FakeServer, error
from tests.loops import until
from tests.shells.test_sources import SERVICE, primary, sentinel_url, watches


@pytest.fixture
def nodes():
    with FakeServer() as a, FakeServer() as b, FakeServer() as c:
        yield a, b, c


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    for name, seconds in {"HEAR_AGAIN": 0.05, "SIGN_OF_LIFE": 0.2, "DEAF": 0.1}.items():
        monkeypatch.setattr(announcements, name, seconds)


def run(nodes, story):
    """Run a coroutine function of (client, primary, sentinels) on a loop of its own."""
    node, *sentinels = nodes
    primary(node)
    for one in sentinels:
        watches(one, node)

    async def main():
        async with AsyncCluster.from_url(sentinel_url(*sentinels), socket_timeout=0.2) as client:
            assert await client.set("k", "v")
            await until(lambda: all(hears(one) for one in sentinels))
            await story(client, node, sentinels)
        await until(lambda: len(asyncio.all_tasks()) == 1)
        await until(lambda: not any(is_heard(one) for one in sentinels))

    asyncio.run(main())


def hears(sentinel):
    return len(sentinel.received("SUBSCRIBE")) >= 5


def is_heard(sentinel):
    """Tell whether a connection is open on which announcements would come."""
    used = {command.connection_id for command in sentinel.received("SUBSCRIBE")}
    return any(one.id in used and not one.closed for one in sentinel.connections)


def ear_of(sentinel):
    used = {command.connection_id for command in sentinel.received("SUBSCRIBE")}
    return next(one for one in sentinel.connections if one.id in used and not one.closed)


def announce(sentinel, service=SERVICE):
    ear_of(sentinel).send(["message", "+switch-master", f"{service} 127.0.0.1 1 127.0.0.1 2"])


def test_each_sentinel_is_listened_to_and_an_announcement_asks_them(nodes):
    async def story(client, _, sentinels):
        await until(lambda: not client._knowledge.here().map.helper._policy.wanted)
        for one in sentinels:
            before = client.stats()["refreshes"]
            announce(one)
            await until(lambda: client.stats()["refreshes"] > before)  # noqa: B023 - awaited at once

    run(nodes, story)


def test_announcements_of_other_services_are_not_news(nodes):
    async def story(client, _, sentinels):
        helper = client._knowledge.here().map.helper
        await until(lambda: helper._refreshing is None or helper._refreshing.done())
        before = client.stats()["refreshes"]
        announce(sentinels[0], "other")
        await asyncio.sleep(0.1)
        assert client.stats()["refreshes"] == before

    run(nodes, story)


def test_a_lost_connection_is_made_again(nodes):
    async def story(_client, _, sentinels):
        for one in sentinels:
            one.drop_connections()
            await until(lambda: len(one.received("SUBSCRIBE")) >= 10)  # noqa: B023 - awaited at once

    run(nodes, story)


def test_a_silent_sentinel_is_left_and_heard_again(nodes):
    async def story(_client, _, sentinels):
        one = sentinels[0]
        one.pause()
        ear = ear_of(one)
        await asyncio.sleep(0.7)
        one.resume()
        await until(lambda: ear.closed)
        await until(lambda: is_heard(one))

    run(nodes, story)


def test_an_announcement_that_comes_before_the_answer_to_a_ping_is_heard(nodes):
    async def story(client, _, sentinels):
        one = sentinels[0]
        await until(lambda: client.stats()["refreshes"])

        def pong(_command, connection):
            if connection.id == ear_of(one).id:
                connection.send(["message", "+switch-master", f"{SERVICE} x 1 y 2"])
            return ["pong", ""]

        before = client.stats()["refreshes"]
        one.on("PING", pong)
        await until(lambda: client.stats()["refreshes"] > before)

    run(nodes, story)


def test_sentinels_that_allow_no_listening_are_asked_now_and_then(nodes):
    node, *sentinels = nodes
    primary(node)
    for one in sentinels:
        watches(one, node).on("SUBSCRIBE", error("NOPERM this user has no permissions"))

    async def main():
        async with AsyncCluster.from_url(sentinel_url(*sentinels)) as client:
            assert await client.set("k", "v")
            await until(lambda: client.stats()["refreshes"] >= 2)
            await until(lambda: not any(is_heard(one) for one in sentinels))

    asyncio.run(main())


def test_nobody_listens_for_a_client_that_is_gone(nodes):
    node, *sentinels = nodes
    primary(node)
    for one in sentinels:
        watches(one, node)

    async def main():
        client = AsyncCluster.from_url(sentinel_url(*sentinels))
        assert await client.set("k", "v")
        await until(lambda: all(hears(one) for one in sentinels))
        del client
        gc.collect()
        await until(lambda: not any(is_heard(one) for one in sentinels))

    asyncio.run(main())


def test_each_loop_listens_for_itself(nodes):
    node, sentinel, _ = nodes
    primary(node)
    watches(sentinel, node)
    client = AsyncCluster.from_url(sentinel_url(sentinel))

    async def use():
        assert await client.set("k", "v")
        await until(lambda: is_heard(sentinel))

    asyncio.run(use())
    sentinel.wait_for(lambda: is_heard(sentinel))
    before = len(sentinel.received("SUBSCRIBE"))

    async def use_again():
        await use()
        await until(lambda: len(sentinel.received("SUBSCRIBE")) == before + 5)
        await client.aclose()

    asyncio.run(use_again())
    sentinel.wait_for(lambda: not is_heard(sentinel))

"""Pub/sub with the asyncio client alone: tasks, and what is kept for them."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from time import monotonic

import pytest
from redis.exceptions import PubSubError

from clustercache import AsyncCluster
from clustercache._async import link, subscriber
from clustercache._async.dial import dial
from clustercache._events import NotSent
from clustercache.exceptions import ClosedError
from clustercache.testing import FakeCluster
from tests.loops import until
from tests.shells.pubsub_stories import data, messages, with_client
from tests.shells.subscribers import Broker

LARGE = b"x" * 10_000


@pytest.fixture
def fake():
    with FakeCluster(primaries=2) as cluster:
        yield cluster


@pytest.fixture
def broker(fake):
    return Broker(fake)


# Tasks -------------------------------------------------------------------------------------------


def test_a_task_that_is_cancelled_takes_no_message_with_it(fake, broker):
    async def run(client):
        async with client.pubsub(ignore_subscribe_messages=True) as ps:
            await ps.subscribe("a")
            await ps.get_message()
            quiet = asyncio.create_task(ps.get_message(timeout=None))
            await until(lambda: ps._subscriber._waiting)
            quiet.cancel()
            await asyncio.wait([quiet])
            assert not ps._subscriber._waiting
            came = []
            for number in range(200):
                task = asyncio.create_task(ps.get_message(timeout=None))
                await asyncio.sleep(0)
                broker.send("", b"a", b"%d" % number)
                for _ in range(number % 7):
                    await asyncio.sleep(0)
                task.cancel()
                with suppress(asyncio.CancelledError):
                    came.append((await task)["data"])
            came += await data(ps, 200 - len(came))
            assert came == [b"%d" % number for number in range(200)]

    with_client(fake, run)


def test_of_several_that_wait_one_gets_each_message_and_a_cancelled_one_none(fake, broker):
    async def run(client):
        async with client.pubsub(ignore_subscribe_messages=True) as ps:
            await ps.subscribe("a")
            await ps.get_message()
            first, *others = [asyncio.create_task(ps.get_message(timeout=5.0)) for _ in range(4)]
            await until(lambda: len(ps._subscriber._waiting) == 4)
            for number in range(3):
                broker.send("", b"a", b"%d" % number)
            first.cancel()
            found = await asyncio.gather(*others)
            assert sorted(one["data"] for one in found) == [b"0", b"1", b"2"]

    with_client(fake, run)


def test_a_subscription_whose_task_is_cancelled_follows_by_itself(fake, broker):
    async def run(client):
        await client.initialize()
        async with client.pubsub() as ps:
            task = asyncio.create_task(ps.ssubscribe("foo"))
            await until(lambda: ps.subscribed)
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            assert [one["type"] for one in await messages(ps, 1)] == ["ssubscribe"]

    with_client(fake, run)


def test_who_asks_again_and_again_lets_the_loop_go_on(fake, broker):
    async def run(client):
        async with client.pubsub() as ps:
            await ps.subscribe("a")
            await ps.get_message()
            broker.send("", b"a", b"1")
            while (one := await ps.get_message()) is None:
                pass
            assert one["data"] == b"1"
            other = asyncio.create_task(asyncio.sleep(0))
            while not other.done():
                assert await ps.get_message() is None
        while (await client.pubsub().get_message()) is not None:
            pytest.fail("nothing is subscribed")

    with_client(fake, run)


# Handlers ----------------------------------------------------------------------------------------


def test_handlers_may_be_coroutine_functions(fake, broker):
    async def run(client):
        seen, gaps = [], []

        async def handler(message):
            await asyncio.sleep(0)
            seen.append(message["data"])

        async def gap(message):
            await asyncio.sleep(0)
            gaps.append(message["data"])

        async with client.pubsub(gaps=gap) as ps:
            await ps.ssubscribe(foo=handler)
            running = asyncio.create_task(ps.run())
            broker.send("s", b"foo", b"1")
            await until(lambda: seen == [b"1"])
            fake.owner("foo").drop_connections()
            await until(lambda: gaps == ["connection lost", "subscribed again"])
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running

    with_client(fake, run)


def test_run_hands_exceptions_over_and_needs_a_handler_for_each(fake, broker):
    async def run(client):
        raised = []

        def handler(_):
            msg = "broken"
            raise ValueError(msg)

        async def failed(error, pubsub):
            raised.append((type(error), pubsub))

        async with client.pubsub() as ps:
            await ps.subscribe(a=handler)
            running = asyncio.create_task(ps.run(exception_handler=failed))
            broker.send("", b"a", b"1")
            await until(lambda: raised == [(ValueError, ps)])
            running.cancel()
            broker.send("", b"a", b"2")
            with pytest.raises(ValueError, match="broken"):
                await ps.run()
            await ps.subscribe("b")
            with pytest.raises(PubSubError):
                await ps.run()

    with_client(fake, run)


def test_run_ends_with_its_client(fake, broker):
    async def main():
        client = AsyncCluster.from_url(fake.url)
        ps = client.pubsub()
        await ps.subscribe(a=print)
        running = asyncio.create_task(ps.run())
        bare = asyncio.create_task(client.pubsub().get_message(timeout=None))
        await asyncio.sleep(0)
        await client.aclose()
        await asyncio.wait_for(running, 5)
        with pytest.raises(ClosedError):
            await asyncio.wait_for(bare, 5)

    asyncio.run(main())


# While nobody listens ----------------------------------------------------------------------------


def test_subscriptions_are_repaired_while_nobody_listens(fake, broker):
    async def run(client):
        async with client.pubsub() as ps:
            await ps.ssubscribe("foo")
            fake.owner("foo").drop_connections()
            await until(lambda: len(fake.owner("foo").received("SSUBSCRIBE")) == 2)
            await until(lambda: broker.nodes_with("s", b"foo"))
            fake.move("foo", fake.owner("bar"))
            broker.evict(b"foo")
            await until(lambda: broker.nodes_with("s", b"foo") == [fake.owner("bar")])
            await until(lambda: len(ps._subscriber.state.events) == 5)
            assert (await data(ps, 5))[1:] == [
                *("connection lost", "subscribed again"),
                *("unsubscribed by the node", "subscribed again"),
            ]

    with_client(fake, run)


def test_a_changed_map_is_followed_while_nobody_listens(fake, broker):
    async def run(client):
        async with client.pubsub() as ps:
            await ps.ssubscribe("foo")
            fake.move("foo", fake.owner("bar"))
            await client.get("foo")
            # Before a timer looks round.
            await until(lambda: broker.nodes_with("s", b"foo") == [fake.owner("bar")], 0.5)

    with_client(fake, run, socket_timeout=60.0)


def test_what_is_due_is_not_put_off_by_what_comes(fake, broker):
    async def run(client):
        async with client.pubsub() as ps:
            await ps.ssubscribe("foo")
            ps._subscriber.look()
            due = ps._subscriber._timer.when()
            ps._subscriber.look()
            assert ps._subscriber._timer.when() == due

    with_client(fake, run)


def test_time_in_which_the_loop_was_busy_is_no_time_that_a_node_was_silent(fake, broker):
    async def run(client):
        async with client.pubsub() as ps:
            await ps.ssubscribe("foo")
            (link,) = ps._subscriber._links.values()
            await until(lambda: link.pulse._pinged)
            time.sleep(0.7)  # noqa: ASYNC251 - the loop is busy
            ps._subscriber.keep_up()
            assert [one["type"] for one in await messages(ps, 1)] == ["ssubscribe"]
            assert not ps._subscriber.state.events

    with_client(fake, run)


def test_a_message_that_is_too_large_is_not_kept(fake, broker):
    async def run(client):
        async with client.pubsub(gaps=True, ignore_subscribe_messages=True) as ps:
            await ps.subscribe("a")
            broker.send("", b"a", LARGE * 30)
            assert await data(ps, 2) == ["connection lost", "subscribed again"]

    with_client(fake, run, max_reply_bytes=65536)


def test_what_nobody_takes_is_bounded_and_nothing_of_it_is_lost(fake, broker):
    async def run(client):
        async with client.pubsub(ignore_subscribe_messages=True, gaps=True) as ps:
            await ps.subscribe("a")
            assert await ps.get_message() is None
            count = 400
            for number in range(count):
                broker.send("", b"a", b"%d %b" % (number, LARGE))
            held = ps._subscriber.state.events
            await until(lambda: ps._subscriber.paused)
            kept = len(held)
            assert kept * len(LARGE) < subscriber._MOST_BYTES + 65536
            await asyncio.sleep(0.7)  # time that nobody reads is no time that the node is silent
            assert len(held) == kept
            began = monotonic()
            await ps.ssubscribe("foo")  # is sent all the same, and not waited for
            assert monotonic() - began < 0.2
            found = [one.split(b" ")[0] for one in await data(ps, count)]
            assert found == [b"%d" % number for number in range(count)]
            await until(lambda: broker.nodes_with("s", b"foo"))
            broker.send("s", b"foo", b"1")
            assert await data(ps, 1) == [b"1"]

    with_client(fake, run)


def test_gaps_that_nobody_hears_of_are_bounded(fake, broker, monkeypatch):
    monkeypatch.setattr(subscriber, "_MOST_EVENTS", 5)

    async def run(client):
        async with client.pubsub() as ps:
            await ps.ssubscribe("foo")
            node, state = fake.owner("foo"), ps._subscriber.state
            while not ps._subscriber.paused:
                count = len(state.events)
                node.drop_connections()
                await until(lambda: len(state.events) >= count + 2 or ps._subscriber.paused)  # noqa: B023 - awaited at once
            node.drop_connections()
            asked = len(node.received("SSUBSCRIBE"))
            await asyncio.sleep(0.3)
            assert len(node.received("SSUBSCRIBE")) == asked
            assert (await data(ps, len(state.events)))[-1] == "subscribed again"
            assert await data(ps, 2) == ["connection lost", "subscribed again"]

    with_client(fake, run)


def test_a_provider_of_credentials_that_fails_is_the_users_to_know(fake, broker):
    async def run(client):
        async with client.pubsub(ignore_subscribe_messages=True) as ps:
            await ps.ssubscribe("foo")
            assert await ps.get_message() is None
            provider.fails = True
            fake.owner("foo").drop_connections()
            with pytest.raises(LookupError):
                await messages(ps, 1)
            provider.fails = False
            await until(lambda: broker.nodes_with("s", b"foo"))

    provider = Provider()
    with_client(fake, run, credential_provider=provider)


class Provider:
    """Gives credentials, or fails to."""

    fails = False

    def get_credentials(self):
        if self.fails:
            raise LookupError
        return ("user", "password")


@pytest.mark.skipif(not hasattr(asyncio, "eager_task_factory"), reason="since Python 3.12")
def test_an_attempt_to_connect_that_fails_at_once_is_followed_by_another(fake, broker, monkeypatch):
    attempts = []

    async def unreachable_once(*args):
        attempts.append(args)
        if len(attempts) == 1:
            msg = "cannot connect: the network is down"
            raise NotSent(msg)
        return await dial(*args)

    async def run(client):
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
        monkeypatch.setattr(link, "dial", unreachable_once)
        began = monotonic()
        async with client.pubsub() as ps:
            await ps.subscribe("news")
            await until(lambda: broker.nodes_with("", b"news"))
        assert monotonic() - began < 0.5

    with_client(fake, run, socket_timeout=4.0)

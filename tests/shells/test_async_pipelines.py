"""What pipelines and transactions promise beside other tasks: cancelled, forgotten, or large."""

from __future__ import annotations

import asyncio
import gc

import pytest
import redis

from clustercache import AsyncCluster
from clustercache._async.parcels import MANY
from clustercache._async.slots import Replies
from clustercache.exceptions import CrossSlotError, DeadlineExceededError
from clustercache.testing import FakeCluster, FakeServer, delay, error, null, raw, simple
from tests.shells.test_transactions import queueing

TWO = ("bar", "foo")  # a key of each primary


@pytest.fixture
def fake():
    with FakeCluster(primaries=2) as cluster:
        yield cluster


def run(fake, story, **options):
    """Run a coroutine function of a client; nothing may be left under way behind it."""

    async def told():
        async with AsyncCluster.from_url(fake.url, **{"deadline": 5.0, **options}) as client:
            for key in TWO:
                await client.set(key, key)
            await story(client)
            await ticks_until(lambda: not under_way(client))
        await ticks_until(lambda: asyncio.all_tasks() == {asyncio.current_task()})

    asyncio.run(told())


def under_way(client):
    return any(one["in_flight"] for one in client.stats()["nodes"].values())


async def ticks_until(condition):
    """Replies that nobody waits for any more, and tasks that were cancelled, take their time."""
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.001)


async def until(node, condition):
    await asyncio.to_thread(node.wait_for, condition)


def leased(client, key):
    return client._here().map.slots[client.keyslot(key)]._leased


# ---------------------------------------------------------------------------------- cancellation


def test_a_pipeline_that_is_cancelled_leaves_every_other_caller_its_own_reply(fake):
    async def story(client):
        fake.owner("bar").on("ECHO", delay(0.05, b"slow"))
        pipe = client.pipeline()
        for number in range(50):
            pipe.set(f"{{bar}}{number}", number).get(f"{{foo}}{number}")
        pipe.execute_command("APPEND", "bar", "!")
        before = [asyncio.ensure_future(client.get(key)) for key in TWO * 20]
        cancelled = asyncio.ensure_future(pipe.execute())
        await asyncio.sleep(0)
        await asyncio.sleep(0)  # it is written, and nothing came yet
        behind = [asyncio.ensure_future(client.get(key)) for key in TWO * 20]
        cancelled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        found = await asyncio.gather(*before, *behind)
        assert {one.removesuffix(b"!") for one in found[::2]} == {b"bar"}
        assert set(found[1::2]) == {b"foo"}

    run(fake, story)


def test_a_pipeline_that_is_cancelled_before_it_is_written_is_never_written(fake):
    async def story(client):
        task = asyncio.ensure_future(client.pipeline().incr("{bar}1").incr("{bar}2").execute())
        asyncio.get_running_loop().call_soon(task.cancel)
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await client.mget("{bar}1", "{bar}2") == [None, None]

    run(fake, story)


def test_what_no_node_was_sent_yet_is_taken_back_from_all_of_them(fake):
    async def story(client):
        lane = client._here().map.slots[client.keyslot("foo")].lane
        lane.blocked_since = 0.0
        task = asyncio.ensure_future(client.pipeline().incr("{bar}1").incr("{foo}1").execute())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        lane.blocked_since = None
        lane._flush()
        assert await client.mget("{bar}1", "{foo}1") == [None, None]

    run(fake, story)


@pytest.mark.parametrize("steps", range(1, 30))
def test_a_pipeline_may_be_cancelled_at_any_step(fake, steps):
    """From the first connection on, with a redirect and a retry on the way."""

    async def story(client):
        fresh = AsyncCluster.from_url(fake.url, deadline=5.0)
        fake.migrate("bar", fake.owner("foo"))
        fake.owner("foo").on("GET foo", [error("LOADING soon"), b"foo"])
        pipe = fresh.pipeline().set("{bar}new", "1").get("foo").mget("foo", "bar")
        task = asyncio.ensure_future(pipe.execute())
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await fresh.pipeline().get("bar").get("foo").execute() == [b"bar", b"foo"]
        await fresh.aclose()

    run(fake, story)


@pytest.mark.parametrize("name", ["WATCH", "GET", "EXEC", "UNWATCH"])
def test_a_transaction_that_is_cancelled_gives_its_connection_up(fake, name):
    node = fake.owner("bar")

    async def story(client):
        queueing(node, [["OK"]])
        node.on("SET", simple("QUEUED"))
        node.on("UNWATCH", simple("OK"))

        async def work(pipe):
            await pipe.get("bar")
            if name == "UNWATCH":
                await pipe.unwatch()
            pipe.multi()
            pipe.set("bar", "2")

        node.on(name, delay(30, simple("OK")))
        task = asyncio.ensure_future(client.transaction(work, "bar"))
        await until(node, lambda: node.received(name))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, 1)
        node.off(name)
        queueing(node, [["OK"]])
        assert leased(client, "bar") == 0
        async with client.pipeline(transaction=True) as pipe:
            await pipe.watch("bar")
            assert leased(client, "bar") == 1
            node.on("UNWATCH", simple("OK"))
        node.off("SET")

    run(fake, story, max_connections=1)


def test_a_transaction_that_is_cancelled_between_its_calls_does_not_wait_for_its_node(fake):
    node = fake.owner("bar")

    async def story(client):
        queueing(node, [["OK"]])
        node.on("UNWATCH", delay(30, simple("OK")))
        begun = asyncio.Event()

        async def work(pipe):
            begun.set()
            await asyncio.Event().wait()

        task = asyncio.ensure_future(client.transaction(work, "bar"))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, 0.5)
        assert not node.received("UNWATCH")
        assert leased(client, "bar") == 0

    run(fake, story)


def test_a_connection_that_a_forgotten_pipeline_watched_with_is_closed(fake):
    async def story(client):
        node = fake.owner("bar")
        queueing(node, [["OK"]])
        pipe = client.pipeline(transaction=True)
        await pipe.watch("bar")
        assert leased(client, "bar") == 1
        del pipe
        gc.collect()
        await asyncio.sleep(0)
        assert leased(client, "bar") == 0

    run(fake, story)


# --------------------------------------------------------------------------------- keeping calls


def test_a_kept_call_may_be_awaited_and_need_not(fake):
    async def story(client):
        async with client.pipeline() as pipe:
            assert await pipe.set("bar", "1") is pipe
            script = client.register_script("return 1")
            assert script(keys=["bar"], client=pipe) is pipe
            assert len(pipe) == 2
            await pipe.aclose()
            assert not len(pipe)
        assert await (await client.pipeline()).get("foo").execute() == [b"foo"]

    run(fake, story)


@pytest.mark.parametrize("transaction", [False, True])
def test_keys_of_several_slots_are_refused_by_execute_where_the_shards_are_not_known(
    fake, transaction
):
    async def told():
        async with AsyncCluster.from_url(fake.url) as client:
            pipe = client.pipeline(transaction=transaction).set("bar", "2")
            pipe.execute_command("SINTER", "bar", "foo")
            with pytest.raises(CrossSlotError, match="SINTER"):
                await pipe.execute()
            assert await client.get("bar") is None, "nothing was sent"
            assert await pipe.set("bar", "3").execute() == [True]

    fake.owner("bar").on("MULTI", simple("OK")).on("EXEC", [[simple("OK")]])
    asyncio.run(told())


def test_one_server_alone_takes_keys_of_all_slots_also_where_that_was_not_known():
    async def told():
        with FakeServer() as server:
            server.on("CLUSTER SLOTS", error("ERR This instance has cluster support disabled"))
            server.on("ROLE", [["master", 0, []]]).on("SINTER", [[b"x"]])
            async with AsyncCluster.from_url(server.url) as client:
                pipe = client.pipeline()
                pipe.execute_command("SINTER", "bar", "foo")
                assert await pipe.execute() == [{b"x"}]

    asyncio.run(told())


# ---------------------------------------------------------------------------------- large batches


@pytest.mark.parametrize(
    "calls",
    [[("{bar}", "x" * 300_000)], [(f"{{bar}}{number}", "x") for number in range(MANY)]],
    ids=["bytes", "commands"],
)
def test_what_is_large_goes_on_a_connection_apart_which_serves_again(fake, calls):
    async def story(client):
        node = fake.owner("bar")
        (shared,) = {one.connection_id for one in node.received("SET")}
        for _ in range(2):
            pipe = client.pipeline()
            for key, value in calls:
                pipe.set(key, value)
            assert await pipe.get("foo").execute() == [True] * len(calls) + [b"foo"]
        sent = {one.connection_id for one in node.received("SET")} - {shared}
        assert len(sent) == 1
        assert leased(client, "bar") == 1

    run(fake, story)


def test_a_node_that_lets_us_wait_keeps_no_other_nodes_calls(fake):
    async def story(client):
        fake.owner("bar").pause()
        pipe = client.pipeline().get("foo").get("bar")
        with client.deadline(0.3):
            first, second = await pipe.execute(raise_on_error=False)
        assert first == b"foo"
        assert isinstance(second, DeadlineExceededError)
        fake.owner("bar").resume()

    run(fake, story, socket_timeout=0.1)


def test_replies_of_a_batch_arrive_in_pieces_and_among_others(fake):
    """Whatever a read brings: a batch is complete when its last reply came."""

    async def story(client):
        pipes = []
        for number in range(30):
            pipe = client.pipeline()
            for part in range(number):
                pipe.set(f"{{bar}}{number}:{part}", "v" * 7000).get(f"{{bar}}{number}:{part}")
            pipes.append(pipe.execute())
        plain = [client.get("bar") for _ in range(30)]
        results = await asyncio.gather(*plain, *pipes)
        assert results[:30] == [b"bar"] * 30
        for number, one in enumerate(results[30:]):
            assert one == [True, b"v" * 7000] * number

    run(fake, story)


def test_a_batch_that_is_complete_is_kept_though_nonsense_follows_it(fake):
    async def story(client):
        node = fake.owner("bar")
        node.on("GET", [b"1", raw(b"$1\r\n2\r\n?\r\n"), b"3"])
        async with asyncio.timeout(1.0):
            assert await client.pipeline().get("bar").get("{bar}").execute() == [b"1", b"2"]
        assert await client.get("bar") == b"3"

    run(fake, story)


def test_what_a_batch_has_is_kept_when_the_rest_is_lost():
    loop = asyncio.new_event_loop()
    place = Replies([b"a", b"b", b"c"], loop)
    place.came.append(1)
    place.fill("cut", 1)
    assert not place.done()
    place.fill("lost")
    place.fill("too late")
    assert place.result() == [1, "cut", "lost"]
    loop.close()


def test_a_watched_key_that_changed_is_told_and_tried_again_by_plain_functions_too(fake):
    node = fake.owner("bar")

    async def story(client):
        queueing(node, [null(), [simple("OK")]])
        node.on("SET", simple("QUEUED"))
        tried = []

        def work(pipe):
            tried.append(pipe)
            pipe.multi()
            pipe.set("bar", "2")
            return "value"

        assert await client.transaction(work, "bar") == [True]
        assert len(tried) == 2
        node.on("EXEC", null())
        with pytest.raises(redis.WatchError), client.deadline(0.1):
            await client.transaction(work, "bar", watch_delay=0.01)
        node.off("SET")

    run(fake, story)

"""Tracking connections and what servers seldom do: nothing is kept that nobody vouches for."""

from __future__ import annotations

import asyncio
import logging
import threading
from contextlib import suppress
from pathlib import Path
from time import monotonic

import pytest

from clustercache import AsyncCluster
from clustercache.caching.near import MISSING, NearCache
from clustercache.caching.tracker import Tracker
from clustercache.testing import FakeCluster, error, raw, silence, simple
from tests.nearby import await_true, nearby

KEY = b"k"


def client_answers(command, _):
    """CLIENT TRACKING and CACHING, which the fake server does not know."""
    return simple("OK") if command[1].upper() in {b"TRACKING", b"CACHING"} else error("ERR no")


@pytest.fixture
def cluster():
    with FakeCluster(primaries=1) as made:
        made.primaries[0].on("CLIENT", client_answers)
        yield made


@pytest.fixture
def node(cluster):
    return cluster.primaries[0]


@pytest.fixture
def here(cluster):
    with nearby(cluster.url, near=NearCache(max_silence=0.5), socket_timeout=0.3) as made:
        made.client.set(KEY, "v")
        yield made


def read(here):
    (reading,) = here.tracker.read([KEY])
    with reading:
        return reading.data, reading.keep(reading.data)


def test_a_read_that_is_not_tracked_is_not_believed(here, node):
    here.warm(KEY)
    node.on("CLIENT", error("ERR no tracking"))
    here.near.discard([KEY])
    assert read(here) == (MISSING, False)
    assert here.fetch(KEY) == b"v"
    assert here.lacks(KEY)


@pytest.mark.parametrize("code", ["ASK", "MOVED"])
def test_a_redirect_is_left_to_the_client_and_not_kept(here, node, code):
    here.warm(KEY)
    here.near.discard([KEY])
    node.on("GET", error(f"{code} 7629 127.0.0.1:1"))
    (reading,) = here.tracker.read([KEY])
    with reading:
        assert reading.data is MISSING
        assert not here.near._coherence.stands(reading.token)


def test_a_reply_that_nobody_asked_for_costs_the_connection(here, node):
    here.warm(KEY)
    node.on("GET", [raw(b"$1\r\nv\r\n+SURPLUS\r\n")])
    here.near.discard([KEY])
    read(here)
    here.await_gone(KEY)
    (listener,) = here.tracker.listeners
    await_true(lambda: listener.source.ready, what="it is not tracked again")


def test_a_silent_node_keeps_nobody_longer_than_the_socket_timeout(here, node):
    here.warm(KEY)
    here.near.discard([KEY])
    node.on("GET", silence())
    began = monotonic()
    assert read(here) == (MISSING, False)
    assert 0.25 < monotonic() - began < 1.5
    (listener,) = here.tracker.listeners
    await_true(lambda: not listener.source.ready, what="its silence is not noticed")
    began = monotonic()
    assert read(here) == (MISSING, False)
    assert monotonic() - began < 0.1


def test_a_node_that_loads_is_asked_again_soon_and_without_a_warning(here, node, caplog):
    here.warm(KEY)
    (listener,) = here.tracker.listeners
    with caplog.at_level(logging.WARNING, "clustercache.near"):
        node.on("PING", error("LOADING loading the dataset in memory"))
        await_true(lambda: not listener.source.ready, what="it is believed all the same")
        assert here.lacks(KEY)
        node.on("PING", simple("PONG"))
        here.warm(KEY)
    assert not caplog.records


def test_an_interrupted_read_leaves_the_connection_in_step(here, monkeypatch):
    here.warm(KEY)
    (listener,) = here.tracker.listeners
    link, real = listener._link, type(listener._link).read

    def interrupted(self, **options):
        if threading.current_thread() is threading.main_thread():
            raise KeyboardInterrupt
        return real(self, **options)

    here.near.discard([KEY])
    with monkeypatch.context() as patch:
        patch.setattr(type(link), "read", interrupted)
        with pytest.raises(KeyboardInterrupt):
            here.tracker.read([KEY])
    assert listener._link is not link
    here.client.set(b"other", "w")
    here.warm(KEY, b"other")
    assert (here.near.get(KEY), here.near.get(b"other")) == (b"v", b"w")


# Event loops ---------------------------------------------------------------------------------


async def aread(here, *keys):
    """Read keys, and keep them."""
    readings = await here.tracker.aread(keys)
    for reading in readings:
        with reading:
            reading.keep(reading.data)
    return [reading.data for reading in readings]


def test_a_loop_reads_its_own_replies(here, monkeypatch):
    here.warm(KEY)
    here.near.discard([KEY])
    (listener,) = here.tracker.listeners
    looks = []
    real = listener.look
    monkeypatch.setattr(listener, "look", lambda: looks.append(threading.get_ident()) or real())

    async def main():
        assert await aread(here, KEY) == [b"v"]

    asyncio.run(main())
    assert set(looks) == {threading.get_ident()}
    assert here.has(KEY)


def test_reads_of_one_turn_of_the_loop_go_out_together(here, monkeypatch):
    here.warm(KEY)
    (listener,) = here.tracker.listeners
    sent = []
    real = type(listener).send
    monkeypatch.setattr(
        type(listener), "send", lambda self, some: (sent.append(len(some)), real(self, some))[1]
    )

    async def main():
        return await asyncio.gather(*[aread(here, KEY) for _ in range(10)])

    assert asyncio.run(main()) == [[b"v"]] * 10
    assert sent == [1, 9]


def test_a_loop_waits_no_longer_than_it_may(here, node):
    here.warm(KEY)
    here.near.discard([KEY])
    node.on("GET", silence())

    async def main():
        began = monotonic()
        longer, shorter = await asyncio.gather(
            here.tracker.aread([KEY]), here.tracker.aread([KEY], monotonic() + 0.05)
        )
        assert monotonic() - began < 1.5
        for reading in (*longer, *shorter):
            with reading:
                assert reading.data is MISSING

    asyncio.run(main())
    assert not here.near._coherence._inflight


def test_a_loop_lets_others_read_what_it_waits_for(here, monkeypatch):
    here.warm(KEY)
    here.near.discard([KEY])
    (listener,) = here.tracker.listeners

    async def main():
        assert listener.lead()
        task = asyncio.create_task(aread(here, KEY))
        await asyncio.sleep(0.05)
        listener.finish(Done, monotonic() + 1, leading=True)
        assert await task == [b"v"]

    asyncio.run(main())


class Done:
    done = True


def test_loops_let_go_of_a_connection_that_is_lost(here, node):
    here.warm(KEY)
    (listener,) = here.tracker.listeners

    async def main():
        await aread(here, KEY)
        assert len(listener.loops) == 1
        former = listener._link
        former.wake()
        limit = monotonic() + 5
        while listener.loops:
            assert monotonic() < limit
            await asyncio.sleep(0.001)
        while await aread(here, KEY) != [b"v"]:
            assert monotonic() < limit
            await asyncio.sleep(0.001)
        assert listener._link is not former
        assert len(listener.loops) == 1

    asyncio.run(main())


@pytest.mark.parametrize("close", ["tracker", "loop"])
def test_a_loop_leaves_no_descriptor(here, node, close):
    here.warm(KEY)
    (listener,) = here.tracker.listeners
    before, link = sockets(), Path(f"/proc/self/fd/{listener.descriptor}").readlink()

    async def main():
        await aread(here, KEY)
        copies = [path for path in sockets() - before if path.readlink() == link]
        assert len(copies) == 1
        if close == "tracker":
            here.tracker.close()
            node.wait_for(lambda: tracking(node).closed)  # though the loop does nothing
            await asyncio.sleep(0)
            assert not listener.loops

    asyncio.run(main())
    await_true(lambda: not listener.loops, what="the loop is still known")
    await_true(lambda: sockets() <= before, what="a copy is left")


def tracking(node):
    """The last connection that is tracked."""
    return [one for one in node.all_connections if b"TRACKING" in b"".join(one.chunks)][-1]


def sockets():
    """The descriptors that are sockets."""
    found = set()
    for path in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):
            if str(path.readlink()).startswith("socket:"):
                found.add(path)
    return found


# Credentials ---------------------------------------------------------------------------------


class Provider:
    password = "first"

    def __init__(self):
        self.callbacks = []

    def get_credentials(self):
        return "app", self.password

    def on_next(self, callback):
        self.callbacks.append(callback)

    def rotate(self, password):
        self.password = password
        for callback in self.callbacks:
            callback(None)


def said(node):
    """What came on tracking connections, each from the first on."""
    came = [b"".join(one.chunks) for one in node.all_connections]
    return [data for data in came if b"TRACKING" in data]


@pytest.fixture
def rotating(cluster):
    provider = Provider()
    with nearby(cluster.url, credential_provider=provider, socket_timeout=0.3) as made:
        made.client.set(KEY, "v")
        made.warm(KEY)
        yield made, provider


@pytest.mark.parametrize("told", [True, False], ids=["on_next", "reauthenticate"])
def test_new_credentials_are_sent_on_the_tracking_connection(rotating, node, told):
    here, provider = rotating
    if told:
        provider.rotate("second")
    else:
        provider.password = "second"
        here.client.reauthenticate()
    node.wait_for(lambda: b"AUTH\r\n$3\r\napp\r\n$6\r\nsecond" in said(node)[0])
    assert here.fetch(KEY) == b"v"
    assert len(said(node)) == 1


def test_new_credentials_of_an_asyncio_client_are_sent_there_too(cluster, node):
    provider, near = Provider(), NearCache()

    async def main():
        url = cluster.url
        async with AsyncCluster.from_url(url, credential_provider=provider) as client:
            await client.set(KEY, "v")
            with Tracker(client._knowledge, near) as tracker:
                limit = monotonic() + 5
                while not near.get(KEY):
                    assert monotonic() < limit
                    for reading in await tracker.aread([KEY]):
                        with reading:
                            reading.keep(reading.data)
                    await asyncio.sleep(0.001)
                await asyncio.to_thread(provider.rotate, "second")
                while b"second" not in said(node)[0]:
                    assert monotonic() < limit
                    await asyncio.sleep(0.001)

    asyncio.run(main())


def test_refused_credentials_leave_the_tracking_connection_as_it_was(rotating, node, caplog):
    here, provider = rotating
    node.on("AUTH", error("WRONGPASS invalid username-password pair"))
    with caplog.at_level(logging.WARNING, "clustercache.credentials"):
        provider.rotate("s3cret")
        refused = f"credentials_refused node={node.address} code=WRONGPASS"
        await_true(lambda: caplog.messages.count(refused) == 2, what="one of the two is not told")
    assert here.fetch(KEY) == b"v"
    assert len(said(node)) == 1
    assert "s3cret" not in caplog.text


def test_a_provider_that_fails_costs_nothing_but_a_line_in_the_log(rotating, node, caplog):
    here, provider = rotating
    before = here.tracker._logins
    provider.get_credentials = None
    here.client._map.logins += 1
    await_true(lambda: here.tracker._logins != before)
    await_true(lambda: "credentials_failed" in caplog.messages)
    assert here.fetch(KEY) == b"v"
    assert len(said(node)) == 1


def test_a_login_that_has_ended_is_made_anew_at_once(rotating, node):
    here, provider = rotating
    provider.password = "second"
    node.on("PING", [error("NOAUTH Authentication required."), simple("PONG")])
    node.wait_for(lambda: len(said(node)) == 2)
    node.wait_for(lambda: b"second" in said(node)[1])
    here.warm(KEY)

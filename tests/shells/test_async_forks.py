"""Forks: a child never uses its parent's sockets, nor the selector that both hold."""

from __future__ import annotations

import asyncio
import gc
import os
import signal

import pytest

from clustercache import AsyncCluster
from clustercache.testing import FakeCluster
from tests.loops import LOOPS, new_loop, until
from tests.shells.ticks import KEY, OTHER, lines

pytestmark = [
    pytest.mark.parametrize("loop", LOOPS),
    # From Python 3.12 on a fork warns while any thread lives: the fake cluster's do.
    pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning"),
]


@pytest.fixture
def fake():
    with FakeCluster(primaries=2) as cluster:
        yield cluster


def forked(work):
    """Run `work` in a child; return its id and what its error is read from."""
    reader, writer = os.pipe()
    child = os.fork()
    if child:
        os.close(writer)
        return child, reader
    code = 1  # pragma: no cover - another process
    try:
        signal.alarm(20)
        work()
        code = 0
    except BaseException as error:  # noqa: BLE001
        os.write(writer, repr(error).encode()[:4000])
    finally:
        os._exit(code)


def joined(child, reader):
    with os.fdopen(reader, "rb") as pipe:
        message = pipe.read().decode()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, message


def in_new_loop(loop, main):
    with asyncio.Runner(loop_factory=lambda: new_loop(loop)) as runner:
        return runner.run(main)


async def both(r):
    assert await asyncio.gather(r.get(KEY), r.get(OTHER)) == [None, None]


class Seen:
    """The connections on which commands came in, from one moment to the next."""

    def __init__(self, fake):
        self.fake = fake
        self.starts = dict.fromkeys(fake.primaries, 0)

    def since(self):
        found = {n: lines(n.commands[self.starts[n] :]) for n in self.fake.primaries}
        self.starts = {n: len(n.commands) for n in self.fake.primaries}
        return found


def check(parent, child, parent_again):
    for node, own in parent.items():
        assert child[node]
        assert not child[node] & own
        assert parent_again[node] <= own


def test_between_two_runs_of_a_loop(fake, loop):
    r, seen = AsyncCluster.from_url(fake.url), Seen(fake)

    async def in_child():
        await both(r)
        await r.aclose()

    with asyncio.Runner(loop_factory=lambda: new_loop(loop)) as runner:
        runner.run(both(r))
        of_parent = seen.since()
        joined(*forked(lambda: in_new_loop(loop, in_child())))
        of_child = seen.since()
        runner.run(both(r))
        check(of_parent, of_child, seen.since())
        runner.run(r.aclose())


def test_inside_a_running_loop(fake, loop):
    seen = Seen(fake)

    async def main():
        r = AsyncCluster.from_url(fake.url)
        await both(r)
        of_parent = seen.since()

        async def in_child():
            await both(r)
            await r.aclose()

        def work():
            asyncio._set_running_loop(None)  # the parent's
            in_new_loop(loop, in_child())

        child, reader = forked(work)
        await until(lambda: os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT))
        joined(child, reader)
        of_child = seen.since()
        await both(r)
        check(of_parent, of_child, seen.since())
        await r.aclose()

    in_new_loop(loop, main())


def test_a_child_that_only_drops_the_client_harms_nobody(fake, loop):
    clients = [AsyncCluster.from_url(fake.url)]
    seen = Seen(fake)

    def work():
        clients.clear()
        gc.collect()

    with asyncio.Runner(loop_factory=lambda: new_loop(loop)) as runner:
        runner.run(both(clients[0]))
        of_parent = seen.since()
        joined(*forked(work))
        assert not any(seen.since().values())
        runner.run(both(clients[0]))
        for node, own in seen.since().items():
            assert own <= of_parent[node]
        runner.run(clients[0].aclose())


def test_with_calls_under_way(fake, loop):
    """The child has their slots, too; neither may take the other's reply."""
    r, seen = AsyncCluster.from_url(fake.url), Seen(fake)

    async def begin():
        await both(r)
        return [asyncio.ensure_future(r.execute_command("INCR", "{bar}n")) for _ in range(5)]

    async def in_child():
        await both(r)
        await r.aclose()

    async def finish(calls):
        return await asyncio.gather(*calls)

    with asyncio.Runner(loop_factory=lambda: new_loop(loop)) as runner:
        calls = runner.run(begin())
        of_parent = seen.since()
        joined(*forked(lambda: in_new_loop(loop, in_child())))
        assert not seen.since().keys() ^ of_parent.keys()
        assert runner.run(finish(calls)) == [1, 2, 3, 4, 5]
        runner.run(r.aclose())
    assert len(fake.owner(KEY).received("INCR")) == 5

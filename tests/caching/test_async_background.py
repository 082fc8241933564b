"""Work in a few tasks of each event loop, and leases that are renewed there."""

from __future__ import annotations

import asyncio
import gc
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar

import pytest
from redis.exceptions import ConnectionError as NoConnectionError

from clustercache.caching.abackground import AsyncBackground, arenewing
from tests.forks import in_child
from tests.loops import LOOPS, new_loop, run, timers, until

LEASE = 0.06
PATIENCE = 10.0

pytestmark = pytest.mark.parametrize("loop", LOOPS)


async def five():
    return 5


async def fails():
    raise LookupError("no such thing")


class Gate:
    """Work that waits until it is let through."""

    def __init__(self):
        self.open, self.entered, self.most, self.inside = asyncio.Event(), 0, 0, 0

    async def __call__(self):
        self.entered += 1
        self.inside += 1
        self.most = max(self.most, self.inside)
        try:
            await self.open.wait()
        finally:
            self.inside -= 1


async def idle(background):
    await until(lambda: not background._loops.here().tasks)


def test_a_key_is_under_way_once_at_a_time(loop):
    async def main():
        background, gate = AsyncBackground(), Gate()
        assert background.submit("k", gate)
        assert not background.submit("k", gate)
        assert background.submit("other", gate)
        gate.open.set()
        await idle(background)
        assert background.submit("k", gate)
        await idle(background)
        assert gate.entered == 3

    run(main(), loop=loop)


def test_it_is_bounded_and_refuses_what_is_too_much(loop):
    async def main():
        background, gate = AsyncBackground(workers=2, queue=3), Gate()
        assert [background.submit(number, gate) for number in range(6)] == [True] * 5 + [False]
        assert background.start(gate) is None
        await until(lambda: gate.entered == 2)
        gate.open.set()
        await idle(background)
        assert (gate.entered, gate.most) == (5, 2)
        assert background.submit(5, gate)
        await idle(background)

    run(main(), loop=loop)


def test_work_has_a_copy_of_its_givers_context(loop):
    variable, seen = ContextVar("variable", default="default"), []

    async def work():
        seen.append(variable.get())
        variable.set("of the work")

    async def main():
        background = AsyncBackground()
        variable.set("of the giver")
        assert background.submit("k", work)
        await background.start(work)
        await idle(background)
        assert (seen, variable.get()) == (["of the giver"] * 2, "of the giver")

    run(main(), loop=loop)


def test_an_error_is_logged_by_its_kind_and_swallowed(loop, caplog):
    async def main():
        background = AsyncBackground()
        assert background.submit("key", fails)
        await idle(background)

    run(main(), loop=loop)
    (record,) = caplog.records
    assert record.name == "clustercache.cache"
    assert record.getMessage() == "background_failed error=LookupError"


def test_who_waits_gets_the_result_or_the_error(loop):
    async def main():
        background = AsyncBackground()
        assert await background.start(five) == 5
        with pytest.raises(LookupError, match="no such thing"):
            await background.start(fails)
        await idle(background)

    run(main(), loop=loop)


def test_an_error_that_nobody_waits_for_any_more_is_not_told_of(loop):
    async def main():
        background = AsyncBackground()
        assert background.start(fails) is not None
        await idle(background)
        gc.collect()

    run(main(), loop=loop)


def test_work_runs_inside_of_what_is_around_it(loop):
    events = []

    @contextmanager
    def around():
        events.append("enter")
        try:
            yield
        finally:
            events.append("exit")

    async def work():
        await asyncio.sleep(0)
        events.append("work")

    async def main():
        background = AsyncBackground(around=around)
        background.submit("k", work)
        await idle(background)

    run(main(), loop=loop)
    assert events == ["enter", "work", "exit"]


def test_closing_cancels_what_is_under_way_and_what_waits(loop):
    async def main():
        background, gate = AsyncBackground(workers=1), Gate()
        background.submit("k", gate)
        waiting = background.start(five)
        await until(lambda: gate.inside)
        await background.aclose()
        assert waiting.cancelled()
        assert (gate.entered, gate.inside) == (1, 0)
        assert not background.submit("k", gate)
        assert background.start(five) is None
        await background.aclose()

    run(main(), loop=loop)


def test_closing_does_not_wait_for_ever(loop, monkeypatch):
    monkeypatch.setattr("clustercache.caching.abackground._CLOSING", 0.02)

    async def main():
        release, entered = asyncio.Event(), asyncio.Event()

        async def stays():
            entered.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                await release.wait()

        background = AsyncBackground()
        background.submit("k", stays)
        await entered.wait()
        async with asyncio.timeout(PATIENCE):
            await background.aclose()
        release.set()
        await idle(background)

    run(main(), loop=loop)


def test_work_may_close_it(loop):
    async def main():
        background = AsyncBackground()
        await background.start(background.aclose)
        assert not background.submit("k", five)
        await idle(background)

    run(main(), loop=loop)


def test_each_loop_has_its_own_bounds_and_keys(loop):
    async def main():
        background, gate = AsyncBackground(workers=1, queue=0), Gate()
        assert background.submit("k", gate)
        assert not background.submit("other", gate)

        async def elsewhere():
            assert background.submit("k", five)
            await idle(background)

        with ThreadPoolExecutor(1) as executor:
            await asyncio.wrap_future(executor.submit(run, elsewhere(), loop=loop, collect=False))
        gate.open.set()
        await idle(background)

    run(main(), loop=loop)


def test_what_a_closed_loop_left_is_forgotten_without_noise(loop, recwarn):
    background, first = AsyncBackground(), new_loop(loop)
    gates = []

    async def begin():
        gates.append(Gate())
        assert background.submit("k", gates[0])
        await until(lambda: gates[0].inside)

    first.run_until_complete(begin())
    first.close()

    async def main():
        assert background.submit("k", five)
        await idle(background)
        assert len(background._loops._held) == 1

    run(main(), loop=loop)
    gc.collect()
    assert gates[0].inside == 0
    assert not list(recwarn)


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_child_begins_with_nothing_under_way(loop):
    async def main():
        background, gate = AsyncBackground(), Gate()
        assert background.submit("k", gate)

        async def of_child():
            assert background.submit("k", five)
            await idle(background)

        def child():
            asyncio._set_running_loop(None)  # the parent's
            new_loop(loop).run_until_complete(of_child())

        in_child(child)
        gate.open.set()
        await idle(background)

    run(main(), loop=loop)


# Leases ---------------------------------------------------------------------------------------


class Renew:
    """Counts, and answers in turn; the last answer stays."""

    def __init__(self, *answers):
        self.answers, self.count, self.ended = list(answers) or [True], 0, 0

    async def __call__(self):
        self.count += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, asyncio.Event):
            try:
                await answer.wait()
            finally:
                self.ended += 1
        return answer


def test_a_lease_is_renewed_every_third_until_its_block_ends(loop):
    async def main():
        renew, here = Renew(), asyncio.get_running_loop()
        began = here.time()
        async with arenewing(LEASE, renew):
            await until(lambda: renew.count >= 4)
        assert here.time() - began > LEASE
        if loop == "asyncio":
            assert not timers(here)

    run(main(), loop=loop)


def test_short_work_renews_nothing(loop):
    async def main():
        renew = Renew()
        async with arenewing(PATIENCE, renew):
            pass
        assert renew.count == 0

    run(main(), loop=loop)


def test_a_lost_lease_is_renewed_no_more(loop):
    async def main():
        lost, held = Renew(False), Renew()
        async with arenewing(LEASE, lost), arenewing(LEASE, held):
            await until(lambda: held.count >= 4)
        assert lost.count == 1

    run(main(), loop=loop)


@pytest.mark.parametrize("error", [NoConnectionError("away"), LookupError("a bug")])
def test_after_an_error_it_is_tried_again(loop, error, caplog):
    async def main():
        renew = Renew(error, True)
        async with arenewing(LEASE, renew):
            await until(lambda: renew.count >= 3)

    caplog.set_level("INFO", "clustercache.cache")
    run(main(), loop=loop)
    assert [record.getMessage() for record in caplog.records] == [
        f"renewal_failed error={type(error).__name__}"
    ]


def test_leaving_cancels_a_renewal_that_is_under_way_and_waits_for_its_end(loop):
    async def main():
        renew = Renew(asyncio.Event())
        async with arenewing(LEASE, renew):
            await until(lambda: renew.count)
        assert (renew.count, renew.ended) == (1, 1)

    run(main(), loop=loop)


def test_a_block_that_is_cancelled_leaves_nothing(loop):
    async def main():
        renew = Renew(asyncio.Event())

        async def holds():
            async with arenewing(LEASE, renew):
                await asyncio.Event().wait()

        task = asyncio.create_task(holds())
        await until(lambda: renew.count)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert renew.ended == 1

    run(main(), loop=loop)

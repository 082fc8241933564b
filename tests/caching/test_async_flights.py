"""One leader per key in an event loop, which no cancelled caller takes along."""

from __future__ import annotations

import asyncio
import gc
import traceback
import weakref
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar

import pytest

from clustercache.caching.aflights import AsyncFlights
from tests.forks import in_child
from tests.loops import LOOPS, new_loop, run, until

PATIENCE = 10.0

pytestmark = pytest.mark.parametrize("loop", LOOPS)


async def never():
    raise AssertionError("it was not to be called")


class Story:
    """A leader that works until it is let go, and followers that wait for it."""

    def __init__(self, work=None):
        self.flights = AsyncFlights()
        self.go, self.works = asyncio.Event(), asyncio.Event()
        self.leads = 0
        self.work = work

    async def begin(self, followers=3, wait=PATIENCE):
        self.leader = asyncio.create_task(self.fly(PATIENCE))
        await self.works.wait()
        self.followers = [asyncio.create_task(self.fly(wait)) for _ in range(followers)]
        await until(lambda: len(self.under_way["k"].waiting) == followers + 1)
        return self

    @property
    def under_way(self):
        return self.flights._loops.here().flights

    async def lead(self):
        self.leads += 1
        self.works.set()
        await self.go.wait()
        return self.work() if self.work else ["made"]

    async def alone(self):
        return "alone"

    async def fly(self, wait):
        return await self.flights.fly("k", self.lead, self.alone, wait, list)

    async def end(self):
        self.go.set()
        await until(lambda: not self.under_way and not self.flights._loops.here().tasks)


def test_one_task_works_and_all_get_a_result_of_their_own(loop):
    async def main():
        story = await Story().begin()
        story.go.set()
        results = await asyncio.gather(story.leader, *story.followers)
        assert results == [(["made"], False)] + [(["made"], True)] * 3
        assert len({id(value) for value, _ in results}) == 4
        assert story.leads == 1
        await story.end()

    run(main(), loop=loop)


def test_the_next_call_works_again(loop):
    async def main():
        flights, made = AsyncFlights(), iter([1, 2])

        async def work():
            return next(made)

        results = [await flights.fly("k", work, never, 0.0, never) for _ in range(2)]
        assert results == [(1, False), (2, False)]

    run(main(), loop=loop)


def test_the_work_goes_on_for_others_when_who_asked_first_is_cancelled(loop):
    async def main():
        story = await Story().begin()
        story.leader.cancel()
        story.followers[0].cancel()
        with pytest.raises(asyncio.CancelledError):
            await story.leader
        story.go.set()
        assert await asyncio.gather(*story.followers[1:]) == [(["made"], True)] * 2
        assert story.leads == 1
        await story.end()

    run(main(), loop=loop)


def test_the_work_ends_though_nobody_waits_any_more(loop):
    async def main():
        ended = []
        story = await Story(work=lambda: ended.append(True)).begin(followers=0)
        story.leader.cancel()
        await asyncio.wait([story.leader])
        await story.end()
        assert ended == [True]

    run(main(), loop=loop)


def fails():
    raise LookupError("no such thing")


def test_all_raise_what_the_work_raised(loop):
    async def main():
        story = await Story(fails).begin()
        story.go.set()
        for call in [story.leader, *story.followers]:
            with pytest.raises(LookupError, match="no such thing") as caught:
                await call
            assert "fails" in [frame.name for frame in traceback.extract_tb(caught.tb)]
        assert story.leads == 1
        await story.end()

    run(main(), loop=loop)


def test_an_error_that_nobody_waits_for_is_not_told_of(loop):
    async def main():
        story = await Story(fails).begin(followers=0)
        story.leader.cancel()
        await asyncio.wait([story.leader])
        await story.end()

    run(main(), loop=loop)


def test_an_error_keeps_nothing_alive(loop):
    known = []

    class FailureError(Exception):
        def __init__(self):
            known.append(weakref.ref(self))

    def work():
        raise FailureError

    async def call(story):
        with pytest.raises(FailureError):
            await story.fly(PATIENCE)

    async def main():
        story = Story(work)
        story.go.set()
        await asyncio.gather(*[call(story) for _ in range(3)])
        await story.end()

    gc.collect()
    gc.disable()
    try:
        run(main(), loop=loop, collect=False)
        assert known[0]() is None
    finally:
        gc.enable()


def test_who_waited_in_vain_works_alone(loop):
    async def main():
        story = await Story().begin(wait=0.02)
        assert await asyncio.gather(*story.followers) == [("alone", False)] * 3
        assert story.leads == 1
        await story.end()
        assert await story.leader == (["made"], False)

    run(main(), loop=loop)


@pytest.mark.parametrize("through", ["await", "task"])
def test_work_that_asks_for_itself_works_alone(loop, through):
    async def main():
        flights = AsyncFlights()

        async def inner():
            return "inner"

        async def work():
            asking = flights.fly("k", never, inner, PATIENCE, never)
            return await (asyncio.create_task(asking) if through == "task" else asking)

        async with asyncio.timeout(PATIENCE / 2):
            result = await flights.fly("k", work, never, PATIENCE, never)
        assert result == (("inner", False), False)

    run(main(), loop=loop)


def test_a_follower_takes_over_from_work_that_was_cancelled(loop):
    async def main():
        story = await Story().begin()
        story.under_way["k"].task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await story.leader
        story.go.set()
        results = await asyncio.gather(*story.followers)
        assert sorted(led for _, led in results) == [False, True, True]
        assert story.leads == 2
        await story.end()

    run(main(), loop=loop)


def test_a_follower_takes_over_from_work_that_was_cancelled_before_it_began(loop):
    async def main():
        story = Story()
        leader = asyncio.create_task(story.fly(PATIENCE))
        follower = asyncio.create_task(story.fly(PATIENCE))
        await until(lambda: "k" in story.under_way)
        story.under_way["k"].task.cancel()
        story.go.set()
        assert isinstance((await asyncio.gather(leader, return_exceptions=True))[0], BaseException)
        assert (await follower)[0] == ["made"]
        await story.end()

    run(main(), loop=loop)


def test_an_interrupt_of_the_work_ends_the_loop_without_noise(loop):
    def stops():
        raise KeyboardInterrupt

    async def main():
        story = Story(stops)
        story.go.set()
        calls = [asyncio.create_task(story.fly(PATIENCE)) for _ in range(3)]
        await asyncio.wait(calls)

    with pytest.raises(KeyboardInterrupt):
        run(main(), loop=loop)
    gc.collect()


def test_the_work_has_a_copy_of_the_callers_context(loop):
    variable = ContextVar("variable", default="default")

    async def main():
        async def work():
            seen = variable.get()
            variable.set("of the work")
            return seen

        variable.set("of the caller")
        result, _ = await AsyncFlights().fly("k", work, never, PATIENCE, never)
        assert (result, variable.get()) == ("of the caller", "of the caller")

    run(main(), loop=loop)


def test_callers_go_on_alone_when_all_is_closed(loop):
    async def main():
        story = await Story().begin()
        await story.flights.aclose()
        calls = [story.leader, *story.followers]
        assert await asyncio.gather(*calls) == [("alone", False)] * 4
        assert (story.leads, story.under_way) == (1, {})

    run(main(), loop=loop)


def test_work_that_closes_all_is_not_cancelled_by_that(loop):
    async def main():
        flights = AsyncFlights()

        async def work():
            await asyncio.create_task(flights.aclose())
            return "made"

        assert await flights.fly("k", work, never, PATIENCE, never) == ("made", False)

    run(main(), loop=loop)


def test_work_that_will_not_end_is_not_waited_for_much_longer(loop, monkeypatch):
    monkeypatch.setattr("clustercache.caching.aflights._CLOSING", 0.02)

    async def main():
        release = asyncio.Event()

        async def work():
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                await release.wait()

        async def alone():
            return "alone"

        flights = AsyncFlights()
        call = asyncio.create_task(flights.fly("k", work, alone, PATIENCE, never))
        await until(lambda: flights._loops.here().tasks)
        await asyncio.sleep(0)
        async with asyncio.timeout(PATIENCE):
            await flights.aclose()
            assert await call == ("alone", False)
        release.set()
        await until(lambda: not flights._loops.here().tasks)

    run(main(), loop=loop)


def test_loops_do_not_wait_for_one_another(loop):
    async def main():
        story = await Story().begin(followers=0)

        async def elsewhere():
            async def work():
                return "elsewhere"

            return await story.flights.fly("k", work, never, 0.0, never)

        with ThreadPoolExecutor(1) as executor:
            future = executor.submit(run, elsewhere(), loop=loop, collect=False)
            assert await asyncio.wrap_future(future) == ("elsewhere", False)
        await story.end()
        await story.leader

    run(main(), loop=loop)


def test_what_a_closed_loop_left_is_forgotten_without_noise(loop, recwarn):
    story, first = Story(), new_loop(loop)
    task = first.create_task(story.fly(PATIENCE))
    first.run_until_complete(story.works.wait())
    task._log_destroy_pending = False  # the caller's own
    first.close()

    async def main():
        async def work():
            return "made"

        assert await story.flights.fly("k", work, never, 0.0, never) == ("made", False)
        assert len(story.flights._loops._held) == 1

    run(main(), loop=loop)
    task.get_coro().close()
    del task
    gc.collect()
    assert not list(recwarn)


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_child_has_flights_of_its_own(loop):
    async def main():
        story = await Story().begin(followers=0)

        async def work():
            return "of the child"

        def child():
            asyncio._set_running_loop(None)  # the parent's
            mine = new_loop(loop)
            flying = story.flights.fly("k", work, never, PATIENCE, never)
            assert mine.run_until_complete(flying) == ("of the child", False)

        in_child(child)
        story.go.set()
        assert await story.leader == (["made"], False)
        await story.end()

    run(main(), loop=loop)

"""One leader per key in a process, for threads."""

from __future__ import annotations

import dis
import gc
import os
import signal
import sys
import threading
import traceback
import weakref
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from time import monotonic

import pytest

from clustercache.caching import flights as module
from clustercache.caching.flights import Flights
from tests.forks import in_child
from tests.nearby import await_true

PATIENCE = 10.0


def never():
    raise AssertionError("it was not to be called")


class Story:
    """A leader that works until it is let go, and followers that wait for it."""

    def __init__(self, followers=3, *, wait=PATIENCE, work=None):
        self.flights = Flights()
        self.go, self.works = threading.Event(), threading.Event()
        self.leads = 0
        self.work = work or (lambda: ["made"])
        self._executor = ThreadPoolExecutor(followers + 1)
        self.leader = self._executor.submit(self.fly)
        assert self.works.wait(PATIENCE)
        self.followers = [self._executor.submit(self.fly, wait) for _ in range(followers)]
        await_true(lambda: len(self.flight.waiting) == followers)

    @property
    def flight(self):
        return self.flights._flights["k"]

    def lead(self):
        self.leads += 1
        self.works.set()
        assert self.go.wait(PATIENCE)
        return self.work()

    def fly(self, wait=PATIENCE):
        return self.flights.fly("k", self.lead, lambda: "alone", wait, list)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.go.set()
        self._executor.shutdown()
        assert not self.flights._flights


def test_one_thread_works_and_the_others_get_its_result():
    with Story() as story:
        story.go.set()
        assert story.leader.result() == (["made"], False)
        assert [one.result() for one in story.followers] == [(["made"], True)] * 3
        assert story.leads == 1


def test_keys_do_not_wait_for_one_another():
    with Story(followers=0) as story:
        assert story.flights.fly("other", lambda: 1, never, PATIENCE, never) == (1, False)


def test_the_next_call_works_again():
    flights, made = Flights(), iter([1, 2])
    results = [flights.fly("k", partial(next, made), never, 0.0, never) for _ in range(2)]
    assert results == [(1, False), (2, False)]


def test_every_caller_gets_a_result_of_its_own():
    with Story() as story:
        story.go.set()
        results = [one.result()[0] for one in [story.leader, *story.followers]]
        assert len({id(one) for one in results}) == 4


def test_what_the_leaders_caller_changes_at_once_no_follower_sees():
    flights, works, changed = Flights(), threading.Event(), threading.Event()

    def work():
        works.set()
        await_true(lambda: flights._flights["k"].waiting)
        return ["made"]

    def lead():
        result, _ = flights.fly("k", work, never, PATIENCE, list)
        result.append("changed")
        changed.set()

    def copy(result):
        assert changed.wait(PATIENCE)
        return list(result)

    leader = threading.Thread(target=lead)
    leader.start()
    assert works.wait(PATIENCE)
    assert flights.fly("k", never, never, PATIENCE, copy) == (["made"], True)
    leader.join()


def fails():
    raise LookupError("no such thing")


def test_followers_raise_what_the_leader_raised():
    with Story(work=fails) as story:
        story.go.set()
        for call in [story.leader, *story.followers]:
            with pytest.raises(LookupError, match="no such thing") as caught:
                call.result()
            assert "fails" in [frame.name for frame in traceback.extract_tb(caught.tb)]
        assert story.leads == 1


def test_an_error_keeps_nothing_alive():
    known = []

    class FailureError(Exception):
        def __init__(self):
            known.append(weakref.ref(self))

    def work():
        raise FailureError

    def heard(story):
        for call in [story.leader, *story.followers]:
            assert isinstance(call.exception(PATIENCE), FailureError)
        story.leader, story.followers = None, []

    gc.collect()
    gc.disable()
    try:
        with Story(work=work) as story:
            story.go.set()
            heard(story)
        await_true(lambda: known[0]() is None)
    finally:
        gc.enable()


def test_who_waited_in_vain_works_alone():
    with Story(followers=2, wait=0.02) as story:
        assert [one.result(PATIENCE) for one in story.followers] == [("alone", False)] * 2
        assert story.leads == 1


def test_a_wait_may_be_endless():
    with Story(followers=1, wait=float("inf")) as story:
        story.go.set()
        assert story.followers[0].result(PATIENCE) == (["made"], True)


def test_work_that_asks_for_itself_works_alone():
    flights = Flights()

    def work():
        return flights.fly("k", never, lambda: "inner", PATIENCE, never)

    began = monotonic()
    assert flights.fly("k", work, never, PATIENCE, never) == (("inner", False), False)
    assert monotonic() - began < PATIENCE / 2


class Stops:
    """Stops the first that calls it, and lets the second work."""

    def __init__(self, error):
        self.errors = [error]

    def __call__(self):
        if self.errors:
            raise self.errors.pop()
        return ["made"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_a_follower_takes_over_from_a_leader_that_is_stopped(error):
    with Story(work=Stops(error)) as story:
        story.go.set()
        with pytest.raises(error):
            story.leader.result(PATIENCE)
        results = [one.result(PATIENCE) for one in story.followers]
        # Whoever came too late to follow leads, too.
        assert [made for made, _ in results] == [["made"]] * 3
        assert results.count((["made"], False)) == story.leads - 1 >= 1


def test_a_real_interrupt_of_the_leader_stops_no_follower():
    flights, threads = Flights(), []

    def follow():
        return flights.fly("k", lambda: "taken over", never, PATIENCE, str)

    with ThreadPoolExecutor(1) as executor:

        def work():
            threads.append(executor.submit(follow))
            await_true(lambda: flights._flights["k"].waiting)
            os.kill(os.getpid(), signal.SIGINT)
            threading.Event().wait(PATIENCE)

        with pytest.raises(KeyboardInterrupt):
            flights.fly("k", work, never, PATIENCE, str)
        assert threads[0].result(PATIENCE) == ("taken over", False)


def places(code):
    """The offsets at which a signal handler may run."""
    before, found = "", set()
    for instruction in dis.get_instructions(code):
        if before in {"CALL", "CALL_FUNCTION_EX", "RESUME", "JUMP_BACKWARD"}:
            found.add(instruction.offset)
        before = instruction.opname
    return found


class Interruption:
    """Raises KeyboardInterrupt at the `number`-th place inside the module."""

    def __init__(self, number):
        self.left, self.came = number, False
        self._kept = self._enter, self._step

    def _enter(self, frame, event, arg):
        if self.came or frame.f_code.co_filename != module.__file__:
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return self._kept[1]

    def _step(self, frame, event, arg):
        if event == "opcode" and frame.f_lasti in places(frame.f_code):
            self.left -= 1
            if self.left == 0:
                self.came = True
                raise KeyboardInterrupt
        return self._kept[1]

    def __enter__(self):
        sys.settrace(self._kept[0])
        return self

    def __exit__(self, *_):
        sys.settrace(None)


@pytest.mark.parametrize("work", [lambda: 1, fails])
def test_an_interrupt_anywhere_leaves_no_flight_behind(work):
    tried = 0
    for number in range(1, 60):
        flights = Flights()
        with suppress(KeyboardInterrupt, LookupError), Interruption(number) as interruption:
            flights.fly("k", work, never, 0.0, never)
        tried += interruption.came
        assert not flights._flights, f"at place {number}"
    assert 5 < tried < 59, "not every place was tried"


def test_a_key_that_cannot_be_one_says_so():
    with pytest.raises(TypeError, match="unhashable"):
        Flights().fly([], never, never, 0.0, never)


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_child_waits_for_no_leader_of_its_parent():
    with Story(followers=0) as story:
        in_child(lambda: _flies(story.flights, "k"))
        story.go.set()
        assert story.leader.result(PATIENCE) == (["made"], False)


def _flies(flights, key):
    assert flights.fly(key, lambda: "mine", never, PATIENCE, never) == ("mine", False)


def test_a_leader_that_forks_ends_in_both_processes():
    flights = Flights()

    def work():
        in_child(partial(_flies, flights, "k"))
        return "parent"

    assert flights.fly("k", work, never, PATIENCE, never) == ("parent", False)
    assert not flights._flights


def test_many_threads_and_keys_lose_nobody():
    flights, over = Flights(), threading.Event()

    def calls(thread):
        count = 0
        while not over.is_set():
            key = count % 3
            value, _ = flights.fly(key, lambda key=key: [key], never, PATIENCE, list)
            assert value == [key]
            value.append(thread)
            count += 1
        return count

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(6) as executor:
            threads = [executor.submit(calls, thread) for thread in range(6)]
            over.wait(0.5)
            over.set()
            assert all(one.result(PATIENCE) > 0 for one in threads)
    finally:
        sys.setswitchinterval(interval)
    assert not flights._flights

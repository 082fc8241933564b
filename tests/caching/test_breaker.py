"""While a shard is away nobody waits for it more than once."""

from __future__ import annotations

import threading

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from clustercache.caching.breaker import Breaker, Passage
from clustercache.exceptions import ConfigurationError


def opened(**options):
    breaker = Breaker(**options)
    breaker.failed(0, 0)
    assert breaker.is_open
    return breaker


def test_a_closed_breaker_lets_all_through():
    breaker = Breaker()
    assert [breaker.ask(now) for now in (0, 1, 1e9)] == [Passage.GO] * 3


def test_from_the_first_failure_on_nobody_waits():
    breaker = opened(pause=1)
    assert {breaker.ask(now) for now in (0, 0.5, 0.999)} == {Passage.SKIP}


def test_it_may_take_several_failures_in_a_row():
    breaker = Breaker(threshold=3)
    for outcome in ("failed", "failed", "succeeded", "failed", "failed"):
        breaker.succeeded() if outcome == "succeeded" else breaker.failed(0, 0)
        assert breaker.ask(0) is Passage.GO
    breaker.failed(0, 0)
    assert breaker.ask(0) is Passage.SKIP


def test_one_asker_probes_and_the_rest_skip():
    breaker = opened(pause=1)
    assert [breaker.ask(1) for _ in range(4)] == [Passage.PROBE] + [Passage.SKIP] * 3


def test_a_probe_that_gets_through_closes_it():
    breaker = opened(pause=1)
    breaker.ask(1)
    breaker.succeeded()
    assert breaker.ask(1) is Passage.GO
    breaker.failed(2, 0)
    assert breaker.ask(3) is Passage.PROBE  # the pause is the first one again


def test_pauses_double_up_to_the_longest():
    breaker, now, pauses = opened(pause=1, longest=5), 0.0, []
    for _ in range(5):
        pause = next(p for p in range(1, 9) if breaker.ask(now + p) is Passage.PROBE)
        pauses.append(pause)
        now += pause
        breaker.failed(now, 0)
    assert pauses == [1, 2, 4, 5, 5]


@pytest.mark.parametrize(("draw", "pause"), [(0, 1), (0.5, 0.75), (1, 0.5)])
def test_chance_shortens_a_pause_by_up_to_a_half(draw, pause):
    breaker = Breaker(pause=1)
    breaker.failed(0, draw)
    assert breaker.ask(pause - 0.001) is Passage.SKIP
    assert breaker.ask(pause) is Passage.PROBE


def test_failures_that_come_late_change_nothing():
    breaker = opened(pause=1)
    for now in (0.2, 0.4, 0.9):
        breaker.failed(now, 0)
    assert breaker.ask(1) is Passage.PROBE
    breaker.failed(1, 0)
    breaker.failed(1, 0)
    assert breaker.ask(2.9) is Passage.SKIP
    assert breaker.ask(3) is Passage.PROBE


def test_a_probe_that_nothing_was_heard_of_is_given_to_another():
    breaker = opened(pause=1, patience=3)
    assert breaker.ask(1) is Passage.PROBE
    assert breaker.ask(3.9) is Passage.SKIP
    assert [breaker.ask(4), breaker.ask(4)] == [Passage.PROBE, Passage.SKIP]


def test_of_many_threads_one_probes():
    for _ in range(50):
        breaker, told = opened(pause=1), []
        start = threading.Barrier(4)

        def ask(breaker=breaker, told=told, start=start):
            start.wait(10)
            told.append(breaker.ask(1))

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        assert told.count(Passage.PROBE) == 1
        assert told.count(Passage.SKIP) == 3


def test_a_thread_that_another_overtook_does_not_probe():
    class Overtaken(float):
        """A moment at whose comparison another thread comes in between."""

        def __lt__(self, other):
            assert breaker.ask(1) is Passage.PROBE
            return float(self) < other

    breaker = opened(pause=1)
    assert breaker.ask(Overtaken(1)) is Passage.SKIP


@pytest.mark.parametrize(
    "options", [{"threshold": 0}, {"pause": 0}, {"pause": 2, "longest": 1}, {"patience": 0}]
)
def test_numbers_out_of_range_are_refused(options):
    with pytest.raises(ConfigurationError, match="have to be positive"):
        Breaker(**options)


class Breakers(RuleBasedStateMachine):
    """However outcomes and questions mix: an open breaker probes again, and lets nobody through."""

    def __init__(self):
        super().__init__()
        self.now = 0.0
        self.breaker = Breaker(threshold=2, pause=1, longest=8, patience=10)
        self.probed = -100.0

    @rule(seconds=st.floats(0, 20))
    def time_passes(self, seconds):
        self.now += seconds

    @rule(draw=st.floats(0, 1))
    def fail(self, draw):
        self.breaker.failed(self.now, draw)

    @rule()
    def succeed(self):
        self.breaker.succeeded()
        assert self.breaker.ask(self.now) is Passage.GO

    @precondition(lambda self: self.breaker.is_open)
    @rule()
    def ask(self):
        told = self.breaker.ask(self.now)
        assert told is not Passage.GO
        if told is Passage.PROBE:
            assert self.now - self.probed >= 0.5 or self.probed < 0
            self.probed = self.now

    @invariant()
    def a_probe_comes_in_the_end(self):
        assert not self.breaker.is_open or self.breaker._until <= self.now + 10


Breakers.TestCase.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)
TestBreakers = Breakers.TestCase

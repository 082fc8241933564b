"""Values that are over: served while one computes, or instead of an error, or not at all."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from contextvars import ContextVar
from time import monotonic

import pytest

from tests.caching.stages import Counted
from tests.nearby import await_true

whose = ContextVar("whose", default="nobody")
SHORT = 0.15


class Failing(Counted):
    """Returns how often it was called, or fails while `fails`."""

    def __init__(self):
        super().__init__(self._next)
        self.fails = False

    def _next(self):
        if self.fails:
            raise ThatOneError
        return self.count


class ThatOneError(Exception):
    pass


@pytest.fixture
def made():
    return Failing()


def test_a_stale_value_is_served_at_once_while_one_computes_anew(stage, made):
    go = threading.Event()

    def body():
        if made.count:
            assert go.wait(10)
        return made()

    function = stage.cached(body, name="f", ttl=SHORT, stale=60, early=0)
    assert function() == 1
    await_true(lambda: function() == 1 and function.cache_stats().stale_served >= 3)
    assert made.count == 1
    go.set()
    await_true(lambda: function() >= 2)
    assert function.cache_stats().stale_served >= 3


def test_a_refresh_that_fails_leaves_the_stale_value(stage, made, caplog):
    function = stage.cached(made, name="f", ttl=SHORT, stale=60, early=0)
    assert function() == 1
    made.fails = True
    await_true(lambda: function() == 1 and made.count > 2)
    assert function() == 1
    made.fails = False
    await_true(lambda: function() > 1)
    assert "ThatOneError" in caplog.text


def test_an_old_value_stands_for_an_error(stage, made):
    function = stage.cached(made, name="f", ttl=SHORT, stale_if_error=60, early=0)
    assert function() == 1
    made.fails = True
    await_true(lambda: function() == 1 and made.count > 1)
    assert function() == 1
    assert function.cache_stats().stale_served >= 1
    made.fails = False
    assert function() > 1


def test_past_its_window_an_old_value_stands_for_nothing(stage, made):
    function = stage.cached(made, name="f", ttl=SHORT, stale_if_error=SHORT, early=0)
    assert function() == 1
    made.fails = True

    def raises():
        try:
            return function() != 1
        except ThatOneError:
            return True

    await_true(raises)
    with pytest.raises(ThatOneError):
        function()


def test_what_was_invalidated_stands_for_no_error(stage, made):
    function = stage.cached(made, name="f", ttl=60, stale_if_error=60, tags=("t",))
    for invalidate in (
        function.cache_invalidate,
        function.cache_clear,
        stage.cache.clear,
        lambda: stage.cache.invalidate_tags("t"),
    ):
        made.fails = False
        function()
        made.fails = True
        invalidate()
        with pytest.raises(ThatOneError):
            function()


def test_a_soft_timeout_returns_the_old_value_and_lets_computing_go_on(stage, made):
    go = threading.Event()

    def body():
        if made.count:
            assert go.wait(10)
        return made()

    function = stage.cached(
        body, name="f", ttl=SHORT, stale_if_error=60, soft_timeout=0.05, early=0
    )
    assert function() == 1
    await_true(lambda: function() == 1 and function.cache_stats().stale_served)
    began = monotonic()
    assert function() == 1
    assert monotonic() - began < 5.0
    go.set()
    await_true(lambda: function() >= 2)


def test_a_value_that_took_long_is_computed_anew_before_its_end(stage, made):
    function = stage.cached(
        lambda: threading.Event().wait(0.05) or made(), name="f", ttl=5, early=2000
    )
    assert function() == 1
    await_true(lambda: function() >= 2, 4.0)
    assert function.cache_stats().stale_served == 0


def test_early_refreshes_may_be_turned_off(stage, made):
    function = stage.cached(
        lambda: threading.Event().wait(0.05) or made(), name="f", ttl=60, early=0
    )
    assert {function() for _ in range(50)} == {1}


def test_a_refresh_has_the_callers_context_and_runs_inside_what_is_told(stage):
    entered, seen = [], []

    @contextmanager
    def around():
        entered.append(1)
        yield
        entered.append(-1)

    def body():
        seen.append(whose.get())
        return len(seen)

    cache = stage.open(around=around)
    function = stage.cached(body, cache, name="f", ttl=SHORT, stale=60, early=0)
    token = whose.set("me")
    try:
        function()
        await_true(lambda: function() > 1 and len(entered) > 1)
    finally:
        whose.reset(token)
    assert set(seen) == {"me"}
    assert entered[:2] == [1, -1]

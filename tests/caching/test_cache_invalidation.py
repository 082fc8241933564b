"""What was computed from what is no longer true is never found, whoever says so and how."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, wait
from time import monotonic

import pytest

from tests.caching.stages import Held

WAYS = {
    "cache_invalidate": lambda stage, f: f.cache_invalidate(1),
    "cache_clear": lambda stage, f: f.cache_clear(),
    "delete": lambda stage, f: stage.cache.delete(f.cache_key(1)),
    "delete_many": lambda stage, f: stage.cache.delete_many(["other", f.cache_key(1)]),
    "invalidate_tags": lambda stage, f: stage.cache.invalidate_tags("other", "tag:1"),
    "clear": lambda stage, f: stage.cache.clear(),
}
RAW = {
    "unlink": lambda plain, key: plain.unlink(key),
    "set": lambda plain, key: plain.set(key, b"something"),
    "expire": lambda plain, key: plain.pexpire(key, 0),
    "another type": lambda plain, key: (plain.unlink(key), plain.rpush(key, "x")),
}


@pytest.fixture(params=WAYS)
def invalidate(request):
    """A way to invalidate the call with 1."""
    return WAYS[request.param]


@pytest.fixture
def held():
    """The function, not decorated yet."""
    return Held()


@pytest.fixture
def function(stage, held):
    """The function, with a lease and a patience longer than any test."""
    return stage.cached(held, name="f", ttl=300, lease=60, wait=60, tags=lambda pk: (f"tag:{pk}",))


def test_an_invalidation_while_it_is_computed_leaves_nothing_of_it(
    stage, held, function, invalidate
):
    with held.held(function, 1):
        held.truth = "new"
        invalidate(stage, function)
    assert function(1) == ["new", 1]
    assert function(1) == ["new", 1]
    assert held.calls == 2


def test_who_calls_after_an_invalidation_gets_nothing_that_began_before(
    stage, held, function, invalidate
):
    with ThreadPoolExecutor(1) as pool:
        with held.held(function, 1) as former:
            held.truth = "new"
            invalidate(stage, function)
            later = pool.submit(function, 1)
            wait([later], 0.2)
        assert later.result(20) == ["new", 1]
    assert former.result() == ["old", 1]
    assert function(1) == ["new", 1]
    assert held.calls == 2


@pytest.mark.parametrize("way", ["cache_invalidate", "delete"])
def test_who_calls_after_a_value_was_deleted_does_not_wait_for_what_began_before(
    stage, held, function, way
):
    with held.held(function, 1) as former:
        held.truth = "new"
        WAYS[way](stage, function)
        assert function(1) == ["new", 1]
        assert not former.done()


def test_who_calls_after_a_refresh_gets_nothing_that_began_before(stage, held, function):
    with held.held(function, 1) as former:
        held.truth = "new"
        assert function.refresh(1) == ["new", 1]
        assert function(1) == ["new", 1]
        assert not former.done()


def test_a_value_that_was_set_while_it_is_computed_stays(stage, held, function):
    with held.held(function, 1):
        assert stage.cache.set(function.cache_key(1), "set")
        assert stage.cache.get(function.cache_key(1)) == "set"
    assert stage.cache.get(function.cache_key(1)) == "set"


def test_a_value_that_another_process_invalidates_while_it_is_computed_is_not_stored(
    stage, held, function, invalidate
):
    other = _Other(stage)
    theirs = stage.cached(held, other.cache, name="f")
    with held.held(function, 1):
        held.truth = "new"
        invalidate(other, theirs)
    assert function(1) == ["new", 1]


class _Other:
    """Another cache object: what another process has."""

    def __init__(self, stage):
        self.cache = stage.open()


@pytest.mark.parametrize("place", ["cluster", "near"], indirect=True)
@pytest.mark.parametrize("way", RAW)
def test_what_a_plain_client_does_while_it_is_computed_voids_the_lease(
    stage, held, function, plain, way
):
    with held.held(function, 1):
        held.truth = "new"
        RAW[way](plain, stage.raw(function, 1))
    assert function(1) == ["new", 1]


@pytest.mark.parametrize("place", ["cluster", "near"], indirect=True)
def test_a_refresh_is_not_stored_after_an_invalidation(stage, held, function, plain):
    with held.held(function.refresh, 1):
        held.truth = "new"
        plain.unlink(stage.raw(function, 1))
    assert function(1) == ["new", 1]


def test_many_keys_that_are_computed_are_not_stored_after_an_invalidation(stage, held):
    def squares(keys):
        return {key: held(key) for key in keys}

    function = stage.cached_many(squares, name="f", lease=60, tags=lambda pk: (f"tag:{pk}",))
    with held.held(function, [1, 2]):
        held.truth = "new"
        stage.cache.invalidate_tags("tag:1")
        function.cache_invalidate(2)
    assert function([1, 2]) == {1: ["new", 1], 2: ["new", 2]}


def test_who_waits_for_a_value_that_is_invalidated_computes_it_anew(stage, held, function):
    second = stage.cached(
        held, stage.open(), name="f", lease=60, wait=60, tags=lambda pk: (f"tag:{pk}",)
    )
    with held.held(function, 1), ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(second, 1)
        held.truth = "new"
        began = monotonic()
        while not waiting.done():
            function.cache_invalidate(1)
            assert monotonic() - began < 10.0
        assert waiting.result() == ["new", 1]

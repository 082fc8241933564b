"""Functions of many keys: hits in one batch, one call for the others."""

from __future__ import annotations

import asyncio
from time import monotonic, sleep

import pytest

from clustercache.exceptions import ConfigurationError
from tests.caching.stages import Counted


class Shop:
    def __init__(self, name):
        self.name = name

    def __cache_key__(self):
        return self.name


def squares():
    return Counted(lambda keys: {key: key * key for key in keys})


def test_the_function_is_called_once_for_what_is_lacking(stage):
    made = squares()
    function = stage.cached_many(made, name="f")
    assert function([1, 2, 3]) == {1: 1, 2: 4, 3: 9}
    assert function([2, 3, 4, 4]) == {2: 4, 3: 9, 4: 16}
    assert function([4, 1]) == {4: 16, 1: 1}
    assert made.calls == [([1, 2, 3],), ([4],)]


def test_what_it_does_not_return_is_not_there_and_is_asked_for_again(stage):
    made = Counted(lambda keys: {key: key for key in keys if key > 1})
    function = stage.cached_many(made, name="f")
    assert function([1, 2]) == function([1, 2]) == {2: 2}
    assert made.calls == [([1, 2],), ([1],)]


def test_none_is_a_value(stage):
    made = Counted(dict.fromkeys)
    function = stage.cached_many(made, name="f")
    assert function([1]) == function([1]) == {1: None}
    assert made.count == 1


def test_what_takes_longer_than_a_lease_is_stored_all_the_same(stage):
    calls = []

    def slow(keys):
        sleep(0.9)
        return calls.append(keys) or dict.fromkeys(keys, 1)

    async def aslow(keys):
        await asyncio.sleep(0.9)
        return calls.append(keys) or dict.fromkeys(keys, 1)

    body = aslow if stage.is_async else slow
    function = stage.called(stage.cache.cached_many(name="f", lease=0.3)(body))
    assert function([1, 2]) == function([2, 1]) == {1: 1, 2: 1}
    assert calls == [[1, 2]]


def test_no_keys_call_nothing(stage):
    made = squares()
    function = stage.cached_many(made, name="f")
    assert function([]) == function(()) == function(iter(())) == {}
    assert made.count == 0


@pytest.mark.parametrize("kind", [list, tuple, set, frozenset, iter, dict.fromkeys])
def test_keys_may_be_anything_that_is_iterated_once(stage, kind):
    made = squares()
    function = stage.cached_many(made, name="f")
    assert function(kind([1, 2])) == function(kind([2, 1])) == {1: 1, 2: 4}
    assert made.count == 1


def test_keys_and_others_may_be_given_by_name(stage):
    made = Counted(lambda keys, unit: {key: [key, unit] for key in keys})
    function = stage.cached_many(lambda keys, unit="m": made(keys, unit), name="f")
    assert function(keys=[1]) == function([1]) == function([1], unit="m") == {1: [1, "m"]}
    assert function([1], "s") == function(keys=(one for one in [1]), unit="s") == {1: [1, "s"]}
    assert made.calls == [([1], "m"), ([1], "s")]


def test_it_may_be_a_method(stage):
    made = squares()

    def body(self, keys):
        return made(keys)

    prices = stage.cached_many(body, name="prices")
    one, two = Shop("one"), Shop("two")
    assert prices(one, [1, 2]) == prices(Shop("one"), keys=[1, 2]) == {1: 1, 2: 4}
    assert prices(two, [1]) == {1: 1}
    assert made.calls == [([1, 2],), ([1],)]


def test_one_key_is_invalidated_by_itself(stage):
    made = squares()
    function = stage.cached_many(made, name="f")
    function([1, 2])
    assert function.cache_invalidate(1) == 1
    assert function([1, 2]) == {1: 1, 2: 4}
    assert made.calls == [([1, 2],), ([1],)]
    function.cache_clear()
    function([1, 2])
    assert made.count == 3


def test_tags_are_told_key_by_key(stage):
    made = squares()
    function = stage.cached_many(made, name="f", tags=lambda key: (f"t{key}",))
    function([1, 2])
    stage.cache.invalidate_tags("t2")
    assert function([1, 2]) == {1: 1, 2: 4}
    assert made.calls == [([1, 2],), ([2],)]


def test_a_condition_decides_about_each(stage):
    made = squares()
    function = stage.cached_many(made, name="f", cache_if=lambda value: value > 1)
    for _ in range(2):
        function([1, 2])
    assert made.calls == [([1, 2],), ([1],)]


@pytest.mark.parametrize(
    ("body", "options", "error"),
    [
        (lambda keys: 1 / 0, {}, ZeroDivisionError),
        (lambda keys: [1], {}, TypeError),
        (lambda keys: {key: object() for key in keys}, {}, TypeError),
        (lambda keys: dict.fromkeys(keys, 1), {"cache_if": lambda _: 1 / 0}, ZeroDivisionError),
    ],
    ids=["function", "no mapping", "unserialisable", "condition"],
)
def test_what_fails_says_so_and_holds_nobody_up(stage, body, options, error):
    many = stage.cached_many(body, name="f", lease=30, wait=30, key="k{keys}", **options)
    one = stage.cached(lambda keys: keys, name="f", lease=30, wait=30, key="k{keys}")
    with pytest.raises(error):
        many([1, 2])
    began = monotonic()
    assert one(1) == 1
    assert monotonic() - began < 5.0


@pytest.mark.parametrize(
    "options",
    [{"stale": 1}, {"stale_if_error": 1}, {"soft_timeout": 1}, {"errors": KeyError}],
    ids=str,
)
def test_options_of_single_values_are_refused(stage, options):
    with pytest.raises(ConfigurationError, match="single values"):
        stage.cached_many(lambda keys: {}, name="f", **options)


def test_a_function_without_a_place_for_keys_is_refused(stage):
    for body in (lambda **keys: keys, lambda *, keys: {keys: 1}, lambda *keys: {keys: 1}):
        with pytest.raises(TypeError, match="first argument"):
            stage.cached_many(body, name="f")


def test_a_change_of_what_was_returned_is_its_callers_own(stage):
    function = stage.cached_many(lambda keys: {key: [key] for key in keys}, name="f")
    for _ in range(3):
        found = function([1])
        assert found == {1: [1]}
        found[1].append(2)


def test_a_call_without_keys_says_how(stage):
    function = stage.cached_many(lambda keys: {}, name="f")
    with pytest.raises(TypeError, match="keys"):
        function()

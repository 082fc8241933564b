"""What a decorated function does, at each place and for both kinds of functions."""

from __future__ import annotations

import math
from datetime import timedelta
from functools import partial
from time import monotonic

import pytest

from clustercache import Cache, NearCache
from clustercache.exceptions import ConfigurationError
from tests.caching.stages import Counted, Stage, is_near
from tests.nearby import await_true

VALUES = [
    None, False, 0, -(2**63), 2**63, 2**200, 1.5, "", "text", (), (1, (2,)), [1], {"a": 1},
    b"\x00\xff", {1: 2}, {1, 2}, frozenset({1}), timedelta(days=1),
]  # fmt: skip


class ThatOneError(Exception):
    pass


class WordyError(Exception):
    """Takes other arguments than it has."""

    def __init__(self, pk, table):
        super().__init__(f"{pk} is not in {table}")


class EmphaticError(Exception):
    """Takes as many arguments as it has, and others."""

    def __init__(self, pk):
        super().__init__(f"there is no {pk}")


class CodedError(Exception):
    """Has more than its arguments."""

    def __init__(self, message, code=None):
        super().__init__(message)
        self.code = code


def test_a_result_is_computed_once_and_found_again(stage):
    made = Counted()
    function = stage.cached(lambda a, b=2: made(a, b), name="f", ttl=60)
    assert [function(1), function(a=1), function(1, 2), function(1, b=2)] == [[1, 2]] * 4
    assert made.count == 1
    assert function(2) == [2, 2]
    assert made.count == 2


@pytest.mark.parametrize("place", ["memory", "cluster"], indirect=True)
@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_a_value_is_found_as_it_was_none_included(stage, value):
    made = Counted(lambda: value)
    function = stage.cached(made, name="f")
    results = [function() for _ in range(3)]
    assert results == [value] * 3
    assert {type(one) for one in results} == {type(value)}
    assert made.count == 1


def test_what_differs_by_type_alone_is_another_call(stage):
    made = Counted(repr)
    function = stage.cached(made, name="f")
    assert [function(a) for a in (1, True, 1.0, "1", b"1")] == ["1", "True", "1.0", "'1'", "b'1'"]
    assert made.count == 5


def test_the_attributes_tell_of_the_function_and_its_cache(stage):
    def product(pk: int) -> int:
        """Return it."""
        return pk

    function = stage.cached(product, ttl=60)
    assert function(5) == function(5) == 5
    assert function.__name__ == "product"
    assert function.__doc__ == "Return it."
    if not stage.is_async:
        assert function.__wrapped__.__wrapped__ is product
        assert function.cache is stage.cache
    assert function.cache_lock is None
    info, stats = function.cache_info(), function.cache_stats()
    assert (info.hits, info.misses) == (1, 1)
    assert (stats.computes, stats.misses, stats.near_hits + stats.far_hits) == (1, 1, 1)
    assert stage.cache.get(function.cache_key(5)) == 5


def test_options_may_be_left_out(stage):
    function = stage.called(stage.cache.cached(stage.dressed(_at_module_level)))
    assert function(3) == function(3) == 6
    assert function.cache_info().misses == 1


def _at_module_level(a):
    return a * 2


def test_clearing_a_function_leaves_the_others(stage):
    one, two = Counted(), Counted()
    first = stage.cached(one, name="one")
    second = stage.cached(two, name="two")
    for function in (first, second):
        for a in range(20):
            function(a)
    first.cache_clear()
    for function in (first, second):
        for a in range(20):
            function(a)
    assert (one.count, two.count) == (40, 20)


def test_an_invalidated_call_is_computed_anew_at_once_and_no_other(stage):
    made = Counted()
    function = stage.cached(made, name="f")
    assert [function(1), function(2)] == [[1], [2]]
    assert function.cache_invalidate(1) == 1
    assert [function(1), function(2)] == [[1], [2]]
    assert made.calls == [(1,), (2,), (1,)]
    assert function.cache_invalidate(3) == 0


def test_clear_empties_the_namespace(stage):
    made = Counted()
    function = stage.cached(made, name="f")
    other = stage.open(namespace=f"{stage.namespace}x")
    for a in range(40):
        function(a)
        stage.cache.set(f"k{a}", a)
        other.set(f"k{a}", a)
    stage.cache.clear()
    assert stage.cache.get_many(f"k{a}" for a in range(40)) == {}
    assert len(other.get_many(f"k{a}" for a in range(40))) == 40
    for a in range(40):
        function(a)
    assert made.count == 80


def test_refresh_computes_now_for_all(stage):
    values = iter(range(10))
    function = stage.cached(lambda: next(values), name="f")
    assert [function(), function(), function.refresh(), function(), function.fresh()] == [
        0,
        0,
        1,
        1,
        1,
    ]


def test_refresh_that_fails_leaves_what_was_there(stage):
    made = Counted(lambda: 1 if made.count != 2 else 1 / 0)
    function = stage.cached(made, name="f")
    assert function() == 1
    with pytest.raises(ZeroDivisionError):
        function.refresh()
    assert function() == 1
    assert made.count == 2


def test_a_time_to_live_ends(stage):
    made = Counted()
    function = stage.cached(made, name="f", ttl=timedelta(seconds=0.3), early=0)
    function()
    function()
    assert made.count == 1
    await_true(lambda: function() == [] and made.count == 2, 5.0)


def test_a_time_to_live_may_depend_on_the_value(stage):
    made = Counted(lambda a: a)
    function = stage.cached(made, name="f", ttl=lambda value: value)
    assert [function(0), function(0), function(-1), function(-1)] == [0, 0, -1, -1]
    assert made.count == 4
    assert [function(50), function(50), function(None), function(None)] == [50, 50, None, None]
    assert made.count == 6


@pytest.mark.parametrize("place", ["cluster"], indirect=True)
def test_no_time_to_live_is_for_ever(stage, plain):
    function = stage.cached(lambda: 1, name="f", ttl=None)
    assert function() == 1
    assert plain.pttl(stage.raw(function)) == -1


@pytest.mark.parametrize("place", ["cluster"], indirect=True)
def test_jitter_takes_a_part_of_the_time_to_live(stage, plain):
    function = stage.cached(lambda a: a, name="f", ttl=1000, jitter=0.5)
    for a in range(20):
        function(a)
    lives = [plain.pttl(stage.raw(function, a)) / 1000 for a in range(20)]
    assert all(490 < life <= 1000 for life in lives)
    assert max(lives) - min(lives) > 50


def test_errors_are_not_cached(stage):
    made = Counted(lambda: 1 / 0)
    function = stage.cached(made, name="f")
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            function()
    assert made.count == 3
    assert function.cache_stats().errors == 3


def test_errors_are_cached_where_asked_and_raised_as_they_were(stage):
    def fail():
        raise ThatOneError("it is so", 5)

    made = Counted(fail)
    function = stage.cached(made, name="f", errors=(ThatOneError, KeyError))
    for _ in range(3):
        with pytest.raises(ThatOneError) as caught:
            function()
        assert caught.value.args == ("it is so", 5)
    assert made.count == 1


@pytest.mark.parametrize("place", ["memory"], indirect=True)
@pytest.mark.parametrize("wrong", [ValueError(), "ValueError", BaseException, object])
def test_errors_that_are_no_exceptions_are_refused_at_once(stage, wrong):
    with pytest.raises(ConfigurationError, match="errors="):
        stage.cached(lambda: 1, name="f", errors=wrong)


@pytest.mark.parametrize("place", ["memory"], indirect=True)
def test_errors_that_no_other_process_knows_are_refused_at_once(stage):
    class HereAloneError(Exception):
        pass

    with pytest.raises(TypeError, match="defined inside a function"):
        stage.cached(lambda: 1, name="f", errors=HereAloneError)


@pytest.mark.parametrize("errors", [(), ThatOneError])
def test_the_end_of_an_iterator_is_raised_as_it_is(place, url, errors):
    with Cache.from_url(url) as cache:
        function = cache.cached(lambda: next(iter(())), name="f", errors=errors)
        with pytest.raises(StopIteration):
            function()


def test_but_not_in_place_of_the_error_that_a_generator_made_of_it(place, url):
    def broken():
        yield next(iter(()))

    with Cache.from_url(url) as cache:
        function = cache.cached(lambda: list(broken()), name="f")
        with pytest.raises(RuntimeError, match="generator raised StopIteration"):
            function()


def test_other_errors_than_those_are_not_cached(stage):
    made = Counted(lambda: 1 / 0)
    function = stage.cached(made, name="f", errors=ThatOneError)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            function()
    assert made.count == 2


def test_an_error_that_cannot_be_stored_is_raised_all_the_same(stage):
    def fail():
        raise ThatOneError(object())

    made = Counted(fail)
    function = stage.cached(made, name="f", errors=ThatOneError)
    for _ in range(2):
        with pytest.raises(ThatOneError):
            function()
    assert made.count == 2


@pytest.mark.parametrize(
    "error", [WordyError(5, "t"), EmphaticError(5), CodedError("no", code=404)], ids=repr
)
def test_an_error_that_its_arguments_do_not_make_again_is_not_stored(stage, error):
    def fail():
        raise error

    made = Counted(fail)
    function = stage.cached(made, name="f", errors=type(error), lease=30, wait=30)
    for _ in range(2):
        with pytest.raises(type(error)) as caught:
            function()
        assert caught.value is error
    assert made.count == 2


def test_an_error_with_attributes_is_raised_as_it_was(stage):
    def fail():
        error = CodedError("no")
        error.add_note("a note")
        raise error

    made = Counted(fail)
    function = stage.cached(made, name="f", errors=CodedError)
    for _ in range(2):
        with pytest.raises(CodedError, match="no") as caught:
            function()
        assert caught.value.code is None
    assert made.count == 1


def test_a_condition_decides_what_is_stored(stage):
    made = Counted(lambda a: a)
    function = stage.cached(made, name="f", cache_if=lambda value: value is not None)
    assert [function(None), function(None), function(1), function(1)] == [None, None, 1, 1]
    assert made.calls == [(None,), (None,), (1,)]


@pytest.mark.parametrize(
    ("make", "options", "error"),
    [
        (lambda: 1, {"cache_if": lambda _: 1 / 0}, ZeroDivisionError),
        (lambda: 1, {"ttl": lambda _: 1 / 0}, ZeroDivisionError),
        (object, {}, TypeError),
        (lambda: "x" * 3000, {}, ValueError),
        (lambda: 1 / 0, {}, ZeroDivisionError),
    ],
    ids=["condition", "ttl", "unserialisable", "too large", "function"],
)
def test_what_fails_says_so_and_holds_nobody_up(stage, make, options, error):
    cache = stage.open(max_bytes=1000)
    function = stage.cached(make, cache, name="f", lease=30, wait=30, **options)
    began = monotonic()
    for _ in range(2):
        with pytest.raises(error):
            function()
    assert monotonic() - began < 5.0


@pytest.mark.parametrize("change", [{"version": 2}, {"schema": 2}, {"serializer": "msgspec"}])
def test_another_version_schema_or_serializer_finds_nothing_of_the_former(stage, change):
    made = Counted()
    former = stage.cached(made, name="f")
    later = stage.cached(made, name="f", **change)
    assert [former(), later(), later()] == [[]] * 3
    assert made.count == 2


def test_two_processes_share_by_name_whatever_the_cache_object(stage):
    made = Counted()
    functions = [stage.cached(made, stage.open(), name="f") for _ in range(2)]
    assert [function() for function in functions] == [[], []]
    assert made.count == 1


def test_namespaces_share_nothing(stage):
    made = Counted()
    here = stage.cached(made, name="f")
    there = stage.cached(made, stage.open(namespace=f"{stage.namespace}x"), name="f")
    assert here() == there() == []
    assert made.count == 2


def test_a_template_is_the_key(stage):
    function = stage.cached(lambda pk: {"pk": pk}, name="f", key="product:{pk}")
    assert function(5) == {"pk": 5}
    assert function.cache_key(5) == "product:5"


def test_clearing_a_function_without_a_name_leaves_the_others(place, url):
    with Cache.from_url(url, namespace="nameless") as cache:
        one = cache.cached(partial(pow, 2), key="one:{exp}:{mod}")
        two = cache.cached(partial(pow, 2), key="two:{exp}:{mod}")
        assert (one(3), two(3), cache.set("key", "value")) == (8, 8, True)
        one.cache_clear()
        assert cache.get("key") == "value"
        assert cache.get(one.cache_key(3)) is None
        assert cache.get(two.cache_key(3)) == 8


def test_what_is_ignored_does_not_count(stage):
    made = Counted()
    function = stage.cached(lambda a, request: made(a), name="f", ignore=("request",))
    assert function(1, object()) == function(1, request=object()) == [1]
    assert made.count == 1


def test_a_callers_change_of_a_value_is_his_own(stage):
    function = stage.cached(lambda: {"items": [1]}, name="f")
    for _ in range(4):
        found = function()
        assert found == {"items": [1]}
        found["items"].append(2)


def test_a_function_may_call_itself(stage):
    made = []

    def fib(n):
        made.append(n)
        return n if n < 2 else again(n - 1) + again(n - 2)

    if stage.is_async:

        async def afib(n):
            made.append(n)
            return n if n < 2 else await cached(n - 1) + await cached(n - 2)

        cached = stage.cache.cached(name="fib")(afib)
        fib_of = stage.called(cached)
    else:
        again = fib_of = stage.cache.cached(name="fib")(fib)
    assert fib_of(20) == 6765
    assert sorted(made) == list(range(21))


def test_a_function_that_needs_its_own_result_computes(stage):
    depth = []

    def body(a):
        depth.append(a)
        return function(a) + 1 if len(depth) < 2 else 1

    async def abody(a):
        depth.append(a)
        return await afunction(a) + 1 if len(depth) < 2 else 1

    if stage.is_async:
        afunction = stage.cache.cached(name="f", wait=30)(abody)
        function = stage.called(afunction)
    else:
        function = stage.cache.cached(name="f", wait=30)(body)
    assert [function(1), function(1)] == [2, 2]
    assert depth == [1, 1]


@pytest.mark.parametrize("place", ["near"], indirect=True)
def test_what_is_near_costs_no_question(stage):
    function = stage.cached(lambda a: a, name="f")
    await_true(lambda: function(1) == 1 and function.cache_stats().near_hits, 10.0)
    before = function.cache_stats()
    assert [function(1) for _ in range(5)] == [1] * 5
    after = function.cache_stats()
    assert (after.near_hits - before.near_hits, after.far_hits) == (5, before.far_hits)


def test_fresh_asks_the_server_though_it_is_near(stage):
    function = stage.cached(lambda a: a, name="f")
    assert [function(1), function(1), function.fresh(1)] == [1, 1, 1]
    assert function.cache_stats().far_hits >= 1


def test_null_keeps_nothing(shell):
    with Stage(shell, "null://", near=False) as stage:
        made = Counted()
        function = stage.cached(made, name="f")
        assert [function(), function()] == [[], []]
        assert made.count == 2
        stage.cache.set("k", 1)
        assert stage.cache.get("k", "none") == "none"
        stage.cache.clear()


def _generator():
    yield 1


async def _agenerator():
    yield 1


@pytest.mark.parametrize("place", ["memory"], indirect=True)
@pytest.mark.parametrize("function", [_generator, _agenerator])
def test_generators_are_refused_with_a_reason(stage, function):
    with pytest.raises(TypeError, match=r"_a?generator is a generator: .* returns a list"):
        stage.cache.cached(ttl=1)(function)


@pytest.mark.parametrize("place", ["memory"], indirect=True)
@pytest.mark.parametrize("wrong", [60, "name", object()])
def test_what_is_no_function_is_refused_with_a_reason(stage, wrong):
    with pytest.raises(TypeError, match="cached"):
        stage.cache.cached(wrong)


@pytest.mark.parametrize(
    "options",
    [
        {"ttl": math.inf}, {"ttl": "1"}, {"jitter": 2}, {"early": -1}, {"stale": -1}, {"wait": 0},
        {"lease": -1}, {"tags": "one"}, {"soft_timeout": 1}, {"serializer": "yaml"}, {"unknown": 1},
        {"ignore": ("nobody",)}, {"key": "{nobody}"}, {"ttl": math.nan}, {"ttl": -math.inf},
        {"ttl": 1e12}, {"ttl": timedelta.max}, {"stale": 1e300}, {"lease": math.inf},
        {"lease": 1e10}, {"lease": 0.0001}, {"soft_timeout": math.inf, "stale_if_error": 1},
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("place", ["memory"], indirect=True)
def test_options_that_cannot_work_are_refused_at_once(stage, options):
    with pytest.raises(ConfigurationError):
        stage.cached(lambda a: a, name="f", **options)


@pytest.mark.parametrize("place", ["near"], indirect=True)
def test_near_names_of_functions_are_none_of_keys_or_tokens(stage):
    namespace = stage.namespace
    stage.cache.set("text", "text", tags=["tag"])
    whole = stage.cached(lambda a: f"whole {a}", name="f", key="{a}")
    await_true(lambda: is_near(stage.cache, f"{namespace}#tag:tag") or stage.cache.get("text") == 0)
    for key in (f"{namespace}:text", f"{namespace}:nothing", f"{namespace}#tag:tag"):
        assert [whole(key) for _ in range(3)] == [f"whole {key}"] * 3
    assert stage.cache.get("text") == "text"
    assert stage.cache.get("nothing") is None


@pytest.mark.parametrize("place", ["near"], indirect=True)
def test_a_near_cache_is_one_caches_until_that_is_closed(stage, url):
    near = NearCache()
    with Cache.from_url(url, near=near, namespace="one") as one:
        assert one.aio.near is near
        with pytest.raises(ConfigurationError, match="another cache"):
            Cache.from_url(url, near=near, namespace="two")
    with Cache.from_url(url, near=near, namespace="two") as two:
        assert two.near is near


def test_near_names_do_not_meet_between_functions(stage):
    one = stage.cached(lambda a: ["one", a], name="one")
    two = stage.cached(lambda a: ["two", a], name="two")
    assert [one(1), two(1), one(1), two(1)] == [["one", 1], ["two", 1]] * 2
    assert not is_near(stage.cache, "no such name")

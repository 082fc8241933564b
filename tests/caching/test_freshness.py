"""The age of a value decides what may be done with it."""

from __future__ import annotations

import math
import random
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clustercache.caching.freshness import Freshness, Lifetime, Verdict
from clustercache.exceptions import ConfigurationError

NOW = 1_800_000_000_000


def never():
    raise AssertionError("no draw is due")


def lowest():
    return 0.0


def highest():
    return math.nextafter(1, 0)


@pytest.mark.parametrize(
    ("ttl", "options", "lifetime"),
    [
        (60, {}, (60_000, 60_000)),
        (0.25, {}, (250, 250)),
        (0.1 + 0.2, {}, (300, 300)),
        (0.0001, {}, (1, 1)),
        (timedelta(minutes=1), {"stale": timedelta(seconds=5)}, (60_000, 65_000)),
        (60, {"stale": 5, "stale_if_error": 30}, (60_000, 90_000)),
        (60, {"stale": 30, "stale_if_error": 5}, (60_000, 90_000)),
        (None, {"stale": 30}, (None, None)),
        (lambda value: value["ttl"], {}, (7_000, 7_000)),
        (lambda _: timedelta(seconds=1), {"stale": 1}, (1_000, 2_000)),
        (lambda _: None, {}, (None, None)),
    ],
)
def test_a_value_is_kept_for_its_freshness_and_the_longer_window(ttl, options, lifetime):
    assert Freshness(ttl, **options).lifetime({"ttl": 7}, never) == lifetime


@pytest.mark.parametrize("ttl", [0, -1, timedelta(0), lambda _: 0, lambda _: -0.5])
def test_a_value_that_is_never_fresh_is_not_stored(ttl):
    assert Freshness(ttl, stale=60).lifetime(1, never) is None


def test_jitter_shortens_only():
    freshness = Freshness(10, jitter=0.1, stale=1)
    assert freshness.lifetime(1, lowest) == Lifetime(10_000, 11_000)
    assert freshness.lifetime(1, lambda: 0.5) == Lifetime(9_500, 10_500)
    assert freshness.lifetime(1, highest) == Lifetime(9_000, 10_000)
    assert Freshness(10, jitter=1).lifetime(1, highest) == Lifetime(1, 1)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"ttl": math.nan}, "less than"),
        ({"ttl": math.inf}, "None is for ever"),
        ({"ttl": "60"}, "not a str"),
        ({"ttl": True}, "not a bool"),
        ({"ttl": 1, "stale": -1}, "stale="),
        ({"ttl": 1, "stale": None}, "stale="),
        ({"ttl": 1, "stale_if_error": timedelta(-1)}, "stale_if_error="),
        ({"ttl": 1, "jitter": 1.1}, "jitter="),
        ({"ttl": 1, "jitter": math.nan}, "jitter="),
        ({"ttl": 1, "early": -1}, "early="),
        ({"ttl": 1, "early": math.inf}, "early="),
    ],
)
def test_times_and_numbers_out_of_range_are_refused(options, told):
    with pytest.raises(ConfigurationError, match=told):
        Freshness(**options)


def test_so_is_what_a_ttl_returns():
    with pytest.raises(ConfigurationError, match=r"ttl= .* not a dict"):
        Freshness(lambda value: value).lifetime({}, never)


@pytest.mark.parametrize(
    ("options", "age", "verdict"),
    [
        ({}, -60_000, Verdict.FRESH),
        ({}, -1, Verdict.FRESH),
        ({}, 0, Verdict.EXPIRED),
        ({"stale": 1}, 0, Verdict.STALE),
        ({"stale": 1}, 999, Verdict.STALE),
        ({"stale": 1}, 1000, Verdict.EXPIRED),
        ({"stale": 1, "stale_if_error": 2}, 999, Verdict.STALE),
        ({"stale": 1, "stale_if_error": 2}, 1000, Verdict.ON_ERROR),
        ({"stale": 1, "stale_if_error": 2}, 1999, Verdict.ON_ERROR),
        ({"stale": 1, "stale_if_error": 2}, 2000, Verdict.EXPIRED),
        ({"stale": 2, "stale_if_error": 1}, 1500, Verdict.STALE),
        ({"stale_if_error": 1}, 0, Verdict.ON_ERROR),
    ],
)
def test_the_windows_begin_where_freshness_ends(options, age, verdict):
    freshness = Freshness(60, **options)
    assert freshness.verdict(NOW, 0, NOW + age, lowest) is verdict


def test_what_lives_for_ever_is_fresh():
    assert Freshness(None).verdict(None, 10**9, NOW, never) is Verdict.FRESH


def test_far_from_the_end_nothing_is_drawn():
    # 37 s is as early as a value that took a second can be refreshed.
    freshness = Freshness(60)
    assert freshness.verdict(NOW + 37_001, 1_000_000, NOW, never) is Verdict.FRESH
    assert freshness.verdict(NOW + 36_000, 1_000_000, NOW, highest) is Verdict.EARLY
    assert freshness.verdict(NOW + 1, 1_000_000, NOW, lowest) is Verdict.FRESH
    assert Freshness(60, early=0).verdict(NOW + 1, 1_000_000, NOW, never) is Verdict.FRESH


@pytest.mark.parametrize("early", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("left", [100, 500, 1000, 3000])
def test_the_chance_of_an_early_refresh_is_xfetchs(early, left):
    chance, rounds = math.exp(-left / (1000 * early)), 20_000
    freshness, draw = Freshness(60, early=early), random.Random(7).random
    told = [freshness.verdict(NOW + left, 1_000_000, NOW, draw) for _ in range(rounds)]
    deviation = math.sqrt(rounds * chance * (1 - chance))
    assert abs(told.count(Verdict.EARLY) - rounds * chance) < 5 * deviation
    assert {*told} <= {Verdict.EARLY, Verdict.FRESH}


@given(
    ttl=st.floats(0.001, 1e6),
    jitter=st.floats(0, 1),
    stale=st.floats(0, 1e5),
    on_error=st.floats(0, 1e5),
    drawn=st.floats(0, 1, exclude_max=True),
    cost=st.integers(0, 2**32),
)
def test_a_value_is_good_for_less_as_it_ages(*, ttl, jitter, stale, on_error, drawn, cost):
    freshness = Freshness(ttl, jitter=jitter, stale=stale, stale_if_error=on_error)
    life = freshness.lifetime(1, lambda: drawn)
    until = NOW + life.fresh
    ages = sorted({0, life.fresh - 1, life.fresh, life.kept - 1, life.kept, life.kept + 1})
    order = list(Verdict)
    told = [order.index(freshness.verdict(until, cost, NOW + a, lambda: drawn)) for a in ages]
    assert told == sorted(told)
    assert told[-1] == told[-2] == order.index(Verdict.EXPIRED)

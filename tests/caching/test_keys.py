"""Calls that mean the same share a key, and no others do."""

from __future__ import annotations

import inspect
import math
import zoneinfo
from collections import OrderedDict
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal, localcontext
from pathlib import Path, PurePosixPath, PureWindowsPath
from unittest.mock import MagicMock
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from clustercache.caching.keys import Keys
from tests.caching.examples import (
    Colour,
    Constant,
    Number,
    Pair,
    Record,
    Right,
    Shade,
    Special,
    Stranger,
    Text,
    Word,
    call,
    keyword,
    plain,
    positional,
)

PARIS = ZoneInfo("Europe/Paris")
ZONE = next(path for base in zoneinfo.TZPATH if (path := Path(base, "Europe/Paris")).exists())


keys = Keys(plain)


def both(of, one, other):
    """Return the near and far keys of two calls."""
    (nears, fars) = zip(
        *((near := of.near(*args, **kwargs), of.far(near)) for args, kwargs in (one, other)),
        strict=True,
    )
    return nears, fars


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (call(1), call(a=1)),
        (call(1), call(1, 2)),
        (call(1), call(1, b=2, c=3)),
        (call(1, 2), call(b=2, a=1)),
        (call(1, x=1, y=2), call(1, y=2, x=1)),
        (call({3, 1, 2}), call({1, 2, 3})),
        (call(frozenset("abc")), call(frozenset("cba"))),
        (call({"x": 1, "y": 2}), call({"y": 2, "x": 1})),
        (call({1, "1", b"1", 1.5}), call({1.5, b"1", "1", 1})),
        (call(math.nan), call(-math.nan)),
        (call(float("inf")), call(math.inf)),
        (call(datetime(2026, 1, 1, tzinfo=UTC)), call(datetime(2026, 1, 1, tzinfo=timezone.utc))),  # noqa: UP017
        (call(timedelta(seconds=90)), call(timedelta(minutes=1.5))),
        (call(Path("a/b/")), call(Path("a") / "b")),
        (call(10**5000), call(10**5000)),
    ],
)
def test_calls_that_mean_the_same_share_a_key(one, other):
    (near, near2), (far, far2) = both(keys, one, other)
    assert near == near2
    assert hash(near) == hash(near2)
    assert far == far2


NOON = datetime(2026, 10, 25, 2, 30)  # noqa: DTZ001
LIKE_ONE = [
    1, True, 1.0, "1", b"1", bytearray(b"1"), 1 + 0j, Decimal(1), Decimal("1.0"), Number.ONE,
    Word.ONE, "ONE", Colour.RED, Shade.RED, Colour.BLUE, Right.READ, Right.WRITE,
    Right.READ | Right.WRITE, Record(1), Special(1), Record("1"), Record(None), Constant(), Record,
    Special, (1,), [1], {1}, frozenset({1}), {1: None}, {1: 1}, {True: 1}, ((1,),), [[1]], [(1,)],
    (1, 1), 2, -1, "2", timedelta(seconds=1), UUID(int=1), range(1), range(2), range(0, 1, 2),
]  # fmt: skip
LIKE_NOTHING = [
    None, False, 0, 0.0, -0.0, 0j, complex(0.0, -0.0), "", b"", bytearray(), (), [], set(),
    frozenset(), {}, "None", Decimal(0), Decimal("-0"), Decimal("NaN"), math.nan, timedelta(0),
    range(0), ((),), ([],), [()], [None], {None: None}, UUID(int=0), time(0), Path(), "\x00",
    "N", b"N", (b"N",), "(N)", type(None), int, float, math.inf, -math.inf,
]  # fmt: skip
LIKE_TWELVE = [
    NOON, NOON.replace(fold=1), NOON.replace(tzinfo=UTC), NOON.replace(tzinfo=PARIS),
    NOON.replace(tzinfo=PARIS, fold=1), NOON.replace(tzinfo=ZoneInfo("Europe/Berlin")),
    NOON.replace(tzinfo=ZoneInfo("UTC")), NOON.replace(tzinfo=timezone(timedelta(hours=2))),
    NOON.replace(tzinfo=timezone(timedelta(hours=2), "CEST")), NOON.replace(microsecond=1),
    NOON.date(), NOON.time(), NOON.time().replace(fold=1), NOON.time().replace(tzinfo=UTC),
    NOON.isoformat(), str(NOON), date(2026, 10, 26), UTC, PARIS, timedelta(hours=2),
]  # fmt: skip
LIKE_TEXT = [
    "a", "A", b"a", "ä", "a\u0308", "\udce4", ("a", "b"), ("ab",), ("a", ("b",)), (("a",), "b"),
    "ab", ("a", "b", ""), ["a", "b"], {"a", "b"}, {"a": "b"}, {"b": "a"}, [("a", "b")],
    "s1:a", "(s1:a)", Path("a"), PurePosixPath("a"), PureWindowsPath("a"), Path("b"), Record("a"),
    "a" * 10, "a" * 1000, [1, 12], [11, 2], [112], {1: 2, 3: 4}, {1: 4, 3: 2}, (1, (2, 3)),
    ((1, 2), 3),
]  # fmt: skip


@pytest.mark.parametrize("values", [LIKE_ONE, LIKE_NOTHING, LIKE_TWELVE, LIKE_TEXT])
def test_values_that_a_function_can_tell_apart_have_keys_of_their_own(values):
    nears = [keys.near(value) for value in values]
    fars = [keys.far(near) for near in nears]
    shared = [
        (one, other)
        for i, one in enumerate(values)
        for j, other in enumerate(values[:i])
        if nears[i] == nears[j] or fars[i] == fars[j]
    ]
    assert shared == []


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (call(1, 2), call(2, 1)),
        (call(1, 3), call(1, c=2)),
        (call(1, 2, 3), call(1, 2, c=3)),
        (call(1, 2, 3), call(1, 2, (3,))),
        (call(1, 2, 3, 4), call(1, 2, (3, 4))),
        (call(1, 2, x=3), call(1, 2, 3)),
        (call(1, x=2), call(1, y=2)),
        (call(1, x=2), call(1, x="2")),
        (call(1, others={}), call(1)),
        (call(1, 2, True), call(1, 2, 1)),
        (call(1, rest=()), call(1)),
    ],
)
def test_arguments_in_other_places_give_other_keys(one, other):
    (near, near2), (far, far2) = both(keys, one, other)
    assert near != near2
    assert far != far2


@pytest.mark.parametrize(
    ("function", "calls"),
    [
        (positional, [call(1), call(1, ()), call(1, a=2), call(1, (), b=2)]),
        (keyword, [call(a=1), call(a=1, b=None), call(a=1, b=1), call(b=1, a=1)]),
        (lambda: 0, [call()]),
        (lambda _, __, ___t=1: 0, [call(1, 2), call(1, 2, 3), call(1, 2, ___t=3)]),
        (lambda type, print=1, *_, **__: 0, [call(1), call(type=1), call(1, 1, 1, x=1)]),  # noqa: A006
        (lambda a, /, b, *, c: 0, [call(1, 2, c=3), call(1, b=2, c=3)]),
        (lambda a=1, /: 0, [call(), call(1), call(2)]),
        (lambda ä, *, ß=2: 0, [call(1), call(1, ß=2), call(1, ß=3)]),  # noqa: PLC2401
    ],
)
def test_binding_is_pythons(function, calls):
    named = Keys(function, name="f")
    signature = inspect.signature(function)
    bound = []
    for args, kwargs in calls:
        arguments = signature.bind(*args, **kwargs)
        arguments.apply_defaults()
        bound.append(tuple(arguments.arguments.items()))
    for i, one in enumerate(calls):
        for j, other in enumerate(calls):
            _, (far, far2) = both(named, one, other)
            assert (far == far2) == (repr(bound[i]) == repr(bound[j]))


@pytest.mark.parametrize("wrong", [call(), call(1, a=1), call(1, 2, 3, b=2)])
def test_a_call_that_does_not_fit_fails_as_the_function_would(wrong):
    args, kwargs = wrong
    with pytest.raises(TypeError) as expected:
        plain(*args, **kwargs)
    with pytest.raises(TypeError) as got:
        keys.near(*args, **kwargs)
    assert str(got.value) == str(expected.value)


def test_what_a_caller_changes_later_does_not_change_the_key():
    mutable = [1]
    near = keys.near(mutable)
    mutable.append(2)
    assert near == keys.near([1])
    assert near != keys.near(mutable)


class Zone(tzinfo):
    def utcoffset(self, _):
        return timedelta(hours=1)


def recursive():
    values = []
    values.append(values)
    return values


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (Stranger(), "Stranger"),
        (Text("secret"), "subclass of str"),
        (Pair(1, 2), "subclass of tuple"),
        (OrderedDict(secret=1), "subclass of dict"),
        ([{"x": (Stranger(),)}], "Stranger"),
        ({Text("secret"): 1}, "subclass of str"),
        (type("Local.<locals>.C", (), {}), "inside a function"),
        (type("Local.<locals>.C", (Record,), {})(1), "inside a function"),
        (datetime(2026, 1, 1, tzinfo=Zone()), "Zone"),
        (object(), "builtins.object"),
        (len, "builtin_function"),
        (MagicMock(), "MagicMock"),
        (recursive(), "contains itself"),
    ],
)
def test_an_argument_without_a_stable_encoding_is_named(value, told):
    with pytest.raises(
        TypeError, match=rf"argument 'b' of .*plain\(\) .*{told}.*ignore="
    ) as caught:
        keys.near(1, value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("given", [call(1, 2, Stranger()), call(1, rest=Stranger())])
def test_so_is_one_among_the_starred(given):
    args, kwargs = given
    with pytest.raises(TypeError, match=r"argument '(rest|others)' of .*Stranger"):
        keys.near(*args, **kwargs)


def test_a_zone_without_a_name_is_refused():
    with ZONE.open("rb") as file:
        nameless = ZoneInfo.from_file(file)
    with pytest.raises(TypeError, match="ZoneInfo without a key"):
        keys.near(nameless)


def test_decimals_are_encoded_alike_whatever_the_context():
    usual = keys.near(Decimal("1E+10"))
    with localcontext() as context:
        context.capitals = 0
        assert keys.near(Decimal("1E+10")) == usual

"""What callers share they cannot change."""

from __future__ import annotations

import datetime as dt
import enum
from collections import namedtuple
from decimal import Decimal
from uuid import UUID

import pytest

from clustercache.caching.values import Unfreezable, frozen, is_immutable

Point = namedtuple("Point", "x y")  # noqa: PYI024 - a subclass of tuple is what is tried


class Colour(enum.Enum):
    RED = 1


class Text(str):
    """A subclass has attributes."""

    __slots__ = ()


@pytest.mark.parametrize(
    "value",
    [None, True, 1, 1.5, 1j, "s", b"b", range(3), (), (1, ("a", b"b")), frozenset({1, (2,)}),
     Colour.RED, Decimal(1), UUID(int=1), dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
     dt.timedelta(1)],
)  # fmt: skip
def test_shared(value):
    assert is_immutable(value)
    assert frozen(value) is value or frozen(value) == value


@pytest.mark.parametrize(
    "value", [[], {}, set(), bytearray(), (1, []), Point([], 1), Text("s"), object()]
)
def test_not_shared(value):
    assert not is_immutable(value)


def test_a_frozen_value_is_equal_and_read_only():
    value = {"a": [1, {"b": {2, 3}}], "c": bytearray(b"x")}
    made = frozen(value)
    assert made["a"][0] == 1
    assert made["a"][1]["b"] == frozenset({2, 3})
    assert made["c"] == b"x"
    with pytest.raises(TypeError):
        made["a"][1]["b"] = 0
    value["a"].append(4)
    assert len(made["a"]) == 2


@pytest.mark.parametrize("value", [object(), [object()], {"k": Text("s")}, Point(1, 2)])
def test_what_cannot_be_frozen_says_so(value):
    with pytest.raises(Unfreezable):
        frozen(value)

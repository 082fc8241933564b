"""Values that many callers get: one that a caller could change must not be everybody's."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from functools import partial
from types import MappingProxyType, NoneType
from typing import TYPE_CHECKING, Any
from uuid import UUID

if TYPE_CHECKING:
    from collections.abc import Callable

_ATOMS = frozenset(
    {NoneType, bool, int, float, complex, str, bytes, range, date, datetime, time, timedelta,
     timezone, Decimal, Fraction, UUID}
)  # fmt: skip
"""Types, not their subclasses: those may have attributes."""


class Unfreezable(TypeError):  # noqa: N818 - an event
    """A value has a part that cannot be made immutable."""


def is_immutable(value: Any) -> bool:
    """Tell whether nobody can change a value, so that all may share it."""
    kind = type(value)
    if kind in _ATOMS:
        return True
    if kind is tuple or kind is frozenset:
        return all(map(is_immutable, value))
    return isinstance(value, Enum)


def settled(call: Callable[[], Any]) -> Callable[[], Any]:
    """Return a `partial` with arguments that its caller does not change any more, as lists are.

    Args:
        call: What is called later; anything but a `partial` is returned as it is.
    """
    if type(call) is not partial:
        return call
    try:
        return partial(call.func, *_own(call.args), **_own(call.keywords))
    except RecursionError:  # in what does not count for the key
        return call


def _own(value: Any) -> Any:
    kind = type(value)
    if kind is dict:
        return {_own(key): _own(item) for key, item in value.items()}
    if kind in {list, tuple, set, frozenset}:
        return kind(map(_own, value))
    return bytearray(value) if kind is bytearray else value


def frozen(value: Any) -> Any:
    """Return an immutable copy: tuples for lists, frozensets for sets, read-only views for dicts.

    Raises:
        Unfreezable: Some part is of another mutable type.
    """
    kind = type(value)
    if kind is dict:
        return MappingProxyType({frozen(key): frozen(item) for key, item in value.items()})
    if kind is list or kind is tuple:
        return tuple(map(frozen, value))
    if kind is set or kind is frozenset:
        return frozenset(map(frozen, value))
    if kind is bytearray:
        return bytes(value)
    if not is_immutable(value):
        raise Unfreezable(kind.__name__)
    return value

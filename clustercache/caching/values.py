"""Values that many callers get: one that a caller could change must not be everybody's."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from types import MappingProxyType, NoneType
from typing import Any
from uuid import UUID

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

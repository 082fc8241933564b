"""What JSON has no form for, and the tag that each such type is written under.

A tagged value is an object with one key that starts with "!". Each entry here is a pair of plain
functions: to what JSON can hold, and back. What comes back equals what was written and is of the
same type; subclasses come back as the type that is listed.
"""

from __future__ import annotations

import binascii
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, TypeVar
from uuid import UUID
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Moment = TypeVar("Moment", datetime, time)

MARK: Final = "!"

# Python refuses decimal digits beyond a limit that may be set as low as 640; hexadecimal has none.
_HUGE: Final = 1 << 2000


def integer(value: int) -> Any:
    """Return an integer as JSON can hold it, however large."""
    value = int.__int__(value)
    return value if -_HUGE < value < _HUGE else {"!i": hex(value)}


def real(value: float) -> Any:
    """Return a float as JSON can hold it; NaN and the infinities have no form there."""
    value = float.__float__(value)
    # Only a finite number differs from itself by nothing.
    return value if value - value == 0 else {"!f": repr(value)}


def _from_hex(text: str) -> int:
    return int(text, 16)


def _bytes(value: bytes) -> str:
    return binascii.b2a_base64(value, newline=False).decode()


def _to_bytes(text: str) -> bytes:
    return binascii.a2b_base64(text, strict_mode=True)


def _decimal(value: Decimal) -> str:
    # The thread's decimal context may ask for small letters.
    return Decimal.__str__(value).upper()


def _timedelta(value: timedelta) -> list[int]:
    return [value.days, value.seconds, value.microseconds]


def _moment(value: datetime | time) -> Any:
    kind = datetime if isinstance(value, datetime) else time
    text = kind.isoformat(value)  # type: ignore[arg-type]
    zone = value.tzinfo.key if isinstance(value.tzinfo, ZoneInfo) else None
    # ISO 8601 has neither the fold nor the zone's name. Without the name a time in the repeated
    # hour would come back unequal to itself, and adding a day would miss a change of the clocks.
    return text if zone is None and not value.fold else [text, value.fold, zone]


def _to_moment(kind: type[Moment], told: Any) -> Moment:
    if isinstance(told, str):
        return kind.fromisoformat(told)
    text, fold, zone = told
    moment = kind.fromisoformat(text)
    return moment.replace(tzinfo=_zone(zone) or moment.tzinfo, fold=fold)


def _zone(name: str | None) -> ZoneInfo | None:
    """Return a zone, or None where this machine does not know it: then the offset serves."""
    try:
        return None if name is None else ZoneInfo(name)
    except (KeyError, OSError):
        return None


SCALARS: Final[Mapping[type, tuple[str, Callable[[Any], Any], Callable[[Any], Any]]]] = {
    datetime: ("!dt", _moment, lambda told: _to_moment(datetime, told)),
    date: ("!date", date.isoformat, date.fromisoformat),
    time: ("!time", _moment, lambda told: _to_moment(time, told)),
    timedelta: ("!td", _timedelta, lambda told: timedelta(*told)),
    Decimal: ("!dec", _decimal, Decimal),
    UUID: ("!uuid", UUID.__str__, UUID),
    bytes: ("!b", _bytes, _to_bytes),
}
"""By type: the tag, the way to JSON, and the way back."""

READERS: Final[Mapping[str, Callable[[Any], Any]]] = {
    **{tag: back for tag, _, back in SCALARS.values()},
    "!i": _from_hex,
    "!f": float,
    "!t": tuple,
    "!s": set,
    "!fs": frozenset,
    "!d": dict,
}
"""By tag: the way back."""

"""Arguments as bytes: the same value gives the same bytes, in every process and every Python.

Each value is a tag, and then what ends by itself: by its length, its fixed size, or an end mark
that is no tag. So no encoding is the beginning of another, and two values share one only if they
are equal and of the same types all the way down, with these exceptions, which are meant:

- Sets, dicts and keyword arguments are sorted by their encodings: their order does not count.
- All NaNs are one value. 0.0 and -0.0 are two, and so are Decimal("1.0") and Decimal("1.00"),
  for a function can tell them apart.
- Moments count by what they say (clock, fold, zone), not by the instant: noon in UTC is not 13:00
  in Paris. A zone is its name, so that it does not depend on the machine's time zone data.

Exact types only. What a subclass adds is unknown here, and a key that leaves out what a function
looks at serves wrong values.
"""

from __future__ import annotations

from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, Flag
from pathlib import PosixPath, PurePath, PurePosixPath, PureWindowsPath, WindowsPath
from struct import Struct
from types import NoneType
from typing import TYPE_CHECKING, Any, Final, TypeVar
from uuid import UUID
from zoneinfo import ZoneInfo

from clustercache.caching.names import Unencodable, misuse, name_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    T = TypeVar("T")

PLAIN: Final = frozenset({str, int, NoneType})
"""Types that are their own near keys: hashable, and never equal to one another."""

_double = Struct(">d").pack
_NAN: Final = b"f\x7f\xf8\0\0\0\0\0\0"


def _int(value: int) -> bytes:
    # Python refuses decimal digits beyond a limit that differs by process; hexadecimal has none.
    return b"i%x;" % value


def _float(value: float) -> bytes:
    return b"f" + _double(value) if value == value else _NAN  # noqa: PLR0124 - NaN alone differs


def _str(value: str) -> bytes:
    data = value.encode("utf-8", "surrogatepass")
    return b"s%d:%b" % (len(data), data)


def _bytes(value: bytes) -> bytes:
    return b"b%d:%b" % (len(value), value)


def _bytearray(value: bytearray) -> bytes:
    return b"y%d:%b" % (len(value), bytes(value))


def _decimal(value: Decimal) -> bytes:
    # The thread's decimal context may ask for small letters.
    return b"e" + _str(str(value).upper())


def _timedelta(value: timedelta) -> bytes:
    return b"d%d,%d,%d;" % (value.days, value.seconds, value.microseconds)


def _timezone(value: timezone) -> bytes:
    return b"z" + _timedelta(value.utcoffset(None)) + _str(value.tzname(None))


def _zoneinfo(value: ZoneInfo) -> bytes:
    if value.key is None:
        raise Unencodable("a ZoneInfo without a key", "make it with ZoneInfo(name)")
    return b"Z" + _str(value.key)


def _range(value: range) -> bytes:
    return b"r" + _int(value.start) + _int(value.stop) + _int(value.step)


def _path(tag: bytes) -> Callable[[PurePath], bytes]:
    return lambda value: tag + _str(str(value))


_LEAVES: Final[Mapping[type, Callable[[Any], bytes]]] = {
    NoneType: lambda _: b"N",
    bool: lambda value: b"T" if value else b"F",
    int: _int,
    float: _float,
    complex: lambda value: b"c" + _float(value.real) + _float(value.imag),
    str: _str,
    bytes: _bytes,
    bytearray: _bytearray,
    date: lambda value: b"a" + _str(value.isoformat()),
    timedelta: _timedelta,
    timezone: _timezone,
    ZoneInfo: _zoneinfo,
    Decimal: _decimal,
    UUID: lambda value: b"u" + value.bytes,
    range: _range,
    PosixPath: _path(b"p"),
    PurePosixPath: _path(b"P"),
    WindowsPath: _path(b"w"),
    PureWindowsPath: _path(b"W"),
}


class Encoder:
    """Encode arguments; one serves all threads.

    Known are None, bool, int, float, complex, str, bytes, bytearray, tuple, list, set, frozenset,
    dict, range, datetime, date, time, timedelta, timezone, ZoneInfo, Decimal, UUID, paths, enums,
    classes, what has a ``__cache_key__`` (a method or an attribute), and what is registered.
    """

    __slots__ = ("_writers",)

    def __init__(self) -> None:
        self._writers: dict[type, Callable[[Any], bytes]] = {
            **_LEAVES,
            tuple: lambda value: b"(%b)" % self._items(value),
            list: lambda value: b"[%b]" % self._items(value),
            set: lambda value: b"{%b}" % self._sorted(value),
            frozenset: lambda value: b"<%b>" % self._sorted(value),
            dict: self._dict,
            datetime: lambda value: b"m" + self._moment(value),
            time: lambda value: b"t" + self._moment(value),
        }

    def register(self, kind: type[T], encode: Callable[[T], Any], *, name: str = "") -> None:
        """Take a type of one's own from now on; its subclasses are types of their own.

        Args:
            kind: The type.
            encode: Returns what an instance counts by, as something that can be encoded already.
            name: Stands for the type in keys; its module and qualified name otherwise.

        Raises:
            ConfigurationError: The type is known already, or is defined inside a function and
                has no name.
        """
        if kind in self._writers:
            raise misuse(f"{kind.__qualname__} is registered already")
        try:
            head = b"R" + _str(name or name_of(kind))
        except Unencodable as error:
            raise misuse(f"{error}; register it with a name=") from None
        self._writers[kind] = lambda value: head + self.encode(encode(value))

    def encode(self, value: Any) -> bytes:
        """Return the bytes that stand for a value.

        Raises:
            Unencodable: A type in it is not known.
            RecursionError: It contains itself, or is nested too deeply.
        """
        writer = self._writers.get(type(value))
        return self._other(value) if writer is None else writer(value)

    def _items(self, values: Iterable[Any]) -> bytes:
        return b"".join([self.encode(value) for value in values])

    def _sorted(self, values: Iterable[Any]) -> bytes:
        return b"".join(sorted([self.encode(value) for value in values]))

    def _dict(self, values: dict[Any, Any]) -> bytes:
        encode = self.encode
        return b"D%b;" % b"".join(sorted([encode(k) + encode(v) for k, v in values.items()]))

    def _moment(self, value: datetime | time) -> bytes:
        clock = _str(value.replace(tzinfo=None).isoformat())
        return clock + (b"1" if value.fold else b"0") + self.encode(value.tzinfo)

    def _other(self, value: Any) -> bytes:
        kind = type(value)
        # On the type: an instance that invents attributes has every attribute.
        if getattr(kind, "__cache_key__", None) is not None:
            told = value.__cache_key__
            return b"K" + _str(name_of(kind)) + self.encode(told() if callable(told) else told)
        if isinstance(value, Enum):
            # A flag made of several may have no name.
            told = value.value if isinstance(value, Flag) else value.name
            return b"E" + _str(name_of(kind)) + self.encode(told)
        if isinstance(value, type):
            return b"C" + _str(name_of(value))
        raise Unencodable.of(kind, next((k for k in kind.__mro__ if k in self._writers), None))


ENCODER: Final = Encoder()
"""The one that is used unless another is given."""

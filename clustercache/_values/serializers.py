"""How values become bytes and come back: tagged JSON, msgspec, or one's own.

The same value has to give the same bytes in every process, for what changed in a session is found
by comparing encodings. No serializer here runs code that data names: there is no pickle.
"""

from __future__ import annotations

import json
from types import NoneType
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from clustercache._values.json_text import MAX_DEPTH, to_bytes, to_text, too_deep
from clustercache._values.tags import MARK, READERS, SCALARS, integer, real
from clustercache._values.undecodable import Undecodable
from clustercache.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

T = TypeVar("T")

_AS_THEY_ARE: Final = frozenset({str, bool, NoneType})
_TEXT: Final = frozenset({str})


class Serializer(Protocol):
    """Turn a value into bytes and back; one serves all threads."""

    def dumps(self, value: Any, /) -> bytes:
        """Return the value as bytes: the same value, the same bytes; else raise TypeError."""
        ...

    def loads(self, data: bytes, /) -> Any:
        """Return the value, or raise any exception."""
        ...


def _never(constant: str) -> Any:
    raise Undecodable(f"{constant} is not JSON")


class TaggedJSON:
    """Write plain JSON, and tag what JSON has no form for.

    Plain are str, int, finite float, bool, None, list, and dict with string keys. Tagged are
    datetime, date, time, timedelta, Decimal, UUID, bytes, tuple, set, frozenset, NaN, infinities,
    and dicts with other keys. Each comes back as the type it was. A subclass of one of them
    (Markup, OrderedDict, IntEnum, a named tuple) comes back as that base; a datetime keeps its
    fold and its ZoneInfo, and of any other time zone the offset, in whole seconds.
    """

    __slots__ = ("_decoder", "_encode", "_readers", "_scan", "_writers")

    def __init__(self) -> None:
        # What has no cycle needs no looking for one; `_plain` recurses first.
        encoder = json.JSONEncoder(
            ensure_ascii=False, check_circular=False, allow_nan=False, separators=(",", ":")
        )
        self._encode = encoder.encode
        self._decoder = json.JSONDecoder(object_hook=self._untag, parse_constant=_never)
        self._scan: Callable[[str, int], tuple[Any, int]] = self._decoder.scan_once  # type: ignore[attr-defined]
        self._readers: dict[str, Callable[[Any], Any]] = dict(READERS)
        self._writers: dict[type, Callable[[Any], Any]] = {
            str: str.__str__,
            bool: bool,
            NoneType: lambda value: value,
            int: integer,
            float: real,
            list: self._list,
            dict: self._dict,
            tuple: lambda value: {"!t": self._list(value)},
            set: lambda value: {"!s": self._sorted(value)},
            frozenset: lambda value: {"!fs": self._sorted(value)},
        }
        for kind, (tag, to, _) in SCALARS.items():
            self._writers[kind] = _tagged(tag, to)

    def register(
        self, tag: str, kind: type[T], to: Callable[[T], Any], back: Callable[[Any], T]
    ) -> None:
        """Take a type of one's own from now on, its subclasses included.

        Args:
            tag: Names the type in what is stored, so it has to stay: "money".
            kind: The type.
            to: Returns an instance as something that can be written already.
            back: Returns the instance. It is given data, and must not trust it.

        Raises:
            ConfigurationError: The tag is empty or taken, or the type is.
        """
        # The colon keeps tags of one's own apart from any that come later.
        known = f"{MARK}:{tag}"
        if not tag or known in self._readers:
            raise ConfigurationError(f"the tag {tag!r} is empty or taken; choose another")
        if kind in self._writers:
            raise ConfigurationError(f"{kind.__qualname__} is written under a tag already")
        self._readers[known] = back
        self._writers[kind] = _tagged(known, lambda value: self._plain(to(value)))

    def dumps(self, value: Any, /) -> bytes:
        """Return a value as bytes.

        Raises:
            TypeError: There is a type in it that is neither listed nor registered.
            ValueError: It is nested deeper than 100 levels, or contains itself.
        """
        try:
            data = to_bytes(self._encode(self._plain(value)))
        except RecursionError:
            data = None
        if data is None or too_deep(data):
            raise ValueError(f"the value contains itself or is deeper than {MAX_DEPTH} levels")
        return data

    def loads(self, data: bytes, /) -> Any:
        """Return the value.

        Raises:
            Undecodable: It has a tag that is not known here, or is nested too deeply.
            Exception: Anything else where the data is not what `dumps` returns.
        """
        if too_deep(data):
            raise Undecodable(f"it is deeper than {MAX_DEPTH} levels")
        text = to_text(data)
        try:
            value, end = self._scan(text, 0)
        except StopIteration:
            value, end = None, -1
        # With white space around it, or if it is no JSON: that is for the decoder to tell.
        return value if end == len(text) else self._decoder.decode(text)

    def _plain(self, value: Any) -> Any:
        kind = type(value)
        if kind in _AS_THEY_ARE:
            return value
        return (self._writers.get(kind) or self._inherited(kind))(value)

    def _inherited(self, kind: type) -> Callable[[Any], Any]:
        for base in kind.__mro__:
            if base in self._writers:
                return self._writers[base]
        raise TypeError(
            f"TaggedJSON cannot write a {kind.__module__}.{kind.__qualname__}; store what it is"
            " made of, or register(tag, type, to, back) it at the serializer"
        )

    def _list(self, values: Iterable[Any]) -> list[Any]:
        return [v if type(v) in _AS_THEY_ARE else self._plain(v) for v in values]

    def _sorted(self, values: Iterable[Any]) -> list[Any]:
        return sorted(self._list(values), key=self._encode)

    def _dict(self, value: dict[Any, Any]) -> dict[str, Any]:
        plain = {k: v if type(v) in _AS_THEY_ARE else self._plain(v) for k, v in value.items()}
        if not {*map(type, plain)} <= _TEXT:
            plain = {str.__str__(k) if isinstance(k, str) else k: v for k, v in plain.items()}
        if {*map(type, plain)} <= _TEXT and not _looks_tagged(plain):
            return plain
        return {"!d": [[self._plain(k), v] for k, v in plain.items()]}

    def _untag(self, found: dict[str, Any]) -> Any:
        if not _looks_tagged(found):
            return found
        ((tag, told),) = found.items()
        if tag not in self._readers:
            raise Undecodable("it has a tag that is not registered here")
        return self._readers[tag](told)


def _looks_tagged(plain: dict[str, Any]) -> bool:
    return len(plain) == 1 and next(iter(plain)).startswith(MARK)


def _tagged(tag: str, to: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: {tag: to(value)}


class Msgspec:
    """Write MessagePack with msgspec: smaller and faster, with fewer types than `TaggedJSON`.

    What MessagePack has no form for comes back as msgspec writes it: tuples and sets as lists;
    dates, naive datetimes, Decimal and UUID as strings; dataclasses and structs as dicts. Dicts
    need string keys and come back sorted by them.

    Raises:
        ConfigurationError: msgspec is not installed.
    """

    __slots__ = ("_decode", "_encode")

    def __init__(self) -> None:
        try:
            import msgspec
        except ImportError as error:
            raise ConfigurationError(
                "Msgspec needs msgspec; pip install 'clustercache[msgspec]'"
            ) from error
        self._encode = msgspec.msgpack.Encoder(order="deterministic").encode
        self._decode = msgspec.msgpack.Decoder().decode

    def dumps(self, value: Any, /) -> bytes:
        """Return a value as bytes.

        Raises:
            TypeError: msgspec cannot write a type in it, or a dict has keys that are no strings.
            OverflowError: An integer does not fit in 64 bits.
            RecursionError: It is nested too deeply, or contains itself.
        """
        return self._encode(value)

    def loads(self, data: bytes, /) -> Any:
        """Return the value, or raise what msgspec does."""
        return self._decode(data)

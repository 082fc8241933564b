"""`memory://`: a cache in one process, for tests and for development without a server.

Each method is what the script, or the command, of its name does at a server.
"""

from __future__ import annotations

import threading
from hashlib import sha1
from time import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from cachetools import LRUCache

from clustercache.caching.entries import LEASE, LEASE_BYTES
from clustercache.caching.names import misuse

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from clustercache.caching.calls import Call

_DIGITS: Final = b"\xcc\x01\x03"
_TAGS_AT: Final = 23
_BODY: Final = 20
_RANGE: Final = range(-(1 << 63), 1 << 63)
_MEMORY: Final = "memory://"
_NULL: Final = "null://"


class _Held(NamedTuple):
    """What a key holds, its lease apart.

    Attributes:
        rest: Without the lease; empty if that is all.
        holder: The lease's token, or None.
        until: When the lease ends; milliseconds since 1970.
        ends: When the key ends; None for never.
    """

    rest: bytes = b""
    holder: bytes | None = None
    until: int = 0
    ends: int | None = None


_NOTHING: Final = _Held()


class Memory:
    """Runs calls on what this process holds; for any number of threads."""

    def __init__(self, clock: Callable[[], float] = time, *, maxsize: int = 100_000) -> None:
        """Begin empty.

        Args:
            clock: Returns seconds since 1970.
            maxsize: How many keys are held; the least recently used one goes first.
        """
        self._clock = clock
        self._lock = threading.Lock()
        self._held: LRUCache[str, tuple[bytes, int | None]] = LRUCache(maxsize)

    def ask(self, calls: Sequence[Call]) -> list[Any]:
        """Return the calls' outcomes, in order, each error in its place."""
        with self._lock:
            return [self._outcome(one) for one in calls]

    def _outcome(self, call: Call) -> Any:
        # Imported by who gets an error, for redis is not needed in here.
        try:
            return getattr(self, f"_{call.op}")(call.key, *call.args)
        except _Refusal as refusal:
            from redis.exceptions import ResponseError

            return ResponseError(str(refusal))

    # Keys -------------------------------------------------------------------------------------

    def held(self) -> list[str]:
        """Return all keys that are held."""
        with self._lock:
            return [key for key in list(self._held) if self._get(key) is not None]

    @property
    def _now(self) -> int:
        return int(self._clock() * 1000)

    def _read(self, key: str) -> tuple[bytes | None, int | None]:
        """Return what a key holds, and when it ends."""
        data, ends = self._held.get(key, (None, None))
        if ends is not None and ends <= self._now:
            del self._held[key]
            return None, None
        return data, ends

    def _find(self, key: str) -> _Held:
        data, ends = self._read(key)
        if data is None:
            return _NOTHING
        if not data.startswith(LEASE):
            return _Held(data, ends=ends)
        until = data[18:LEASE_BYTES]
        return _Held(data[LEASE_BYTES:], data[2:18], int(until) if until.isdigit() else 0, ends)

    def _get(self, key: str) -> bytes | None:
        return self._read(key)[0]

    def _set(self, key: str, data: bytes, ttl: Any = None) -> bool:
        """Store; None and "" are for ever."""
        ends = None if ttl in {None, ""} else self._now + int(ttl)
        if ends is not None and ends <= self._now:
            raise _Refusal("invalid expire time")
        self._held[key] = data, ends
        return True

    def _unlink(self, key: str) -> int:
        there = self._get(key) is not None
        self._held.pop(key, None)
        return int(there)

    def _ttl(self, key: str) -> int:
        data, ends = self._read(key)
        if data is None:
            return -2
        return -1 if ends is None else ends - self._now

    # Leases -----------------------------------------------------------------------------------

    def _take(self, key: str, token: bytes, lease: int, seen: str, force: int) -> list[Any]:
        held, now = self._find(key), self._now
        if not force:
            if not _is_seen(held.rest, seen):
                return [2, held.rest]
            if held.holder not in {None, token} and held.until > now:
                return [0, held.until - now]
        self._lease(key, held, token, now + lease, lease)
        return [1]

    def _lease(self, key: str, held: _Held, token: bytes, until: int, least: int) -> None:
        lasts = held.ends is None and held.rest
        ends = None if lasts else max(held.ends or 0, self._now + least)
        self._held[key] = LEASE + token + b"%013d" % until + held.rest, ends

    def _fill(self, key: str, token: bytes, data: bytes, ttl: int | str) -> int:
        held = self._find(key)
        if held.holder != token:
            return int(held.rest == data)
        return int(self._set(key, data, ttl))

    def _renew(self, key: str, token: bytes, lease: int) -> int:
        held = self._find(key)
        if held.holder != token:
            return 0
        self._lease(key, held, token, max(held.until, self._now + lease), lease)
        return 1

    def _release(self, key: str, token: bytes) -> int:
        held = self._find(key)
        if held.holder != token:
            return 0
        if held.rest:
            self._held[key] = held.rest, held.ends
        else:
            del self._held[key]
        return 1

    # Values and tokens ------------------------------------------------------------------------

    def _swap(self, key: str, seen: str, data: bytes, ttl: int | str) -> int:
        return int(_is_seen(self._find(key).rest, seen) and self._set(key, data, ttl))

    def _token(self, key: str, fresh: bytes, ttl: int | str) -> bytes:
        least = None if ttl == "" else int(ttl)
        data, ends = self._read(key)
        longer = None if least is None else self._now + 2 * least
        if not data:
            data = fresh
        elif ends is None or (least is not None and ends - self._now >= least):
            longer = ends
        self._held[key] = data, longer
        return data

    def _incr(self, key: str, token: bytes, delta: int) -> bytes | None:
        held = self._find(key)
        head = _head_of_integer(held.rest, token)
        body = held.rest[-_BODY:].lstrip(b" ")
        if head is None or not body.removeprefix(b"-").isdigit():
            return None
        value = int(body)
        if b"%d" % value != body or value not in _RANGE or delta not in _RANGE:
            raise _Refusal("value is not an integer or out of range")
        if value + delta not in _RANGE:
            raise _Refusal("increment or decrement would overflow")
        digits = b"%d" % (value + delta)
        self._held[key] = head + digits.rjust(_BODY), held.ends
        return digits


class Null(Memory):
    """`null://`: takes everything, and keeps nothing."""

    def ask(self, calls: Sequence[Call]) -> list[Any]:
        """Return what one would be told who is alone; each key is empty again at once."""
        return [_NULLS[one.op](one) for one in calls]


_NULLS: Final[dict[str, Callable[[Call], Any]]] = {
    "get": lambda _: None,
    "set": lambda _: True,
    "unlink": lambda _: 0,
    "ttl": lambda _: -2,
    "take": lambda _: [1],
    "fill": lambda _: 1,
    "renew": lambda _: 1,
    "release": lambda _: 1,
    "swap": lambda _: 1,
    "token": lambda call: call.args[0],
    "incr": lambda _: None,
}


class _Refusal(Exception):  # noqa: N818 - becomes a reply
    """What a server would answer with an error."""


def _is_seen(rest: bytes, digest: str) -> bool:
    return (sha1(rest, usedforsecurity=False).hexdigest() if rest else "") == digest


def _head_of_integer(rest: bytes, token: bytes) -> bytes | None:
    """Return an envelope's head if it is an integer's, and that token is its only tag's."""
    if len(rest) < _TAGS_AT + 5 or not rest.startswith(_DIGITS):
        return None
    tags, name = (int.from_bytes(rest[at : at + 2]) for at in (_TAGS_AT, _TAGS_AT + 2))
    start = _TAGS_AT + 5 + name
    end = start + rest[_TAGS_AT + 4]
    if tags != 1 or len(rest) != end + _BODY or rest[start:end] != token:
        return None
    return rest[:end]


_named: dict[str, Memory] = {}
_lock = threading.Lock()


def memory_at(url: object, options: Mapping[str, Any] | None = None) -> Memory | None:
    """Return what ``memory://`` or ``null://`` stands for, or None for another URL.

    Args:
        url: One with a name, as ``memory://shop``, is shared in the process.
        options: Those of a client: there is none.

    Raises:
        ConfigurationError: There are such options.
    """
    if not isinstance(url, str) or not url.startswith((_MEMORY, _NULL)):
        return None
    if options:
        raise misuse(f"{url} has no client, so that it takes no {', '.join(sorted(options))}")
    if url.startswith(_NULL):
        return Null()
    name = url.removeprefix(_MEMORY)
    if not name:
        return Memory()
    with _lock:
        return _named.setdefault(name, Memory())

"""`NearCache`: what was read is kept in the process, as long as it is known to be true.

It does no I/O and has no thread: a `Tracker` tells it what happens on the connections, and reads
what is to be kept. Without one nothing is ever kept.
"""

from __future__ import annotations

import math
import os
import threading
import weakref
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, Literal

import cachetools

from clustercache._core.tracking import Coherence
from clustercache.caching.values import Unfreezable, frozen, is_immutable
from clustercache.config import check_seconds
from clustercache.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable

    from clustercache._core.tracking import Entry, Source, Token

_POLICIES: Final = {
    "lru": cachetools.LRUCache,
    "lfu": cachetools.LFUCache,
    "fifo": cachetools.FIFOCache,
    "rr": cachetools.RRCache,
}


class Missing:
    """The type of `MISSING`, which is false."""

    __slots__ = ()

    def __repr__(self) -> str:
        """Show the name."""
        return "MISSING"

    def __bool__(self) -> bool:
        """Say no."""
        return False


MISSING: Final = Missing()
"""What stands for a value that is not there, where None is a value."""


class _Anew:
    """A value that is decoded anew for each caller, who may change it."""

    __slots__ = ("data", "decode")

    def __init__(self, data: bytes, decode: Callable[[bytes], Any]) -> None:
        self.data = data
        self.decode = decode


class NearCache:
    """A bounded cache in the process, kept true by the servers' invalidations.

    asyncio and threads share it. A hit costs no I/O.

    Args:
        maxsize: How many entries are kept.
        max_bytes: How many bytes of keys and encoded values are kept; None sets no limit.
        max_staleness: Seconds that an entry is kept at the most, whatever is heard.
        max_silence: Seconds after the last sign of life of its primary that an entry is served.
        policy: Which entries go first: "lru", "lfu", "fifo" or "rr" (at random).
        mutable: What callers get of a value that they could change: "decode" decodes it anew for
            each, "freeze" hands out one that is read-only (tuples for lists, views for dicts).

    Raises:
        ConfigurationError: Something is out of range.
    """

    def __init__(
        self,
        maxsize: int = 10_000,
        *,
        max_bytes: int | None = None,
        max_staleness: float = 60.0,
        max_silence: float = 1.0,
        policy: Literal["lru", "lfu", "fifo", "rr"] = "lru",
        mutable: Literal["decode", "freeze"] = "decode",
    ) -> None:
        if maxsize < 1 or (max_bytes is not None and max_bytes < 1):
            msg = "maxsize and max_bytes must be 1 at the least"
            raise ConfigurationError(msg)
        if policy not in _POLICIES or mutable not in {"decode", "freeze"}:
            msg = f'policy is one of {", ".join(_POLICIES)}; mutable is "decode" or "freeze"'
            raise ConfigurationError(msg)
        check_seconds("max_staleness", max_staleness)
        check_seconds("max_silence", max_silence)
        self.maxsize = maxsize
        self.max_bytes = max_bytes
        self.max_silence = max_silence
        self.max_staleness = max_staleness
        self._policy = policy
        self._freezes = mutable == "freeze"
        self._begin()
        _caches.add(self)

    def _begin(self) -> None:
        self._lock = threading.RLock()
        self._entries = _entries(
            _POLICIES[self._policy],
            self.maxsize,
            self.max_bytes,
            lambda entry: self._coherence.evicted(entry),  # noqa: PLW0108 - it is made below
        )
        self._coherence = Coherence(
            self._entries, max_silence=self.max_silence, max_staleness=self.max_staleness
        )
        self._hit = self._coherence.hit
        self.hits = self.misses = 0

    # For callers ------------------------------------------------------------------------------

    def get(self, name: Hashable) -> Any:
        """Return the value under a name, or MISSING where none may be served.

        Args:
            name: A key, or what the entry was kept by.
        """
        with self._lock:
            entry = self._hit(name, monotonic())
            if entry is None:
                self.misses += 1
                return MISSING
            self.hits += 1
        value = entry.value
        return value.decode(value.data) if type(value) is _Anew else value

    def discard(self, keys: Iterable[bytes]) -> None:
        """Drop keys, and let no read of them that is under way be kept.

        For a write of one's own, call it before the write is sent and after its reply.
        """
        with self._lock:
            self._coherence.void(keys)

    def clear(self) -> None:
        """Drop all, and let no read that is under way be kept."""
        with self._lock:
            self._coherence.void_all()

    def __len__(self) -> int:
        """Return how many entries there are, those included that may not be served any more."""
        return len(self._entries)

    @property
    def size(self) -> int:
        """The bytes of all keys and encoded values that are kept."""
        with self._lock:
            return sum(entry.size for entry in self._entries.values())

    @property
    def oldest(self) -> float | None:
        """The seconds since the oldest of what is kept was asked for; None where nothing is."""
        with self._lock:
            began = min((entry.began for entry in self._entries.values()), default=None)
        return None if began is None else monotonic() - began

    # For readings -----------------------------------------------------------------------------

    def claim(self, key: bytes, source: Source) -> Token | None:
        """Return a token for a read that is about to be sent, unless nothing may be kept."""
        with self._lock:
            return self._coherence.claim(key, source, monotonic())

    def release(self, token: Token) -> None:
        """Give a token back."""
        with self._lock:
            self._coherence.release(token)

    def keep(
        self,
        token: Token,
        data: bytes | None,
        value: Any,
        *,
        ttl: float = math.inf,
        name: Hashable = None,
        decode: Callable[[bytes], Any] | None = None,
    ) -> bool:
        """Keep what was read under a token, if nothing has happened that forbids it.

        Args:
            token: From before the read was sent.
            data: What was read; None where there is no such key.
            value: What it says.
            ttl: Seconds that it lives on the server, when it was read.
            name: What it is looked up by; None means by its key.
            decode: Makes the value of the data; without it only what nobody can change is kept.
        """
        size = len(token.key) + len(data or b"")
        kept = self._safe(data, value, decode)
        if kept is MISSING or size > (self.max_bytes or size):
            return False
        with self._lock:
            entry = self._coherence.fill(
                token, kept, monotonic(), ttl=ttl, name=name, size=size, absent=data is None
            )
        return entry is not None

    def _safe(self, data: bytes | None, value: Any, decode: Callable[[bytes], Any] | None) -> Any:
        if is_immutable(value):
            return value
        if self._freezes:
            try:
                return frozen(value)
            except Unfreezable:
                pass
        return MISSING if decode is None or data is None else _Anew(data, decode)

    # For trackers -----------------------------------------------------------------------------

    def tell(self, event: Callable[[Coherence], None]) -> None:
        """Let something happen to the state, which nobody uses meanwhile."""
        with self._lock:
            event(self._coherence)

    def is_overdue(self, sent: float, now: float) -> bool:
        """Tell whether a PING has been unanswered for too long (both in monotonic seconds)."""
        return self._coherence.overdue(sent, now)

    def after_fork(self) -> None:
        """Start anew in a child, which hears of nothing."""
        self._begin()


def _entries(
    policy: Any, maxsize: int, max_bytes: int | None, evicted: Callable[[Entry], None]
) -> Any:
    """Return where entries are kept: cachetools' policy, within both bounds."""

    class Entries(policy):  # type: ignore[misc, unused-ignore]
        def __setitem__(self, name: Hashable, entry: Entry) -> None:
            while len(self) >= maxsize:
                self.popitem()
            super().__setitem__(name, entry)

        def popitem(self) -> tuple[Hashable, Entry]:
            name, entry = super().popitem()
            evicted(entry)
            return name, entry

    if max_bytes is None:
        return Entries(maxsize)
    return Entries(max_bytes, getsizeof=lambda entry: entry.size)


_caches: weakref.WeakSet[NearCache] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for near in list(_caches):
        near.after_fork()


os.register_at_fork(after_in_child=_after_fork_in_child)

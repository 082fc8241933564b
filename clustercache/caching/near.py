"""`NearCache`: what was read is kept in the process, as long as it is known to be true.

It does no I/O and has no thread: a `Tracker` tells it what happens on the connections, and reads
what is to be kept. Without one nothing is ever kept.
"""

from __future__ import annotations

import logging
import math
import os
import threading
import weakref
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any, Literal

from clustercache._core.tracking import Coherence
from clustercache.caching.bounded import POLICIES, bounded, weight
from clustercache.caching.hits import MISSING, Anew, Copy, Hit
from clustercache.caching.values import Unfreezable, frozen, is_immutable
from clustercache.config import check_seconds
from clustercache.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable

    from clustercache._core.vouching import Depends, Source, Token
    from clustercache._core.watches import Wake

__all__ = ["MISSING", "Hit", "NearCache"]

_log = logging.getLogger("clustercache.near")


class NearCache:
    """A bounded cache in the process, kept true by the servers' invalidations.

    asyncio and threads share it; it belongs to one cache and its asyncio twin, for other caches'
    values may have the same names. A hit costs no I/O.

    Args:
        maxsize: How many entries are kept.
        max_bytes: How many bytes of keys, arguments and encoded values are kept; None sets no
            limit.
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
        if policy not in POLICIES or mutable not in {"decode", "freeze"}:
            msg = f'policy is one of {", ".join(POLICIES)}; mutable is "decode" or "freeze"'
            raise ConfigurationError(msg)
        check_seconds("max_staleness", max_staleness)
        check_seconds("max_silence", max_silence)
        self.maxsize = maxsize
        self.max_bytes = max_bytes
        self.max_silence = max_silence
        self.max_staleness = max_staleness
        self._policy = policy
        self._freezes = mutable == "freeze"
        self._owner: weakref.ref[object] | None = None
        self._begin()
        _caches.add(self)

    def _begin(self) -> None:
        self._lock = threading.RLock()
        self._entries = bounded(
            POLICIES[self._policy],
            self.maxsize,
            self.max_bytes,
            lambda entry: self._coherence.evicted(entry),  # noqa: PLW0108 - it is made below
        )
        self._coherence = Coherence(
            self._entries, max_silence=self.max_silence, max_staleness=self.max_staleness
        )
        self._hit = self._coherence.hit
        self.hits = self.misses = 0

    def belong(self, owner: object) -> None:
        """Belong to a cache, until it `leave`s or is gone.

        Args:
            owner: What stands for the cache.

        Raises:
            ConfigurationError: It belongs to another.
        """
        with self._lock:
            held = None if self._owner is None else self._owner()
            if held is not None and held is not owner:
                msg = "this NearCache belongs to another cache: make one for each"
                raise ConfigurationError(msg)
            self._owner = weakref.ref(owner)

    def leave(self, owner: object) -> None:
        """Belong to a cache no more, if it did."""
        with self._lock:
            if self._owner is not None and self._owner() is owner:
                self._owner = None

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
        return value.decode(value.data) if type(value) is Anew else value

    def hit(self, name: Hashable) -> Hit | None:
        """Return the value under a name with what is known of it, or None where none may be served.

        Args:
            name: A key, or what the entry was kept by.
        """
        with self._lock:
            entry = self._hit(name, monotonic())
            if entry is None:
                self.misses += 1
                return None
            self.hits += 1
        value = entry.value
        return Copy(entry, value.decode(value.data)) if type(value) is Anew else entry

    def recall(self, name: Hashable) -> Any:
        """Return (value, seconds) of what is held, though it may not be served; or MISSING.

        For who would rather have an old value than none, while the servers are away. The seconds
        are those since its time on the server ended, or since it ceased to be known as true: 0.0
        where it is true. What was invalidated or discarded is not held.

        Args:
            name: A key, or what the entry was kept by.
        """
        with self._lock:
            found = self._coherence.recall(name, monotonic())
        if found is None:
            return MISSING
        value, seconds = found[0].value, found[1]
        return (value.decode(value.data) if type(value) is Anew else value), seconds

    def watch(self, key: bytes, wake: Wake) -> None:
        """Have `wake` called whenever a key is invalidated, discarded, or no longer vouched for.

        It is called in whichever thread hears of that, and must be quick. Nothing is heard of keys
        that were not read to be kept since the last call.

        Args:
            key: The key.
            wake: What is called, without arguments; it may be called without a need.
        """
        with self._lock:
            self._coherence.watches.add(key, wake)

    def unwatch(self, key: bytes, wake: Wake) -> None:
        """Take back a `watch` of the same two; a call that is under way may still come."""
        with self._lock:
            self._coherence.watches.remove(key, wake)

    def discard(self, keys: Iterable[bytes]) -> None:
        """Drop keys, and let no read of them that is under way be kept.

        For a write of one's own, call it before the write is sent and after its reply.
        """
        self.tell(partial(_void, keys=keys))

    def clear(self) -> None:
        """Drop all, and let no read that is under way be kept."""
        self.tell(Coherence.void_all)

    def __len__(self) -> int:
        """Return how many entries there are, those included that may not be served any more."""
        return len(self._entries)

    @property
    def size(self) -> int:
        """The bytes of all keys and encoded values that are kept."""
        with self._lock:
            return sum(entry.size for entry in self._entries.all())

    @property
    def oldest(self) -> float | None:
        """The seconds since the oldest of what is kept was asked for; None where nothing is."""
        with self._lock:
            began = min((entry.began for entry in self._entries.all()), default=None)
        return None if began is None else monotonic() - began

    # For readings -----------------------------------------------------------------------------

    def claim(self, key: bytes, source: Source, slot: int | None = None) -> Token | None:
        """Return a token for a read that is about to be sent, unless nothing may be kept."""
        with self._lock:
            return self._coherence.claim(key, source, monotonic(), slot)

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
        depends: Depends = (),
        cost: int = 0,
    ) -> bool:
        """Keep what was read under a token, if nothing has happened that forbids it.

        Args:
            token: From before the read was sent.
            data: What was read; None where there is no such key.
            value: What it says.
            ttl: Seconds that it lives on the server, when it was read.
            name: What it is looked up by; None means by its key.
            decode: Makes the value of the data; without it only what nobody can change is kept.
            depends: (name, value) pairs: it is served only while each name is, with that value.
            cost: What it cost to make the value, in microseconds.
        """
        size = len(token.key) + len(data or b"") + weight(name)
        kept = self._safe(data, value, decode)
        if kept is MISSING or size > (self.max_bytes or size):
            return False
        with self._lock:
            entry = self._coherence.fill(
                token, kept, monotonic(), ttl=ttl, name=name, size=size, absent=data is None,
                depends=depends, cost=cost,
            )  # fmt: skip
        return entry is not None

    def _safe(self, data: bytes | None, value: Any, decode: Callable[[bytes], Any] | None) -> Any:
        if is_immutable(value):
            return value
        if self._freezes:
            try:
                return frozen(value)
            except Unfreezable:
                pass
        return MISSING if decode is None or data is None else Anew(data, decode)

    # For trackers -----------------------------------------------------------------------------

    def tell(self, event: Callable[[Coherence], None]) -> None:
        """Let something happen to the state, which nobody uses meanwhile."""
        with self._lock:
            event(self._coherence)
            due = self._coherence.watches.take()
        for wake in due:
            _wake(wake)

    def is_overdue(self, sent: float, now: float) -> bool:
        """Tell whether a PING has been unanswered for too long (both in monotonic seconds)."""
        return self._coherence.overdue(sent, now)

    def after_fork(self) -> None:
        """Start anew in a child, which hears of nothing."""
        self._begin()


def _void(state: Coherence, *, keys: Iterable[bytes]) -> None:
    state.void(keys)


def _wake(wake: Wake) -> None:
    try:
        wake()
    except Exception:  # noqa: BLE001 - who hears of invalidations must go on hearing
        _log.exception("wake_failed")


_caches: weakref.WeakSet[NearCache] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for near in list(_caches):
        near.after_fork()


os.register_at_fork(after_in_child=_after_fork_in_child)

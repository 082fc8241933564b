"""A cache of cachelib's kind, kept in a cluster.

    cache = ClusterCache("redis://10.0.0.1:6379", signing_key=SECRET)

See docs/adapters.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cachelib import BaseCache
from redis.exceptions import RedisError

from clustercache.caching.adapters import any_object, cache_at
from clustercache.caching.near import MISSING
from clustercache.exceptions import PartialError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import timedelta

    from clustercache import Cache, Cluster

__all__ = ["ClusterCache"]

_TRIES: Final = 16
"""Counts that find the key gone, and then there again; each of these was somebody else's doing."""


class ClusterCache(BaseCache):
    """Keep values by cachelib's contract: a timeout of 0 is for ever, and None is "not there".

    Reads and writes never fail because of the servers, unless `on_error` is "raise". `delete`,
    `delete_many` and `clear` raise unless they are confirmed.

    Attributes:
        cache: The `Cache` underneath, for what cachelib does not know.

    Example:
        >>> cache = ClusterCache("memory://", signing_key="0123456789abcdef")
        >>> cache.set("answer", {6, 7}, timeout=5)
        True
        >>> cache.get("answer")
        {6, 7}
    """

    def __init__(
        self,
        url: str | Iterable[str] | Cluster | None = None,
        default_timeout: int | timedelta = 300,
        ignore_delete_many_errors: bool = True,  # noqa: FBT001, FBT002 - cachelib's
        *,
        signing_key: bytes | str | None = None,
        signing_key_fallbacks: Iterable[bytes | str] = (),
        **options: Any,
    ) -> None:
        """Open no connection yet.

        Args:
            url: As `Cache.from_url` takes it, or a `Cluster`.
            default_timeout: Seconds, or a timedelta; 0 is for ever.
            ignore_delete_many_errors: Whether `delete_many` leaves out what it could not delete;
                else it raises RuntimeError.
            signing_key: A secret of at least 16 bytes that signs values, for they are pickled; the
                same in all processes. Not needed with a `serializer` of one's own.
            signing_key_fallbacks: Older ones that are still read.
            options: Those of `Cache.from_url`; `near` may be a number of entries.

        Raises:
            ConfigurationError: Something in it is missing, unknown or out of range.
        """
        super().__init__(default_timeout, ignore_delete_many_errors)
        if options.get("serializer") is None:
            options["serializer"] = any_object(
                signing_key, signing_key_fallbacks, 'serializer="json" for plain values'
            )
        self.cache: Cache = cache_at(url, **options)

    def _ttl(self, timeout: int | timedelta | None) -> int | None:
        return self._normalize_timeout(timeout) or None

    def get(self, key: str) -> Any:
        """Return a value, or None."""
        return self.cache.get(key)

    def get_many(self, *keys: str) -> list[Any]:
        """Return the keys' values in order, None where there is none; a batch to each node."""
        found = self.cache.get_many(keys)
        return [found.get(key) for key in keys]

    def has(self, key: str) -> bool:
        """Tell whether there is a value."""
        return self.cache.get(key, MISSING) is not MISSING

    def set(self, key: str, value: Any, timeout: int | timedelta | None = None) -> bool:
        """Store a value, and tell whether it was stored."""
        return self.cache.set(key, value, self._ttl(timeout))

    def add(self, key: str, value: Any, timeout: int | timedelta | None = None) -> bool:
        """Store a value where there is none, and tell whether it was stored."""
        try:
            return self.cache.add(key, value, self._ttl(timeout))
        except RedisError:
            if self._raises:
                raise
            return False

    def set_many(
        self, mapping: Mapping[str, Any], timeout: int | timedelta | None = None
    ) -> list[Any]:
        """Store values, a batch to each node; return the keys of those that were stored."""
        failed = set(self.cache.set_many(mapping, self._ttl(timeout)))
        return [key for key in mapping if key not in failed]

    def delete(self, key: str) -> bool:
        """Delete a value, and tell whether there was one.

        Raises:
            RedisError: The server did not confirm it.
        """
        return self.cache.delete(key)

    def delete_many(self, *keys: str) -> list[Any]:
        """Delete values; return all keys that are gone, whether or not they were there.

        Raises:
            RuntimeError: Some servers did not confirm it, and such errors are not ignored.
        """
        try:
            self.cache.delete_many(keys)
        except RedisError as error:
            if not self.ignore_delete_many_errors:
                raise RuntimeError("not all keys could be deleted") from error
            return self._gone(keys, error)
        return list(keys)

    def _gone(self, keys: Iterable[str], error: RedisError) -> list[Any]:
        outcomes = error.outcomes if isinstance(error, PartialError) else {}
        start = f"{self.cache.settings.namespace}:"
        return [key for key in keys if type(outcomes.get(start + key)) is int]

    def clear(self) -> bool:
        """Let nothing of the namespace be found.

        Raises:
            RedisError: A server did not confirm it.
        """
        self.cache.clear()
        return True

    def inc(self, key: str, delta: int = 1) -> int | None:
        """Add to an integer, at once and for all; one that is not there begins at 0.

        Returns:
            The sum, or None where the server cannot be asked.

        Raises:
            TypeError: What is stored is no integer.
        """
        try:
            for _ in range(_TRIES):
                try:
                    return self.cache.incr(key, delta)
                except KeyError:
                    if self.cache.add(key, delta, self._ttl(None)):
                        return delta
        except RedisError:
            if self._raises:
                raise
        return None

    def dec(self, key: str, delta: int = 1) -> int | None:
        """Subtract from an integer; see `inc`."""
        return self.inc(key, -delta)

    @property
    def _raises(self) -> bool:
        return self.cache.settings.on_error == "raise"

    def close(self) -> None:
        """Close the cache, and its client unless that was given."""
        self.cache.close()

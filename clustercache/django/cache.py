"""The cache backend: Django's whole `BaseCache`, blocking and asynchronous, over one `Cache`.

    CACHES = {"default": {"BACKEND": "clustercache.django.ClusterCache", "LOCATION": url}}

Django makes a backend for each thread, and under ASGI for each request; those of equal settings
share one cache, with its connections and what it keeps near, until the process ends.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

from django.core.cache.backends.base import DEFAULT_TIMEOUT

from clustercache.caching.near import MISSING
from clustercache.caching.ways import SURE
from clustercache.django.acache import AsyncHalf
from clustercache.django.keyed import ABSENT, LOT, left

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class ClusterCache(AsyncHalf):
    """Django's cache in a cluster, on one server, or in this process.

    LOCATION is a URL as `Cluster.from_url` takes it, or several; TIMEOUT, VERSION, KEY_PREFIX and
    KEY_FUNCTION are Django's. OPTIONS has what `CacheSettings` and the client take, and "near":
    True, a number of entries, or the arguments of a `NearCache`. Values are pickled, and signed
    with SECRET_KEY.

    Reads and `set` never fail because of the servers, unless "on_error" is "raise"; all else
    raises redis-py's RedisError where it was not confirmed. `close` closes nothing.
    """

    def get(self, key: Any, default: Any = None, version: int | None = None) -> Any:
        """Return a value, or `default` where there is none; None is a value like any other."""
        return self.inner.get(self.make_and_validate_key(key, version=version), default)

    def set(
        self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None
    ) -> None:
        """Store a value.

        Args:
            key: Its key.
            value: What can be pickled, unless OPTIONS has another "serializer".
            timeout: Seconds; None for ever; 0 deletes.
            version: Of the key.
        """
        key = self.make_and_validate_key(key, version=version)
        self.inner.set(key, value, self.get_backend_timeout(timeout))

    def add(
        self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None
    ) -> bool:
        """Store a value if there is none; tell whether there was none.

        Raises:
            RedisError: The server cannot be asked.
        """
        key = self.make_and_validate_key(key, version=version)
        ttl = self.get_backend_timeout(timeout)
        if ttl == 0:
            return self.inner.get(key, MISSING, fresh=True) is MISSING
        return self.inner.add(key, value, ttl)

    def get_or_set(
        self, key: Any, default: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None
    ) -> Any:
        """Return a value; where there is none, one caller of all processes makes it.

        Args:
            key: Its key.
            default: The value, or a function that makes it.
            timeout: Seconds.
            version: Of the key.
        """
        key = self.make_and_validate_key(key, version=version)
        make = default if callable(default) else lambda: default
        return self.inner.get_or_set(key, make, self.get_backend_timeout(timeout))

    def touch(self, key: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        """Let a value live so many seconds from now on; tell whether it is there.

        Raises:
            RedisError: The server cannot be asked.
        """
        key = self.make_and_validate_key(key, version=version)
        ttl = self.get_backend_timeout(timeout)
        return self.inner.delete(key) if ttl == 0 else self.inner.touch(key, ttl)

    def delete(self, key: Any, version: int | None = None) -> bool:
        """Delete a value, and void what is being computed for it; tell whether it was stored.

        Raises:
            RedisError: The server did not confirm it.
        """
        return self.inner.delete(self.make_and_validate_key(key, version=version))

    def has_key(self, key: Any, version: int | None = None) -> bool:
        """Tell whether there is a value."""
        return self.get(key, MISSING, version) is not MISSING

    def incr(self, key: Any, delta: int = 1, version: int | None = None) -> int:
        """Add to an integer, and return the sum; no count is lost, and its time to live stays.

        Raises:
            ValueError: It is not there.
            TypeError: It is no integer.
            RedisError: The server cannot be asked, or the sum has more than 64 bits.
        """
        key = self.make_and_validate_key(key, version=version)
        try:
            return self.inner.incr(key, delta)
        except KeyError:
            raise ValueError(ABSENT) from None

    def incr_version(self, key: Any, delta: int = 1, version: int | None = None) -> int:
        """Move a value to another version, and return that; its time to live stays.

        Raises:
            ValueError: It is not there.
            RedisError: The server cannot be asked.
        """
        version = self.version if version is None else version
        value, ttl = self.get(key, MISSING, version), self.ttl(key, version)
        if value is MISSING or ttl == 0:
            raise ValueError(ABSENT)
        self.set(key, value, ttl, version + delta)
        self.delete(key, version)
        return version + delta

    def ttl(self, key: Any, version: int | None = None) -> float | None:
        """Return the seconds that a value is still kept: None for ever, 0.0 if it is not there.

        Raises:
            RedisError: The server cannot be asked.
        """
        return left(self.inner.ttl(self.make_and_validate_key(key, version=version)))

    def lock(
        self,
        key: Any,
        timeout: float = 10.0,
        blocking_timeout: float | None = None,
        version: int | None = None,
    ) -> Any:
        """Return a ``with`` that one holder of all processes has at a time; see `Cache.lock`.

        Args:
            key: Its name, apart from the keys of values.
            timeout: Seconds after which it is free again, whatever became of its holder.
            blocking_timeout: Seconds to wait for it; None: until it is free.
            version: Of the key.
        """
        name = self.make_and_validate_key(key, version=version)
        return self.inner.lock(name, timeout, blocking_timeout)

    # Many values ------------------------------------------------------------------------------

    def get_many(self, keys: Iterable[Any], version: int | None = None) -> dict[Any, Any]:
        """Return the values that are there; where a shard is down, those of the others."""
        asked = self._keys(keys, version)
        return {asked[key]: value for key, value in self.inner.get_many(asked).items()}

    def set_many(
        self,
        data: Mapping[Any, Any],
        timeout: Any = DEFAULT_TIMEOUT,
        version: int | None = None,
    ) -> list[Any]:
        """Store values, a batch to each node; return the keys of those that could not be stored."""
        named = self._keys(data, version)
        values = {key: data[name] for key, name in named.items()}
        failed = self.inner.set_many(values, self.get_backend_timeout(timeout))
        return [named[key] for key in failed]

    def delete_many(self, keys: Iterable[Any], version: int | None = None) -> None:
        """Delete values.

        Raises:
            PartialError: Some servers did not confirm it.
            RedisError: None did.
        """
        self.inner.delete_many(self._keys(keys, version))

    def delete_pattern(self, pattern: str, version: int | None = None) -> int:
        """Delete what matches a pattern, on all nodes, and return how many there were.

        Every key of every node is looked at; `Cache.invalidate_tags` looks at none.

        Args:
            pattern: As of the server's KEYS: ``user:*``. Prefix and version go before it.
            version: Of the keys.

        Raises:
            RedisError: A server did not confirm it.
        """
        pattern = self._pattern(pattern, version)
        there = self._remembered(pattern)
        if there is not None:
            return self.inner.delete_many(there)
        client, count = self.inner.client, 0
        with client.deadline(SURE):
            found = client.scan_iter(self._start + pattern, count=LOT)
            while lot := list(islice(found, LOT)):
                count += self.inner.delete_many(self._plain(lot))
        return count

    def clear(self) -> None:
        """Let nothing of the namespace be found, whatever its prefix and version.

        Raises:
            PartialError: Some servers did not confirm it.
            RedisError: None did.
        """
        self.inner.clear()

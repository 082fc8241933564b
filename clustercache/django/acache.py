"""The asynchronous half of the cache backend.

No thread is used for it, but for one thing: to pickle a query that was not sent yet sends it,
which Django refuses in an event loop.
"""

from __future__ import annotations

# ruff: noqa: ASYNC109 - Django's name for a time to live
import inspect
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

from asgiref.sync import sync_to_async
from django.core.cache.backends.base import DEFAULT_TIMEOUT
from django.core.exceptions import SynchronousOnlyOperation

from clustercache.caching.near import MISSING
from clustercache.caching.ways import SURE
from clustercache.django.keyed import ABSENT, LOT, Keyed, left

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

Method = TypeVar("Method", bound="Callable[..., Awaitable[Any]]")


def _or_in_a_thread(method: Method) -> Method:
    """Call the blocking twin of a method in a thread, where a value cannot be pickled in here."""
    twin = method.__name__.removeprefix("a")

    @wraps(method)
    async def run(self: Keyed, *args: Any, **options: Any) -> Any:
        try:
            return await method(self, *args, **options)
        except SynchronousOnlyOperation:  # nothing was sent: it is pickled first
            return await sync_to_async(getattr(self, twin))(*args, **options)

    found: Any = run
    return found  # type: ignore[no-any-return]


class AsyncHalf(Keyed):
    """Django's methods that begin with an a."""

    async def aget(self, key: Any, default: Any = None, version: int | None = None) -> Any:
        """Return a value, or `default`; see `ClusterCache.get`."""
        return await self.inner.aio.get(self.make_and_validate_key(key, version=version), default)

    @_or_in_a_thread
    async def aset(
        self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None
    ) -> None:
        """Store a value; see `ClusterCache.set`."""
        key = self.make_and_validate_key(key, version=version)
        await self.inner.aio.set(key, value, self.get_backend_timeout(timeout))

    @_or_in_a_thread
    async def aadd(
        self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None
    ) -> bool:
        """Store a value if there is none; see `ClusterCache.add`."""
        key = self.make_and_validate_key(key, version=version)
        ttl = self.get_backend_timeout(timeout)
        if ttl == 0:
            return await self.inner.aio.get(key, MISSING, fresh=True) is MISSING
        return await self.inner.aio.add(key, value, ttl)

    async def aget_or_set(
        self, key: Any, default: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None
    ) -> Any:
        """Return a value, made by one caller; see `ClusterCache.get_or_set`.

        Args:
            key: Its key.
            default: The value, or a function, or coroutine function, that makes it.
            timeout: Seconds.
            version: Of the key.
        """
        made: list[Any] = []

        async def make() -> Any:
            value = default() if callable(default) else default
            made[:] = [await value if inspect.isawaitable(value) else value]
            return made[0]

        whole = self.make_and_validate_key(key, version=version)
        try:
            return await self.inner.aio.get_or_set(whole, make, self.get_backend_timeout(timeout))
        except SynchronousOnlyOperation:
            if not made:
                raise
            return await sync_to_async(self.get_or_set)(key, lambda: made[0], timeout, version)

    async def atouch(
        self, key: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None
    ) -> bool:
        """Let a value live so long from now on; see `ClusterCache.touch`."""
        key = self.make_and_validate_key(key, version=version)
        ttl = self.get_backend_timeout(timeout)
        if ttl == 0:
            return await self.inner.aio.delete(key)
        return await self.inner.aio.touch(key, ttl)

    async def adelete(self, key: Any, version: int | None = None) -> bool:
        """Delete a value; see `ClusterCache.delete`."""
        return await self.inner.aio.delete(self.make_and_validate_key(key, version=version))

    async def ahas_key(self, key: Any, version: int | None = None) -> bool:
        """Tell whether there is a value."""
        return await self.aget(key, MISSING, version) is not MISSING

    async def aincr(self, key: Any, delta: int = 1, version: int | None = None) -> int:
        """Add to an integer; see `ClusterCache.incr`."""
        key = self.make_and_validate_key(key, version=version)
        try:
            return await self.inner.aio.incr(key, delta)
        except KeyError:
            raise ValueError(ABSENT) from None

    async def aincr_version(self, key: Any, delta: int = 1, version: int | None = None) -> int:
        """Move a value to another version; see `ClusterCache.incr_version`."""
        version = self.version if version is None else version
        value = await self.aget(key, MISSING, version)
        ttl = await self.attl(key, version)
        if value is MISSING or ttl == 0:
            raise ValueError(ABSENT)
        await self.aset(key, value, ttl, version + delta)
        await self.adelete(key, version)
        return version + delta

    async def attl(self, key: Any, version: int | None = None) -> float | None:
        """Return the seconds that a value is still kept; see `ClusterCache.ttl`."""
        return left(await self.inner.aio.ttl(self.make_and_validate_key(key, version=version)))

    def alock(
        self,
        key: Any,
        timeout: float = 10.0,
        blocking_timeout: float | None = None,
        version: int | None = None,
    ) -> Any:
        """Return an ``async with`` that one holder has at a time; see `ClusterCache.lock`."""
        name = self.make_and_validate_key(key, version=version)
        return self.inner.aio.lock(name, timeout, blocking_timeout)

    # Many values ------------------------------------------------------------------------------

    async def aget_many(self, keys: Iterable[Any], version: int | None = None) -> dict[Any, Any]:
        """Return the values that are there; see `ClusterCache.get_many`."""
        asked = self._keys(keys, version)
        found = await self.inner.aio.get_many(asked)
        return {asked[key]: value for key, value in found.items()}

    @_or_in_a_thread
    async def aset_many(
        self,
        data: Mapping[Any, Any],
        timeout: Any = DEFAULT_TIMEOUT,
        version: int | None = None,
    ) -> list[Any]:
        """Store values; see `ClusterCache.set_many`."""
        named = self._keys(data, version)
        values = {key: data[name] for key, name in named.items()}
        failed = await self.inner.aio.set_many(values, self.get_backend_timeout(timeout))
        return [named[key] for key in failed]

    async def adelete_many(self, keys: Iterable[Any], version: int | None = None) -> None:
        """Delete values; see `ClusterCache.delete_many`."""
        await self.inner.aio.delete_many(self._keys(keys, version))

    async def adelete_pattern(self, pattern: str, version: int | None = None) -> int:
        """Delete what matches; see `ClusterCache.delete_pattern`."""
        pattern, aio = self._pattern(pattern, version), self.inner.aio
        there = self._remembered(pattern)
        if there is not None:
            return await aio.delete_many(there)
        lot: list[bytes] = []
        count = 0
        with aio.client.deadline(SURE):
            async for key in aio.client.scan_iter(self._start + pattern, count=LOT):
                lot.append(key)
                if len(lot) == LOT:
                    count += await aio.delete_many(self._plain(lot))
                    lot.clear()
            return count + await aio.delete_many(self._plain(lot))

    async def aclear(self) -> None:
        """Let nothing of the namespace be found; see `ClusterCache.clear`."""
        await self.inner.aio.clear()

    async def aclose(self, **_: Any) -> None:
        """Close nothing: the cache is shared, and a request's end is not the process's."""

"""`AsyncCache`: values in a cluster, for asyncio."""

from __future__ import annotations

import asyncio
import math
from contextlib import nullcontext, suppress
from time import monotonic
from typing import TYPE_CHECKING, Any, Self

from clustercache._async.cluster import AsyncCluster
from clustercache.caching.abackground import AsyncBackground
from clustercache.caching.arenewals import arenewing
from clustercache.caching.async_way import AsyncClusterWay
from clustercache.caching.base import DEFAULT, BaseCache, there
from clustercache.caching.calls import Call
from clustercache.caching.decorating import Decorating
from clustercache.caching.doings import Ask, Compute, Look, Rest
from clustercache.caching.local_lock import LocalLocks
from clustercache.caching.memory import Memory
from clustercache.caching.names import misuse
from clustercache.caching.near import MISSING
from clustercache.caching.reading import Untracked
from clustercache.caching.tracker import Tracker
from clustercache.caching.ways import answered, in_seconds, is_held

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager
    from types import TracebackType

    from clustercache.caching.aflights import AsyncFlights
    from clustercache.caching.cache import Cache
    from clustercache.caching.doings import Doing, Later, Plan
    from clustercache.caching.freshness import Ttl


class AsyncCache(Decorating, BaseCache):
    """Values in a cluster, on one server, or in this process; for any number of event loops.

    All of `Cache`, awaited: arguments, results and errors are the same.

    Example:
        >>> async def main():
        ...     async with AsyncCache.from_url("memory://", namespace="shop") as cache:
        ...         @cache.cached(ttl=60)
        ...         async def product(pk: int) -> dict[str, int]:
        ...             return {"pk": pk}
        ...         return await product(5)
        >>> asyncio.run(main())
        {'pk': 5}
    """

    _client = AsyncCluster

    def _open(self, client: Any) -> None:
        settings = self.settings
        self._background = AsyncBackground(settings.workers, around=settings.around)
        self._flights: list[AsyncFlights] = []
        self._tracker: Tracker | None = None
        self._memory = client if isinstance(client, Memory) else None
        if self._memory is None:
            self._way = AsyncClusterWay(client, settings, self._background)
            if self.near is not None:
                self._tracker = Tracker(client._knowledge, self.near)  # noqa: SLF001 - ours too
        else:
            self._local_locks = LocalLocks()

    @classmethod
    def _twin(cls, cache: Cache) -> AsyncCache:
        """Return the asyncio twin of a cache."""
        twin = cls.__new__(cls)
        twin._owns_client = cache._memory is None  # noqa: SLF001 - ours too
        if cache._memory is not None:  # noqa: SLF001 - ours too
            twin.client = None
            twin._begin(cache._memory, cache._shared)  # noqa: SLF001 - ours too
            twin._local_locks = cache._local_locks  # noqa: SLF001 - ours too
        else:
            twin.client = AsyncCluster(cache.client.config)
            twin._begin(twin.client, cache._shared)  # noqa: SLF001 - ours too
        return twin

    def for_kind(self, *, is_async: bool) -> Any:
        """Return this cache for a coroutine function.

        Raises:
            ConfigurationError: It is none.
        """
        if is_async:
            return self
        raise misuse("an AsyncCache caches coroutine functions; decorate others with a Cache")

    def _own_flights(self, made: AsyncFlights) -> AsyncFlights:
        """Take care of a function's flights when the cache is closed."""
        self._flights.append(made)
        return made

    # One value --------------------------------------------------------------------------------

    async def get(self, key: str, default: Any = None, *, fresh: bool = False) -> Any:
        """Return a value, or `default` where there is none; see `Cache.get`."""
        wanted = self._wanted(key)
        value = self._near_get(wanted, fresh=fresh)
        if value is MISSING:
            (value,) = await self._run(self._plans.found((wanted,), near=not fresh))
        return default if value is MISSING else value

    async def set(
        self, key: str, value: Any, ttl: Ttl = DEFAULT, *, tags: Sequence[str] = ()
    ) -> bool:
        """Store a value; see `Cache.set`."""
        plan = self._plans.store({self._wanted(key, ttl, tags): value})
        return not self._dropped(await self._run(plan))

    async def add(
        self, key: str, value: Any, ttl: Ttl = DEFAULT, *, tags: Sequence[str] = ()
    ) -> bool:
        """Store a value if there is none; see `Cache.add`."""
        added: bool = await self._run(self._plans.add(self._wanted(key, ttl, tags), value))
        return added

    async def get_or_set(
        self,
        key: str,
        make: Callable[[], Awaitable[Any]],
        ttl: Ttl = DEFAULT,
        *,
        tags: Sequence[str] = (),
    ) -> Any:
        """Return a value, made by a coroutine function if need be; see `Cache.get_or_set`."""
        wanted = self._wanted(key, ttl, tags, make)
        value = self._near_get(wanted, fresh=False)
        return await self._run(self._plans.fetch(wanted)) if value is MISSING else value

    async def delete(self, key: str) -> bool:
        """Delete a value; see `Cache.delete`."""
        return await self.delete_many((key,)) > 0

    async def touch(self, key: str, ttl: Ttl = DEFAULT) -> bool:
        """Let a value live so much longer from now on; see `Cache.touch`."""
        there: bool = await self._run(self._plans.touch(self._wanted(key, ttl)))
        return there

    async def incr(self, key: str, delta: int = 1) -> int:
        """Add to an integer that is stored, and return the sum; see `Cache.incr`."""
        counted: int = await self._run(self._plans.count(self._wanted(key), delta))
        return counted

    async def ttl(self, key: str) -> float:
        """Return the seconds that a value is still kept; see `Cache.ttl`."""
        return in_seconds(await self._run(self._plans.left(self._wanted(key))))

    def lock(self, name: str, timeout: float = 10.0, blocking_timeout: float | None = None) -> Any:
        """Return an ``async with`` that one holder of all processes has; see `Cache.lock`."""
        if self._memory is not None:
            return self._local_locks.alock(name, blocking_timeout)
        whole = f"{self.settings.namespace}#lock:{name}"
        return self.client.lock(whole, timeout=timeout, blocking_timeout=blocking_timeout)

    # Many values ------------------------------------------------------------------------------

    async def get_many(self, keys: Iterable[str], *, fresh: bool = False) -> dict[str, Any]:
        """Return the values that are there; see `Cache.get_many`."""
        found, wanted = self._near_many(keys, fresh=fresh)
        if wanted:
            plan = self._plans.found(tuple(wanted.values()), near=not fresh)
            found |= there(wanted, await self._run(plan))
        return found

    async def set_many(
        self, values: Mapping[str, Any], ttl: Ttl = DEFAULT, *, tags: Sequence[str] = ()
    ) -> list[str]:
        """Store values; return the keys of those that could not be; see `Cache.set_many`."""
        wanted = {self._wanted(key, ttl, tags): value for key, value in values.items()}
        return self._dropped(await self._run(self._plans.store(wanted)) if wanted else {})

    async def delete_many(self, keys: Iterable[str]) -> int:
        """Delete values, and return how many were stored; see `Cache.delete_many`."""
        whole = [self._plans.layout.value(key) for key in keys]
        count: int = await self._run(self._plans.unlink(whole, "keys"))
        return count

    # Invalidation -----------------------------------------------------------------------------

    async def invalidate_tags(self, *tags: str) -> None:
        """Let nothing that was stored under any of these tags be found; see `Cache`."""
        await self._run(self._plans.unlink([self._plans.layout.tag(tag) for tag in tags], "tags"))

    async def clear(self) -> None:
        """Let nothing of the namespace be found; see `Cache.clear`."""
        await self._run(self._plans.unlink(self._plans.layout.owners(), "namespace"))

    # Inside -----------------------------------------------------------------------------------

    async def _run(self, plan: Plan) -> Any:
        """Do what a plan asks for, and return its result."""
        try:
            doing = next(plan)
            while True:
                try:
                    result = await self._do(doing)
                except BaseException as error:  # noqa: BLE001 - it is the plan's to judge
                    doing = plan.throw(error)
                else:
                    doing = plan.send(result)
        except StopIteration as end:
            return end.value

    async def _do(self, doing: Doing) -> Any:
        if isinstance(doing, Look):
            return await self._look(doing)
        if isinstance(doing, Ask):
            return await self._ask(doing.calls, sure=doing.sure)
        if isinstance(doing, Compute):
            async with self._renewing(doing):
                return await doing.make()
        if isinstance(doing, Rest):
            return await self._rest(doing)
        return await self._later(doing)

    async def _ask(self, calls: Sequence[Call], *, sure: bool = False) -> list[Any]:
        return self._memory.ask(calls) if self._memory else await self._way.ask(calls, sure=sure)

    async def _look(self, doing: Look) -> Any:
        keys = doing.keys
        if self._tracker is None or not doing.near or self._way.gate.shuts(keys):
            return [Untracked(outcome) for outcome in await self._read(keys)]
        now, deadline = monotonic(), self.settings.deadline
        # A tracking connection that says nothing leaves the client the time to ask elsewhere.
        until = now + deadline / 2
        readings = await self._tracker.aread([key.encode() for key in keys], until)
        try:
            answering = answered(readings, keys)
            for asked in answering:
                outcomes = await self._read(asked, now + deadline)
                with suppress(StopIteration):
                    answering.send(outcomes)
        except BaseException:
            for reading in readings:
                reading.close()
            raise
        return readings

    async def _read(self, keys: Sequence[str], until: float = math.inf) -> Sequence[Any]:
        if self._memory is not None:
            return self._memory.ask([Call("get", key) for key in keys])
        return await self._way.read(keys, until)

    def _renewing(self, doing: Compute) -> AbstractAsyncContextManager[object]:
        if not doing.renew:
            return nullcontext()

        async def renew() -> bool:
            return is_held(await self._ask(doing.renew))

        return arenewing(doing.lease, renew)

    async def _rest(self, doing: Rest) -> None:
        if self.near is None:
            await asyncio.sleep(doing.seconds)
            return
        loop, changed = asyncio.get_running_loop(), asyncio.Event()

        def wake() -> None:
            loop.call_soon_threadsafe(changed.set)

        key = doing.key.encode()
        self.near.watch(key, wake)
        try:
            async with asyncio.timeout(doing.seconds):
                await changed.wait()
        except TimeoutError:
            pass
        finally:
            self.near.unwatch(key, wake)

    async def _later(self, doing: Later) -> Any:
        async def work() -> Any:
            return await self._run(doing.plan())

        if doing.seconds is None:
            return self._background.submit(doing.key, work)
        task = self._background.start(work)
        if task is None:
            return MISSING
        done, _ = await asyncio.wait([task], timeout=doing.seconds)
        return task.result() if done and not task.cancelled() else MISSING

    async def aclose(self) -> None:
        """Close what the cache has opened, and the client if the cache made it."""
        await self._background.aclose()
        for flights in self._flights:
            await flights.aclose()
        if self._tracker is not None:
            self._tracker.close()
        self._leave_near()
        if self._owns_client:
            await self.client.aclose()

    async def __aenter__(self) -> Self:
        """Return itself."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close it."""
        await self.aclose()

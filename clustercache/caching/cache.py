"""`Cache`: values in a cluster, for synchronous programs."""

from __future__ import annotations

import math
import threading
from concurrent.futures import wait
from contextlib import nullcontext, suppress
from time import monotonic
from typing import TYPE_CHECKING, Any, Self

from clustercache._sync.cluster import Cluster
from clustercache.caching.background import Background
from clustercache.caching.base import DEFAULT, BaseCache, there
from clustercache.caching.calls import Call
from clustercache.caching.decorating import Decorating
from clustercache.caching.doings import Ask, Compute, Look, Rest
from clustercache.caching.local_lock import LocalLocks
from clustercache.caching.memory import Memory
from clustercache.caching.near import MISSING
from clustercache.caching.reading import Untracked
from clustercache.caching.renewals import RENEWALS
from clustercache.caching.sync_way import ClusterWay
from clustercache.caching.tracker import Tracker
from clustercache.caching.ways import answered, in_seconds, is_held

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from contextlib import AbstractContextManager
    from types import TracebackType

    from clustercache.caching.aio import AsyncCache
    from clustercache.caching.doings import Doing, Later, Plan
    from clustercache.caching.freshness import Ttl


class Cache(Decorating, BaseCache):
    """Values in a cluster, on one server, or in this process; for any number of threads.

    Reads and fills never fail because of the servers, unless `on_error` is "raise": what cannot be
    asked is not there. `delete`, `clear` and `invalidate_tags` raise unless it was confirmed.

    Example:
        >>> cache = Cache.from_url("memory://", namespace="shop")
        >>> @cache.cached(ttl=60)
        ... def product(pk: int) -> dict[str, int]:
        ...     return {"pk": pk}
        >>> product(5), product(pk=5)
        ({'pk': 5}, {'pk': 5})
        >>> product.cache_info().hits
        1
        >>> cache.set("greeting", "hello", ttl=5)
        True
        >>> cache.get("greeting")
        'hello'
    """

    _client = Cluster

    def _open(self, client: Any) -> None:
        settings = self.settings
        self._background = Background(settings.workers, around=settings.around)
        self._tracker: Tracker | None = None
        self._memory = client if isinstance(client, Memory) else None
        self._aio: AsyncCache | None = None
        if self._memory is None:
            self._way = ClusterWay(client, settings, self._background)
            if self.near is not None:
                self._tracker = Tracker(client._map, self.near)  # noqa: SLF001 - ours too
        else:
            self._local_locks = LocalLocks()

    @property
    def aio(self) -> AsyncCache:
        """The same cache for asyncio: namespace, near cache and statistics are shared."""
        if self._aio is None:
            from clustercache.caching.aio import AsyncCache

            with self._shared.lock:
                if self._aio is None:
                    self._aio = AsyncCache._twin(self)  # noqa: SLF001 - ours too
        return self._aio

    def for_kind(self, *, is_async: bool) -> Any:
        """Return the cache for a function: this one, or its twin for a coroutine function."""
        return self.aio if is_async else self

    # One value --------------------------------------------------------------------------------

    def get(self, key: str, default: Any = None, *, fresh: bool = False) -> Any:
        """Return a value, or `default` where there is none; None is a value like any other.

        Args:
            key: Its key.
            default: What stands for a value that is not there; `MISSING` tells it from None.
            fresh: Whether to ask the server though the value is near.

        Raises:
            RedisError: The server cannot be asked, and `on_error` is "raise".
        """
        wanted = self._wanted(key)
        value = self._near_get(wanted, fresh=fresh)
        if value is MISSING:
            (value,) = self._run(self._plans.found((wanted,), near=not fresh))
        return default if value is MISSING else value

    def set(self, key: str, value: Any, ttl: Ttl = DEFAULT, *, tags: Sequence[str] = ()) -> bool:
        """Store a value; a computation of it that is under way is not stored.

        Args:
            key: Its key.
            value: What the serializer takes.
            ttl: Seconds or a timedelta; None for ever; 0 and less deletes.
            tags: Names that it can be invalidated by.

        Returns:
            Whether it was stored. Where it was not, an older value may still be there.

        Raises:
            TypeError: The serializer cannot write it; nothing was sent.
            ValueError: It is too large, or too deep; nothing was sent.
            RedisError: The server cannot be asked, and `on_error` is "raise".
        """
        return not self._dropped(
            self._run(self._plans.store({self._wanted(key, ttl, tags): value}))
        )

    def add(self, key: str, value: Any, ttl: Ttl = DEFAULT, *, tags: Sequence[str] = ()) -> bool:
        """Store a value if there is none; tell whether it was stored.

        Raises:
            RedisError: The server cannot be asked.
        """
        added: bool = self._run(self._plans.add(self._wanted(key, ttl, tags), value))
        return added

    def get_or_set(
        self, key: str, make: Callable[[], Any], ttl: Ttl = DEFAULT, *, tags: Sequence[str] = ()
    ) -> Any:
        """Return a value; where there is none, one caller of all processes makes it.

        Args:
            key: Its key.
            make: Makes it; called without arguments.
            ttl: As for `set`.
            tags: As for `set`.
        """
        wanted = self._wanted(key, ttl, tags, make)
        value = self._near_get(wanted, fresh=False)
        return self._run(self._plans.fetch(wanted)) if value is MISSING else value

    def delete(self, key: str) -> bool:
        """Delete a value, and void what is being computed for it; tell whether anything was stored.

        Raises:
            RedisError: The server did not confirm it.
        """
        return self.delete_many((key,)) > 0

    def touch(self, key: str, ttl: Ttl = DEFAULT) -> bool:
        """Let a value live so much longer from now on; tell whether it is there.

        Raises:
            RedisError: The server cannot be asked.
        """
        there: bool = self._run(self._plans.touch(self._wanted(key, ttl)))
        return there

    def incr(self, key: str, delta: int = 1) -> int:
        """Add to an integer that is stored, and return the sum; its time to live stays.

        Raises:
            KeyError: It is not there.
            TypeError: It is no integer.
            OutcomeUnknownError: It may have been counted, or not.
            RedisError: The server cannot be asked, or the sum has more than 64 bits.
        """
        counted: int = self._run(self._plans.count(self._wanted(key), delta))
        return counted

    def ttl(self, key: str) -> float:
        """Return the seconds that a value is still kept: `math.inf` for ever, 0.0 for no value.

        Raises:
            RedisError: The server cannot be asked.
        """
        return in_seconds(self._run(self._plans.left(self._wanted(key))))

    def lock(self, name: str, timeout: float = 10.0, blocking_timeout: float | None = None) -> Any:
        """Return a lock that one holder of all processes has at a time: redis-py's `Lock`.

        It is a ``with``. A lock in one cluster is no proof against a failover: use it to save
        work, not to keep data right.

        Args:
            name: Which one; it is apart from the keys.
            timeout: Seconds after which it is free again, whatever became of its holder.
            blocking_timeout: Seconds that `acquire` waits; None: until it has it.
        """
        if self._memory is not None:
            return self._local_locks.lock(name, blocking_timeout)
        whole = f"{self.settings.namespace}#lock:{name}"
        return self.client.lock(whole, timeout=timeout, blocking_timeout=blocking_timeout)

    # Many values ------------------------------------------------------------------------------

    def get_many(self, keys: Iterable[str], *, fresh: bool = False) -> dict[str, Any]:
        """Return the values that are there; where a shard is down, those of the others.

        Raises:
            RedisError: A server cannot be asked, and `on_error` is "raise".
        """
        found, wanted = self._near_many(keys, fresh=fresh)
        if wanted:
            plan = self._plans.found(tuple(wanted.values()), near=not fresh)
            found |= there(wanted, self._run(plan))
        return found

    def set_many(
        self, values: Mapping[str, Any], ttl: Ttl = DEFAULT, *, tags: Sequence[str] = ()
    ) -> list[str]:
        """Store values, a batch to each node; return the keys of those that could not be stored."""
        wanted = {self._wanted(key, ttl, tags): value for key, value in values.items()}
        return self._dropped(self._run(self._plans.store(wanted)) if wanted else {})

    def delete_many(self, keys: Iterable[str]) -> int:
        """Delete values, and return how many were stored.

        Raises:
            PartialError: Some servers did not confirm it.
            RedisError: None did.
        """
        whole = [self._plans.layout.value(key) for key in keys]
        count: int = self._run(self._plans.unlink(whole, "keys"))
        return count

    # Invalidation -----------------------------------------------------------------------------

    def invalidate_tags(self, *tags: str) -> None:
        """Let nothing that was stored under any of these tags be found, in one write to each.

        Raises:
            PartialError: Some servers did not confirm it.
            RedisError: None did.
        """
        self._run(self._plans.unlink([self._plans.layout.tag(tag) for tag in tags], "tags"))

    def clear(self) -> None:
        """Let nothing of the namespace be found; it takes 32 writes, however much there is.

        Raises:
            PartialError: Some servers did not confirm it.
            RedisError: None did.
        """
        self._run(self._plans.unlink(self._plans.layout.owners(), "namespace"))

    # Inside -----------------------------------------------------------------------------------

    def _run(self, plan: Plan) -> Any:
        """Do what a plan asks for, and return its result."""
        stopped: StopIteration | None = None
        try:
            doing = next(plan)
            while True:
                try:
                    result = self._do(doing)
                except BaseException as error:  # noqa: BLE001 - it is the plan's to judge
                    stopped = error if isinstance(error, StopIteration) else None
                    doing = plan.throw(error)
                else:
                    doing = plan.send(result)
        except StopIteration as end:
            return end.value
        except RuntimeError as error:
            if stopped is None or error.__cause__ is not stopped:
                raise
        raise stopped from None  # which a generator may not raise itself

    def _do(self, doing: Doing) -> Any:
        if isinstance(doing, Look):
            return self._look(doing)
        if isinstance(doing, Ask):
            return self._ask(doing.calls, sure=doing.sure)
        if isinstance(doing, Compute):
            with self._renewing(doing):
                return doing.make()
        if isinstance(doing, Rest):
            return self._rest(doing)
        return self._later(doing)

    def _ask(self, calls: Sequence[Call], *, sure: bool = False) -> list[Any]:
        return self._memory.ask(calls) if self._memory else self._way.ask(calls, sure=sure)

    def _look(self, doing: Look) -> Any:
        keys = doing.keys
        if self._tracker is None or not doing.near or self._way.gate.shuts(keys):
            return [Untracked(outcome) for outcome in self._read(keys)]
        now, deadline = monotonic(), self.settings.deadline
        # A tracking connection that says nothing leaves the client the time to ask elsewhere.
        until = now + deadline / 2
        readings = self._tracker.read([key.encode() for key in keys], until)
        try:
            answering = answered(readings, keys)
            for asked in answering:
                outcomes = self._read(asked, now + deadline)
                with suppress(StopIteration):
                    answering.send(outcomes)
        except BaseException:
            for reading in readings:
                reading.close()
            raise
        return readings

    def _read(self, keys: Sequence[str], until: float = math.inf) -> Sequence[Any]:
        if self._memory is not None:
            return self._memory.ask([Call("get", key) for key in keys])
        return self._way.read(keys, until)

    def _renewing(self, doing: Compute) -> AbstractContextManager[object]:
        if not doing.renew:
            return nullcontext()
        return RENEWALS.keeping(doing.lease, lambda: is_held(self._ask(doing.renew)))

    def _rest(self, doing: Rest) -> None:
        changed = threading.Event()
        if self.near is None:
            changed.wait(doing.seconds)
            return
        key = doing.key.encode()
        self.near.watch(key, changed.set)
        try:
            changed.wait(doing.seconds)
        finally:
            self.near.unwatch(key, changed.set)

    def _later(self, doing: Later) -> Any:
        def work() -> Any:
            return self._run(doing.plan())

        if doing.seconds is None:
            return self._background.submit(doing.key, work)
        future = self._background.start(work)
        if future is None:
            return MISSING
        done, _ = wait([future], doing.seconds)
        return future.result() if done and not future.cancelled() else MISSING

    def close(self) -> None:
        """Close what the cache has opened, and the client if the cache made it."""
        self._background.close()
        if self._tracker is not None:
            self._tracker.close()
        self._leave_near()
        if self._owns_client:
            self.client.close()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close it."""
        self.close()

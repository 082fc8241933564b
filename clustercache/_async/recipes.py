"""What is made of a client's commands: pipelines, transactions, scripts, locks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clustercache._async.pipeline import AsyncPipeline
from clustercache._async.transaction import AsyncTransactionPipeline, transact
from clustercache._scripts import AsyncLock, AsyncScript

if TYPE_CHECKING:
    from collections.abc import Callable


class Recipes:
    """Methods of `AsyncCluster`."""

    def pipeline(
        self,
        transaction: Any = None,
        shard_hint: Any = None,  # noqa: ARG002 - redis-py's
    ) -> AsyncPipeline:
        """Return a pipeline: calls that are kept, and sent together by its `execute`.

        Args:
            transaction: Whether they are executed as one, MULTI to EXEC; their keys then share a
                slot, and `watch` is there.
            shard_hint: Ignored, as in redis-py.

        Example:
            >>> async with r.pipeline() as p:  # doctest: +SKIP
            ...     await p.set("a", 1).get("b").execute()
        """
        client: Any = self
        return AsyncTransactionPipeline(client) if transaction else AsyncPipeline(client)

    async def transaction(
        self,
        func: Callable[[AsyncTransactionPipeline], Any],
        *watches: Any,
        value_from_callable: bool = False,
        watch_delay: float | None = None,
        shard_hint: Any = None,  # noqa: ARG002 - redis-py's
    ) -> Any:
        """Watch keys, call `func` with a pipeline, and execute what it kept; again if they changed.

        Args:
            func: Reads through the pipeline, calls its `multi()`, then calls what is to be kept; a
                plain function or a coroutine function.
            watches: Keys of one slot.
            value_from_callable: Return what `func` returned instead of the results.
            watch_delay: Seconds to wait before the next time.
            shard_hint: Ignored, as in redis-py.

        Raises:
            redis.exceptions.WatchError: They were changed again and again, until the deadline.
        """
        client: Any = self
        return await transact(client, func, watches, value_from_callable, watch_delay)

    def register_script(self, script: Any, *, repeatable: bool = False) -> AsyncScript:
        """Return a script to await: ``await script(keys=[...], args=[...])``.

        Args:
            script: The source.
            repeatable: Whether it may be sent again when its reply was lost.
        """
        return AsyncScript(self, script, repeatable=repeatable)

    def lock(  # noqa: PLR0917 - redis-py's
        self,
        name: str,
        timeout: float | None = None,
        sleep: float = 0.1,
        blocking: bool = True,  # noqa: FBT001, FBT002 - redis-py's
        blocking_timeout: float | None = None,
        lock_class: Any = None,
        **options: Any,
    ) -> AsyncLock:
        """Return a lock on a name, as in redis-py.

        Args:
            name: The key.
            timeout: Seconds after which it is free again; None keeps it until it is released.
            sleep: Seconds between two tries.
            blocking: Whether to wait for it at all.
            blocking_timeout: Seconds to wait at the most; None waits for ever.
            lock_class: What to make instead of `AsyncLock`.
            options: redis-py's ``thread_local`` and ``raise_on_release_error``.
        """
        options |= {"sleep": sleep, "blocking": blocking, "blocking_timeout": blocking_timeout}
        client: Any = self
        made: AsyncLock = (lock_class or AsyncLock)(client, name, timeout=timeout, **options)
        return made

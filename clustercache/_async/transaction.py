"""Transactions: calls of one slot, executed together, and only if nothing watched was changed."""

from __future__ import annotations

import asyncio
import inspect
from time import monotonic
from typing import TYPE_CHECKING, Any

from redis.exceptions import ResponseError, WatchError

from clustercache._async.pipeline import AsyncPipeline
from clustercache._async.watched import Watched
from clustercache._queue import numbered
from clustercache._request import Command, Request
from clustercache._transaction import OneSlot, Transaction

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from clustercache._async.cluster import AsyncCluster


class AsyncTransactionPipeline(OneSlot, AsyncPipeline):
    """Calls of one slot that `execute` sends as MULTI to EXEC.

    After `watch`, calls are executed at once, on the connection that watches, and are to be
    awaited, until `multi`; then they are kept, and `execute` raises WatchError if a watched key was
    changed meanwhile.

    Example:
        >>> async with r.pipeline(transaction=True) as p:  # doctest: +SKIP
        ...     await p.set("{user:7}:cart", "[]").expire("{user:7}:cart", 60).execute()
    """

    def __init__(self, client: AsyncCluster) -> None:
        """Begin empty; see `AsyncCluster.pipeline`."""
        super().__init__(client)
        self._watched: Watched | None = None

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Keep a call for `execute`; while keys are watched and before `multi`, execute it.

        Raises:
            CrossSlotError: Its keys are not in the slot of the calls before; it was not kept.
        """
        if self._watched is not None and not self._queues:
            return self.immediate_execute_command(*args, **options)
        self._keep(args, options)
        return self

    # Watching ---------------------------------------------------------------------------------

    async def watch(self, *names: Any) -> Any:  # type: ignore[override]  # redis-py's is either
        """Watch keys of one slot from now on: if one is changed, `execute` raises WatchError.

        Raises:
            CrossSlotError: The keys live in several slots.
            InvalidArgumentError: Calls are kept already, or there is no key.
        """
        runner = self._client._here()  # noqa: SLF001 - a part of the client
        await runner.map.ensure(self._terms().deadline)
        watch = self._watch_for(names)
        self._raise_if_doubtful(runner.map)
        if self._watched is not None:
            await self._watched.send(watch)
        else:
            await runner.executor.run(watch)
            self._watched = Watched(runner.map, runner.executor, watch.taken())
        self._slot = watch.slot
        return True

    async def immediate_execute_command(self, *args: Any, **options: Any) -> Any:
        """Execute a call now, on the connection that watches."""
        if self._watched is None:
            return await self._client.execute_command(*args, **options)
        if self._config.recodes:
            args = (*args[:1], *self._config.recode(args[1:]))
        command = Command(args, self._limits.in_force(), monotonic(), decode=True)
        parts = self._parts_of(command)
        self._one_slot([self._slot, *(part[0] for part in parts)], command.spec.name)
        reply = await self._watched.send(Request(command, parts[0]))
        return self._client._result(command.spec, reply, options)  # noqa: SLF001

    async def unwatch(self) -> Any:  # type: ignore[override]
        """Forget what is watched: calls are kept again."""
        await self._end_watch(executed=False)
        self._slot = self._one_slot(self._chunk.slots, "UNWATCH")
        return True

    async def _end_watch(self, *, executed: bool) -> None:
        watched, self._watched = self._watched, None
        if watched is not None:
            await watched.end(executed=executed)

    async def discard(self) -> None:
        """Forget the calls that are kept, and what is watched."""
        await self.reset()

    async def reset(self) -> None:  # type: ignore[override]  # the command RESET, in the mixins
        """Forget the calls that are kept, and what is watched."""
        self._forget()
        await self._end_watch(executed=False)

    def _forget(self) -> None:
        super()._forget()
        self._slot, self._queues = None, False

    def _abandon(self) -> None:
        """Do what `reset` does, without waiting: the task was cancelled."""
        self._forget()
        watched, self._watched = self._watched, None
        if watched is not None:
            watched.drop()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Forget what was not executed, and what is watched."""
        if kind is not None and not issubclass(kind, Exception):
            self._abandon()
        await self.reset()

    # Executing --------------------------------------------------------------------------------

    async def execute(self, raise_on_error: bool = True) -> list[Any]:  # noqa: FBT001, FBT002 - redis-py's
        """Execute the calls together, and return their results in order.

        Args:
            raise_on_error: Raise the first error of a call, naming its number; False leaves each
                error in its place among the results.

        Raises:
            redis.exceptions.WatchError: A watched key was changed, or can be watched no more;
                nothing was executed.
            OutcomeUnknownError: EXEC was sent and its reply was lost.
        """
        chunk = self._chunk
        try:
            if not chunk.calls and self._watched is None:
                return []
            replies = await self._exec(Transaction(chunk, self._slot, self._terms()))
        except Exception:
            await self.reset()
            raise
        except BaseException:
            self._abandon()
            raise
        await self.reset()
        return self._results_of(chunk, replies, raise_on_error=raise_on_error)

    async def _exec(self, request: Transaction) -> Any:
        runner = self._client._here()  # noqa: SLF001 - a part of the client
        await runner.map.ensure(request.command.deadline)
        self._raise_if_doubtful(runner.map)
        try:
            if self._watched is None:
                return await runner.executor.run(request)
            replies = await self._watched.send(request)
        except ResponseError as error:
            if request.culprit is None:
                raise
            raise numbered(error, *request.culprit) from None
        await self._end_watch(executed=True)
        return replies


async def transact(
    client: AsyncCluster,
    func: Callable[[AsyncTransactionPipeline], Any],
    watches: tuple[Any, ...],
    value_from_callable: bool,  # noqa: FBT001 - redis-py's
    watch_delay: float | None,
) -> Any:
    """Do what `AsyncCluster.transaction` says."""
    limit = monotonic() + client._limits.in_force().deadline  # noqa: SLF001 - a part of the client
    async with AsyncTransactionPipeline(client) as pipe:
        while True:
            try:
                if watches:
                    await pipe.watch(*watches)
                value = func(pipe)
                if inspect.isawaitable(value):
                    value = await value
                results = await pipe.execute()
            except WatchError:
                if monotonic() >= limit:
                    raise
                await pipe.reset()
                await asyncio.sleep(max(0.0, min(watch_delay or 0.0, limit - monotonic())))
            else:
                return value if value_from_callable else results

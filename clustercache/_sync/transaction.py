"""Transactions: calls of one slot, executed together, and only if nothing watched was changed."""

from __future__ import annotations

import time
from time import monotonic
from typing import TYPE_CHECKING, Any

from redis.exceptions import ResponseError, WatchError

from clustercache._queue import numbered
from clustercache._request import Command, Request
from clustercache._sync.pipeline import Pipeline
from clustercache._sync.watched import Watched
from clustercache._transaction import OneSlot, Transaction

if TYPE_CHECKING:
    from collections.abc import Callable

    from clustercache._sync.cluster import Cluster
    from clustercache.exceptions import CrossSlotError


class TransactionPipeline(OneSlot, Pipeline):
    """Calls of one slot that `execute` sends as MULTI to EXEC.

    After `watch`, calls are executed at once, on the connection that watches, until `multi`; then
    they are kept, and `execute` raises WatchError if a watched key was changed meanwhile.

    Example:
        >>> with r.pipeline(transaction=True) as p:  # doctest: +SKIP
        ...     p.set("{user:7}:cart", "[]").expire("{user:7}:cart", 60).execute()
    """

    def __init__(self, client: Cluster) -> None:
        """Begin empty; see `Cluster.pipeline`."""
        super().__init__(client)
        self._executor = client._executor  # noqa: SLF001 - a part of the client
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

    def _if_not_together(self, error: CrossSlotError) -> None:
        if self._map.single is None:
            self._map.ensure(self._terms().deadline)
        if not self._map.single:
            raise error

    # Watching ---------------------------------------------------------------------------------

    def watch(self, *names: Any) -> Any:
        """Watch keys of one slot from now on: if one is changed, `execute` raises WatchError.

        Raises:
            CrossSlotError: The keys live in several slots.
            InvalidArgumentError: Calls are kept already, or there is no key.
        """
        watch = self._watch_for(names)
        if self._watched is not None:
            self._watched.send(watch)
        else:
            self._executor.run(watch)
            self._watched = Watched(self._map, self._executor, watch.slot, watch.taken())
        self._slot = watch.slot
        return True

    def immediate_execute_command(self, *args: Any, **options: Any) -> Any:
        """Execute a call now, on the connection that watches."""
        if self._watched is None:
            return self._client.execute_command(*args, **options)
        if self._config.recodes:
            args = (*args[:1], *self._config.recode(args[1:]))
        command = Command(args, self._limits.in_force(), monotonic(), decode=True)
        parts = self._parts_of(command)
        self._one_slot([self._slot, *(part[0] for part in parts)], command.spec.name)
        reply = self._watched.send(Request(command, parts[0]))
        return self._client._result(command.spec, reply, options)  # noqa: SLF001

    def unwatch(self) -> Any:
        """Forget what is watched: calls are kept again."""
        self._end_watch(executed=False)
        self._slot = self._one_slot(self._chunk.slots, "UNWATCH")
        return True

    def _end_watch(self, *, executed: bool) -> None:
        watched, self._watched = self._watched, None
        if watched is not None:
            watched.end(executed=executed)

    def discard(self) -> None:
        """Forget the calls that are kept, and what is watched."""
        self.reset()

    def reset(self) -> None:  # type: ignore[override]  # the command RESET, in the mixins
        """Forget the calls that are kept, and what is watched."""
        super().reset()
        self._slot, self._queues = None, False
        self._end_watch(executed=False)

    # Executing --------------------------------------------------------------------------------

    def execute(self, raise_on_error: bool = True) -> list[Any]:  # noqa: FBT001, FBT002 - redis-py's
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
            replies = self._exec(Transaction(chunk, self._slot, self._terms()))
        finally:
            self.reset()
        return self._results_of(chunk, replies, raise_on_error=raise_on_error)

    def _exec(self, request: Transaction) -> Any:
        try:
            if self._watched is None:
                return self._executor.run(request)
            replies = self._watched.send(request)
        except ResponseError as error:
            if request.culprit is None:
                raise
            raise numbered(error, *request.culprit) from None
        self._end_watch(executed=True)
        return replies


def transact(
    client: Cluster,
    func: Callable[[TransactionPipeline], Any],
    watches: tuple[Any, ...],
    value_from_callable: bool,  # noqa: FBT001 - redis-py's
    watch_delay: float | None,
) -> Any:
    """Do what `Cluster.transaction` says."""
    limit = monotonic() + client._limits.in_force().deadline  # noqa: SLF001 - a part of the client
    with TransactionPipeline(client) as pipe:
        while True:
            try:
                if watches:
                    pipe.watch(*watches)
                value = func(pipe)
                results = pipe.execute()
            except WatchError:
                if monotonic() >= limit:
                    raise
                pipe.reset()
                time.sleep(max(0.0, min(watch_delay or 0.0, limit - monotonic())))
            else:
                return value if value_from_callable else results

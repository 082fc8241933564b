"""Transactions: calls of one slot, executed together, and only if nothing watched was changed."""

from __future__ import annotations

import time
from time import monotonic
from typing import TYPE_CHECKING, Any

from redis.exceptions import ResponseError, WatchError

from clustercache._core import wire
from clustercache._core.commands import Safety
from clustercache._core.slots import encode, key_slot
from clustercache._queue import first_error, numbered
from clustercache._request import NO_SLOT, Command, Request, Terms
from clustercache._sync.pipeline import Pipeline
from clustercache._sync.watched import Watched
from clustercache._transaction import Transaction, Watch, as_results, one_slot
from clustercache.exceptions import CrossSlotError, InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from clustercache._sync.cluster import Cluster


class TransactionPipeline(Pipeline):
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
        self._slot: int | None = None
        self._queues = False

    # Keeping calls ----------------------------------------------------------------------------

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Keep a call for `execute`; while keys are watched and before `multi`, execute it.

        Raises:
            CrossSlotError: Its keys are not in the slot of the calls before; it was not kept.
        """
        if self._watched is not None and not self._queues:
            return self.immediate_execute_command(*args, **options)
        kept = self._chunk.mark()
        super().execute_command(*args, **options)
        try:
            self._slot = self._one_slot([self._slot, *self._chunk.slots[kept[0] :]], str(args[0]))
        except InvalidArgumentError:
            self._chunk.forget(kept)
            raise
        return self

    def _begin_chunk(self) -> None:
        """Keep all calls together, however many."""

    def multi(self) -> None:
        """Keep the calls from here on for `execute`.

        Raises:
            InvalidArgumentError: It was called before, or calls are kept already.
        """
        if self._queues:
            _refuse("MULTI calls cannot be nested")
        if self._chunk.calls:
            _refuse("calls were kept before MULTI: they would become part of the transaction")
        self._queues = True

    # Watching ---------------------------------------------------------------------------------

    def watch(self, *names: Any) -> Any:
        """Watch keys of one slot from now on: if one is changed, `execute` raises WatchError.

        Raises:
            CrossSlotError: The keys live in several slots.
            InvalidArgumentError: Calls are kept already, or there is no key.
        """
        if self._queues or self._chunk.calls:
            _refuse("WATCH comes before the calls that are kept for the transaction")
        if not names:
            _refuse("WATCH needs a key")
        config = self._config
        keys = [encode(name, config.encoding, config.encoding_errors) for name in names]
        slot = self._one_slot([self._slot, *map(key_slot, keys)], "WATCH")
        words: tuple[Any, ...] = ("WATCH", *keys)
        watch = Watch("WATCH", [wire.pack(words)], slot, Safety.SAME, self._terms())
        if self._watched is not None:
            self._watched.send(watch)
        else:
            self._executor.run(watch)
            self._watched = Watched(self._map, self._executor, slot, watch.taken())
        self._slot = slot
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
            request = Transaction(chunk, self._slot, self._terms())
            replies = self._exec(request)
        finally:
            self.reset()
        if replies is None:
            msg = "a watched key was changed: nothing was executed"
            raise WatchError(msg)
        results = chunk.results(as_results(replies), self._callbacks, self._limits.in_force())
        error = first_error(chunk, results, 0) if raise_on_error else None
        if error is not None:
            raise error
        return results

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

    def _one_slot(self, slots: Iterable[int | None], name: str) -> int | None:
        """Return the one slot; where one shard takes keys of all slots together, any of them."""
        found = list(slots)
        try:
            return one_slot(found, name)
        except CrossSlotError:
            if self._map.single is None:
                self._map.ensure(self._terms().deadline)
            if not self._map.single:
                raise
        return next(slot for slot in found if slot is not None and slot != NO_SLOT)

    def _terms(self) -> Terms:
        limits = self._limits.in_force()
        return Terms(limits, monotonic() + limits.deadline)


def _refuse(message: str) -> None:
    raise InvalidArgumentError(message)


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

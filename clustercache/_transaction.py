"""MULTI to EXEC as one request: sent in one write, refused or executed as a whole.

What a server refuses while it queues (a redirect, say) ends in EXECABORT; Valkey 9.1 queues the
command and redirects at EXEC instead. Either way nothing was executed, so the whole may be sent
again. Whether it was executed is known by EXEC's reply alone.

Source: the MULTI, EXEC and WATCH commands' reference; Redis Cluster specification, "ASK
redirection" (one ASKING covers MULTI to EXEC, and each WATCH needs its own).
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any

from redis.exceptions import WatchError

from clustercache._commands import to_error
from clustercache._core import wire
from clustercache._core.commands import Safety, resolve, safety_of
from clustercache._core.decisions import Trouble, Verb, may_be_applied
from clustercache._core.routing import CrossSlot
from clustercache._core.slots import encode, key_slot
from clustercache._core.wire import ServerError
from clustercache._failures import failure
from clustercache._queue import Queue, Special, first_error, name_of
from clustercache._request import NO_SLOT, Exchange, Failed, Terms
from clustercache.exceptions import CrossSlotError, InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from clustercache._queue import Chunk
    from clustercache._request import Lease

_MULTI, _EXEC = wire.pack(("MULTI",)), wire.pack(("EXEC",))


class Watch(Exchange):
    """WATCH, whose connection is kept."""

    keeps = True

    def taken(self) -> Lease:
        """Return the connection that watches."""
        assert self.lease is not None  # noqa: S101 - it is there once there is a reply
        return self.lease


class Transaction(Exchange):
    """MULTI, the calls of a chunk, EXEC.

    Attributes:
        culprit: The number and the name of the call that the server refused to queue.
    """

    def __init__(self, chunk: Chunk, slot: int | None, terms: Terms) -> None:
        """Take the calls."""
        super().__init__("EXEC", [_MULTI, *chunk.data, _EXEC], slot, _safety(chunk), terms)
        self._calls = chunk.calls
        self.culprit: tuple[int, str] | None = None

    def outcome(self, outcomes: Sequence[Any]) -> Any:
        """Return EXEC's reply, or what kept the whole from being executed."""
        for place, one in enumerate(outcomes[:-1]):
            if type(one) is Failed and one.error is not None:
                if one.event.trouble is Trouble.ERROR and place > 0:
                    self.culprit = place - 1, name_of(self._calls[place - 1])
                return one
        return outcomes[-1]


def _safety(chunk: Chunk) -> Safety:
    """Return the class of the whole: reads among writes would see what the first time wrote."""
    found = {_safety_of(call, data) for call, data in zip(chunk.calls, chunk.data, strict=True)}
    if Safety.READ in found and len(found) > 1:
        return Safety.NEVER
    return max(found, default=Safety.READ)


def _safety_of(call: Any, data: bytes) -> Safety:
    args = call.args if type(call) is Special else wire.unpack(data)
    return safety_of(*resolve(args))


def as_results(replies: Iterable[Any]) -> list[Any]:
    """Return EXEC's replies, a call's error as redis-py's exception."""
    return [to_error(reply) if type(reply) is ServerError else reply for reply in replies]


def one_slot(slots: Iterable[int | None], name: str) -> int | None:
    """Return the one slot among those of a transaction's keys, or None where there is none.

    Args:
        slots: None and NO_SLOT are none.
        name: The command's that came last, for the error.

    Raises:
        CrossSlotError: There are several.
    """
    found = list(dict.fromkeys(slot for slot in slots if slot is not None and slot != NO_SLOT))
    if len(found) > 1:
        msg = f"all keys of a transaction share one slot: {CrossSlot(found)}"
        raise CrossSlotError(msg, command=name)
    return found[0] if found else None


class OneSlot(Queue):
    """Keeps calls of one slot, for MULTI to EXEC; what both shells' transactions are."""

    _slot: int | None = None
    _queues = False

    def _keep(self, args: tuple[Any, ...], options: dict[str, Any]) -> None:
        """Keep a call.

        Raises:
            CrossSlotError: Its keys are not in the slot of the calls before; it was not kept.
        """
        kept = self._chunk.mark()
        Queue.execute_command(self, *args, **options)
        try:
            self._slot = self._one_slot([self._slot, *self._chunk.slots[kept[0] :]], str(args[0]))
        except InvalidArgumentError:
            self._chunk.forget(kept)
            raise

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

    def _watch_for(self, names: Sequence[Any]) -> Watch:
        """Return the WATCH of keys.

        Raises:
            CrossSlotError: They live in several slots, or not in that of the calls before.
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
        return Watch("WATCH", [wire.pack(words)], slot, Safety.SAME, self._terms())

    def _one_slot(self, slots: Iterable[int | None], name: str) -> int | None:
        """Return the one slot; where one shard takes keys of all slots together, any of them."""
        found = list(slots)
        try:
            return one_slot(found, name)
        except CrossSlotError as error:
            self._if_not_together(error)
        return next(slot for slot in found if slot is not None and slot != NO_SLOT)

    def _terms(self) -> Terms:
        limits = self._limits.in_force()
        return Terms(limits, monotonic() + limits.deadline)

    def _results_of(self, chunk: Chunk, replies: Any, *, raise_on_error: bool) -> list[Any]:
        """Return each call's result from EXEC's reply.

        Raises:
            redis.exceptions.WatchError: There is none, for a watched key was changed.
            Exception: A call's error, the first one, if `raise_on_error`.
        """
        if replies is None:
            msg = "a watched key was changed: nothing was executed"
            raise WatchError(msg)
        results = chunk.results(as_results(replies), self._callbacks, self._limits.in_force())
        error = first_error(chunk, results, 0) if raise_on_error else None
        if error is not None:
            raise error
        return results


def unwatched(outcome: Failed, request: Exchange, took: float) -> Exception:
    """Return what a request ends in whose connection watches.

    Args:
        outcome: What came instead of a reply.
        request: What was sent, or was to be.
        took: Seconds.
    """
    if outcome.event.trouble is Trouble.ERROR:
        return failure(Verb.RAISE_REPLY, outcome, request, [], took)
    if may_be_applied(outcome.event, request.call, []):
        return failure(Verb.RAISE_UNKNOWN, outcome, request, [], took)
    what = outcome.event.trouble.name.lower().replace("_", " ")
    msg = f"the keys are watched no more ({what}), nothing was executed: watch them again"
    return WatchError(msg)


def _refuse(message: str) -> None:
    raise InvalidArgumentError(message)

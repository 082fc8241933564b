"""MULTI to EXEC as one request: sent in one write, refused or executed as a whole.

What a server refuses while it queues (a redirect, say) ends in EXECABORT; Valkey 9.1 queues the
command and redirects at EXEC instead. Either way nothing was executed, so the whole may be sent
again. Whether it was executed is known by EXEC's reply alone.

Source: the MULTI, EXEC and WATCH commands' reference; Redis Cluster specification, "ASK
redirection" (one ASKING covers MULTI to EXEC, and each WATCH needs its own).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clustercache._commands import to_error
from clustercache._core import wire
from clustercache._core.commands import Safety, resolve, safety_of
from clustercache._core.decisions import Trouble
from clustercache._core.routing import CrossSlot
from clustercache._core.wire import ServerError
from clustercache._queue import Special, name_of
from clustercache._request import NO_SLOT, Exchange, Failed
from clustercache.exceptions import CrossSlotError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from clustercache._queue import Chunk
    from clustercache._request import Lease, Terms

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

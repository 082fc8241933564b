"""The way from plans' calls to a cluster, as far as both shells have it in common."""

from __future__ import annotations

import math
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Final

from redis.exceptions import NoScriptError, RedisError

from clustercache.caching.calls import Call
from clustercache.caching.gate import Gate, skipped
from clustercache.caching.near import MISSING
from clustercache.caching.reading import Reading

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from contextlib import AbstractContextManager

    from clustercache.caching.settings import CacheSettings

SURE: Final = 10.0
"""Seconds, at the least, for what has to be confirmed."""


class Ways:
    """One cache's way to its client.

    Attributes:
        client: Who is asked.
        gate: Who is not, for now.
    """

    def __init__(self, client: Any, outlook: Any, settings: CacheSettings) -> None:
        """Ask nothing yet."""
        self.client = client
        self.gate = Gate(outlook, self.probe)
        self._deadline = settings.deadline
        self._own = settings.deadline < client.config.deadline

    probe: Callable[[str], object]

    def limits(self, *, sure: bool, repeatable: bool) -> AbstractContextManager[None]:
        """Return the block of limits that calls are sent in."""
        scope = self.client._limits  # noqa: SLF001 - ours too
        deadline = max(SURE, self.client.config.deadline) if sure else self._deadline
        if repeatable:
            block: AbstractContextManager[None] = scope.block(
                deadline=deadline, retry=scope.in_force().repeating().retry
            )
            return block
        if self._own or sure:
            block = scope.block(deadline=deadline)
            return block
        return nullcontext()

    def sending(
        self, calls: Sequence[Call], *, sure: bool
    ) -> Generator[Sequence[tuple[Any, ...]], Any, list[Any]]:
        """Yield commands to send, get their outcomes; return those of all calls, in order."""
        gate = self.gate
        if gate.tripped and not sure:
            admitted = [gate.admits(call.key) for call in calls]
            outcomes: list[Any] = [None if ok else skipped(c.key) for ok, c in zip(admitted, calls, strict=True)]
            sent = [at for at, ok in enumerate(admitted) if ok]
        else:
            outcomes = [None] * len(calls)
            sent = list(range(len(calls)))
        if sent:
            replies = yield [calls[at].words for at in sent]
            for at, reply in zip(sent, replies, strict=True):
                outcomes[at] = reply
        unknown = [at for at in sent if isinstance(outcomes[at], NoScriptError)]
        if unknown:
            replies = yield [calls[at].in_full for at in unknown]
            for at, reply in zip(unknown, replies, strict=True):
                outcomes[at] = reply
        for at in sent:
            if isinstance(outcomes[at], RedisError):
                gate.failed(calls[at].key, outcomes[at])
            elif gate.tripped:
                gate.succeeded(calls[at].key)
        return outcomes


def untracked(keys: Sequence[str]) -> list[Reading]:
    """Return readings that nothing is kept of."""
    return [Reading(None, key.encode(), None) for key in keys]


def unanswered(readings: Sequence[Reading]) -> list[Reading]:
    """Return the readings that the client has to be asked for; nothing is kept of those."""
    lacking = [one for one in readings if one.data is MISSING]
    for one in lacking:
        one.close()
    return lacking


def is_repeatable(calls: Sequence[Call]) -> bool:
    """Tell whether all of them may be sent again when their reply was lost."""
    return all(call.repeatable for call in calls)


def gets(readings: Sequence[Reading]) -> list[Call]:
    """Return the calls that read what was not answered."""
    return [Call("get", reading.key.decode()) for reading in readings]


def in_seconds(milliseconds: int) -> float:
    """Return what PTTL says in seconds: infinite for ever, 0 for what is not there."""
    if milliseconds == -1:
        return math.inf
    return max(milliseconds, 0) / 1000

"""The way from plans' calls to a cluster, as far as both shells have it in common."""

from __future__ import annotations

import math
from contextlib import nullcontext
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, cast

from redis.exceptions import NoScriptError, RedisError

from clustercache.caching.gate import Gate, skipped
from clustercache.caching.near import MISSING
from clustercache.caching.reading import Untracked

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from contextlib import AbstractContextManager

    from clustercache.caching.calls import Call
    from clustercache.caching.reading import Reading
    from clustercache.caching.settings import CacheSettings

FEW: Final = 8
"""Keys that are read on the plain path, if it is free."""

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

    def limits(
        self, *, sure: bool, repeatable: bool, spent: float = 0.0
    ) -> AbstractContextManager[None]:
        """Return the block of limits that calls are sent in, when so many seconds are gone."""
        scope = self.client._limits  # noqa: SLF001 - ours too
        deadline = max(SURE, self.client.config.deadline) if sure else self._deadline
        is_late = spent > deadline / 100
        if is_late:
            deadline = max(deadline - spent, deadline / 100)
        if repeatable:
            retry = scope.in_force().repeating().retry
            return cast("AbstractContextManager[None]", scope.block(deadline=deadline, retry=retry))
        if self._own or sure or is_late:
            return cast("AbstractContextManager[None]", scope.block(deadline=deadline))
        return nullcontext()

    def sending(
        self, calls: Sequence[Call], *, sure: bool
    ) -> Generator[Sequence[tuple[Any, ...]], Any, list[Any]]:
        """Yield commands to send, get their outcomes; return those of all calls, in order."""
        gate = self.gate
        if gate.tripped and not sure:
            admitted = [gate.admits(call.key) for call in calls]
            outcomes: list[Any] = [
                None if ok else skipped(c.key) for ok, c in zip(admitted, calls, strict=True)
            ]
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
        self.heard([calls[at].key for at in sent], [outcomes[at] for at in sent])
        return outcomes

    def worth_tracking(self, keys: Sequence[str]) -> list[int]:
        """Return which keys may be read on tracking connections: their shards are not away."""
        if not self.gate.tripped:
            return list(range(len(keys)))
        return [at for at, key in enumerate(keys) if not self.gate.is_shut(key)]

    def reading(self, keys: Sequence[str]) -> Generator[Sequence[str], Any, list[Any]]:
        """Yield keys to read, get what they hold; return the outcomes of all, in order."""
        if not self.gate.tripped:
            outcomes = yield keys
            self.heard(keys, outcomes)
            return list(outcomes)
        known: dict[str, Any] = {k: skipped(k) for k in keys if not self.gate.admits(k)}
        asked = [key for key in keys if key not in known]
        if asked:
            outcomes = yield asked
            self.heard(asked, outcomes)
            known.update(zip(asked, outcomes, strict=True))
        return [known[key] for key in keys]

    def heard(self, keys: Sequence[str], outcomes: Sequence[Any]) -> None:
        """Tell the gate who answered, and who did not."""
        gate = self.gate
        for key, outcome in zip(keys, outcomes, strict=True):
            if isinstance(outcome, RedisError):
                gate.failed(key, outcome)
            elif gate.tripped:
                gate.succeeded(key)


def tracked_for(deadline: float) -> float:
    """Return until when tracking connections may answer; the rest is for the client."""
    return monotonic() + deadline / 2


def put_in_place(
    readings: Sequence[Reading], places: Sequence[int], count: int
) -> list[Reading | Untracked]:
    """Return readings in their places, and nothing that was read in the others."""
    if len(readings) == count:
        return list(readings)
    filled: list[Reading | Untracked] = [Untracked(MISSING) for _ in range(count)]
    for at, reading in zip(places, readings, strict=True):
        filled[at] = reading
    return filled


def answered(
    readings: Sequence[Reading | Untracked], keys: Sequence[str]
) -> Generator[list[str], Any, None]:
    """Yield the keys that the client has to be asked for, if any, and take its outcomes.

    Nothing is kept of those.
    """
    lacking = [at for at, one in enumerate(readings) if one.data is MISSING]
    if lacking:
        outcomes = yield [keys[at] for at in lacking]
        for at, outcome in zip(lacking, outcomes, strict=True):
            readings[at].close()
            readings[at].data = outcome


def is_repeatable(calls: Sequence[Call]) -> bool:
    """Tell whether they are scripts, all of which may be sent again when their reply was lost."""
    return all(call.repeatable for call in calls)


def is_held(renewed: Sequence[Any]) -> bool:
    """Tell by the outcomes of renewals whether any lease is held still.

    Raises:
        RedisError: That is not known.
    """
    if any(outcome == 1 for outcome in renewed):
        return True
    for outcome in renewed:
        if isinstance(outcome, RedisError):
            raise outcome
    return False


def in_seconds(milliseconds: int) -> float:
    """Return what PTTL says in seconds: infinite for ever, 0 for what is not there."""
    if milliseconds == -1:
        return math.inf
    return max(milliseconds, 0) / 1000

"""How long a blocking call waits: at the server, and here.

The server is told a timeout in the call's own arguments; the client has a deadline. Three rules:

- Without an explicit deadline the client waits `SLACK` seconds longer than the server, and without
  an end where the server does (timeout 0).
- With one, the server is told to give up a little before it, so that nothing is popped for a caller
  who has left.
- A call that is sent again (its slot moved, its node was demoted) asks for what is left of its
  timeout only.

A timeout that is no number is sent as it is: the server refuses it.
"""

from __future__ import annotations

import math
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from clustercache._core.commands import timeout_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clustercache._core.commands import CommandSpec

SLACK = 10.0
"""Seconds beyond the server's timeout in which a failover may happen."""
FOREVER = 1e9
"""Seconds of a deadline that is none: what locks and timers still take."""
TICK = 0.15
"""Seconds that a server may be late to give up: an idle one looks ten times a second."""
_BRIEF = 0.1
"""Seconds that a call may have lasted before its timeout is shortened by them."""
LEAST = 0.01
"""Seconds that a server is told at the least: 0 would be for ever."""


class Wait(NamedTuple):
    """A blocking call's timeout: its place among the arguments, its unit, and its value.

    `seconds` is 0 for one without an end, None for what is no timeout.
    """

    at: int
    unit: float
    seconds: float | None

    def limit(self, explicit: float | None, usual: float) -> float:
        """Return the call's deadline in seconds.

        Args:
            explicit: The deadline of the caller's block, or None.
            usual: The configuration's.
        """
        if explicit is not None:
            return explicit
        if self.seconds is None:
            return usual
        return self.seconds + SLACK if self.seconds else FOREVER

    def left(self, waited: float, limit: float) -> float | None:
        """Return for how many seconds the server is to wait from now on, or None: as it was told.

        Args:
            waited: Seconds since the call began.
            limit: Its deadline, in seconds since it began.
        """
        if self.seconds is None:
            return None
        own = max(self.seconds - waited, 0.0) if self.seconds else math.inf
        most = before(limit - waited)
        as_told = most > self.seconds - LEAST and own > self.seconds - _BRIEF
        if limit >= FOREVER or (self.seconds and as_told):
            return None
        return max(min(own, most), LEAST)

    def apply(self, words: Sequence[Any], seconds: float | None) -> tuple[Any, ...]:
        """Return a call's words with this timeout instead of its own; None changes nothing."""
        if seconds is None:
            return tuple(words)
        whole = max(int(seconds / self.unit), 1)
        told = f"{seconds:.3f}" if self.unit == 1.0 else str(whole)
        return (*words[: self.at], told, *words[self.at + 1 :])


def before(left: float) -> float:
    """Return when a server gives up for its answer to come within `left` seconds."""
    return left - min(max(left / 10, TICK), 2 * TICK, max(left / 2, 0.0))


def wait_of(spec: CommandSpec, args: Sequence[Any]) -> Wait | None:
    """Return a blocking call's timeout; None for a call that cannot block.

    Args:
        spec: The command's entry.
        args: The call, with the whole name in ``args[0]``.
    """
    found = timeout_of(spec, args)
    if found is None:
        return None
    at, unit = found
    return Wait(at, unit, _seconds(args[at], unit))


def _seconds(value: Any, unit: float) -> float | None:
    seconds = math.nan
    with suppress(TypeError, ValueError, OverflowError):
        seconds = float(bytes(value) if isinstance(value, (bytearray, memoryview)) else value)
        seconds *= unit
    return seconds if 0 <= seconds < FOREVER else None

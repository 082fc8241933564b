"""Blocking commands, apart from the waiting: what is sent, and what silence means.

A node keeps such a call waiting without a word, which looks like a node that is gone. So whoever
waits sends it a PING by an ordinary connection every now and then, one of all that wait for it;
silence then is suspicion, as for any call. A connection that the host has forgotten is found by
TCP's keep-alive.
"""

from __future__ import annotations

import math
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from clustercache._core import wire
from clustercache._core.decisions import Trouble
from clustercache._request import Failed, Request
from clustercache.exceptions import ClosedError

if TYPE_CHECKING:
    from clustercache._request import Exchange
    from clustercache.exceptions import OutcomeUnknownError

PING = wire.pack(("PING",))
LOOK_EVERY = 3
"""Times socket_timeout that a node may keep everyone waiting before it is asked for a sign."""
_KEEP_ALIVE = 5
"""Seconds of silence after which the kernel asks the other host's."""
_UNHEARD = frozenset(
    {Trouble.UNREACHABLE, Trouble.NO_REPLY, Trouble.EXPIRED, Trouble.EXPIRED_UNANSWERED}
)


def told(request: Exchange, now: float) -> tuple[bytes, float]:
    """Return what is sent for a blocking call, and for how many seconds its node may be silent.

    Args:
        request: The call.
        now: In monotonic seconds: the server is told what is left of its timeout.
    """
    assert isinstance(request, Request)  # noqa: S101 - nothing else blocks
    command, (slot, words, places) = request.whole, request.part
    assert command.wait is not None  # noqa: S101 - a call that cannot block is not run here
    began = command.deadline - command.limits.deadline
    left = command.wait.left(now - began, command.limits.deadline)
    (data,) = command.packed([(slot, command.wait.apply(words, left), places)])
    seconds = command.wait.seconds if left is None else left
    return data, math.inf if seconds == 0 else seconds or 0.0


def is_sign(outcome: Any) -> bool:
    """Tell whether what became of a PING is a sign of life."""
    return type(outcome) is not Failed or outcome.event.trouble not in _UNHEARD


def closed_meanwhile(request: Exchange, error: OutcomeUnknownError) -> ClosedError:
    """Return what a call ends in whose client was closed while it waited."""
    msg = "the client was closed while the call waited: what it took, if anything, is lost"
    facts = request.facts(None) | {"attempts": error.attempts, "applied": "maybe"}
    return ClosedError(msg, **facts)


def keep_alive(sock: socket.socket) -> None:
    """Let the kernel find within a quarter of a minute of silence that the host is gone."""
    if not hasattr(socket, "TCP_KEEPIDLE"):
        return  # elsewhere its own times hold
    with suppress(OSError):  # lost already: whoever writes to it will see that
        for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL):
            sock.setsockopt(socket.IPPROTO_TCP, option, _KEEP_ALIVE)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 2)

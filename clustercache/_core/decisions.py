"""THE table from what went wrong, and what is known, to what happens next.

Both shells send where the map says and, on anything but a plain reply, ask `decide()`. It answers
with a whole `Decision`; nothing else in the package decides.

Three facts order everything:

* *Refused or never sent* is always safe to send again (MOVED, ASK, TRYAGAIN, LOADING, a connect
  that failed, a write that did not complete).
* *Sent, and no reply* is safe by the command's class: READ, SAME and COUNT are, NEVER is not.
* One deadline covers it all; pauses are jittered and never longer than what is left of it.

Sources: Redis Cluster specification, "MOVED redirection", "ASK redirection", "Multiple keys
operations" (TRYAGAIN); AWS Architecture Blog, "Exponential backoff and jitter" (equal jitter).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, NamedTuple

from clustercache._core.address import Address
from clustercache._core.commands import Safety
from clustercache._core.slots import SLOT_COUNT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from clustercache._core.wire import ServerError


class Trouble(Enum):
    """What came instead of a plain reply."""

    MOVED = auto()
    ASK = auto()
    TRYAGAIN = auto()
    UNREADY = auto()
    """CLUSTERDOWN, LOADING, MASTERDOWN, no place for a client: the node serves us not for now."""
    READONLY = auto()
    """The node became a replica."""
    UNBLOCKED = auto()
    """The node became a replica, or lost the slot, while it kept a blocking call waiting."""
    UNAUTHENTICATED = auto()
    """The node does not accept the credentials of the connection."""
    UNCOVERED = auto()
    """The map names no owner for the slot."""
    UNREACHABLE = auto()
    """No connection could be made: nothing was sent."""
    BROKEN_OFF = auto()
    """The write did not complete: the server cannot have executed it."""
    NO_REPLY = auto()
    """Sent, and the connection was lost before the whole reply."""
    TOO_LARGE = auto()
    """The reply is larger than the client was told to take."""
    EXPIRED = auto()
    """The deadline passed while nothing was outstanding."""
    EXPIRED_UNANSWERED = auto()
    """The deadline passed while the reply was outstanding."""
    POOL_FULL = auto()
    """All connections to the node stayed in use until the deadline."""
    CROWDED = auto()
    """As many calls as may wait for the sick shard already do."""
    CLOSED = auto()
    """The client was closed."""
    ERROR = auto()
    """Any other error of the server: the caller's to handle."""


class Verb(Enum):
    """What the shell does next."""

    SEND = auto()
    """Send again, to `to` or where the map says then."""
    SPLIT = auto()
    """Send again, key by key."""
    RAISE_REPLY = auto()
    """Raise the server's own error."""
    RAISE_DEADLINE = auto()
    RAISE_OVERTAKEN = auto()
    """Raise OvertakenError: refused, and a later command on the same key was executed."""
    RAISE_POOL_FULL = auto()
    RAISE_CROWDED = auto()
    RAISE_CLOSED = auto()
    RAISE_TOO_LARGE = auto()
    RAISE_UNKNOWN = auto()
    """Raise OutcomeUnknownError: it may have been applied."""


class Event(NamedTuple):
    """One trouble, with what came along."""

    trouble: Trouble
    node: Address | None = None
    to: Address | None = None
    slot: int | None = None


class Attempt(NamedTuple):
    """One entry of a call's history; `seconds` is what the attempt took."""

    event: Event
    seconds: float

    def __str__(self) -> str:
        what = self.event.trouble.name.lower().replace("_", " ")
        aim = f" to {self.event.to}" if self.event.to else ""
        return f"{self.event.node or 'no node'}: {what}{aim} after {self.seconds:.3f} s"


@dataclass(frozen=True, slots=True)
class Call:
    """What is known of the command.

    Args:
        safety: Its class, options included.
        resend: The classes that may be sent again after a lost reply.
        splittable: Whether it can be asked key by key (more than one key, and a split command).
        fixed: Whether the caller named the node: no other one will do.
    """

    safety: Safety
    resend: frozenset[Safety]
    splittable: bool = False
    fixed: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """What the shell does, whole.

    Args:
        verb: Send again, split, or raise what.
        to: The node to send to; None follows the map.
        asking: Whether ASKING goes before the command, in the same write.
        pause: Seconds to wait first (at most what is left of the deadline).
        refresh: Whether a refresh of the map is asked for.
        patch: Whether the map is patched with the redirect at once.
        suspect: Whether the node asked is suspected: calls wait until it is well or replaced.
        reconnect: Whether the target's connections are made anew, its name looked up afresh;
            those of the node that was asked, where there is no target.
    """

    verb: Verb
    to: Address | None = None
    asking: bool = False
    pause: float = 0.0
    refresh: bool = False
    patch: bool = False
    suspect: bool = False
    reconnect: bool = False


FINAL = frozenset({Trouble.ERROR, Trouble.UNAUTHENTICATED})
"""What a refused handshake is raised for, where nobody may have changed a password meanwhile."""

_BY_CODE = {
    "MOVED": Trouble.MOVED,
    "ASK": Trouble.ASK,
    "TRYAGAIN": Trouble.TRYAGAIN,
    "CLUSTERDOWN": Trouble.UNREADY,
    "LOADING": Trouble.UNREADY,
    "MASTERDOWN": Trouble.UNREADY,
    "READONLY": Trouble.READONLY,
    "NOAUTH": Trouble.UNAUTHENTICATED,
    "WRONGPASS": Trouble.UNAUTHENTICATED,
}
_FULL = "ERR max number of clients"
_UNBLOCKED = "UNBLOCKED force unblock"
_FREE_HOPS = 3
"""Redirects followed without a pause: a promotion seen from afar needs two."""


def classify(error: ServerError, node: Address) -> Event:
    """Return what a server's error means for routing. Codes match by prefix.

    Args:
        error: The error reply.
        node: Who sent it; an empty host in a redirect stands for it.
    """
    trouble = _BY_CODE.get(error.code, Trouble.ERROR)
    if error.text.startswith(_FULL):
        return Event(Trouble.UNREADY, node)
    if error.text.startswith(_UNBLOCKED):
        # Not so where an operator did it (CLIENT UNBLOCK), or the stream is gone.
        return Event(Trouble.UNBLOCKED, node)
    if trouble not in {Trouble.MOVED, Trouble.ASK}:
        return Event(trouble, node)
    try:
        _, slot, target = error.text.split(" ")[:3]
        to = Address.parse(target, default_host=node.host)
        return Event(trouble, node, to, range(SLOT_COUNT).index(int(slot)))
    except ValueError:
        return Event(Trouble.ERROR, node)


class Situation(NamedTuple):
    """What a rule of the table looks at."""

    event: Event
    call: Call
    history: Sequence[Attempt]
    pause: float


def decide(
    event: Event,
    call: Call,
    history: Sequence[Attempt],
    *,
    backoff: tuple[float, float],
    jitter: float,
) -> Decision:
    """Return what happens next.

    Args:
        event: What went wrong just now.
        call: What is known of the command.
        history: The attempts before this one, oldest first.
        backoff: (first, longest) pause in seconds.
        jitter: A random number from 0 to 1.
    """
    pause = _pause(history, backoff, jitter)
    return _TABLE[event.trouble](Situation(event, call, history, pause))


def _moved(now: Situation) -> Decision:
    event = now.event
    # Sent back and forth, the address we have of a node may be another node's by now.
    circle = event.to == event.node or any(
        a.event.trouble is Trouble.MOVED and (a.event.node, a.event.to) == (event.to, event.node)
        for a in now.history
    )
    late = circle or _hops(now.history) >= _FREE_HOPS
    return Decision(
        Verb.SEND,
        to=event.to,
        pause=now.pause if late else 0.0,
        refresh=True,
        patch=not circle,
        reconnect=circle,
    )


def _ask(now: Situation) -> Decision:
    late = _hops(now.history) >= _FREE_HOPS
    return Decision(Verb.SEND, to=now.event.to, asking=True, pause=now.pause if late else 0.0)


def _tryagain(now: Situation) -> Decision:
    # A half-moved slot can stay so for longer than any deadline: single keys get through.
    return Decision(Verb.SPLIT) if now.call.splittable else Decision(Verb.SEND, pause=now.pause)


def _wait_for_the_cluster(now: Situation) -> Decision:
    return Decision(Verb.SEND, pause=now.pause, refresh=True)


def _unauthenticated(now: Situation) -> Decision:
    # A password that was changed meanwhile: a new connection has the new one.
    again = any(a.event.trouble is Trouble.UNAUTHENTICATED for a in now.history)
    return Decision(Verb.RAISE_REPLY) if again else Decision(Verb.SEND, reconnect=True)


def _readonly(now: Situation) -> Decision:
    return Decision(Verb.RAISE_REPLY) if now.call.fixed else _wait_for_the_cluster(now)


def _unreachable(now: Situation) -> Decision:
    return Decision(Verb.SEND, pause=now.pause, refresh=True, suspect=True)


def _broken_off(now: Situation) -> Decision:
    return Decision(Verb.SEND, pause=now.pause if now.history else 0.0)


def _no_reply(now: Situation) -> Decision:
    if now.call.safety not in now.call.resend:
        return Decision(Verb.RAISE_UNKNOWN, refresh=True)
    return Decision(Verb.SEND, pause=now.pause if now.history else 0.0, refresh=True)


def _expired(now: Situation) -> Decision:
    unknown = now.call.safety is Safety.NEVER and may_be_applied(*now[:3])
    return Decision(Verb.RAISE_UNKNOWN if unknown else Verb.RAISE_DEADLINE)


def _always(verb: Verb) -> Callable[[Situation], Decision]:
    return lambda _: Decision(verb)


_TABLE: dict[Trouble, Callable[[Situation], Decision]] = {
    Trouble.MOVED: _moved,
    Trouble.ASK: _ask,
    Trouble.TRYAGAIN: _tryagain,
    Trouble.UNREADY: _wait_for_the_cluster,
    Trouble.READONLY: _readonly,
    Trouble.UNBLOCKED: _wait_for_the_cluster,
    Trouble.UNAUTHENTICATED: _unauthenticated,
    Trouble.UNCOVERED: _wait_for_the_cluster,
    Trouble.UNREACHABLE: _unreachable,
    Trouble.BROKEN_OFF: _broken_off,
    Trouble.NO_REPLY: _no_reply,
    Trouble.TOO_LARGE: _always(Verb.RAISE_TOO_LARGE),
    Trouble.EXPIRED: _expired,
    Trouble.EXPIRED_UNANSWERED: _expired,
    Trouble.POOL_FULL: _always(Verb.RAISE_POOL_FULL),
    Trouble.CROWDED: _always(Verb.RAISE_CROWDED),
    Trouble.CLOSED: _always(Verb.RAISE_CLOSED),
    Trouble.ERROR: _always(Verb.RAISE_REPLY),
}


OUTSTANDING = frozenset({Trouble.NO_REPLY, Trouble.EXPIRED_UNANSWERED, Trouble.TOO_LARGE})
"""What a command may end in that was sent, so that it may have been executed."""


def may_be_applied(event: Event | None, call: Call, history: Sequence[Attempt]) -> bool:
    """Tell whether the command may have been executed although no reply came."""
    events = [attempt.event for attempt in history] + ([event] if event else [])
    sent = any(one.trouble in OUTSTANDING for one in events)
    return sent and call.safety is not Safety.READ


def _hops(history: Sequence[Attempt]) -> int:
    return sum(a.event.trouble in {Trouble.MOVED, Trouble.ASK} for a in history)


def _pause(history: Sequence[Attempt], backoff: tuple[float, float], jitter: float) -> float:
    """Return the next pause: it doubles with each attempt that was not a redirect."""
    first, longest = backoff
    doublings = min(len(history) - _hops(history) + max(_hops(history) - _FREE_HOPS, 0), 16)
    return float(min(longest, first * 2**doublings) * (0.5 + jitter / 2))

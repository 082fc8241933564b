"""What plans ask of a shell: they decide what is done when, and never wait themselves.

A plan is a generator. It yields one of these, and gets what the shell makes of it; where it
returns, its call is done.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from clustercache.caching.calls import Call


class Ask(NamedTuple):
    """Send these; what comes back is their outcomes in order, errors in their places.

    Attributes:
        calls: What is sent.
        sure: Whether it has to be confirmed, and so may take longer.
    """

    calls: Sequence[Call]
    sure: bool = False


class Look(NamedTuple):
    """Read these keys, so that what they hold may be kept near; `Reading`s come back.

    Attributes:
        keys: What is read.
        near: Whether it is to be kept.
    """

    keys: Sequence[str]
    near: bool = True


class Compute(NamedTuple):
    """Call the function; what it returns comes back, and what it raises.

    Attributes:
        make: Takes nothing. It returns an awaitable in asyncio.
        lease: Seconds of the leases that are renewed meanwhile.
        renew: What renews them, each its own.
    """

    make: Callable[[], Any]
    lease: float = 0.0
    renew: Sequence[Call] = ()


class Rest(NamedTuple):
    """Wait until a key changes, as far as that is heard of, or for so many seconds."""

    key: str
    seconds: float


class Later(NamedTuple):
    """Run a plan while nobody waits, once for each key at a time.

    What comes back is whether it was begun; or, where it is waited for, the plan's result, which
    is MISSING if there is none in time.

    Attributes:
        key: Of the value.
        plan: Returns the generator.
        seconds: How long its result is waited for; None: not at all.
    """

    key: str
    plan: Callable[[], Plan]
    seconds: float | None = None


Doing: TypeAlias = Ask | Look | Compute | Rest | Later
Plan: TypeAlias = Generator[Doing, Any, Any]

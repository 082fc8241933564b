"""One request's way to its reply: what each attempt ended in, and what follows from it.

The shells make the attempts and do the waiting; what happens between two attempts is here, and is
decided by `decide()` alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from clustercache._core import decisions
from clustercache._core.decisions import Attempt, Event, Trouble, Verb
from clustercache._failures import failure
from clustercache._limits import jitter
from clustercache._request import Failed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from clustercache._core.address import Address
    from clustercache._core.decisions import Decision
    from clustercache._request import Exchange
    from clustercache.instrumentation.hooks import Observer

    Weigh = Callable[[Decision, Event, Exchange], Decision]


class Helping(Protocol):
    """Who refreshes the map in the background."""

    def refresh(self, *hints: Address) -> None:
        """Ask for a refresh."""


class Knowing(Protocol):
    """What a decision asks of a shell's map."""

    @property
    def pools(self) -> Mapping[Address, Any]:
        """What reaches each node."""

    @property
    def helper(self) -> Helping:
        """Who refreshes it."""

    @property
    def observer(self) -> Observer:
        """Who is told."""

    def patch(self, slot: int, address: Address) -> None:
        """Follow a MOVED."""

    def pool_at(self, address: Address) -> Any:
        """Return what reaches a node."""

    def suspect(self, pool: Any) -> bool:
        """Doubt a node; tell whether that is of any use."""


def obey(known: Knowing, event: Event, decision: Decision) -> bool:
    """Do what a decision asks for apart from sending; tell whether the node is suspected now.

    Args:
        known: The map.
        event: What was decided on.
        decision: What was decided.
    """
    pool = known.pools.get(event.node) if event.node else None
    if event.to is not None and pool is not None:
        pool.redirects += 1
    if decision.patch and event.slot is not None and event.to is not None:
        known.patch(event.slot, event.to)
    if decision.reconnect and (where := event.to or event.node) is not None:
        known.pool_at(where).flush()
    if decision.refresh:
        known.helper.refresh(*([event.to] if event.to else []))
    return decision.suspect and pool is not None and known.suspect(pool)


def note(known: Knowing, event: Event, request: Exchange) -> None:
    """Do what an event asks for, where its request is not sent again."""
    backoff = request.command.limits.retry.backoff
    decision = decisions.decide(event, request.call, [], backoff=backoff, jitter=jitter())
    obey(known, event, decision)


def as_decided(decision: Decision, _event: Event, _request: Exchange) -> Decision:
    """Return a decision as it is."""
    return decision


class Course:
    """A request under way.

    Attributes:
        target: Where the next attempt goes; None follows the map.
        asking: Whether ASKING goes before it.
    """

    __slots__ = ("_began", "_history", "_known", "_request", "_weigh", "asking", "target")

    def __init__(self, known: Knowing, request: Exchange, weigh: Weigh = as_decided) -> None:
        """Begin where the request does.

        Args:
            known: The map.
            request: What is sent.
            weigh: Called with each decision to send again before it is obeyed.
        """
        self._known = known
        self._weigh = weigh
        self._request = request
        self._history: list[Attempt] = []
        self._began = request.command.deadline - request.command.limits.deadline
        self.target = request.target
        self.asking = False

    def begin(self, now: float) -> None:
        """Note that an attempt begins, in monotonic seconds."""
        self._began = now

    def follow(self, outcome: Failed, now: float) -> float | None:
        """Return how long to pause before the next attempt; None to ask for each key by itself.

        Args:
            outcome: What the attempt ended in.
            now: In monotonic seconds.

        Raises:
            redis.RedisError: What the call ends in, if nothing is to be sent again.
        """
        request, history, event = self._request, self._history, outcome.event
        backoff = request.command.limits.retry.backoff
        decision = decisions.decide(event, request.call, history, backoff=backoff, jitter=jitter())
        if decision.verb is Verb.SPLIT:
            return None
        if decision.verb is not Verb.SEND:
            if decision.refresh:
                self._known.helper.refresh()
            raise failure(decision.verb, outcome, request, history, now - self._began)
        history.append(Attempt(event, now - self._began))
        self._known.observer.decided(request.facts, event, decision, len(history))
        decision = self._weigh(decision, event, request)
        suspected = obey(self._known, event, decision)
        self.target, self.asking = decision.to or request.target, decision.asking
        if suspected:
            return 0.0  # the next attempt waits for the node's recovery or its successor
        return max(0.0, min(decision.pause, request.command.deadline - now))

    def expired(self, now: float) -> Failed | None:
        """Return what the call ended in if its deadline has passed, or None to go on."""
        if now < self._request.command.deadline:
            return None
        return Failed(Event(Trouble.EXPIRED, self.target or self._history[-1].event.node))

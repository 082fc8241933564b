"""The rounds of a pipeline: what is sent again, where to, and what must not be.

A batch goes out whole; replies that came are kept. What was refused, or lost its reply, may go out
again in a further round, as `decide()` says for each command by itself. On top of that stands one
rule: **commands on one key are never executed out of order.**

* A command is not sent again once a later command on one of its keys has been executed, or may have
  been: it fails. (A half-moved slot refuses an MSET and takes the SET behind it; to send the MSET
  again would invert them.) A later command that was refused, too, is no obstacle; nor is one that
  lost its reply as it did, for what was executed of the two was executed in their order.
* In a round, commands that share a key go to the same node in the same way, in their order; a
  command whose predecessor goes elsewhere waits for the next round.

Source: Redis Cluster specification, "Multiple keys operations" and "ASK redirection".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from clustercache._core import decisions
from clustercache._core.commands import Safety
from clustercache._core.decisions import Attempt, Call, Decision, Event, Verb

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from clustercache._core.address import Address


class Unit:
    """One command of a batch, or one slot's part of it.

    Attributes:
        order: Its place in the batch; parts of one command share it.
        keys: Its keys, as bytes.
        call: What `decide()` is told.
        history: Its attempts so far.
        target: The node of the next attempt; None follows the map.
        asking: Whether ASKING goes before it.
        verdict: What it ended in, once it failed.
        done: Whether it has a reply, or failed.
        event: The trouble of its last attempt.
        payload: The shell's own.
    """

    __slots__ = (
        "asking",
        "call",
        "done",
        "event",
        "history",
        "keys",
        "order",
        "payload",
        "target",
        "verdict",
    )

    def __init__(self, order: int, keys: Sequence[bytes], call: Call, payload: Any) -> None:
        """Begin without an attempt."""
        self.order = order
        self.payload = payload
        self.keys = tuple(keys)
        self.call = call
        self.history: list[Attempt] = []
        self.target: Address | None = None
        self.asking = False
        self.verdict: Verb | None = None
        self.done = False
        self.event: Event | None = None

    @property
    def may_be_executed(self) -> bool:
        """Whether it was executed, or may have been; asked of what is done."""
        lost = self.event is not None and self.event.trouble in decisions.OUTSTANDING
        return self.verdict in {None, Verb.RAISE_REPLY} or lost


class Step(NamedTuple):
    """What the shell does between two rounds, all units' decisions together."""

    pause: float
    decisions: tuple[tuple[Unit, Decision], ...]


class Batch:
    """Units in their order, and who of them may go out again."""

    def __init__(self, units: Iterable[Unit]) -> None:
        """Take the units; those that have a reply already are `done`."""
        self.units = sorted(units, key=lambda unit: unit.order)

    @property
    def pending(self) -> list[Unit]:
        """The units without a reply, in order."""
        return [unit for unit in self.units if not unit.done]

    def absorb(
        self,
        troubles: Sequence[tuple[Unit, Event]],
        *,
        took: float,
        backoff: tuple[float, float],
        jitter: Callable[[], float],
    ) -> Step:
        """Decide on the units of a round that did not get a plain reply.

        Units that did are marked `done` by the shell before.

        Args:
            troubles: The unit and what happened to it.
            took: Seconds that the round took.
            backoff: As in `decide`.
            jitter: Gives numbers from 0 to 1.
        """
        made: list[tuple[Unit, Decision]] = []
        for unit, event in troubles:
            decision = decisions.decide(
                event, unit.call, unit.history, backoff=backoff, jitter=jitter()
            )
            unit.history.append(Attempt(event, took))
            unit.event = event
            unit.target, unit.asking = decision.to, decision.asking
            if decision.verb not in {Verb.SEND, Verb.SPLIT}:
                unit.done, unit.verdict = True, decision.verb
            made.append((unit, decision))
        self._give_way()
        again = [decision.pause for unit, decision in made if not unit.done]
        return Step(max(again, default=0.0), tuple(made))

    def _give_way(self) -> None:
        """Fail what a later command on the same key has overtaken; reads overtake no reads."""
        executed: set[bytes] = set()
        written: set[bytes] = set()
        lost_behind: set[bytes] = set()
        for unit in reversed(self.units):
            reads = unit.call.safety is Safety.READ
            if unit.done:
                if unit.may_be_executed:
                    executed.update(unit.keys)
                    written.update(() if reads else unit.keys)
                continue
            lost = any(attempt.event.trouble in decisions.OUTSTANDING for attempt in unit.history)
            before = written if reads else executed
            overtaken = before if lost else before | lost_behind
            if not overtaken.isdisjoint(unit.keys):
                unit.done = True
                unit.verdict = Verb.RAISE_UNKNOWN if lost else Verb.RAISE_OVERTAKEN
            if lost and unit.done:
                executed.update(unit.keys)
                written.update(() if reads else unit.keys)
            elif lost and not reads:
                lost_behind.update(unit.keys)  # a read that was lost is asked again, behind it

    def replace(self, unit: Unit, others: Sequence[Unit]) -> None:
        """Put units in the place of one that is asked key by key."""
        at = self.units.index(unit)
        self.units[at : at + 1] = others

    def round(self) -> list[Unit]:
        """Return the units to send now, in order; at least one while any is pending."""
        ready: list[Unit] = []
        ways: dict[bytes, Any] = {}
        for unit in self.pending:
            way = (unit.target, unit.asking)
            taken = {ways[key] for key in unit.keys if key in ways}
            blocked = bool(taken - {way})
            ways.update(dict.fromkeys(unit.keys, _BLOCKED if blocked else way))
            if not blocked:
                ready.append(unit)
        return ready


_BLOCKED = object()

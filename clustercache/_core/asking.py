"""One round of questions for the topology: who is asked next, and when enough have answered.

Whoever an answer names as knowing better is asked next. A view that shares no node with ours is
kept, and does not count: its address may be another cluster's by now.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from clustercache._core.topology import View

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable

    from clustercache._core.address import Address
    from clustercache._core.sources import Answer


class Terms(NamedTuple):
    """What holds for one round.

    Args:
        patience: Seconds for each who is asked.
        deadline: Until when, in the clock's seconds, anybody is asked at all.
        enough: How many answers are.
        avoid: Whom not to ask, whoever names them.
        known: Ids of our nodes.
    """

    patience: float
    deadline: float
    enough: int
    avoid: Container[Address] = ()
    known: frozenset[str] = frozenset()


class Asking:
    """Whom to ask, one after the other.

    Attributes:
        answers: What was answered, oldest first.
        failures: What each that gave no answer said instead.
    """

    __slots__ = ("_asked", "_lead", "_terms", "_waiting", "answers", "failures")

    def __init__(
        self,
        addresses: Iterable[Address],
        terms: Terms,
        lead: Callable[[Answer], Address | None],
    ) -> None:
        """Begin.

        Args:
            addresses: Whom to ask, best first.
            terms: What holds.
            lead: Gives whom an answer names as knowing better, or None.
        """
        self._waiting = deque(addresses)
        self._asked: set[Address] = set()
        self._terms = terms
        self._lead = lead
        self.answers: list[Answer] = []
        self.failures: dict[Address, Exception] = {}

    def next(self, now: float) -> tuple[Address, float] | None:
        """Return who is asked next, and for how many seconds; None at the end."""
        left = self._terms.deadline - now
        if left <= 0 or sum(map(self._counts, self.answers)) >= self._terms.enough:
            return None
        while self._waiting:
            address = self._waiting.popleft()
            if address not in self._asked and address not in self._terms.avoid:
                self._asked.add(address)
                return address, min(self._terms.patience, left)
        return None

    def answered(self, answer: Answer) -> None:
        """Keep an answer."""
        self.answers.append(answer)
        leader = self._lead(answer)
        if leader is not None:
            self._waiting.appendleft(leader)

    def failed(self, address: Address, error: Exception) -> None:
        """Keep what one that was asked said instead of an answer."""
        self.failures[address] = error

    def _counts(self, answer: Answer) -> bool:
        known = self._terms.known
        return not known or not isinstance(answer, View) or bool(answer.ids & known)

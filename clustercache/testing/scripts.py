"""Scripts: which commands a test has taken over, and what it wants answered."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeAlias

from .actions import Action, as_action
from .replies import Plain, error

if TYPE_CHECKING:
    from .connections import Command, Connection

Handler: TypeAlias = Callable[["Command", "Connection"], Action | Plain]
Answer: TypeAlias = Action | Plain | Handler
Words: TypeAlias = tuple[bytes, ...]


def words_of(pattern: str) -> Words:
    """Split `"CLUSTER SLOTS"` into the words that a command has to begin with; `"*"` is none."""
    return () if pattern == "*" else tuple(pattern.upper().encode().split())


def matches(command: Sequence[bytes], words: Words) -> bool:
    """Tell whether a command begins with these words, in any case."""
    return len(command) >= len(words) and all(
        got.upper() == want for got, want in zip(command, words, strict=False)
    )


class Script:
    """The answers for one pattern, given in order.

    The last answer repeats for ever, unless `strict`: then a further command is an error.
    """

    __slots__ = ("_answers", "_next", "_strict", "pattern")

    def __init__(self, pattern: str, answers: Sequence[Answer], *, strict: bool) -> None:
        if not answers:
            raise ValueError(f"the script for {pattern!r} has no answers")
        self.pattern = pattern
        self._answers = answers
        self._next = 0
        self._strict = strict

    def take(self) -> Answer:
        """Return the next answer."""
        position = self._next
        self._next += 1
        if position < len(self._answers):
            return self._answers[position]
        if self._strict:
            return error(f"ERR the script for {self.pattern} has no more answers")
        return self._answers[-1]


class ScriptBook:
    """All scripts of a server. Of several that match, the one with the most words answers."""

    __slots__ = ("_lock", "_scripts")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._scripts: dict[Words, Script] = {}

    def put(self, pattern: str, answers: Answer | list[Answer], *, strict: bool) -> None:
        """Take a pattern over; an earlier script for it is forgotten."""
        listed = answers if isinstance(answers, list) else [answers]
        script = Script(pattern, list(listed), strict=strict)
        with self._lock:
            self._scripts[words_of(pattern)] = script

    def remove(self, pattern: str) -> None:
        """Give a pattern back to the server."""
        with self._lock:
            self._scripts.pop(words_of(pattern), None)

    def find(self, command: Sequence[bytes]) -> Answer | None:
        """Return the next scripted answer for a command, or None if nobody took it over."""
        with self._lock:
            hits = [words for words in self._scripts if matches(command, words)]
            return self._scripts[max(hits, key=len)].take() if hits else None


def perform(answer: Answer, command: Command, connection: Connection) -> Action:
    """Work out what a scripted answer means for this command."""
    if callable(answer):
        answer = answer(command, connection)
    return as_action(answer)

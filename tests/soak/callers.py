"""Callers that run for long: they remember what failed, and of the rest only its number."""

from __future__ import annotations

from array import array
from time import monotonic
from typing import Any

from tests.faults.aload import Task
from tests.faults.calls import Done


class SoakTask(Task):
    """One task on one tag, with a new log in each chapter.

    Its NEVER commands are known by their call's number. Those acknowledged are kept until their
    chapter is checked, eight bytes each.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.chapter = 0
        self.began = -1
        self.done = 0
        self.failed: list[Done] = []
        self.acknowledged: dict[int, array[int]] = {}

    def log_of(self, number: int) -> str:
        """Return the log of a chapter."""
        return f"log:{{{self.tag}}}:{self.name}:{number}"

    async def call_once(self, number: int, identity: str) -> None:
        kind, ask, judge = self._steps[number % len(self._steps)]
        now = self.began = self.chapter
        self.log = self.log_of(now)
        start = monotonic()
        try:
            judge(await ask(identity), identity)
        except Exception as raised:  # noqa: BLE001 - judged later
            self.failed.append(Done(kind, start, monotonic(), raised, identity))
            return
        self.done += 1
        if kind == "NEVER":
            self.acknowledged.setdefault(now, array("q")).append(number)

    def check(self, number: int, found: dict[bytes, bytes]) -> tuple[list[str], int]:
        """Return what was applied twice in a chapter, and how many acknowledged calls are absent.

        Args:
            number: The chapter's; it is forgotten.
            found: What its log holds.
        """
        twice = [name.decode() for name, times in found.items() if int(times) > 1]
        mine = self.acknowledged.pop(number, array("q"))
        return twice, sum(f"{self.name}-{call}".encode() not in found for call in mine)

"""What a soak saw, and whether that is good."""

from __future__ import annotations

import gc
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from clustercache.exceptions import OutcomeUnknownError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.faults.calls import Done

MEGABYTE = 1_000_000
GROWTH = 16.0
"""Megabytes by which the process may grow after two rounds: bursts leave holes in its arenas."""
BLOCKS = 5_000
"""Objects by which it may."""
_COLUMNS = ["round", "fault", "promotion", "calls", "rate", "unknown", "absent"]
_COLUMNS += ["lag_ms", "rss_mb", "blocks"]


class Memory(NamedTuple):
    """Megabytes that this process has, and how many blocks Python's allocator gave out."""

    resident: float
    blocks: int

    @classmethod
    def now(cls) -> Memory:
        gc.collect()
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return cls(pages * os.sysconf("SC_PAGE_SIZE") / MEGABYTE, sys.getallocatedblocks())


@dataclass
class Round:
    """One fault, and the load around it.

    Attributes:
        fault: "failover" or "kill".
        promotion: Seconds from the fault until the replica said that it is the primary.
        calls: How many calls succeeded.
        seconds: How long the round took.
        unknown: How many NEVER commands met the fault, and may have been applied.
        stray: All other calls that failed.
        twice: Identities of operations that were applied more than once.
        absent: How many acknowledged operations are not there.
        lag: The longest that the loop was kept, in seconds.
        memory: At its end.
    """

    fault: str
    promotion: float
    calls: int
    seconds: float
    unknown: int
    stray: list[Done]
    twice: list[str]
    absent: int
    lag: float
    memory: Memory


@dataclass
class Report:
    """All rounds of a soak."""

    rounds: list[Round] = field(default_factory=list)

    def wrongs(self) -> Iterator[str]:
        """Yield what is not as it must be."""
        for number, one in enumerate(self.rounds, 1):
            where = f"round {number} ({one.fault})"
            if one.stray:
                yield f"{where}: {len(one.stray)} calls failed, the first: {one.stray[0]}"
            if one.twice:
                yield f"{where}: {len(one.twice)} applied twice, the first: {one.twice[0]}"
            if one.absent and one.fault == "failover":
                yield f"{where}: {one.absent} acknowledged operations are not there"
        yield from self._growth()

    def _growth(self) -> Iterator[str]:
        """Compare with the end of the second round: each kind of fault was met by then."""
        if len(self.rounds) < 3:
            return
        then, now = self.rounds[1].memory, self.rounds[-1].memory
        if now.resident > then.resident + GROWTH:
            yield f"memory grew from {then.resident:.1f} to {now.resident:.1f} MB"
        if now.blocks > then.blocks + BLOCKS:
            yield f"Python's blocks grew from {then.blocks} to {now.blocks}"

    def table(self) -> Iterator[str]:
        """Yield lines for a person to read."""
        yield "  ".join(f"{name:>9}" for name in _COLUMNS)
        for number, one in enumerate(self.rounds, 1):
            yield "  ".join(f"{cell:>9}" for cell in self._cells(number, one))

    @staticmethod
    def _cells(number: int, one: Round) -> list[str]:
        figures = [f"{one.promotion:.2f}", str(one.calls), f"{one.calls / one.seconds:.0f}"]
        figures += [str(one.unknown), str(one.absent), f"{one.lag * 1000:.1f}"]
        figures += [f"{one.memory.resident:.1f}", str(one.memory.blocks)]
        return [str(number), one.fault, *figures]


def excused(call: Done, begin: float, end: float) -> bool:
    """Tell whether a call is a NEVER command that was under way during a fault."""
    unknown = type(call.error) is OutcomeUnknownError and call.error.applied == "maybe"
    return call.kind == "NEVER" and unknown and call.start <= end and call.end >= begin

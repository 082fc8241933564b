"""`CacheStats`: what a cache has done so far, and how much of it each function."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final, Self

from clustercache.caching.counters import Counters
from clustercache.caching.figures import CacheInfo, FunctionStats, NearStats
from clustercache.caching.units import aligned, counted, in_seconds, share

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from clustercache.caching.near import NearCache

__all__ = ["CacheInfo", "CacheStats", "Counters", "FunctionStats", "NearStats"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheStats:
    """What a cache has done since it was made, in this process; `print` shows a table.

    Attributes:
        functions: What was counted of each cached function, by its name.
        direct: What was counted of `get`, `get_many` and the like, which are of no function.
        near: What is kept in the process; None without a near cache.
    """

    functions: Mapping[str, FunctionStats] = field(default_factory=dict)
    direct: FunctionStats = field(default_factory=FunctionStats)
    near: NearStats | None = None

    @classmethod
    def of(cls, direct: Counters, functions: dict[str, Counters], near: NearCache | None) -> Self:
        """Read all counters of a cache.

        Args:
            direct: Of the calls that are of no function.
            functions: Those of each function, by its name.
            near: What is kept in the process, or None.
        """
        return cls(
            functions={name: one.read() for name, one in sorted(functions.copy().items())},
            direct=direct.read(),
            near=None if near is None else NearStats.of(near),
        )

    @property
    def total(self) -> FunctionStats:
        """The sums of all functions and of the direct calls."""
        return sum(self.functions.values(), self.direct)

    def as_dict(self) -> dict[str, Any]:
        """Return all figures by name."""
        return {
            "total": self.total.as_dict(),
            "near": None if self.near is None else asdict(self.near),
            "direct": self.direct.as_dict(),
            "functions": {name: one.as_dict() for name, one in self.functions.items()},
        }

    def json(self) -> str:
        """Return all figures as a line of JSON."""
        return json.dumps(self.as_dict())

    def __str__(self) -> str:
        named = {**self.functions, "(direct calls)": self.direct, "total": self.total}
        total = named["total"]
        shown = [(title, cell) for title, cell in _COLUMNS if title in _ALWAYS or cell(total)]
        head = ("function", *(title for title, _ in shown))
        rows = [(name, *(cell(one) or "0" for _, cell in shown)) for name, one in named.items()]
        lines = aligned([head, *rows])
        rule = "-" * max(map(len, lines))
        near = self.near or "nothing is kept in the process"
        return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1], "", f"near cache: {near}"])


def _count(name: str) -> Callable[[FunctionStats], str]:
    """Return what shows a count, and nothing for 0."""

    def cell(stats: FunctionStats) -> str:
        number = getattr(stats, name)
        return counted(number) if number else ""

    return cell


def _mean(stats: FunctionStats) -> str:
    return in_seconds(stats.compute_seconds / stats.computes) if stats.computes else "-"


_ALWAYS: Final = frozenset({"hits", "misses"})
_COLUMNS: Final[tuple[tuple[str, Callable[[FunctionStats], str]], ...]] = (
    ("hits", _count("hits")),
    ("hit rate", lambda stats: share(stats.hit_rate)),
    ("near", _count("near_hits")),
    ("far", _count("far_hits")),
    ("stale", _count("stale_served")),
    ("waited for", _count("stampedes_avoided")),
    ("misses", _count("misses")),
    ("uncached", _count("skipped")),
    ("computed", _count("computes")),
    ("failed", _count("errors")),
    ("takes", _mean),
    ("saved", lambda stats: in_seconds(stats.time_saved)),
)
"""What the table shows; a column in which nothing was counted is left out."""

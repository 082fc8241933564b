"""What became of cached values while a primary died, and while hundreds wanted one at once."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

from clustercache.cli import output

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    Sample = Sequence[float]

_SPAN = 1.0
_SLACK = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Crowd:
    """Callers in several processes who wanted one slow value at the same moment.

    Attributes:
        callers: How many.
        computed: How often the value was computed.
        answers: How many different ones they got.
        failed: Callers who got none.
        slowest: Seconds until the last one had it.
    """

    callers: int
    computed: int
    answers: int
    failed: int
    slowest: float

    @classmethod
    def of(cls, callers: int, told: Sequence[dict[str, Any]]) -> Crowd:
        """Add up what all processes tell."""
        return cls(
            callers=callers,
            computed=sum(one["computed"] for one in told),
            answers=len({answer for one in told for answer in one["answers"]}),
            failed=sum(one["failed"] for one in told),
            slowest=max(one["slowest"] for one in told),
        )

    @property
    def ok(self) -> bool:
        """Whether it was computed once, and all got that."""
        return self.computed == self.answers == 1 and not self.failed


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What one process changed, as seen by others that had the old value near; in seconds.

    Attributes:
        seen: How often another process saw a change.
        unseen: How often one did not, while it looked.
        unkept: How often the old value had not been near, so that nothing was shown.
        went_back: Old values that were served after the new one.
        typical: Until the first look that found the new value, counted from before the change.
        longest: The longest of these.
        bound: What `longest` may be: the near caches' `max_silence`.
    """

    seen: int
    unseen: int
    unkept: int
    went_back: int
    typical: float
    longest: float
    bound: float

    @classmethod
    def of(cls, told: Sequence[tuple[float, bool, dict[str, Any]]], bound: float) -> Changes:
        """Add up when each change began, whether its old value was near, and what was seen."""
        after = [one["seen"] - began for began, _, one in told if one["seen"] is not None]
        return cls(
            seen=len(after),
            unseen=len(told) - len(after),
            unkept=sum(not near for _, near, _ in told),
            went_back=sum(one["went_back"] for _, _, one in told),
            typical=median(after or [0.0]),
            longest=max(after, default=0.0),
            bound=bound,
        )

    @property
    def ok(self) -> bool:
        """Whether all saw each change within the bound, and never the old value again."""
        wrong = self.unseen or self.unkept or self.went_back
        return not wrong and self.longest <= self.bound


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """What part of the calls in some time was answered from where, from 0 to 1."""

    calls: int
    near: float
    far: float
    uncached: float

    @classmethod
    def between(cls, start: float, end: float, loads: Sequence[Sequence[Sample]]) -> Rates:
        """Take the differences between two moments, of all processes."""
        pairs = [(_at(start, samples), _at(end, samples)) for samples in loads if samples]
        calls, near, far, uncached = (
            sum(int(last[column] - first[column]) for first, last in pairs)
            for column in range(1, 5)
        )
        most = max(calls, 1)
        return cls(calls=calls, near=near / most, far=far / most, uncached=uncached / most)

    @property
    def hits(self) -> float:
        """Near and far."""
        return self.near + self.far


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheVerdict:
    """Measured figures only.

    Attributes:
        processes: How many shared the cache, each with its near cache.
        crowd: Who wanted one value at once.
        writes: What others saw of writes to one key.
        tags: What others saw of invalidations by tag.
        before: The rates in the last second before a primary was killed.
        during: Until its replica was promoted.
        after: In the last second.
        calls: All calls of the load.
        failed: Those that raised an error.
        wrong: Those that returned another product's price.
        slowest: The longest, in seconds.
        errors: What was wrong, the first of each kind.
    """

    processes: int
    crowd: Crowd
    writes: Changes
    tags: Changes
    before: Rates
    during: Rates
    after: Rates
    calls: int
    failed: int
    wrong: int
    slowest: float
    errors: tuple[str, ...] = ()

    @property
    def recovered(self) -> bool:
        """Whether as many calls find their value afterwards as before."""
        return self.after.hits >= self.before.hits - _SLACK

    @property
    def ok(self) -> bool:
        """Whether no caller noticed anything but a wait, and none got what was wrong or old."""
        told = self.crowd.ok and self.writes.ok and self.tags.ok
        return told and self.recovered and not self.failed and not self.wrong

    def to_dict(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        return {"ok": self.ok, **asdict(self)}


def judge(
    loads: Sequence[dict[str, Any]],
    killed: float,
    promoted: float,
    *,
    crowd: Crowd,
    writes: Changes,
    tags: Changes,
) -> CacheVerdict:
    """Return the figures.

    Args:
        loads: What each process tells of its load.
        killed: When the primary was, in monotonic seconds.
        promoted: When its replica was.
        crowd: See `CacheVerdict`, as the next ones.
        writes: .
        tags: .
    """
    samples = [one["samples"] for one in loads]
    end = min(one[-1][0] for one in samples)
    return CacheVerdict(
        processes=len(loads),
        crowd=crowd,
        writes=writes,
        tags=tags,
        before=Rates.between(killed - _SPAN, killed, samples),
        during=Rates.between(killed, promoted, samples),
        after=Rates.between(end - _SPAN, end, samples),
        calls=sum(int(one[-1][1]) for one in samples),
        failed=sum(one["failed"] for one in loads),
        wrong=sum(one["wrong"] for one in loads),
        slowest=max(one["slowest"] for one in loads),
        errors=tuple(dict.fromkeys(error for one in loads for error in one["errors"]))[:5],
    )


def _at(moment: float, samples: Sequence[Sample]) -> Sample:
    """Return the last sample before a moment, or else the first."""
    before = [sample for sample in samples if sample[0] <= moment]
    return before[-1] if before else samples[0]


def cache_table(verdict: CacheVerdict, indent: int = 0) -> Table:
    """Return the figures as a table: what, how much, and what that means."""
    made = output.table("", "", "", right=("",))
    made.show_header = False
    made.columns[0].justify = made.columns[2].justify = "left"
    crowd, writes, tags = verdict.crowd, verdict.writes, verdict.tags
    rows = [
        ("computed", f"{crowd.computed}", f"for {crowd.callers} callers at once", not crowd.ok),
        ("a write seen by the others", *_seen(writes), not writes.ok),
        ("a tag's invalidation, likewise", *_seen(tags), not tags.ok),
        ("hits before the kill", *_shares(verdict.before), False),
        ("while the primary was dead", *_shares(verdict.during), False),
        ("in the end", *_shares(verdict.after), not verdict.recovered),
        ("calls", f"{verdict.calls:,}", f"in {verdict.processes} processes", False),
        ("failed", f"{verdict.failed:,}", "", verdict.failed),
        ("with another's value", f"{verdict.wrong:,}", "", verdict.wrong),
        ("longest call", output.duration(verdict.slowest), "", False),
    ]
    for label, value, remark, bad in rows:
        made.add_row(
            " " * indent + label,
            output.coloured(value, "red" if bad else "bold"),
            output.coloured(remark, "dim"),
        )
    return made


def _seen(changes: Changes) -> tuple[str, str]:
    most = f"{output.duration(changes.longest)} at the most of {changes.seen}"
    return output.duration(changes.typical), f"{most}, unseen {changes.unseen}"


def _shares(rates: Rates) -> tuple[str, str]:
    from_where = f"{rates.near:.0%} near, {rates.far:.0%} far"
    without = f", {rates.uncached:.0%} computed without the cache" if rates.uncached else ""
    return f"{rates.hits:.1%}", f"{from_where}{without}"

"""What is told of a function's calls, and of the near cache: frozen figures.

A call ends in one of these, and is counted there:

    near_hits            the value was in the process
    far_hits             it was on the server, and fresh
    stale_served         it was old: it is computed anew meanwhile, or could not be
    stampedes_avoided    it was computed by another caller, who was waited for
    misses               it was computed
    skipped              it was computed without the cache, for its server was away

Whatever was counted as a miss or as skipped may end as stale, too, where computing fails.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from clustercache.caching.units import aligned, counted, in_bytes, in_seconds, share

if TYPE_CHECKING:
    from clustercache.caching.near import NearCache


class CacheInfo(NamedTuple):
    """What cachetools and functools tell of a cached function.

    Attributes:
        hits: Calls that were answered without computing.
        misses: Calls that were not.
        maxsize: How many entries are kept near, of all functions; None without a near cache.
        currsize: How many there are now.
    """

    hits: int
    misses: int
    maxsize: int | None
    currsize: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionStats:
    """What the calls of one function came to; or of several, or those that are of none.

    Attributes:
        near_hits: Calls that were answered from this process.
        far_hits: Calls that were answered from the server.
        misses: Calls that found nothing, and computed.
        stale_served: Calls that were answered with a value that is not fresh any more.
        stampedes_avoided: Calls that waited for another's computation.
        computes: Computations that returned, refreshes included.
        errors: Computations that raised.
        skipped: Calls that computed without the cache, for its server was away.
        compute_seconds: How long all computations took that returned.
        time_saved: Seconds that computing would have taken for all hits, by the mean of what is
            known.
    """

    near_hits: int = 0
    far_hits: int = 0
    misses: int = 0
    stale_served: int = 0
    stampedes_avoided: int = 0
    computes: int = 0
    errors: int = 0
    skipped: int = 0
    compute_seconds: float = 0.0
    time_saved: float = 0.0

    @property
    def hits(self) -> int:
        """Calls that were answered without computing."""
        return self.near_hits + self.far_hits + self.stale_served + self.stampedes_avoided

    @property
    def hit_rate(self) -> float | None:
        """The hits' share of all calls, from 0 to 1; None without a call."""
        calls = self.hits + self.misses + self.skipped
        return self.hits / calls if calls else None

    def __add__(self, other: FunctionStats) -> FunctionStats:
        """Return the sums."""
        sums = {f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self)}
        return FunctionStats(**sums)

    def as_dict(self) -> dict[str, Any]:
        """Return all figures by name, `hits` and `hit_rate` included."""
        return {"hits": self.hits, "hit_rate": self.hit_rate, **asdict(self)}

    def __str__(self) -> str:
        rows = [
            ("hits", counted(self.hits), share(self.hit_rate)),
            ("  near", counted(self.near_hits), ""),
            ("  far", counted(self.far_hits), ""),
            ("  stale", counted(self.stale_served), ""),
            ("  waited for", counted(self.stampedes_avoided), ""),
            ("misses", counted(self.misses), ""),
            ("uncached", counted(self.skipped), ""),
            ("computed", counted(self.computes), in_seconds(self.compute_seconds)),
            ("  failed", counted(self.errors), ""),
            ("saved", "", in_seconds(self.time_saved)),
        ]
        return "\n".join(aligned(rows))


@dataclass(frozen=True, slots=True, kw_only=True)
class NearStats:
    """What is kept in the process.

    Attributes:
        entries: How many values, those included that may not be served any more.
        maxsize: How many there may be.
        bytes: What keys and encoded values take.
        max_bytes: What they may take, or None.
        oldest: Seconds since the oldest entry was read; None without one.
    """

    entries: int
    maxsize: int
    bytes: int
    max_bytes: int | None = None
    oldest: float | None = None

    @classmethod
    def of(cls, near: NearCache) -> Self:
        """Look at a near cache."""
        return cls(
            entries=len(near), maxsize=near.maxsize, bytes=near.size, max_bytes=near.max_bytes,
            oldest=near.oldest,
        )  # fmt: skip

    def __str__(self) -> str:
        parts = [f"{counted(self.entries)} of {counted(self.maxsize)} entries"]
        of = "" if self.max_bytes is None else f" of {in_bytes(self.max_bytes)}"
        parts.append(in_bytes(self.bytes) + of)
        if self.oldest is not None:
            parts.append(f"the oldest read {in_seconds(self.oldest)} ago")
        return ", ".join(parts)

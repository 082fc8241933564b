"""What caches have counted, for Prometheus: read when it is scraped, so that a hit pays nothing.

    from prometheus_client import REGISTRY
    REGISTRY.register(CacheCollector(cache))

Labels are a cache's namespace, a function's name ("" for calls that are of none), and the tier
that a hit came from; never a key.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from prometheus_client.core import Metric

_PREFIX: Final = "clustercache_cache_"
_TIERS: Final = {
    "near": "near_hits",
    "far": "far_hits",
    "stale": "stale_served",
    "waited": "stampedes_avoided",
}
_COUNTERS: Final = {
    "misses": ("misses", "Calls that found nothing, and computed."),
    "skipped": ("skipped", "Calls that computed without the cache, for its server was away."),
    "computes": ("computes", "Computations that returned, refreshes included."),
    "errors": ("errors", "Computations that raised."),
    "compute_seconds": ("compute_seconds", "Seconds of all computations that returned."),
}
_SAVED: Final = (
    "Seconds that computing would have taken for all hits, by the mean of what is known."
)
_NEAR: Final = {
    "entries": ("entries", "Values that are kept in the process."),
    "bytes": ("bytes", "What their keys and encoded values take."),
    "oldest_seconds": ("oldest", "Seconds since the oldest of them was read."),
}


class Counting(Protocol):
    """A `Cache` or an `AsyncCache`."""

    @property
    def settings(self) -> Any:
        """What has its namespace."""

    def stats(self) -> Any:
        """Return its `CacheStats`."""


class CacheCollector:
    """Tell a Prometheus registry what caches of this process have counted.

    Args:
        caches: Each of another namespace. A cache and its asyncio twin count together: give one.
    """

    def __init__(self, *caches: Counting) -> None:
        self._caches = caches

    def collect(self) -> Iterator[Metric]:
        """Read all counters."""
        read = {one.settings.namespace: one.stats().as_dict() for one in self._caches}
        rows = [
            ([name, function], figures)
            for name, stats in read.items()
            for function, figures in {**stats["functions"], "": stats["direct"]}.items()
        ]
        yield _hits(rows)
        for metric, (figure, told) in _COUNTERS.items():
            counter = CounterMetricFamily(_PREFIX + metric, told, labels=["cache", "function"])
            for labels, figures in rows:
                counter.add_metric(labels, figures[figure])
            yield counter
        saved = GaugeMetricFamily(_PREFIX + "saved_seconds", _SAVED, labels=["cache", "function"])
        for labels, figures in rows:
            saved.add_metric(labels, figures["time_saved"])
        yield saved
        yield from _near({name: stats["near"] for name, stats in read.items()})


def _hits(rows: list[tuple[list[str], Mapping[str, Any]]]) -> Metric:
    told = "Calls that were answered without computing."
    hits = CounterMetricFamily(_PREFIX + "hits", told, labels=["cache", "function", "tier"])
    for labels, figures in rows:
        for tier, figure in _TIERS.items():
            hits.add_metric([*labels, tier], figures[figure])
    return hits


def _near(caches: Mapping[str, Mapping[str, Any] | None]) -> Iterator[Metric]:
    for metric, (figure, told) in _NEAR.items():
        gauge = GaugeMetricFamily(f"{_PREFIX}near_{metric}", told, labels=["cache"])
        for name, near in caches.items():
            if near is not None and near[figure] is not None:
                gauge.add_metric([name], near[figure])
        yield gauge

"""Which changes a replica had before its primary was hit, told without asking the shop.

A write of ours, confirmed by a replica, confirms all that the same primary did before it: so each
shard gets one all the time, and the moments at which they began are remembered.
"""

from __future__ import annotations

import threading
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple, Self

from clustercache import Cluster
from clustercache._core.slots import key_slot
from clustercache.exceptions import ClusterCacheError
from tests.faults.calls import tags_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clustercache.cli.demo.shopper import Shopper, Visit
    from clustercache.localcluster import LocalCluster

_PAUSE = 0.01
_CONFIRM = 0.2
PREFIX = "session"
COOKIE = "shop"


class Hit(NamedTuple):
    """A shard's primary was hit, and a replica was promoted; monotonic seconds."""

    at: float
    promotion: float


class Marks:
    """Marks on each shard of a cluster, in threads of their own.

    Attributes:
        hits: By the number of the shard, filled in by who hits it.
    """

    def __init__(self, lc: LocalCluster) -> None:
        self.hits: dict[int, Hit] = {}
        self._slots = [(shard.slots.start, shard.slots.end) for shard in lc.plan.shards]
        tags = [tags_of(lc, lc.node_for(first), 1)[0] for first, _ in self._slots]
        self._times: list[list[tuple[float, float]]] = [[] for _ in tags]
        self._stop = threading.Event()
        self._client = Cluster.from_url(lc.url, deadline=2.0)
        self._threads = [
            threading.Thread(target=self._mark, args=(tag, times))
            for tag, times in zip(tags, self._times, strict=True)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self._client.close()

    def _mark(self, tag: str, times: list[tuple[float, float]]) -> None:
        while not self._stop.wait(_PAUSE):
            begin = monotonic()
            try:
                with self._client.durable(replicas=1, timeout=_CONFIRM) as durable:
                    durable.set(f"mark:{{{tag}}}", "1")
            except ClusterCacheError:
                continue
            if durable.acknowledged:
                times.append((begin, monotonic()))

    def replicated(self, shopper: Shopper, visit: Visit) -> bool:
        """Tell whether what a visit changed must be there after all hits."""
        shard = self.shard_of(shopper)
        return must_be_there(visit, self.hits.get(shard), self._times[shard])

    def shard_of(self, shopper: Shopper) -> int:
        """Return the number of the shard that has a user's session."""
        selector = shopper.browser.cookies[COOKIE].partition(".")[0]
        slot = key_slot(f"{PREFIX}:s:{selector}")
        return next(n for n, (first, last) in enumerate(self._slots) if first <= slot <= last)


def must_be_there(visit: Visit, hit: Hit | None, marks: Sequence[tuple[float, float]]) -> bool:
    """Tell whether a change outlives what hit its shard.

    Args:
        visit: What made it.
        hit: What hit the primary; None for a shard that was well.
        marks: When writes that a replica confirmed began and ended.
    """
    if hit is None or visit.start >= hit.promotion:
        return True
    return any(begin >= visit.end and end <= hit.at for begin, end in marks)

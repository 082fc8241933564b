"""The further rounds of a pipeline, with blocking sockets."""

from __future__ import annotations

import time
from time import monotonic
from typing import TYPE_CHECKING, Any

from clustercache._rounds import Rounds
from clustercache._sync.exchange import Share, exchange
from clustercache._sync.health import Crowded

if TYPE_CHECKING:
    from clustercache._core.batch import Unit
    from clustercache._limits import Limits
    from clustercache._rounds import Leftover, Parcel
    from clustercache._sync.cluster_map import ClusterMap
    from clustercache._sync.pool import Pool


class SyncRounds(Rounds):
    """Sends what the first round left without a reply."""

    def __init__(self, cluster_map: ClusterMap, left: Leftover, limits: Limits, now: float) -> None:
        """Send to the nodes of this map; see `Rounds`."""
        super().__init__(cluster_map, left.units, limits, now)
        self._map = cluster_map
        self._left = left

    def run(self) -> None:
        """Bring each a reply or an exception."""
        outcomes, began = self._left.first, monotonic()
        while (pause := self.absorb(outcomes, monotonic() - began)) is not None:
            if pause:
                time.sleep(pause)
            began = monotonic()
            outcomes = self._round()
        self._left.fill(self.replies)

    def _round(self) -> list[tuple[Unit, Any]]:
        """Send what can go now; wait for a suspected node only if nothing else can."""
        if monotonic() < self._deadline:
            self._map.ensure(self._deadline)
        plan = self.plan()
        if plan.parcels:
            return plan.outcomes + self._exchange(plan.parcels)
        if plan.suspected is not None and not plan.outcomes:
            self._wait_for(plan.suspected)
        return plan.outcomes

    def _wait_for(self, pool: Pool) -> None:
        suspicion = pool.suspicion
        if suspicion is not None:
            # More than max_waiting callers: this one tries again a little later instead.
            self._map.helper.start()  # whoever began to doubt it may have been interrupted
            try:
                suspicion.wait(self._deadline - monotonic(), self._map.config.max_waiting)
            except Crowded:
                time.sleep(self._limits.retry.backoff_cap)

    def _exchange(self, parcels: list[Parcel]) -> list[tuple[Unit, Any]]:
        shares = [
            Share(one.pool, one.data, follows_map=all(unit.target is None for unit in one.units))
            for one in parcels
        ]
        exchange(self._map, shares, self._deadline, peek=True)
        both = zip(parcels, shares, strict=True)
        return [found for one, share in both for found in one.outcomes(share.outcomes)]

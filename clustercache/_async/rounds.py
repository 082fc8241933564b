"""The further rounds of a pipeline, in asyncio."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING, Any

from clustercache._async.parcels import send_to
from clustercache._async.suspicion import Crowded
from clustercache._rounds import Rounds

if TYPE_CHECKING:
    from clustercache._async.cluster_map import ClusterMap
    from clustercache._async.mux import Mux
    from clustercache._core.batch import Unit
    from clustercache._limits import Limits
    from clustercache._rounds import Leftover, Parcel


class AsyncRounds(Rounds):
    """Sends what the first round left without a reply."""

    def __init__(self, cluster_map: ClusterMap, left: Leftover, limits: Limits, now: float) -> None:
        """Send to the nodes of this map; see `Rounds`."""
        super().__init__(cluster_map, left.units, limits, now)
        self._map = cluster_map
        self._left = left

    async def run(self) -> None:
        """Bring each a reply or an exception."""
        outcomes, began = self._left.first, monotonic()
        while (pause := self.absorb(outcomes, monotonic() - began)) is not None:
            if pause:
                await asyncio.sleep(pause)
            began = monotonic()
            outcomes = await self._round()
        self._left.fill(self.replies)

    async def _round(self) -> list[tuple[Unit, Any]]:
        """Send what can go now; wait for a suspected node only if nothing else can."""
        if monotonic() < self._deadline:
            await self._map.ensure(self._deadline)
        plan = self.plan()
        if plan.parcels:
            return plan.outcomes + await self._exchange(plan.parcels)
        if plan.suspected is not None and not plan.outcomes:
            await self._wait_for(plan.suspected)
        return plan.outcomes

    async def _wait_for(self, pool: Mux) -> None:
        suspicion = pool.suspicion
        if suspicion is not None:
            # More than max_waiting callers: this one tries again a little later instead.
            try:
                most = self._map.config.max_waiting
                await suspicion.wait(self._deadline - monotonic(), most)
            except Crowded:
                await asyncio.sleep(self._limits.retry.backoff_cap)

    async def _exchange(self, parcels: list[Parcel]) -> list[tuple[Unit, Any]]:
        sent = (send_to(self._map, one.pool, one.data, self._deadline) for one in parcels)
        both = zip(parcels, await asyncio.gather(*sent), strict=True)
        return [found for one, came in both for found in one.outcomes(came)]

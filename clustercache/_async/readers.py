"""The nodes of each shard as reads see them (see `_readers`), on one loop."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any

from clustercache._async.gate import Gate
from clustercache._async.probe import Probe
from clustercache._core import read_from
from clustercache._readers import Readership

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Sequence

    from clustercache._async.cluster_map import ClusterMap
    from clustercache._core.address import Address


class Readers(Readership):
    """All shards' readers, for one topology after the other."""

    def __init__(self, cluster_map: ClusterMap) -> None:
        """Open nothing yet; the policy is the configuration's."""
        config, loop = cluster_map.config, cluster_map.loop
        places = max(config.max_in_flight // 2, 1)
        policy = config.reads(config.read_from)
        super().__init__(cluster_map, policy, lambda: Gate(places, loop), monotonic())

    def _new_probe(self, address: Address) -> Probe:
        target, config, tls = self.map.discovery.way_to(address)
        return Probe(target, config, tls, read_from.FACTS)

    def _answer(self, probe: Probe) -> Sequence[Any] | None:
        return probe.answer()

    def _ask(self, probe: Probe) -> None:
        probe.ask()

    def close(self) -> list[asyncio.Task[Any]]:
        """Ask nobody any more, and return the tasks that are ending."""
        asking = [probe.asking for probe in self._probes.values() if probe.asking is not None]
        self._close_probes()
        return asking

    def abandon(self) -> None:
        """Close the sockets alone."""
        for pool in self.pools:
            pool.abandon()
        self._probes.clear()

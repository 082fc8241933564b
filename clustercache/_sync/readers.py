"""The nodes of each shard as reads see them (see `_readers`), with pools, probes and a lock."""

from __future__ import annotations

import threading
from time import monotonic
from typing import TYPE_CHECKING, Any

from clustercache._core import read_from
from clustercache._readers import REVIEWED, Followed, Readership
from clustercache._sync.gate import Gate
from clustercache._sync.probe import Probe

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clustercache._core.address import Address
    from clustercache._core.read_from import ReadFrom
    from clustercache._sync.cluster_map import ClusterMap


class Readers(Readership):
    """All shards' readers, for one topology after the other."""

    def __init__(self, cluster_map: ClusterMap, policy: ReadFrom) -> None:
        """Open nothing yet.

        Args:
            cluster_map: Whose topology is followed.
            policy: The client's own; a block of calls may have another.
        """
        places = max(cluster_map.config.max_connections // 2, 1)
        super().__init__(cluster_map, policy, lambda: Gate(places), monotonic())
        self._lock = threading.RLock()
        self._looking = Gate(1)

    def follow(self) -> None:
        """Make the readers of the map's topology, unless another thread did."""
        # A topology comes with the pools of its nodes.
        with self._lock, self.map._lock:  # noqa: SLF001
            if self.followed.topology is not self.map.topology:
                super().follow()

    def _look(self, now: float) -> None:
        place = self._looking.enter(now)
        if place is not None:
            try:
                super()._look(now)
            finally:
                self._looking.leave(place)

    def _new_probe(self, address: Address) -> Probe:
        target, config, tls = self.map.discovery.way_to(address)
        return Probe(target, config, tls, read_from.FACTS)

    def _answer(self, probe: Probe) -> Sequence[Any] | None:
        return probe.answer(0.0)

    def _ask(self, probe: Probe) -> None:
        probe.ask(0.0)

    def close(self) -> None:
        """Close all connections to replicas, once calls under way are done."""
        with self._lock:
            for pool in self.pools:
                pool.retire()
        self._looking.enter(monotonic() + REVIEWED)
        self._close_probes()

    def after_fork(self) -> None:
        """Start anew in a child; the parent's sockets are only closed."""
        for pool in self.pools:
            pool.abandon()
        self._lock, self._looking = threading.RLock(), Gate(1)
        self._close_probes()
        self.followed = Followed()

"""What both shells' maps decide alike: whom to ask, who is doubted, and who is awaited."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from time import monotonic
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from clustercache._core.asking import Asking, Terms
from clustercache.exceptions import ClosedError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from clustercache._core.address import Address
    from clustercache._core.topology import Shard, Topology
    from clustercache._inquiry import Inquiry
    from clustercache.config import ClusterConfig

P = TypeVar("P", bound=Any)

_REFRESH_TIME = 2.0
"""Seconds that one refresh may take, whatever its nodes do."""

_HASTE = 0.25
"""Seconds for each node that a refresh asks while calls wait for a suspected one."""


class BaseMap(ABC, Generic[P]):
    """A topology, and what reaches its nodes; a shell says how the two are kept in step.

    Attributes:
        config: The client's.
        topology: The snapshot in force.
        single: Whether one shard takes keys of all slots together; None while that is not known.
        pools: What reaches each node.
        suspicions: The nodes that are doubted.
        closed: Whether the client is.
    """

    config: ClusterConfig
    topology: Topology | None
    single: bool | None
    pools: dict[Address, P]
    suspicions: dict[Address, Any]
    closed: bool

    @property
    @abstractmethod
    def _inquiry(self) -> Inquiry:
        """Who knows whom to ask."""

    @abstractmethod
    def pool_at(self, address: Address) -> P:
        """Return what reaches a node, known or not."""

    def _refuse_if_closed(self) -> None:
        if self.closed:
            msg = "the client is closed: make a new one"
            raise ClosedError(msg)

    # Whom to ask ------------------------------------------------------------------------------

    def _ask_seeds(self, deadline: float) -> Asking:
        """Return the round in which the topology is learnt first.

        Args:
            deadline: Until when, in monotonic seconds.
        """
        seeds = self.config.seeds
        # A silent seed must leave time for the others.
        share = max((deadline - monotonic()) / len(seeds), 0.05)
        patience = min(self.config.socket_connect_timeout, share)
        return Asking(seeds, Terms(patience, deadline, self._inquiry.enough), self._inquiry.lead)

    def _ask_again(self, hints: Sequence[Address]) -> Asking:
        """Return the round of a refresh; `hints` should know best."""
        current, inquiry = self.topology, self._inquiry
        order = list(current.nodes) if current else []
        random.shuffle(order)
        patience = self.config.socket_connect_timeout
        terms = Terms(
            min(patience, _HASTE) if self.suspicions else patience,
            monotonic() + _REFRESH_TIME,
            inquiry.enough,
            avoid=self.suspicions,
            known=current.ids if current else frozenset(),
        )
        return Asking(inquiry.whom(current, hints, order), terms, inquiry.lead)

    def witnesses_of(self, pool: P) -> list[Address]:
        """Return who will know a primary's successor first: its replicas, or the sentinels.

        The map may learn of them only while it is suspected: a view leaves out replicas that are
        not in sync yet.
        """
        shard = self._shard_of(pool)
        return self._inquiry.witnesses(shard) if shard else []

    # Nodes ------------------------------------------------------------------------------------

    def any_primary(self) -> P | None:
        """Return the first primary that is not suspected, or else the first."""
        known = self.topology
        pools = [self.pool_at(shard.primary.address) for shard in known.shards] if known else []
        well = (pool for pool in pools if pool.suspicion is None)
        return next(well, pools[0] if pools else None)

    def _reached(
        self, new: Topology, make: Callable[[Address], P]
    ) -> tuple[dict[Address, P], list[P | None]]:
        """Return what reaches a new snapshot's nodes, and each slot's owner; what stays is kept."""
        pools = {address: self.pools.get(address) or make(address) for address in new.nodes}
        of_shard = {shard: pools[shard.primary.address] for shard in new.shards}
        return pools, [None if shard is None else of_shard[shard] for shard in new.slots]

    def _shard_of(self, pool: P) -> Shard | None:
        shards = self.topology.shards if self.topology else ()
        return next((s for s in shards if self.pools.get(s.primary.address) is pool), None)

    # Doubt ------------------------------------------------------------------------------------

    def _may_doubt(self, pool: P) -> bool:
        """Tell whether a primary owns slots, so that there is something to wait for."""
        known, shard = self.topology, self._shard_of(pool)
        return not (shard is None or self.closed or known is None or shard not in known.slots)

    def _may_doubt_replica(self, pool: P) -> bool:
        return not (self.closed or pool.retired or pool.address in self.suspicions)

    def _ended_by(self, new: Topology) -> list[Any]:
        """Return the suspicions of nodes that are not what they were."""
        owners = {shard.primary.address for shard in new.shards}
        others: Mapping[bool, Any] = {True: new.nodes.keys() - owners, False: owners}
        doubted = list(self.suspicions.values())
        return [one for one in doubted if one.pool.address not in others[one.replica]]

"""The map in force: a topology snapshot and, for each slot, the pool of the node that owns it.

Readers take `slots[n]` without a lock; a new snapshot is swapped in whole. Pools of nodes that stay
are kept, and those of nodes that left finish what is under way.
"""

from __future__ import annotations

import random
import threading
from collections import deque
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING

from redis.exceptions import AuthenticationError, NoPermissionError

from clustercache._commands import to_error
from clustercache._core import decisions, refresh, topology
from clustercache._core.address import Address
from clustercache._core.slots import SLOT_COUNT
from clustercache._core.wire import ServerError
from clustercache._limits import jitter
from clustercache._sync.connection import Refused
from clustercache._sync.health import Suspicion
from clustercache._sync.helper import Helper
from clustercache._sync.pool import Pool
from clustercache._sync.probe import for_probes, learn
from clustercache._trust import UNTRUSTED, without_code
from clustercache.exceptions import ClosedError, NoClusterError, UntrustedError
from clustercache.instrumentation import (
    NodeBack,
    NodeReplaced,
    NodeSuspected,
    RefreshDone,
    TopologyChanged,
)
from clustercache.instrumentation.hooks import Observer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from ssl import SSLContext

    from clustercache._core.topology import Topology, View
    from clustercache.config import ClusterConfig
    from clustercache.instrumentation import Event

_REFRESH_TIME = 2.0
"""Seconds that one refresh may take, whatever its nodes do."""

_HASTE = 0.25
"""Seconds for each node that a refresh asks while calls wait for a suspected one."""


class ClusterMap:
    """What the client knows of the cluster, and the pools to reach it."""

    def __init__(self, config: ClusterConfig) -> None:
        """Open nothing yet: the first call learns the topology."""
        self.config = config
        self._tls = config.tls.context() if config.tls else None
        self._probe_config = for_probes(config)
        self.observer = Observer(config.hooks)
        self._news: deque[Event] = deque()
        self.helper = Helper(self)
        self.refreshes = 0
        self.closed = False
        self.topology: Topology | None = None
        self.slots: list[Pool | None] = [None] * SLOT_COUNT
        self.pools: dict[Address, Pool] = {}
        self.suspicions: dict[Address, Suspicion] = {}
        self._lock = threading.RLock()
        self._first = threading.RLock()

    # Learning ---------------------------------------------------------------------------------

    def ensure(self, deadline: float) -> None:
        """Learn the topology unless it is known; callers at the same time wait for one of them.

        Raises:
            NoClusterError: No seed gave it before `deadline`.
            ClosedError: The client was closed.
        """
        self._refuse_if_closed()
        if self.topology is not None:
            return
        try:
            if not self._first.acquire(timeout=max(deadline - monotonic(), 0.0)):
                raise _no_cluster({})
            failures: dict[Address, Exception] = {}
            while self.topology is None:
                self._refuse_if_closed()
                left = deadline - monotonic()
                if left <= 0:
                    raise _no_cluster(failures)
                failures = self._learn_from_seeds(deadline)
                if self.topology is None:
                    _raise_if_refused(failures)
                    self.helper.rest(min(refresh.probe_pause(jitter()), max(left, 0)))
        finally:
            # An interrupt may come just behind the acquiring: whoever owns it lets go of it.
            with suppress(RuntimeError):
                self._first.release()

    def _refuse_if_closed(self) -> None:
        if self.closed:
            msg = "the client is closed: make a new one"
            raise ClosedError(msg)

    def _learn_from_seeds(self, deadline: float) -> dict[Address, Exception]:
        began = monotonic()
        views, failures = learn(
            self.config.seeds,
            self._probe_config,
            self._tls,
            enough=refresh.ASKED,
            # A silent seed must leave time for the others.
            timeout=min(
                self.config.socket_connect_timeout,
                max((deadline - monotonic()) / len(self.config.seeds), 0.05),
            ),
            deadline=deadline,
        )
        self._asked(views, failures, began)
        return failures

    def refresh(self, hints: Sequence[Address]) -> None:
        """Ask some nodes for their views and adopt what comes of it; for the helper thread."""
        current = self.topology
        order = list(current.nodes) if current else []
        random.shuffle(order)
        candidates = refresh.whom_to_ask(current, hints, self.config.seeds, order)
        addresses = [a for a in candidates if a not in self.suspicions]
        patience = _HASTE if self.suspicions else self.config.socket_connect_timeout
        began = monotonic()
        views, failures = learn(
            [self.target(a) for a in addresses],
            self._probe_config,
            self._tls,
            enough=refresh.ASKED,
            timeout=min(patience, self.config.socket_connect_timeout),
            deadline=began + _REFRESH_TIME,
            known=current.ids if current else frozenset(),
            stopping=lambda: self.helper.stopping,
        )
        self.refreshes += 1
        self._asked(views, failures, began)

    def _asked(
        self, views: Sequence[View], failures: Mapping[Address, Exception], began: float
    ) -> None:
        """Adopt what nodes said when they were asked, and tell of it."""
        failed = tuple(map(str, failures))
        took = monotonic() - began
        self.observer.tell(RefreshDone(answered=len(views), failed=failed, seconds=took))
        if views:
            self.adopt(views)

    def adopt(self, views: Sequence[View]) -> None:
        """Take the views, oldest first, into the map."""
        with self._lock:
            seeds = frozenset(self.config.seeds)
            ours, replaced = topology.same_cluster(views, self.topology, seeds)
            if not ours or self.closed:
                return
            base = None if replaced else self.topology
            merged = topology.merge(ours, base)
            if base is None or base.confirmed is not None or not merged.same_as(base):
                self._install(merged)
        self._tell_news()

    def patch(self, slot: int, address: Address) -> None:
        """Follow a MOVED provisionally, until the refresh that it causes."""
        with self._lock:
            if self.topology is not None:
                moved = self.topology.with_moved(slot, address)
                if moved is not self.topology:
                    self._install(moved)
        self._tell_news()

    def _install(self, new: Topology) -> None:
        pools = {a: self.pools.get(a) or self._new_pool(a) for a in new.nodes}
        of_shard = {shard: pools[shard.primary.address] for shard in new.shards}
        self.slots = [None if shard is None else of_shard[shard] for shard in new.slots]
        left = [pool for address, pool in self.pools.items() if address not in pools]
        self.topology, self.pools = new, pools
        for pool in left:
            pool.retire()
        owners = {pool.address for pool in of_shard.values()}
        for suspicion in list(self.suspicions.values()):
            if suspicion.pool.address not in owners:
                self._end(suspicion, replaced=True)
        self._news.append(
            TopologyChanged(
                nodes=len(new.nodes),
                shards=len(new.shards),
                provisional=new.confirmed is not None,
            )
        )

    def _tell_news(self) -> None:
        """Tell what happened while the lock was held, for a hook may do anything."""
        with suppress(IndexError):
            while True:
                self.observer.tell(self._news.popleft())

    # Nodes ------------------------------------------------------------------------------------

    def target(self, address: Address) -> Address:
        """Return where to connect to for a node that the cluster knows at `address`."""
        remap = self.config.address_remap
        if remap is None or address in self.config.seeds:
            return address
        return Address(*remap((address.host, address.port)))

    def probe_of(self, address: Address) -> tuple[Address, ClusterConfig, SSLContext | None]:
        """Return what a probe of the node at `address` is made of."""
        return self.target(address), self._probe_config, self._tls

    def _new_pool(self, address: Address) -> Pool:
        target = self.target(address)
        return Pool(address, self.config, self._tls, target=target, observer=self.observer)

    def pool_at(self, address: Address) -> Pool:
        """Return the pool of a node, known or not (an ASK may name one that no map has yet)."""
        pool = self.pools.get(address)
        if pool is None:
            with self._lock:
                pool = self.pools.get(address)
                if pool is None:
                    pool = self.pools[address] = self._new_pool(address)
        return pool

    def any_primary(self) -> Pool | None:
        """Return the first primary that is not suspected, or else the first."""
        known = self.topology
        pools = [self.pool_at(shard.primary.address) for shard in known.shards] if known else []
        well = (pool for pool in pools if pool.suspicion is None)
        return next(well, pools[0] if pools else None)

    # Health -----------------------------------------------------------------------------------

    def suspect(self, pool: Pool) -> bool:
        """Begin to doubt a primary: calls wait until it answers or is replaced.

        Returns:
            False where it owns no slot (any more), so that there is nothing to wait for.
        """
        with self._lock:
            known = self.topology
            shard = self._shard_of(pool)
            if shard is None or self.closed or known is None or shard not in known.slots:
                return False
            if pool.suspicion is None:
                pool.errors += 1
                suspicion = Suspicion(pool)
                # Calls wait for what they find at the pool: somebody must be watching it by then.
                self.suspicions[pool.address] = suspicion
                pool.suspicion = suspicion
                pool.reroute()
                self._news.append(NodeSuspected(node=str(pool.address)))
            self.helper.start()
        self._tell_news()
        return True

    def _shard_of(self, pool: Pool) -> topology.Shard | None:
        shards = self.topology.shards if self.topology else ()
        return next((s for s in shards if self.pools.get(s.primary.address) is pool), None)

    def replicas_of(self, pool: Pool) -> list[Address]:
        """Return the replicas of a primary, who will know its successor first.

        The map may learn of them only while it is suspected: a view leaves out replicas that are
        not in sync yet.
        """
        shard = self._shard_of(pool)
        return [node.address for node in shard.replicas] if shard else []

    def end(self, suspicion: Suspicion, *, replaced: bool) -> None:
        """End a suspicion: the node is well, or its slots have a new owner."""
        self._end(suspicion, replaced=replaced)
        self._tell_news()

    def _end(self, suspicion: Suspicion, *, replaced: bool) -> None:
        with self._lock:
            pool = suspicion.pool
            if pool.suspicion is suspicion:
                pool.suspicion = None
            suspicion.over.set()
            if self.suspicions.get(pool.address) is suspicion:
                del self.suspicions[pool.address]
        if replaced:
            pool.flush()
            pool.wake()
        event = NodeReplaced if replaced else NodeBack
        self._news.append(event(node=str(pool.address)))

    # The end ----------------------------------------------------------------------------------

    def close(self) -> None:
        """Let calls under way finish, close everything, and refuse new calls."""
        with self._lock:
            self.closed = True
            self.slots = [None] * SLOT_COUNT
            pools, self.pools = self.pools, {}
            self.topology = None
        self.helper.stop()
        for suspicion in list(self.suspicions.values()):
            self.end(suspicion, replaced=True)
        for pool in pools.values():
            pool.retire()

    def let_go(self) -> None:
        """Let the helper thread end by itself: the client is gone."""
        self.helper.let_go()

    def after_fork(self) -> None:
        """Start anew in a child: own locks, own sockets; the parent's are only closed."""
        for pool in self.pools.values():
            pool.abandon()
        known = self.topology
        closed, self.closed = self.closed, False
        self._lock, self._first = threading.RLock(), threading.RLock()
        self.helper = Helper(self)
        self.suspicions, self.pools = {}, {}
        if known is not None:
            self._install(known)
        self._news.clear()
        self.closed = closed


def _no_cluster(failures: Mapping[Address, Exception]) -> NoClusterError:
    msg = "no seed gave the cluster's topology: check the URL, and that a cluster listens there"
    return NoClusterError(msg, attempts=[f"{node}: {error}" for node, error in failures.items()])


def _raise_if_refused(failures: Mapping[Address, Exception]) -> None:
    """Raise what no waiting can mend: wrong credentials, say, or a server that is no cluster."""
    for node, refusal in failures.items():
        error = refusal.error if isinstance(refusal, Refused) else refusal
        if not isinstance(error, ServerError):
            continue
        if decisions.classify(error, node).trouble in decisions.FINAL:
            if error.code == UNTRUSTED:
                raise UntrustedError(without_code(error), node=str(node))
            raised = to_error(error)
            if isinstance(raised, (AuthenticationError, NoPermissionError)):
                raise raised
            raise _no_cluster({node: error})

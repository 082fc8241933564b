"""The map in force: a topology snapshot and, for each slot, the pool of the node that owns it.

Readers take `slots[n]` without a lock; a new snapshot is swapped in whole. Pools of nodes that stay
are kept, and those of nodes that left finish what is under way.
"""

from __future__ import annotations

import math
import threading
import weakref
from collections import deque
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING

from clustercache._core.refresh import probe_pause
from clustercache._core.slots import SLOT_COUNT
from clustercache._limits import jitter
from clustercache._map import BaseMap
from clustercache._request import Unsure
from clustercache._startup import no_cluster, raise_if_refused
from clustercache._sync.discovery import Discovery
from clustercache._sync.health import Suspicion
from clustercache._sync.helper import Helper
from clustercache._sync.pool import Pool
from clustercache.instrumentation import (
    NodeBack,
    NodeReplaced,
    NodeSuspected,
    RefreshDone,
    TopologyChanged,
)
from clustercache.instrumentation.hooks import Observer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from clustercache._core.address import Address
    from clustercache._core.asking import Asking
    from clustercache._core.routing import Part
    from clustercache._core.sources import Answer
    from clustercache._core.topology import Topology
    from clustercache._inquiry import Inquiry
    from clustercache._request import Command
    from clustercache.config import ClusterConfig
    from clustercache.instrumentation import Event


class ClusterMap(BaseMap[Pool]):
    """What the client knows of the cluster, and the pools to reach it.

    Attributes:
        logins: How often credentials changed while connections were open.
    """

    def __init__(self, config: ClusterConfig) -> None:
        """Open nothing yet: the first call learns the topology."""
        self.config = config
        self._tls = config.tls.context() if config.tls else None
        self.discovery = Discovery(config, self._tls)
        self.observer = Observer(config.hooks)
        self._news: deque[Event] = deque()
        self._every: weakref.WeakSet[Pool] = weakref.WeakSet()
        self.helper = Helper(self)
        self.refreshes = self.logins = 0
        self.closed = False
        self.topology: Topology | None = None
        self.single: bool | None = None
        """Whether one shard takes keys of all slots together; None while that is not known."""
        self.slots: list[Pool | None] = [None] * SLOT_COUNT
        self.pools: dict[Address, Pool] = {}
        self.suspicions: dict[Address, Suspicion] = {}
        self._lock = threading.RLock()
        self._first = threading.RLock()

    @property
    def _inquiry(self) -> Inquiry:
        return self.discovery

    # Learning ---------------------------------------------------------------------------------

    def ensure(self, deadline: float) -> None:
        """Learn the topology unless it is known; callers at the same time wait for one of them.

        Raises:
            NoClusterError: No seed gave it before `deadline`.
            ClosedError: The client was closed.
        """
        self._refuse_if_closed()
        if self.topology is not None:
            self.helper.listen()
            return
        try:
            if not self._first.acquire(timeout=max(deadline - monotonic(), 0.0)):
                raise no_cluster({})
            failures: dict[Address, Exception] = {}
            while self.topology is None:
                self._refuse_if_closed()
                left = deadline - monotonic()
                if left <= 0:
                    raise no_cluster(failures)
                failures = self._learn_from_seeds(deadline)
                if self.topology is None:
                    raise_if_refused(failures, self.config.db)
                    self.helper.rest(min(probe_pause(jitter()), max(left, 0)))
        finally:
            # An interrupt may come just behind the acquiring: whoever owns it lets go of it.
            with suppress(RuntimeError):
                self._first.release()

    def _learn_from_seeds(self, deadline: float) -> dict[Address, Exception]:
        asking = self._ask_seeds(deadline)
        self._ask(asking, deadline)
        self.helper.listen()
        return {**asking.failures, **self.discovery.doubt}

    def refresh(self, hints: Sequence[Address]) -> None:
        """Ask some nodes for their views and adopt what comes of it; for the helper."""
        self._ask(self._ask_again(hints), stopping=lambda: self.helper.stopping)
        self.refreshes += 1

    def _ask(
        self,
        asking: Asking,
        deadline: float = math.inf,
        *,
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        """Ask, tell of it, and adopt what was answered."""
        began = monotonic()
        self.discovery.learn(asking, stopping)
        answered, failed = len(asking.answers), tuple(map(str, asking.failures))
        took = monotonic() - began
        self.observer.tell(RefreshDone(answered=answered, failed=failed, seconds=took))
        self.adopt(asking.answers, deadline)

    def adopt(self, answers: Sequence[Answer], deadline: float = math.inf) -> None:
        """Take the answers, oldest first, into the map; `deadline` is in monotonic seconds."""
        while True:
            known = self.topology
            found = self.discovery.agreed(answers, known, deadline)
            if found is None:
                return
            with self._lock:
                if self.closed:
                    return
                if self.topology is not known:
                    continue  # patched, or learnt by another thread, meanwhile
                if known is None or known.confirmed is not None or not found.same_as(known):
                    self._install(found)
            self._tell_news()
            return

    def parts_of(self, command: Command) -> list[Part]:
        """Return a call's parts; learn the topology first where they depend on it."""
        try:
            return command.parts(self.single)
        except Unsure:
            self.ensure(command.deadline)
            return command.parts(self.single)

    def patch(self, slot: int, address: Address) -> None:
        """Follow a MOVED provisionally, until the refresh that it causes."""
        with self._lock:
            if self.topology is not None:
                moved = self.topology.with_moved(slot, address)
                if moved is not self.topology:
                    self._install(moved)
        self._tell_news()

    def _install(self, new: Topology) -> None:
        pools, self.slots = self._reached(new, self._new_pool)
        left = [pool for address, pool in self.pools.items() if address not in pools]
        self.topology, self.pools, self.single = new, pools, new.single
        for pool in left:
            pool.retire()
        for suspicion in self._ended_by(new):
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

    def _new_pool(self, address: Address) -> Pool:
        return self.new_pool(address, readonly=False)

    def new_pool(self, address: Address, *, readonly: bool) -> Pool:
        """Return a pool of its own for a node; `readonly` is for reads that a replica serves."""
        made = Pool(
            address,
            self.config,
            self._tls,
            target=self.discovery.target(address),
            readonly=readonly,
            observer=self.observer,
        )
        with self._lock:
            self._every.add(made)
        return made

    def every_pool(self) -> list[Pool]:
        """Return all pools, those for reads from replicas, too."""
        with self._lock:
            return list(self._every)

    def pool_at(self, address: Address) -> Pool:
        """Return the pool of a node, known or not (an ASK may name one that no map has yet)."""
        pool = self.pools.get(address)
        if pool is None:
            with self._lock:
                pool = self.pools.get(address)
                if pool is None:
                    pool = self.pools[address] = self._new_pool(address)
        return pool

    # Health -----------------------------------------------------------------------------------

    def suspect(self, pool: Pool) -> bool:
        """Begin to doubt a primary: calls wait until it answers or is replaced.

        Returns:
            False where it owns no slot (any more), so that there is nothing to wait for.
        """
        with self._lock:
            if not self._may_doubt(pool):
                return False
            self._watch(pool, replica=False)
        self._tell_news()
        return True

    def suspect_replica(self, pool: Pool) -> None:
        """Begin to doubt a replica that served reads: they avoid it until it answers."""
        with self._lock:
            if self._may_doubt_replica(pool):
                self._watch(pool, replica=True)
        self._tell_news()

    def _watch(self, pool: Pool, *, replica: bool) -> None:
        if pool.suspicion is None:
            pool.errors += 1
            suspicion = Suspicion(pool, replica=replica)
            # Calls wait for what they find at the pool: somebody must be watching it by then.
            self.suspicions[pool.address] = suspicion
            pool.suspicion = suspicion
            pool.reroute()
            self._news.append(NodeSuspected(node=str(pool.address)))
        self.helper.start()

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
            pool.wake_apart()  # they could last for ever

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

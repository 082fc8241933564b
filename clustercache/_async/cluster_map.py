"""The map in force on one loop: a topology snapshot and, for each slot, what reaches its owner.

The snapshot is shared by all loops of a client; the connections are each loop's own. Everything
here happens on the loop, between two awaits, so that there is no lock.
"""

from __future__ import annotations

import asyncio
import math
from time import monotonic
from typing import TYPE_CHECKING, Any

from clustercache._async.announcements import Announcements
from clustercache._async.followers import Followers
from clustercache._async.foreign import leave
from clustercache._async.helper import Helper
from clustercache._async.mux import Mux
from clustercache._async.readers import Readers
from clustercache._async.renewal import Renewals
from clustercache._async.suspicion import Suspicion
from clustercache._core.refresh import probe_pause
from clustercache._core.slots import SLOT_COUNT
from clustercache._limits import jitter
from clustercache._map import BaseMap
from clustercache._request import Unsure
from clustercache._startup import no_cluster, raise_if_refused
from clustercache.instrumentation import (
    NodeBack,
    NodeReplaced,
    NodeSuspected,
    RefreshDone,
    TopologyChanged,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clustercache._async.knowledge import Knowledge
    from clustercache._core.address import Address
    from clustercache._core.asking import Asking
    from clustercache._core.routing import Part
    from clustercache._core.sources import Answer
    from clustercache._core.topology import Topology
    from clustercache._inquiry import Inquiry
    from clustercache._request import Command


class ClusterMap(BaseMap[Mux]):
    """What a client knows of the cluster, and one loop's connections to it."""

    def __init__(self, knowledge: Knowledge, loop: asyncio.AbstractEventLoop) -> None:
        """Open nothing yet: the first call learns the topology, unless another loop's did."""
        self.loop = loop
        self.config = knowledge.config
        self.discovery = knowledge.discovery
        self.observer = knowledge.observer
        self._knowledge = knowledge
        self.helper = Helper(self)
        self.renewals = Renewals(self)
        self.topology: Topology | None = None
        self.single: bool | None = None
        """Whether one shard takes keys of all slots together; None while that is not known."""
        self.slots: list[Mux | None] = [None] * SLOT_COUNT
        self.pools: dict[Address, Mux] = {}
        self.suspicions: dict[Address, Suspicion] = {}
        self.followers = Followers()
        if self.config.service_name is not None:
            self.followers.add(Announcements(self, self.config.service_name))
        self.closed = False
        self.readers = Readers(self)
        self._learning: asyncio.Task[dict[Address, Exception]] | None = None
        self._learn_again = 0.0
        if knowledge.topology is not None:
            self._install(knowledge.topology)

    @property
    def _inquiry(self) -> Inquiry:
        return self.discovery

    # Learning ---------------------------------------------------------------------------------

    async def ensure(self, deadline: float) -> None:
        """Learn the topology unless it is known; callers at the same time wait for one of them.

        Args:
            deadline: Until when, in monotonic seconds.

        Raises:
            NoClusterError: No seed gave it before `deadline`.
            ClosedError: The client was closed.
        """
        failures: dict[Address, Exception] = {}
        while True:
            self._refuse_if_closed()
            if self.topology is not None:
                return
            raise_if_refused(failures, self.config.db)
            if monotonic() >= deadline:
                raise no_cluster(failures)
            failures = await self._learn(deadline) or failures

    async def _learn(self, deadline: float) -> dict[Address, Exception]:
        if self._learning is None:
            self._learning = self.loop.create_task(self._learn_from_seeds(deadline))
            self._learning.add_done_callback(self._learnt)
        attempt = self._learning
        await asyncio.wait({attempt}, timeout=max(deadline - monotonic(), 0.0))
        return {} if not attempt.done() or attempt.cancelled() else attempt.result()

    def _learnt(self, attempt: asyncio.Task[dict[Address, Exception]]) -> None:
        # Nobody may be waiting any more, and who comes later asks anew.
        self._learning = None
        if not attempt.cancelled():
            attempt.exception()

    async def _learn_from_seeds(self, deadline: float) -> dict[Address, Exception]:
        # The pause is that of all callers: with one each, many would leave hardly any at all.
        await asyncio.sleep(max(min(self._learn_again, deadline) - monotonic(), 0.0))
        asking = self._ask_seeds(deadline)
        await self._ask(asking, deadline)
        self._learn_again = monotonic() + probe_pause(jitter())
        return {**asking.failures, **self.discovery.doubt}

    async def refresh(self, hints: Sequence[Address]) -> None:
        """Ask some nodes for their views and adopt what comes of it; for the helper."""
        await self._ask(self._ask_again(hints))
        self._knowledge.refreshes += 1

    async def _ask(self, asking: Asking, deadline: float = math.inf) -> None:
        """Ask, tell of it, and adopt what was answered."""
        began = monotonic()
        await self.discovery.learn(asking)
        answered, failed = len(asking.answers), tuple(map(str, asking.failures))
        took = monotonic() - began
        self.observer.tell(RefreshDone(answered=answered, failed=failed, seconds=took))
        await self.adopt(asking.answers, deadline)

    async def adopt(self, answers: Sequence[Answer], deadline: float = math.inf) -> None:
        """Take the answers, oldest first, into the map; `deadline` is in monotonic seconds."""
        while True:
            known = self.topology
            found = await self.discovery.agreed(answers, known, deadline)
            if found is None or self.closed:
                return
            if self.topology is not known:
                continue  # patched, or learnt by another task, meanwhile
            if known is None or known.confirmed is not None or not found.same_as(known):
                self._install(found)
                self._knowledge.publish(found, self)
            return

    def follow(self, topology: Topology) -> None:
        """Take what another loop learnt."""
        if not self.closed and topology is not self.topology:
            self._install(topology)

    async def parts_of(self, command: Command) -> list[Part]:
        """Return a call's parts; learn the topology first where they depend on it."""
        try:
            return command.parts(self.single)
        except Unsure:
            await self.ensure(command.deadline)
            return command.parts(self.single)

    def patch(self, slot: int, address: Address) -> None:
        """Follow a MOVED provisionally, until the refresh that it causes."""
        if self.topology is not None:
            moved = self.topology.with_moved(slot, address)
            if moved is not self.topology:
                self._install(moved)
                self._knowledge.publish(moved, self)

    def _install(self, new: Topology) -> None:
        pools, self.slots = self._reached(new, self._new_pool)
        left = [pool for address, pool in self.pools.items() if address not in pools]
        self.topology, self.pools, self.single = new, pools, new.single
        for pool in left:
            pool.retire()
        for suspicion in self._ended_by(new):
            self.end(suspicion, replaced=True)
        self.observer.tell(
            TopologyChanged(
                nodes=len(new.nodes),
                shards=len(new.shards),
                provisional=new.confirmed is not None,
            )
        )
        self.followers.look()

    # Nodes ------------------------------------------------------------------------------------

    def _new_pool(self, address: Address) -> Mux:
        return self.new_pool(address, readonly=False)

    def new_pool(self, address: Address, *, readonly: bool) -> Mux:
        """Return what reaches a node; `readonly` is for reads that a replica serves."""
        return Mux(
            address,
            self.config,
            self._knowledge.tls,
            self.loop,
            target=self.discovery.target(address),
            readonly=readonly,
            on_silence=self.suspect_replica if readonly else self._hear_silence,
            observer=self.observer,
        )

    def every_pool(self) -> list[Mux]:
        """Return what reaches each node, in every way."""
        pools = [*self.pools.values(), *self.readers.pools]
        return [part for pool in pools for part in pool.parts]

    def pool_at(self, address: Address) -> Mux:
        """Return what reaches a node, known or not (an ASK may name one that no map has yet)."""
        pool = self.pools.get(address)
        if pool is None:
            pool = self.pools[address] = self._new_pool(address)
        return pool

    # Health -----------------------------------------------------------------------------------

    def suspect(self, pool: Mux) -> bool:
        """Begin to doubt a primary: calls wait until it answers or is replaced.

        Returns:
            False where it owns no slot (any more), so that there is nothing to wait for.
        """
        if not self._may_doubt(pool):
            return False
        self._watch(pool, replica=False)
        return True

    def _hear_silence(self, pool: Mux) -> bool:
        """Doubt a primary that says nothing; tell whether it is waited for."""
        return self.suspect(pool) or self.closed

    def suspect_replica(self, pool: Mux) -> None:
        """Begin to doubt a replica that served reads: they avoid it until it answers."""
        if self._may_doubt_replica(pool):
            self._watch(pool, replica=True)

    def _watch(self, pool: Mux, *, replica: bool) -> None:
        if pool.suspicion is None:
            pool.errors += 1
            suspicion = Suspicion(pool, replica=replica)
            self.suspicions[pool.address] = suspicion
            pool.doubt(suspicion)
            self.observer.tell(NodeSuspected(node=str(pool.address)))
        self.helper.start()

    def end(self, suspicion: Suspicion, *, replaced: bool) -> None:
        """End a suspicion: the node is well, or its slots have a new owner."""
        pool = suspicion.pool
        if self.suspicions.get(pool.address) is suspicion:
            del self.suspicions[pool.address]
        if pool.suspicion is suspicion:
            pool.doubt(None)
        suspicion.over.set()
        if replaced:
            pool.wake()
        else:
            pool.leave_silence()
        event = NodeReplaced if replaced else NodeBack
        self.observer.tell(event(node=str(pool.address)))

    # The end ----------------------------------------------------------------------------------

    async def aclose(self) -> None:
        """Refuse new calls, let those under way finish within the deadline, and close."""
        limit = monotonic() + self.config.deadline
        pools = [*self.pools.values(), *self.readers.pools]
        ending = self.close()
        for pool in pools:
            await pool.drained(limit)
        for pool in pools:
            pool.wake()
        if ending:
            await asyncio.wait(ending)

    def close(self) -> list[asyncio.Task[Any]]:
        """Refuse new calls and close what is idle; return the tasks that are ending."""
        self.closed = True
        self.slots = [None] * SLOT_COUNT
        pools, self.pools, self.topology = list(self.pools.values()), {}, None
        ending = self.helper.stop()
        if self._learning is not None:
            self._learning.cancel()
            ending.append(self._learning)
        self.followers.end()
        self.renewals.stop()
        for suspicion in list(self.suspicions.values()):
            self.end(suspicion, replaced=True)
        ending += self.readers.close()
        for pool in (*pools, *self.readers.pools):
            ending += pool.retire()
            pool.wake_apart()  # they could last for ever
        return ending

    def abandon(self) -> None:
        """Close the sockets alone: the loop is closed, or another process's."""
        self.closed = True
        leave(self._learning)
        self.helper.abandon()
        self.renewals.abandon()
        self.followers.abandon()
        for pool in self.pools.values():
            pool.abandon()
        self.readers.abandon()

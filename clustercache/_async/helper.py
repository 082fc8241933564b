"""What goes on beside the calls: tasks that exist only while there is something to do.

One refreshes the map when that is asked for; one watches suspected nodes and asks their witnesses.
"""

from __future__ import annotations

import asyncio
import logging
from contextvars import Context
from time import monotonic
from typing import TYPE_CHECKING, Any

from clustercache._async.foreign import leave
from clustercache._async.probe import PING, Probe, is_well
from clustercache._core.refresh import RefreshPolicy, probe_pause
from clustercache._core.sources import CLUSTER
from clustercache._core.wire import ServerError
from clustercache._limits import jitter

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from clustercache._async.cluster_map import ClusterMap
    from clustercache._async.suspicion import Suspicion
    from clustercache._core.address import Address
    from clustercache._core.sources import Answer, Source

_log = logging.getLogger("clustercache.helper")
_LONELY = 0.5
"""Seconds between refreshes while a suspected node's witnesses say nothing, either."""


class Helper:
    """Refreshes the map of one loop, and watches its suspected nodes.

    Its tasks have a context of their own: they belong to no call, nor to a hook at work.
    """

    def __init__(self, cluster_map: ClusterMap) -> None:
        """Start nothing yet."""
        self._map = cluster_map
        self._policy = RefreshPolicy()
        self._refreshed = 0.0
        self._stopped = False
        self._refreshing: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None
        self._life: dict[Address, Probe] = {}
        self._views: dict[Address, Probe] = {}

    def refresh(self, *hints: Address) -> None:
        """Ask for a refresh of the map; it comes when the cool-down allows."""
        self._policy.want(*hints)
        if not self._stopped and (self._refreshing is None or self._refreshing.done()):
            self._refreshing = self._map.loop.create_task(
                self._refresh_while_wanted(), context=Context()
            )

    def start(self) -> None:
        """Make sure that suspected nodes are watched."""
        idle = self._watching is None or self._watching.done()
        if idle and self._map.suspicions and not self._stopped:
            self._watching = self._map.loop.create_task(
                self._watch_while_suspected(), context=Context()
            )

    def stop(self) -> list[asyncio.Task[Any]]:
        """End all tasks, and return them; none is started from now on."""
        self._stopped = True
        tasks: list[asyncio.Task[Any]] = [
            task for task in (self._refreshing, self._watching) if task is not None
        ]
        tasks += [probe.asking for probe in self._probes() if probe.asking is not None]
        for task in tasks:
            task.cancel()
        self._close_probes()
        return tasks

    def abandon(self) -> None:
        """Forget all tasks: no loop goes on with them."""
        for probe in (*self._life.values(), *self._views.values()):
            probe.abandon()
        self._life, self._views = {}, {}
        leave(self._refreshing, self._watching)

    async def _refresh_while_wanted(self) -> None:
        while (due := self._policy.due_in(monotonic())) is not None:
            await asyncio.sleep(due)
            topology = self._map.topology
            self._refreshed = monotonic()
            nodes = len(topology.nodes) if topology else 1
            hints = self._policy.begin(self._refreshed, nodes, jitter())
            await self._surely(self._map.refresh(hints))

    async def _watch_while_suspected(self) -> None:
        try:
            while self._map.suspicions:
                await self._surely(self._look())
        finally:
            self._close_probes()

    async def _surely(self, work: Coroutine[Any, Any, None]) -> None:
        """Go on whatever happens: somebody waits for what comes of it."""
        try:
            await work
        except Exception:  # noqa: BLE001 - as it says
            _log.exception("helper_failed")
            await asyncio.sleep(probe_pause(1.0))

    # Suspected nodes --------------------------------------------------------------------------

    async def _look(self) -> None:
        """Ask suspected nodes whether they live, and their witnesses who owns their slots."""
        began = monotonic()
        asked = [task for one in list(self._map.suspicions.values()) for task in self._ask(one)]
        pause = probe_pause(jitter())
        while self._map.suspicions and (left := began + pause - monotonic()) > 0:
            under_way = [task for task in asked if not task.done()]
            if under_way:
                await asyncio.wait(under_way, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            else:
                await asyncio.sleep(left)
            await self._hear()

    def _ask(self, suspicion: Suspicion) -> list[asyncio.Task[Any]]:
        discovery, address = self._map.discovery, suspicion.pool.address
        if address not in self._life:
            self._life[address] = Probe(*discovery.way_to(address), PING)
        witnesses = self._map.witnesses_of(suspicion.pool)
        for witness in witnesses:
            if witness not in self._views:
                way = discovery.way_to_ask(witness)
                self._views[witness] = Probe(*way, discovery.question)
        probes = [self._life[address], *(self._views[witness] for witness in witnesses)]
        return [probe.ask() for probe in probes]

    async def _hear(self) -> None:
        source = self._map.discovery.source or CLUSTER
        probes = self._views.items()
        views = [view for address, one in probes if (view := _view(one, address, source))]
        if views:
            await self._map.adopt(views)
        # A replica that follows a node which nobody knows yet says no more than one that is silent.
        if (not views or self._map.single) and monotonic() - self._refreshed > _LONELY:
            for suspicion in self._map.suspicions.values():
                self.refresh(*self._map.witnesses_of(suspicion.pool))
        for address, suspicion in list(self._map.suspicions.items()):
            life = self._life.get(address)
            if life is not None and is_well(life.answer(), address):
                self._map.end(suspicion, replaced=False)

    def _probes(self) -> list[Probe]:
        return [*self._life.values(), *self._views.values()]

    def _close_probes(self) -> None:
        for probe in self._probes():
            probe.close()
        self._life, self._views = {}, {}


def _view(probe: Probe, address: Address, source: Source) -> Answer | None:
    replies = probe.answer()
    if replies is None:
        return None
    try:
        return source.read(replies, address)
    except (ServerError, ValueError) as error:
        _log.info("no_view node=%s reason=%s", address, error)
        return None

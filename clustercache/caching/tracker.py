"""`Tracker`: reads keys on tracking connections, one to each primary, so that they may be kept.

It decides nothing about failures: what the tracking connection does not answer plainly and soon,
the caller asks its client, which knows all about redirects, retries and failovers.
"""

from __future__ import annotations

import asyncio
import logging
import math
import threading
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Protocol, Self

from clustercache._core import wire
from clustercache._core.slots import key_slot
from clustercache.caching.attendant import ATTENDANT
from clustercache.caching.listener import Listener
from clustercache.caching.looped import LoopReader
from clustercache.caching.reading import Reading, Share

if TYPE_CHECKING:
    import ssl
    from collections.abc import Sequence
    from types import TracebackType

    from clustercache._core.address import Address
    from clustercache._core.topology import Topology
    from clustercache._core.tracking import Coherence
    from clustercache.caching.near import NearCache
    from clustercache.config import ClusterConfig

    Parts = dict[Listener, list[Reading]]


_log = logging.getLogger("clustercache.near")


class _Inquiry(Protocol):
    def way_to(self, address: Address) -> tuple[Address, ClusterConfig, ssl.SSLContext | None]:
        """Return what a connection is made of."""


class Outlook(Protocol):
    """What a client of either kind knows of the cluster: its map, or what its loops share."""

    closed: bool
    topology: Topology | None
    config: ClusterConfig
    logins: int

    @property
    def discovery(self) -> _Inquiry:
        """How to connect."""


class Tracker:
    """The tracking connections of one client, for any number of threads and event loops."""

    def __init__(self, outlook: Outlook, near: NearCache) -> None:
        """Open nothing yet: the first read does.

        Args:
            outlook: What the client knows of the cluster.
            near: What is kept.
        """
        self._outlook = outlook
        self._near = near
        self._patience = outlook.config.socket_timeout
        self._closed = False
        self._begin()

    def _begin(self) -> None:
        self._listeners: dict[Address, Listener] = {}
        self._seen: Topology | None = None
        self._attended = False
        self._logins = self._outlook.logins
        self._turning = threading.RLock()
        self._loops: dict[asyncio.AbstractEventLoop, LoopReader] = {}

    # For caches -------------------------------------------------------------------------------

    def read(self, keys: Sequence[bytes], deadline: float = math.inf) -> list[Reading]:
        """Read keys so that they may be kept; close each reading.

        Args:
            keys: What is read.
            deadline: Until when, in monotonic seconds; socket_timeout is waited at the most.
        """
        until = min(deadline, monotonic() + self._patience)
        if len(keys) == 1:
            reading, listener = self._claim(keys[0], self._follow())
            if listener is not None:
                try:
                    listener.ask(reading, until)
                except BaseException:
                    reading.close()
                    raise
                reading.done = True
            return [reading]
        readings, parts = self._claim_all(keys)
        try:
            self._ask(parts, until)
        except BaseException:
            for reading in readings:
                reading.close()
            raise
        return readings

    @staticmethod
    def _ask(parts: Parts, until: float) -> None:
        shares = [(listener, Share(some)) for listener, some in parts.items()]
        # Nobody waits for another reader while he is one: two that do would wait for each other.
        led = [listener.lead() for listener, _ in shares]
        pairs = sorted(zip(led, shares, strict=True), key=lambda pair: not pair[0])
        try:
            for listener, share in shares:
                listener.send(share.readings)
        finally:
            left = iter(pairs)
            try:
                for leading, (listener, share) in left:
                    listener.finish(share, until, leading=leading)
            finally:
                for leading, (listener, share) in left:  # behind an interrupt: who leads has a lock
                    listener.finish(share, 0.0, leading=leading)

    async def aread(self, keys: Sequence[bytes], deadline: float = math.inf) -> list[Reading]:
        """Do what `read` does, without keeping the event loop waiting."""
        readings, parts = self._claim_all(keys)
        if parts:
            seconds = min(deadline - monotonic(), self._patience)
            try:
                await self._loop_reader().read(parts, seconds)
            except BaseException:
                for reading in readings:
                    reading.close()
                raise
        return readings

    def _loop_reader(self) -> LoopReader:
        loop = asyncio.get_running_loop()
        reader = self._loops.get(loop)
        if reader is None:
            reader = self._loops[loop] = LoopReader(loop)
        return reader

    def _claim(self, key: bytes, topology: Topology | None) -> tuple[Reading, Listener | None]:
        if topology is not None:
            slot = key_slot(key)
            shard = topology.slots[slot]
            listener = self._listeners.get(shard.primary.address) if shard else None
            if listener is not None:
                token = self._near.claim(key, listener.source, slot)
                return Reading(self._near, key, token), listener if token else None
        return Reading(self._near, key, None), None

    def _claim_all(self, keys: Sequence[bytes]) -> tuple[list[Reading], Parts]:
        topology = self._follow()
        readings: list[Reading] = []
        parts: Parts = {}
        for key in keys:
            reading, listener = self._claim(key, topology)
            readings.append(reading)
            if listener is not None:
                parts.setdefault(listener, []).append(reading)
        return readings, parts

    def _attend(self) -> None:
        if not self._closed:
            self._attended = True
            ATTENDANT.attend(self)

    def _follow(self) -> Topology | None:
        """Return the map in force; what is kept of slots that changed hands on it is void."""
        if not self._attended:
            self._attend()
        topology, seen = self._outlook.topology, self._seen
        if topology is not None and topology is not seen:
            self._seen = topology
            if seen is not None:
                self._near.tell(partial(_follow, old=seen, new=topology))
        return topology

    def close(self) -> None:
        """Close all connections; nothing is kept any more, and reads say nothing."""
        with self._turning:
            self._closed = True
            self._drop(list(self._listeners))
            for reader in self._loops.values():
                reader.close()
        if self._attended:
            self._attended = False
            ATTENDANT.leave(self)
        self._near.clear()

    def __enter__(self) -> Self:
        """Return the tracker; nothing is opened yet."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close it."""
        self.close()

    # For the attendant ------------------------------------------------------------------------

    @property
    def listeners(self) -> list[Listener]:
        """The connections that there are now."""
        return list(self._listeners.values())

    def turn(self, now: float) -> float:
        """Do what is due; return when to look again, in monotonic seconds."""
        with self._turning:
            return self._turn(now)

    def _turn(self, now: float) -> float:
        for loop in [one for one in list(self._loops) if one.is_closed()]:
            self._loops.pop(loop).abandon()
        topology = None if self._outlook.closed or self._closed else self._follow()
        wanted = {shard.primary.address for shard in topology.shards} if topology else set()
        self._drop([address for address in self._listeners if address not in wanted])
        for address in wanted - self._listeners.keys():
            way = self._outlook.discovery.way_to(address)
            single = topology is not None and topology.single
            self._listeners[address] = Listener(way, self._near, ATTENDANT, single=single)
        if self._logins != self._outlook.logins:
            self._logins = self._outlook.logins
            self._authenticate()
        return min([listener.turn(now) for listener in self.listeners], default=now + _IDLE)

    def _authenticate(self) -> None:
        try:
            login = wire.auth(*self._outlook.config.credentials())
        except Exception:  # noqa: BLE001 - a provider may raise anything
            _log.exception("credentials_failed")
            return
        if login is not None:
            for listener in self.listeners:
                listener.authenticate(login)

    def _drop(self, addresses: Sequence[Address]) -> None:
        for address in addresses:
            listener = self._listeners.pop(address, None)
            if listener is not None:
                listener.close()

    def after_fork(self) -> None:
        """Start anew in a child: own connections; of the parent's, only the sockets are closed."""
        for listener in self._listeners.values():
            listener.abandon()
        for reader in self._loops.values():
            reader.abandon()
        self._near.after_fork()
        self._begin()


_IDLE = 0.05
"""Seconds until the map is looked at again, while there is none."""


def _follow(state: Coherence, *, old: Topology, new: Topology) -> None:
    state.followed(old, new)

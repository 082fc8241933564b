"""What all loops of a client share: the topology, and how to ask for it."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from clustercache._async.discovery import Discovery
from clustercache._async.runner import Runner
from clustercache.exceptions import ClosedError
from clustercache.instrumentation.hooks import Observer, TaskTrail

if TYPE_CHECKING:
    from clustercache._async.cluster_map import ClusterMap
    from clustercache._core.topology import Topology
    from clustercache.config import ClusterConfig


class Knowledge:
    """One client's maps, a loop each, and what they have in common.

    Attributes:
        topology: The newest snapshot that a loop adopted.
        refreshes: How often any of them asked for it again.
        logins: How often credentials changed while connections were open.
    """

    def __init__(self, config: ClusterConfig) -> None:
        """Open nothing yet."""
        self.config = config
        self.tls = config.tls.context() if config.tls else None
        self.discovery = Discovery(config, self.tls)
        self.observer = Observer(config.hooks, TaskTrail())
        self.topology: Topology | None = None
        self.refreshes = self.logins = 0
        self.closed = False
        self._runners: dict[asyncio.AbstractEventLoop, Runner] = {}
        self._lock = threading.RLock()

    def here(self) -> Runner:
        """Return what runs calls on the running loop; that of loops that are closed is dropped.

        Raises:
            ClosedError: The client was closed.
        """
        loop = asyncio.get_running_loop()
        with self._lock:
            if self.closed:
                msg = "the client is closed: make a new one"
                raise ClosedError(msg)
            found = self._runners.get(loop)
            if found is None:
                for other in [one for one in self._runners if one.is_closed()]:
                    self._runners.pop(other).map.abandon()
                found = self._runners[loop] = Runner(self, loop)
        return found

    def publish(self, topology: Topology, by: ClusterMap) -> None:
        """Tell the other loops what one has learnt."""
        self.topology = topology
        for other in self.maps():
            if other is not by:
                with suppress(RuntimeError):  # its loop was closed
                    other.loop.call_soon_threadsafe(other.follow, topology)

    def maps(self) -> list[ClusterMap]:
        """Return the maps of all loops that are not closed."""
        with self._lock:
            return [one.map for one in self._runners.values() if not one.loop.is_closed()]

    def stats(self) -> dict[str, Any]:
        """See `AsyncCluster.stats`."""
        nodes: dict[str, dict[str, Any]] = {}
        for known in self.maps():
            for pool in [*known.pools.values(), *known.readers.pools]:
                where = str(pool.address)
                nodes[where] = _together(nodes.get(where), pool.stats())
        return {"refreshes": self.refreshes, "nodes": nodes}

    # The end ----------------------------------------------------------------------------------

    async def aclose(self) -> None:
        """Let calls under way finish, on the running loop at least, and close everything."""
        here = asyncio.get_running_loop()
        for one in self._end():
            if one.loop is here:
                await one.aclose()
            else:
                with suppress(RuntimeError):  # its loop was closed
                    one.loop.call_soon_threadsafe(one.close)

    def let_go(self) -> None:
        """Close everything without waiting: the client is gone."""
        for one in self._end():
            with suppress(RuntimeError):  # its loop was closed
                one.loop.call_soon_threadsafe(one.close)

    def _end(self) -> list[ClusterMap]:
        """Refuse new calls; return the maps, for each to be closed on its own loop."""
        with self._lock:
            self.closed = True
            maps = [one.map for one in self._runners.values()]
            self._runners = {}
        for one in maps:
            if one.loop.is_closed():
                one.abandon()
        return [one for one in maps if not one.loop.is_closed()]

    def after_fork(self) -> None:
        """Start anew in a child: own locks, own sockets; the parent's are only closed."""
        self._lock = threading.RLock()
        runners, self._runners = list(self._runners.values()), {}
        for one in runners:
            one.map.abandon()


def _together(one: dict[str, Any] | None, other: dict[str, Any]) -> dict[str, Any]:
    """Return two loops' facts of a node as one."""
    if one is None:
        return other
    last = other["last_round_trip"]
    counted = ("pool", "in_flight", "redirects", "errors")
    return {
        **{name: one[name] + other[name] for name in counted},
        "suspected": one["suspected"] or other["suspected"],
        "last_round_trip": one["last_round_trip"] if last is None else last,
    }

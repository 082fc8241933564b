"""The one helper thread: it exists only while a shard is suspected or a refresh is due.

With sentinels it stays, and listens to what they announce (see `announcements`).
It never lives through a fork: it is joined before and started again, where there is work, behind.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from clustercache._core.refresh import RefreshPolicy, probe_pause
from clustercache._core.wire import ServerError
from clustercache._limits import jitter
from clustercache._sync.announcements import Announcements
from clustercache._sync.health import Flag

if TYPE_CHECKING:
    from clustercache._core.address import Address
    from clustercache._core.sources import Answer
    from clustercache._sync.cluster_map import ClusterMap
    from clustercache._sync.health import Suspicion
    from clustercache._sync.probe import LifeProbe, Probe, ViewProbe

_log = logging.getLogger("clustercache.helper")
_ANSWER_TIME = 0.05
"""Seconds that a replica gets to answer in one round; what comes later counts in the next."""

_LONELY = 0.5
"""Seconds between refreshes while a suspected node's witnesses say nothing, either."""

_LISTENING = 5.0
"""Seconds of listening before everything else is looked at again."""

_END_TIME = 0.1
"""Seconds that a thread may take from the end of its code to the end of its life."""


class Helper:
    """Refreshes the map and watches suspected nodes, in a thread of its own while there are any."""

    def __init__(self, cluster_map: ClusterMap) -> None:
        """Start nothing yet."""
        self._map = cluster_map
        self._policy = RefreshPolicy()
        self._lock = threading.RLock()
        self._wake = Flag()
        self._thread: threading.Thread | None = None
        self._last: threading.Thread | None = None
        self._stopping = False
        self._dropped = False
        self._refreshed = 0.0
        self._life: dict[Address, LifeProbe] = {}
        self._views: dict[Address, ViewProbe] = {}
        self._announcements: Announcements | None = None
        _helpers.add(self)

    def refresh(self, *hints: Address) -> None:
        """Ask for a refresh of the map; it comes when the cool-down allows."""
        with self._lock:
            self._policy.want(*hints)
        self.start()

    def start(self) -> None:
        """Make sure that the thread runs, if it has something to do."""
        with self._lock:
            # One that an exception kept from starting is not alive.
            alive = self._thread is not None and self._thread.is_alive()
            if alive:
                self._ring()
            if self._stopping or alive or not self._has_work():
                return
            thread = threading.Thread(target=self._run, name="clustercache", daemon=True)
            self._thread = self._last = thread
            try:
                thread.start()
            except RuntimeError:
                # No thread is to be had: callers go on by their own pauses until one is.
                self._thread = self._last = None
                _log.exception("helper_not_started")

    def listen(self) -> None:
        """Make sure that the thread runs where there are announcements to hear."""
        if self._thread is None and self._listens():
            self.start()

    def _listens(self) -> bool:
        return self._map.discovery.sentinel is not None and self._map.topology is not None

    def _ring(self) -> None:
        announcements = self._announcements
        if announcements is not None:
            announcements.ring()

    def stop(self) -> threading.Thread | None:
        """End the thread and wait for it; `start` is refused from now on.

        Returns:
            The thread that was the last, if there was one.
        """
        with self._lock:
            self._stopping = True
            # One that found nothing to do any more may still be on its way out.
            thread = self._last
        self._wake.set()
        self._ring()
        if thread is None or thread.ident is None:
            return None  # an exception kept it from starting
        if thread is not threading.current_thread():
            thread.join()
        return thread

    def let_go(self) -> None:
        """End the thread without waiting for it: nobody will ask the map any more."""
        # A finalizer may run anywhere, also where this thread holds a lock: it takes none.
        self._dropped = self._stopping = True
        self._ring()

    def resume(self) -> None:
        """Allow `start` again, and start if there is work; a client that is gone stays so."""
        if self._map.closed or self._dropped:
            return
        self._stopping = False
        self._wake.clear()
        self.start()

    @property
    def stopping(self) -> bool:
        """Whether the thread is to end."""
        return self._stopping

    def rest(self, seconds: float) -> None:
        """Wait, but not past `stop`."""
        self._wake.wait(seconds)

    def _has_work(self) -> bool:
        return self._policy.wanted or bool(self._map.suspicions) or self._listens()

    def _run(self) -> None:
        probes: list[Probe | Announcements] = []
        while True:
            with self._lock:
                if self._stopping or not self._has_work():
                    self._thread = None
                    probes = [*self._life.values(), *self._views.values()]
                    if self._announcements is not None:
                        probes.append(self._announcements)
                    self._life, self._views, self._announcements = {}, {}, None
                    break
            try:
                self._turn()
            except Exception:  # noqa: BLE001 - it must live as long as somebody waits for it
                _log.exception("helper_failed")
                self.rest(probe_pause(1.0))
        for probe in probes:
            probe.close()

    def _turn(self) -> None:
        """Probe what is suspected, refresh if that is due, and rest until there is more to do."""
        suspicions = list(self._map.suspicions.values())
        for suspicion in suspicions:
            self._watch(suspicion)
        due = self._policy.due_in(monotonic())
        if due == 0:
            self._refresh()
        elif due is not None and not suspicions:
            self.rest(due)
        if self._map.suspicions:
            self.rest(probe_pause(jitter()))
        elif due is None and self._listens():
            self._listen()

    def _listen(self) -> None:
        with self._lock:
            # `stop` rings under the same lock's order: it sees the bell, or we see that it came.
            if self._stopping:
                return
            heard = self._announcements = self._announcements or Announcements(self._map.discovery)
        if heard.wait(_LISTENING):
            self.refresh()

    def _refresh(self) -> None:
        topology = self._map.topology  # a closing client forgets it
        nodes = len(topology.nodes) if topology else 1
        with self._lock:
            self._refreshed = monotonic()
            hints = self._policy.begin(self._refreshed, nodes, jitter())
        self._map.refresh(hints)

    def _watch(self, suspicion: Suspicion) -> None:
        """Ask a suspected node whether it lives, and its witnesses who owns its slots."""
        address = suspicion.pool.address
        life = self._life.get(address) or self._map.discovery.life_probe(address)
        self._life[address] = life
        asked = [probe for probe in self._view_probes(suspicion) if probe.ask(_ANSWER_TIME)]
        life.ask(0.0)
        views = [view for probe in asked if (view := _view_of(probe))]
        if views:
            self._map.adopt(views)
        # A replica that follows a node which nobody knows yet says no more than one that is silent.
        if (not views or self._map.single) and monotonic() - self._refreshed > _LONELY:
            with self._lock:
                self._policy.want(*self._map.witnesses_of(suspicion.pool))
        if not suspicion.over.is_set() and life.is_well(0.0):
            self._map.end(suspicion, replaced=False)

    def _view_probes(self, suspicion: Suspicion) -> list[ViewProbe]:
        witnesses = self._map.witnesses_of(suspicion.pool)
        for address in witnesses:
            if address not in self._views:
                self._views[address] = self._map.discovery.view_probe(address)
        return [self._views[address] for address in witnesses]


def _view_of(probe: ViewProbe) -> Answer | None:
    try:
        return probe.view(_ANSWER_TIME)
    except (ServerError, ValueError) as error:
        _log.info("no_view node=%s reason=%s", probe.address, error)
        return None


_helpers: weakref.WeakSet[Helper] = weakref.WeakSet()


def _before_fork() -> None:
    for helper in list(_helpers):
        thread = helper.stop()
        if thread is not None:
            await_end(thread)


def await_end(thread: threading.Thread) -> None:
    """Wait until the kernel counts a joined thread no more, for Python warns by its count."""
    task = Path(f"/proc/self/task/{thread.native_id}")
    limit = monotonic() + _END_TIME
    while task.exists() and monotonic() < limit:
        time.sleep(0.0001)


def _after_fork_in_parent() -> None:
    for helper in list(_helpers):
        helper.resume()


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent)

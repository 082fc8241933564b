"""The connections to one node: bounded, last in first out, and each with one owner at a time.

Leasing and giving back are single list operations, atomic without a lock; only opening, waiting
and closing take one. A releaser appends first and looks for waiters afterwards, and a waiter counts
itself first and looks for idle connections afterwards, so that neither can miss the other.
"""

from __future__ import annotations

import threading
import weakref
from time import monotonic
from typing import TYPE_CHECKING, Any

from clustercache._sync.connection import Connection
from clustercache._sync.renewal import Renewal
from clustercache.instrumentation import PoolWaited

if TYPE_CHECKING:
    import ssl

    from clustercache._core.address import Address
    from clustercache._core.wire import ServerError
    from clustercache._sync.health import Suspicion
    from clustercache.config import ClusterConfig
    from clustercache.instrumentation.hooks import Observer

STALE_AFTER = 1.0
"""Seconds of idleness after which a connection is looked at before it is written to."""


class PoolFull(Exception):  # noqa: N818 - an event; the shell raises PoolTimeoutError from it
    """All connections stayed in use until the deadline."""


class Retired(Exception):  # noqa: N818
    """The node left the cluster, or the client was closed: route again."""


class Doubted(Retired):
    """All connections are in use and the node is suspected: wait for its shard instead."""


class Stale(Exception):  # noqa: N818
    """The idle connection was closed by its server: nothing was sent on it."""


class Pool:
    """All connections to the node at `address`."""

    __slots__ = (
        "__weakref__",
        "_apart",
        "_changed",
        "_config",
        "_everyone",
        "_lock",
        "_observer",
        "_opening",
        "_readonly",
        "_target",
        "_tls",
        "address",
        "errors",
        "idle",
        "last_round_trip",
        "looked_at",
        "redirects",
        "renewal",
        "retired",
        "suspicion",
        "waiting",
    )

    def __init__(
        self,
        address: Address,
        config: ClusterConfig,
        tls: ssl.SSLContext | None,
        *,
        target: Address | None = None,
        readonly: bool = False,
        observer: Observer | None = None,
    ) -> None:
        """Open nothing yet.

        Args:
            address: The node, as the cluster knows it.
            config: How to connect, and how many connections there may be.
            tls: The TLS context, or None.
            target: Where to connect to, if that is another address.
            readonly: Whether it is for reads that a replica serves.
            observer: Told of callers that had to wait.
        """
        self.address = address
        self.idle: list[Connection] = []
        self.suspicion: Suspicion | None = None
        self.retired = False
        self.waiting = 0
        self.errors = 0
        self.redirects = 0
        self.last_round_trip: float | None = None
        self.looked_at = 0.0
        self.renewal: Renewal | None = None
        self._config = config
        self._tls = tls
        self._target = target or address
        self._readonly = readonly
        self._observer = observer
        # A signal handler may use the client while its thread is in here. The lock is taken by
        # itself, for Condition's own methods can be interrupted between taking and returning.
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._apart: Pool | None = None
        self._opening: set[object] = set()
        # Weak, so that a lease which an exception made its owner lose frees its place.
        self._everyone: weakref.WeakSet[Connection] = weakref.WeakSet()

    @property
    def size(self) -> int:
        """How many connections are open or being opened."""
        return len(self._everyone) + len(self._opening)

    def apart(self) -> Pool:
        """Return the pool for calls that last: what blocks takes no place from the others."""
        if self._apart is None:
            with self._lock:
                if self._apart is None:
                    made = Pool(self.address, self._config, self._tls, target=self._target)
                    made.retired = self.retired
                    self._apart = made
        return self._apart

    def stats(self) -> dict[str, Any]:
        """Return what happened here; see `Cluster.stats`."""
        apart = self._apart
        pools = [self] if apart is None else [self, apart]
        return {
            "pool": sum(pool.size for pool in pools),
            "in_flight": sum(pool.size - len(pool.idle) for pool in pools),
            "redirects": self.redirects,
            "errors": self.errors,
            "suspected": self.suspicion is not None,
            "last_round_trip": self.last_round_trip,
        }

    def lease(self, deadline: float, *, peek: bool = False) -> Connection:
        """Return a connection that nobody else has.

        Args:
            deadline: Until when (monotonic seconds) to wait for a free one.
            peek: Make sure that it is alive even when it was used a moment ago.

        Raises:
            NotSent, Refused: No connection could be opened.
            PoolFull, Retired, Doubted: See there.
        """
        while True:
            try:
                connection = self.idle.pop()
            except IndexError:
                opened = self._open_or_wait(deadline)
                if opened is not None:
                    return opened
                continue
            idle = monotonic() - connection.idle_since
            if not (peek or idle > STALE_AFTER) or not connection.is_stale():
                connection.leased = True
                return connection
            self.discard(connection)

    def _open_or_wait(self, deadline: float) -> Connection | None:
        place, began = object(), monotonic()
        try:
            with self._lock:
                if self.retired:
                    raise Retired
                full = self.size >= self._config.max_connections
                if full:
                    if self.suspicion is not None:
                        raise Doubted
                    self._wait(deadline)
                else:
                    self._opening.add(place)
            if full:
                if self._observer is not None:
                    took = monotonic() - began
                    self._observer.tell(PoolWaited(node=str(self.address), seconds=took))
                return None
            limit = min(self._config.socket_connect_timeout, max(deadline - monotonic(), 0.001))
            renewal = self.renewal
            connection = Connection(
                self._target, self._config, tls=self._tls, timeout=limit, readonly=self._readonly
            )
            with self._lock:
                self._everyone.add(connection)
                if self.renewal is not None and self.renewal is not renewal:
                    self.renewal.add(connection)  # it may have come in with the former credentials
            return connection
        finally:
            with self._lock:
                if place in self._opening:
                    self._opening.remove(place)
                    self._changed.notify()

    def _wait(self, deadline: float) -> None:
        left = deadline - monotonic()
        if left <= 0:
            raise PoolFull
        self.waiting += 1
        try:
            if not self.idle:
                self._changed.wait(left)
        finally:
            self.waiting -= 1

    def release(self, connection: Connection, now: float) -> None:
        """Take back a connection that is in step with its server; `now` is monotonic.

        Raises:
            RuntimeError: It was given back already: somebody else may have it by now.
        """
        if not connection.leased:
            msg = "a connection was given back twice: an error in the code"
            raise RuntimeError(msg)
        connection.leased = False
        connection.idle_since = now
        self.idle.append(connection)
        if self.waiting:
            self._notify()
            self._go_on_renewing(connection)
        if self.retired:
            self.flush()

    def put_back(self, connection: Connection) -> None:
        """Let others have a connection that was taken from `idle`."""
        connection.leased = False
        connection.idle_since = monotonic()
        self.idle.append(connection)
        self._notify()
        if self.retired:
            self.flush()

    def renew(self, login: tuple[Any, ...]) -> ServerError | None:
        """Authenticate all connections anew, those in use when they are given back.

        Args:
            login: The AUTH command.

        Returns:
            What the server refused now, if it did.
        """
        with self._lock:
            if self.renewal is None:
                self.waiting += 1
            renewal = self.renewal = Renewal(self._everyone, self._config, login)
        self._go_on_renewing()
        apart = self._apart.renew(login) if self._apart is not None else None
        return renewal.refusal or apart

    def _go_on_renewing(self, only: Connection | None = None) -> None:
        renewal = self.renewal
        if renewal is None:
            return
        renewal.go_on(self, only)
        with self._lock:
            if self.renewal is renewal and renewal.done and not self._opening:
                self.renewal = None
                self.waiting -= 1

    def discard(self, connection: Connection) -> None:
        """Close a leased connection instead of giving it back."""
        connection.close()
        with self._lock:
            self._everyone.discard(connection)
        self._notify()

    def _notify(self) -> None:
        if self.waiting:
            with self._lock:
                self._changed.notify()

    def flush(self) -> None:
        """Close the idle connections: the next lease opens a new one, its name looked up afresh."""
        while self.idle:
            try:
                connection = self.idle.pop()
            except IndexError:
                break
            self.discard(connection)
        if self._apart is not None:
            self._apart.flush()

    def wake(self) -> None:
        """End what every lease of this pool waits for."""
        with self._lock:
            everyone = list(self._everyone)
        for connection in everyone:
            connection.wake()
        self.wake_apart()

    def wake_apart(self) -> None:
        """End what the calls that last wait for."""
        if self._apart is not None:
            self._apart.wake()

    def reroute(self) -> None:
        """Let those who wait for a connection look again at what they wait for."""
        with self._lock:
            self._changed.notify_all()

    def retire(self) -> None:
        """Let what is under way finish, and open nothing more."""
        self.retired = True
        with self._lock:
            apart = self._apart
        if apart is not None:
            apart.retire()
        self.reroute()
        self.flush()

    def abandon(self) -> None:
        """Close this process's copies of the sockets of the parent, without touching its talks."""
        self.retired = True
        for connection in list(self._everyone):
            connection.close()
        self.idle.clear()
        self._everyone.clear()
        if self._apart is not None:
            self._apart.abandon()

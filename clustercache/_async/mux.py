"""What reaches one node from one loop: a shared connection, and some apart for those who need one.

The shared connection is made when it is needed first, and again when it was lost; all who need it
meanwhile wait for the same attempt. `lane` is it while nothing keeps a call from using it at once:
that is all the hot path looks at.
"""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING, Any

from clustercache._async.connection import Connection
from clustercache._async.renewal import Renewal
from clustercache._async.turns import Turns
from clustercache._events import NotSent
from clustercache._handshake import for_probes
from clustercache.instrumentation import PoolWaited

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from clustercache._async.slots import Replies
    from clustercache._async.suspicion import Suspicion
    from clustercache._core.address import Address
    from clustercache.config import ClusterConfig
    from clustercache.instrumentation.hooks import Observer


class Full(Exception):  # noqa: N818 - an event; the shell raises PoolTimeoutError from it
    """There was no room until the deadline."""


class Retired(Exception):  # noqa: N818
    """The node left the cluster, or the client was closed: route again."""


class Doubted(Retired):
    """The node is suspected: wait for its shard instead."""


class Mux:
    """The connections to the node at `address`.

    Attributes:
        lane: The shared connection, while it takes commands and its node is well; else None.
        suspicion: What is awaited while the node is doubted.
        retired: Whether the node left, or the client was closed.
        errors, redirects: See `AsyncCluster.stats`.
    """

    def __init__(
        self,
        address: Address,
        config: ClusterConfig,
        tls: ssl.SSLContext | None,
        loop: asyncio.AbstractEventLoop,
        *,
        target: Address,
        readonly: bool = False,
        on_silence: Callable[[Mux], object] = lambda _: None,
        observer: Observer | None = None,
    ) -> None:
        """Open nothing yet.

        Args:
            address: The node, as the cluster knows it.
            config: How to connect, and how much may be under way.
            tls: The TLS context, or None.
            loop: Whose connections these are.
            target: Where to connect to.
            readonly: Whether it is for reads that a replica serves.
            on_silence: Told when replies are due and nothing came for socket_timeout.
            observer: Told of callers that had to wait.
        """
        self.address = address
        self.lane: Connection | None = None
        self.suspicion: Suspicion | None = None
        self.retired = False
        self.errors = 0
        self.redirects = 0
        self._config = config
        self._tls = tls
        self._loop = loop
        self._target = target
        self._readonly = readonly
        self._on_silence = on_silence
        self._observer = observer
        self._shared: Connection | None = None
        self._opening: asyncio.Task[None] | None = None
        self._waiting = Turns(loop)
        self._leasing = Turns(loop)
        self._everyone: set[Connection] = set()
        self._idle: list[Connection] = []
        self._beginning = 0
        self._renewal: Renewal | None = None

    # The shared connection --------------------------------------------------------------------

    async def shared(self, deadline: float) -> Connection:
        """Return the shared connection once it takes a command: first come, first served.

        Args:
            deadline: Until when to wait, in monotonic seconds.

        Raises:
            NotSent, Refused: It could not be opened.
            Full, Retired, Doubted: See there.
        """
        began, my_turn = 0.0, False
        while True:
            self._refuse_if_unusable()
            connection = self._shared
            if connection is None:
                await self._open(deadline)
            elif connection.is_full or (self._waiting and not my_turn):
                began = began or monotonic()
                my_turn = await self._waiting.wait(deadline, first=my_turn)
                if not my_turn:
                    raise Full
            else:
                self._waiting.call_next()
                self._look()
                self._waited(began)
                return connection

    def _refuse_if_unusable(self) -> None:
        if self.retired:
            raise Retired
        if self.suspicion is not None:
            raise Doubted

    def _waited(self, began: float) -> None:
        if began and self._observer is not None:
            event = PoolWaited(node=str(self.address), seconds=monotonic() - began)
            self._observer.tell(event)

    async def _open(self, deadline: float) -> None:
        if self._opening is None:
            self._opening = self._loop.create_task(self._connect())
            self._opening.add_done_callback(self._opened)
        attempt = self._opening
        await asyncio.wait({attempt}, timeout=max(deadline - monotonic(), 0.0))
        if not attempt.done():
            msg = "cannot connect: timed out"
            raise NotSent(msg, silent=True)
        if not attempt.cancelled():
            attempt.result()

    async def _connect(self) -> None:
        self._shared = await self._new_connection(self._config.socket_connect_timeout)
        self._look()

    async def _new_connection(self, seconds: float, *, decode: bool = True) -> Connection:
        renewal = self._renewal
        connection = await Connection.open(
            self._target,
            self._config if decode else for_probes(self._config),
            self._tls,
            self._loop,
            seconds=seconds,
            readonly=self._readonly,
            owner=self,
            known_as=self.address,
        )
        self._everyone.add(connection)
        if self._renewal is not None and self._renewal is not renewal:
            self._renewal.renew(connection)  # it may have come in with the former credentials
        return connection

    def _opened(self, attempt: asyncio.Task[None]) -> None:
        self._opening = None
        if not attempt.cancelled():
            attempt.exception()  # who waits raises it; nobody may be waiting any more

    def _look(self) -> None:
        """Let the hot path see the shared connection, or not."""
        shared = self._shared
        usable = shared is not None and not (shared.closed or shared.is_full or self._waiting)
        well = self.suspicion is None and not self.retired
        self.lane = shared if usable and well else None

    # What connections tell (see `Owner`) ------------------------------------------------------

    def full(self, connection: Connection) -> None:
        """Hear that a connection takes no more for now."""
        if connection is self._shared:
            self.lane = None

    def free(self, connection: Connection) -> None:
        """Hear that it takes more again."""
        if connection is self._shared:
            self._waiting.call_next()
            self._look()

    def silent(self, _connection: Connection) -> None:
        """Hear that replies are due and nothing came for socket_timeout."""
        self._on_silence(self)

    def lost(self, connection: Connection) -> None:
        """Hear that it is closed."""
        self._everyone.discard(connection)
        if self._renewal is not None:
            self._renewal.lost(connection)
        if connection is self._shared:
            self._shared = self.lane = None
            self._waiting.call_all()
        elif connection in self._idle:
            self._idle.remove(connection)
        self._leasing.call_next()

    # Connections of one's own -----------------------------------------------------------------

    async def lease(self, deadline: float, *, decode: bool = True) -> Connection:
        """Return a connection that nobody else has, until it is given back or discarded.

        Args:
            deadline: Until when to wait, in monotonic seconds.
            decode: False for one whose replies stay bytes, whatever the configuration.

        Raises:
            NotSent, Refused: It could not be opened.
            Full, Retired, Doubted: See there.
        """
        while True:
            self._refuse_if_unusable()
            if self._idle and decode:
                return self._idle.pop()
            if self._leased + self._beginning < self._config.max_connections:
                break
            if not await self._leasing.wait(deadline):
                raise Full
        self._beginning += 1
        try:
            left = max(deadline - monotonic(), 0.001)
            seconds = min(self._config.socket_connect_timeout, left)
            connection = await self._new_connection(seconds, decode=decode)
        except BaseException:
            self._leasing.call_next()  # the room of what could not be made is another's
            raise
        finally:
            self._beginning -= 1
        if not decode:
            connection.use_once()
        return connection

    @property
    def _leased(self) -> int:
        return len(self._everyone) - (self._shared is not None)

    def release(self, connection: Connection) -> None:
        """Take a connection back; one that is not in step is closed."""
        if connection.closed or connection.outstanding or self.retired or self.suspicion:
            self.discard(connection)
        else:
            connection.patient = False
            if self._renewal is not None:
                self._renewal.given_back(connection)
            self._idle.append(connection)
            self._leasing.call_next()

    def discard(self, connection: Connection) -> None:
        """Close a connection."""
        connection.lose()

    def renew(self, login: bytes) -> tuple[Renewal, list[Replies]]:
        """Authenticate all connections anew, those in use when they are given back.

        Args:
            login: The AUTH command, packed.

        Returns:
            What knows of refusals, and the answers that are to come.
        """
        renewal = self._renewal = Renewal(self, login, self._config.socket_timeout)
        free = [*self._idle, *([self._shared] if self._shared is not None else [])]
        renewal.later(self._everyone.difference(free))
        return renewal, [renewal.renew(connection) for connection in free]

    # The node's life --------------------------------------------------------------------------

    def doubt(self, suspicion: Suspicion | None) -> None:
        """Begin to suspect the node, or end it: those who wait for room decide anew."""
        self.suspicion = suspicion
        self._look()
        self._reroute()

    def _reroute(self) -> None:
        self._waiting.call_all()
        self._leasing.call_all()

    def flush(self) -> None:
        """Use none of the connections any more that are open now; what is under way goes on."""
        shared, self._shared, self.lane = self._shared, None, None
        for connection in list(self._idle):
            self.discard(connection)
        if shared is not None:
            shared.lose_when_idle()

    def leave_silence(self) -> None:
        """Use the shared connection no more if it stays silent: the node is well, and it is not."""
        shared = self._shared
        if shared is None or not shared.sent:
            return
        if monotonic() - shared.heard >= self._config.patience:
            self.flush()

    def wake(self) -> None:
        """End what is under way: the node is not what it was."""
        for connection in list(self._everyone):
            connection.lose()

    def retire(self) -> list[asyncio.Task[None]]:
        """Let what is under way finish, then close; new calls are routed again.

        Returns:
            The task that is ending, if there was one.
        """
        self.retired = True
        ending = [self._opening] if self._opening is not None else []
        for task in ending:
            task.cancel()
        self.flush()
        self._reroute()
        return ending

    @property
    def size(self) -> int:
        """How many connections are open or being opened."""
        return len(self._everyone) + self._beginning + (self._opening is not None)

    def stats(self) -> dict[str, Any]:
        """Return what happened here; see `AsyncCluster.stats`."""
        waiting = sum(connection.outstanding for connection in self._everyone)
        return {
            "pool": self.size,
            "in_flight": waiting,
            "redirects": self.redirects,
            "errors": self.errors,
            "suspected": self.suspicion is not None,
            "last_round_trip": self._shared and self._shared.last_round_trip,
        }

    async def drained(self, deadline: float) -> None:
        """Wait until no call is under way, but not past `deadline` (monotonic seconds)."""
        while places := {place for one in self._everyone for place in one.awaited()}:
            left = deadline - monotonic()
            if left <= 0:
                return
            await asyncio.wait(places, timeout=left)

    def abandon(self) -> None:
        """Close this process's end only: what watches the sockets is another's, or gone."""
        for connection in list(self._everyone):
            connection.abandon()

"""What reaches one node from one loop: a shared connection, and some apart for those who need one.

The shared connection is made when it is needed first, and again when it was lost; all who need it
meanwhile wait for the same attempt. `lane` is it while nothing keeps a call from using it at once:
that is all the hot path looks at.
"""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING, Any

from clustercache._async.foreign import leave
from clustercache._async.leases import Full, Leases
from clustercache._async.slots import settle
from clustercache._async.turns import Turns
from clustercache._core.decisions import Trouble
from clustercache._events import NotSent
from clustercache.instrumentation import PoolWaited

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from clustercache._async.connection import Connection
    from clustercache._async.slots import Place
    from clustercache._async.suspicion import Suspicion
    from clustercache._core.address import Address
    from clustercache.config import ClusterConfig
    from clustercache.instrumentation.hooks import Observer


class Mux(Leases):
    """The connections to the node at `address`.

    Attributes:
        lane: The shared connection, while it takes commands and its node is well; else None.
        errors, redirects: See `AsyncCluster.stats`.
        impatient: The places of those who do not wait for the node to be well again: they end, as
            if the connection was lost, when it falls silent.
        looked_at: When it was last asked for a sign of life, in monotonic seconds.
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
            on_silence: Told when replies are due and nothing came for socket_timeout; False says
                that there is nothing to wait for.
            observer: Told of callers that had to wait.
        """
        super().__init__(address, config, tls, loop, target=target, readonly=readonly)
        self.lane: Connection | None = None
        self.errors = 0
        self.redirects = 0
        self.impatient: set[Place[Any]] = set()
        self.looked_at = 0.0
        self._on_silence = on_silence
        self._observer = observer
        self._opening: asyncio.Task[None] | None = None
        self._waiting = Turns(loop)
        self._apart: Mux | None = None

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

    def silent(self, connection: Connection) -> None:
        """Hear that replies are due and nothing came for socket_timeout."""
        if self._on_silence(self) is False:
            connection.lose()  # the node lost its slots while it was silent
        self._let_go()

    def let_go_when_silent(self, place: Place[Any]) -> None:
        """Put a place among the impatient ones until it has ended."""
        self.impatient.add(place)
        place.add_done_callback(self.impatient.discard)

    def _let_go(self) -> None:
        for place in list(self.impatient):
            settle(place, Trouble.NO_REPLY, self.address)

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

    def apart(self) -> Mux:
        """Return what leases connections for calls that last: they take no place from others."""
        if self._apart is None:
            made = self._apart = Mux(
                self.address, self._config, self._tls, self._loop, target=self._target
            )
            made.retired, made.suspicion = self.retired, self.suspicion
        return self._apart

    @property
    def parts(self) -> list[Mux]:
        """Itself, and what leases connections for calls that last if there were any."""
        return [self] if self._apart is None else [self, self._apart]

    # The node's life --------------------------------------------------------------------------

    def doubt(self, suspicion: Suspicion | None) -> None:
        """Begin to suspect the node, or end it: those who wait for room decide anew."""
        self.suspicion = suspicion
        self._look()
        self._reroute()
        if suspicion is not None:
            self._let_go()
        if self._apart is not None:
            self._apart.doubt(suspicion)

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
        if self._apart is not None:
            self._apart.flush()

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
        self.wake_apart()

    def wake_apart(self) -> None:
        """End the calls that last."""
        if self._apart is not None:
            self._apart.wake()

    def retire(self) -> list[asyncio.Task[None]]:
        """Let what is under way finish, then close; new calls are routed again.

        Returns:
            The task that is ending, if there was one.
        """
        self.retired = True
        ending = [self._opening] if self._opening is not None else []
        for task in ending:
            task.cancel()
        if self._apart is not None:
            self._apart.retire()
        self.flush()
        self._reroute()
        return ending

    @property
    def size(self) -> int:
        """How many connections are open or being opened."""
        own = len(self._everyone) + self._beginning + (self._opening is not None)
        return own if self._apart is None else own + self._apart.size

    @property
    def outstanding(self) -> int:
        """How many replies are to come."""
        own = sum(connection.outstanding for connection in self._everyone)
        return own if self._apart is None else own + self._apart.outstanding

    def stats(self) -> dict[str, Any]:
        """Return what happened here; see `AsyncCluster.stats`."""
        return {
            "pool": self.size,
            "in_flight": self.outstanding,
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
        leave(self._opening)
        for connection in list(self._everyone):
            connection.abandon()
        if self._apart is not None:
            self._apart.abandon()

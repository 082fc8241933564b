"""New credentials on live connections: AUTH goes in line with the commands that are sent anyway.

Connections that one caller has to itself take it when they are given back, for what is on them may
not be parted. One on which the new credentials are refused keeps the old ones: a server ends no
connection because a password was changed.
"""

from __future__ import annotations

import asyncio
import logging
import weakref
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from clustercache._async.credentials import credentials_of
from clustercache._async.foreign import leave
from clustercache._commands import to_error
from clustercache._core import wire
from clustercache._core.wire import ServerError
from clustercache._events import NotSent
from clustercache._request import Failed
from clustercache.exceptions import DeadlineExceededError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from clustercache._async.cluster import AsyncCluster
    from clustercache._async.cluster_map import ClusterMap
    from clustercache._async.connection import Connection
    from clustercache._async.knowledge import Knowledge
    from clustercache._async.mux import Mux
    from clustercache._async.slots import Replies
    from clustercache.config import CredentialProvider

_log = logging.getLogger("clustercache.credentials")


class Renewal:
    """One node's connections, from the moment on at which there are new credentials."""

    __slots__ = ("_left", "_login", "_pool", "_seconds", "refusal")

    def __init__(self, pool: Mux, login: bytes, seconds: float) -> None:
        """Renew none yet.

        Args:
            pool: Whose connections.
            login: The AUTH command, packed.
            seconds: How long an answer may take.
        """
        self._pool = pool
        self._login = login
        self._seconds = seconds
        self._left: set[Connection] = set()
        self.refusal: ServerError | None = None

    def later(self, connections: Iterable[Connection]) -> None:
        """Renew these when they are given back."""
        self._left.update(connections)

    def given_back(self, connection: Connection) -> None:
        """Renew a connection if that is due."""
        if connection in self._left:
            self._left.discard(connection)
            self.renew(connection)

    def lost(self, connection: Connection) -> None:
        """Forget a connection that is closed."""
        self._left.discard(connection)

    def renew(self, connection: Connection) -> Replies:
        """Authenticate anew, before whatever is sent from now on."""
        place = connection.send_many([self._login])
        loop = asyncio.get_running_loop()
        timer = loop.call_later(self._seconds, connection.expire, place)
        place.add_done_callback(partial(self._answered, connection, timer))
        return place

    def _answered(self, connection: Connection, timer: asyncio.TimerHandle, place: Replies) -> None:
        timer.cancel()
        (reply,) = place.result()
        if type(reply) is ServerError:
            if self.refusal is None:
                _log.warning("credentials_refused node=%s code=%s", self._pool.address, reply.code)
            self.refusal = reply
        elif type(reply) is Failed:
            # The node is silent, or gone: what comes next gets a new connection.
            self._pool.flush()
            if connection.outstanding == 1:  # the answer that did not come
                connection.lose()


class Renewals:
    """One loop's part in it."""

    def __init__(self, cluster_map: ClusterMap) -> None:
        """Start nothing yet."""
        self._map = cluster_map
        self._task: asyncio.Task[None] | None = None
        self._wanted = False

    def soon(self) -> None:
        """Renew all connections, without anybody waiting for it."""
        self._wanted = True
        if not self._map.closed and (self._task is None or self._task.done()):
            self._task = self._map.loop.create_task(self._while_wanted())

    def stop(self) -> None:
        """End what nobody waits for."""
        if self._task is not None:
            self._task.cancel()

    def abandon(self) -> None:
        """Forget it: no loop goes on with it."""
        leave(self._task)

    async def _while_wanted(self) -> None:
        while self._wanted:
            self._wanted = False
            try:
                await self.run(self._map.config.deadline)
            except Exception:  # noqa: BLE001 - nobody else hears of it
                _log.exception("credentials_failed")

    async def run(self, seconds: float) -> ServerError | None:
        """Renew all connections; return what a server refused, if one did.

        Args:
            seconds: How long the provider may take.

        Raises:
            NotSent: It took longer.
        """
        config = self._map.config
        login = wire.auth(*await credentials_of(config, seconds))
        if login is None:
            return None
        renewals, places = [], []
        for pool in self._map.every_pool():
            renewal, begun = pool.renew(wire.pack(login))
            renewals.append(renewal)
            places += begun
        if places:
            await asyncio.wait(places)
        return next((one.refusal for one in renewals if one.refusal is not None), None)


def follow(provider: CredentialProvider | None, knowledge: Knowledge) -> None:
    """Renew the connections whenever a provider that streams credentials has new ones.

    Such a provider has redis-py's `on_next(callback)`, and calls it from any thread; others are
    asked at each connect only.
    """
    on_next: Callable[[Callable[[object], None]], object] | None
    on_next = getattr(provider, "on_next", None)
    if on_next is None:
        return
    known = weakref.ref(knowledge)  # the provider may outlive the client

    def renew(_: Any) -> None:
        found = known()
        if found is not None:
            renew_everywhere(found)

    on_next(renew)


def renew_everywhere(knowledge: Knowledge, *, but: ClusterMap | None = None) -> None:
    """Let each loop renew its connections, except for one that does so already."""
    knowledge.logins += 1
    for cluster_map in knowledge.maps():
        if cluster_map is not but:
            with suppress(RuntimeError):  # its loop was closed
                cluster_map.loop.call_soon_threadsafe(cluster_map.renewals.soon)


class CredentialAccess:
    """What a user says when credentials have changed."""

    async def reauthenticate(self) -> None:
        """Ask for credentials again, and authenticate all connections with them.

        No call is disturbed: it goes in line with the commands, on connections that one caller has
        to itself when they are given back, and on those of other loops there. A
        `credential_provider` with redis-py's `on_next` needs no call of this.

        Raises:
            redis.AuthenticationError: A server refused them; its connections keep the old ones.
            DeadlineExceededError: The provider did not answer.
        """
        client = cast("AsyncCluster", self)
        here = client._here().map  # noqa: SLF001 - a part of the client
        renew_everywhere(client._knowledge, but=here)  # noqa: SLF001
        try:
            refusal = await here.renewals.run(client._limits.in_force().deadline)  # noqa: SLF001
        except NotSent as error:
            raise DeadlineExceededError(str(error), command="AUTH") from None
        if refusal is not None:
            raise to_error(refusal)

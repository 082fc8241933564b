"""Blocking commands: on connections of their own, for as long as it takes, but never deaf.

A call that is cancelled closes its connection, which harms nobody else. What the server had popped
for it by then is lost, as it is with every client: no reply can be put back.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any

from clustercache._async.executor import ASKING, Executor
from clustercache._async.vigil import Vigil
from clustercache._blocking import closed_meanwhile, told
from clustercache._request import NOT_TRIED
from clustercache.exceptions import OutcomeUnknownError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clustercache._async.mux import Mux
    from clustercache._request import Exchange, Failed


class Lasting(Executor):
    """Runs calls on connections apart from those of calls that are short."""

    async def _watched(
        self, request: Exchange, pool: Mux, commands: Sequence[tuple[bytes, float]]
    ) -> list[Any]:
        """Return what came back for commands, each with the seconds that it may take by right.

        A connection is not waited for as long as the call may last.
        """
        command, leases = request.command, pool.apart()
        if self._map.observer.active:
            self._map.observer.sent_to(pool.address)
        soon = min(command.deadline, monotonic() + self._map.config.deadline)
        connection = await leases.lease(soon, decode=command.decode)
        connection.keep_alive()
        follows = request.slot is not None and self._map.slots[request.slot] is pool
        vigil = Vigil(self._map, pool, command.deadline, follows_map=follows)
        try:
            return await vigil.exchange(connection, commands)
        finally:
            leases.release(connection)  # which closes it where a reply is still to come


class Blocking(Lasting):
    """Runs calls that block."""

    async def run(self, request: Exchange, first: Failed | None = None) -> Any:
        """Return the reply to a request, or raise what `decide()` says.

        Raises:
            NoClusterError: No seed gave the topology within the configuration's deadline, which
                holds for this although the call itself may wait for ever.
            ClosedError: The client was closed meanwhile.
        """
        soon = monotonic() + self._map.config.deadline
        await self._map.ensure(min(soon, request.command.deadline))
        try:
            return await super().run(request, first)
        except OutcomeUnknownError as error:
            if not self._map.closed:
                raise
            raise closed_meanwhile(request, error) from error

    async def _send(self, request: Exchange, pool: Mux, *, asking: bool) -> Any:
        before = [(ASKING, 0.0)] if asking else []
        commands = [*before, told(request, monotonic())]
        outcomes = await self._watched(request, pool, commands)
        return request.outcome([one for one in outcomes if one is not NOT_TRIED])

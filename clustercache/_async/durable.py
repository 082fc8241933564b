"""Durable writes: each with its WAIT, or WAITAOF, in one batch on one connection.

It is never the connection that all callers share, whose replies would wait behind a WAIT.
"""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING, Any, Literal, Self

from clustercache._async.blocking import Lasting
from clustercache._async.executor import ASKING
from clustercache._commands import AsyncCommands
from clustercache._durable import Confirmed, DurableWrites, confirmed
from clustercache._request import Failed, merged
from clustercache._scripts import AsyncScript

if TYPE_CHECKING:
    from types import TracebackType

    from clustercache._async.cluster_map import ClusterMap
    from clustercache._async.mux import Mux
    from clustercache._durable import Wanted
    from clustercache._request import Exchange


class AsyncDurable(DurableWrites, AsyncCommands):  # type: ignore[misc]
    """Writes that are confirmed, one after the other; see `AsyncCluster.durable`. For one task.

    Attributes:
        acknowledged: How many replicas have the last write (with ``aof``, on disk); of a write to
            several slots, the least. 0 where the node was lost before it could tell.
        local: With ``aof``, whether the primary has it on disk.
    """

    _is_async_client: Literal[True] = True

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """Send a write, wait for it to be replicated, and return its result.

        Raises:
            NotReplicatedError: Fewer replicas than wanted have it, with ``strict``.
            UnsupportedCommandError: It has no key, is no write, or blocks.
            redis.RedisError: See `clustercache.exceptions`.
        """
        client = self._client
        command = self._call(args, options, monotonic())
        known = client._here().map  # noqa: SLF001 - a part of the client
        parts = await known.parts_of(command)
        requests = self._requests(command, parts, options)
        executor = Confirming(known, self._wanted)
        if len(requests) == 1:
            reply = await executor.run(requests[0])
        else:
            replies = await asyncio.gather(*map(executor.captured, requests))
            errors = [one for one in replies if isinstance(one, Exception)]
            reply = merged(command, parts, replies, errors)
        self._judge(executor.confirmed, requests[0])
        return client._result(command.spec, reply, options)  # noqa: SLF001

    def register_script(  # type: ignore[override]
        self, script: Any, *, repeatable: bool = False
    ) -> AsyncScript:
        """Return a script whose calls are confirmed; see `AsyncCluster.register_script`."""
        return AsyncScript(self, script, repeatable=repeatable)

    async def __aenter__(self) -> Self:
        """Return itself."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Do nothing: each write was confirmed when it was made."""


class Confirming(Lasting):
    """Runs the parts of one write, each with its WAIT, and keeps what was `confirmed`."""

    def __init__(self, cluster_map: ClusterMap, wanted: Wanted) -> None:
        """Use this map."""
        super().__init__(cluster_map)
        self._wanted = wanted
        self.confirmed: list[Any] = []

    async def run(self, request: Exchange, first: Failed | None = None) -> Any:
        """Return the reply to a write, once what became of it is in `confirmed`."""
        reply = await super().run(request, first)
        if type(reply) is not Confirmed:
            return reply  # merged from its keys' own
        self.confirmed.append(reply.by)
        return reply.reply

    async def _send(self, request: Exchange, pool: Mux, *, asking: bool) -> Any:
        waiting = self._wanted.question(request.command.deadline - monotonic())
        before = [(ASKING, 0.0)] if asking else []
        commands = [*before, (request.pieces[0], 0.0), waiting]
        outcomes = await self._watched(request, pool, commands)
        failed = next((one for one in outcomes[:-1] if type(one) is Failed), None)
        if failed is not None:
            return failed
        resent = request.call.safety in request.call.resend
        return confirmed(*outcomes[-2:], resent=resent)

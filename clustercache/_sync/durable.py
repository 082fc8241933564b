"""Durable writes: each with its WAIT, or WAITAOF, in one batch on one connection."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any, Literal, Self

from clustercache._commands import Commands
from clustercache._durable import Confirmed, DurableWrites, Wanted, confirmed
from clustercache._request import NOT_TRIED, Failed, merged
from clustercache._scripts import Script
from clustercache._sync.blocking import Vigil
from clustercache._sync.executor import ASKING, Executor

if TYPE_CHECKING:
    from types import TracebackType

    from clustercache._request import Exchange
    from clustercache._sync.cluster_map import ClusterMap
    from clustercache._sync.exchange import Share
    from clustercache._sync.pool import Pool


class Durable(DurableWrites, Commands):
    """Writes that are confirmed, one after the other; see `Cluster.durable`. Not thread-safe.

    Attributes:
        acknowledged: How many replicas have the last write (with ``aof``, on disk); of a write to
            several slots, the least. 0 where the node was lost before it could tell.
        local: With ``aof``, whether the primary has it on disk.
    """

    _is_async_client: Literal[False] = False

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Send a write, wait for it to be replicated, and return its result.

        Raises:
            NotReplicatedError: Fewer replicas than wanted have it, with ``strict``.
            UnsupportedCommandError: It has no key, is no write, or blocks.
            redis.RedisError: See `clustercache.exceptions`.
        """
        client = self._client
        command = self._call(args, options, monotonic())
        parts = client._map.parts_of(command)  # noqa: SLF001 - a part of the client
        requests = self._requests(command, parts, options)
        executor = Confirming(client._map, self._wanted)  # noqa: SLF001
        if len(requests) == 1:
            reply = executor.run(requests[0])
        else:
            replies = [executor.captured(request) for request in requests]
            errors = [one for one in replies if isinstance(one, Exception)]
            reply = merged(command, parts, replies, errors)
        self._judge(executor.confirmed, requests[0])
        return client._result(command.spec, reply, options)  # noqa: SLF001

    def register_script(self, script: Any, *, repeatable: bool = False) -> Script:
        """Return a script whose calls are confirmed; see `Cluster.register_script`."""
        return Script(self, script, repeatable=repeatable)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Do nothing: each write was confirmed when it was made."""


class Confirming(Executor):
    """Runs the parts of one write, each with its WAIT, and keeps what was `confirmed`."""

    def __init__(self, cluster_map: ClusterMap, wanted: Wanted) -> None:
        """Use this map."""
        super().__init__(cluster_map)
        self._wanted = wanted
        self.confirmed: list[Any] = []

    def run(self, request: Exchange, first: Failed | None = None) -> Any:
        """Return the reply to a write, once what became of it is in `confirmed`."""
        reply = super().run(request, first)
        if type(reply) is not Confirmed:
            return reply  # merged from its keys' own
        self.confirmed.append(reply.by)
        return reply.reply

    def _came(self, request: Exchange, share: Share, *, asking: bool) -> Any:  # noqa: ARG002
        assert isinstance(share, ConfirmedShare)  # noqa: S101 - as `_share` makes it
        return share.result

    def _share(self, request: Exchange, pool: Pool, *, asking: bool, follows_map: bool) -> Share:
        waiting, seconds = self._wanted.question(request.command.deadline - monotonic())
        first = [(ASKING, 0.0)] if asking else []
        commands = [*first, (request.pieces[0], 0.0), (waiting, seconds)]
        resent = request.call.safety in request.call.resend
        return ConfirmedShare(pool, commands, follows_map=follows_map, resent=resent)


class ConfirmedShare(Vigil):
    """A write and its WAIT."""

    __slots__ = ("_resent",)

    def __init__(self, *args: Any, resent: bool, **options: Any) -> None:
        """Take what `Vigil` takes, and whether the write may be sent again."""
        super().__init__(*args, **options)
        self._resent = resent

    @property
    def result(self) -> Any:
        """The write's failure, or what `confirmed` says."""
        write, waiting = self.outcomes[-2:]
        if type(write) is Failed or write is NOT_TRIED:
            return write
        return confirmed(write, waiting, resent=self._resent)

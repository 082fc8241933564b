"""Durable writes: each with its WAIT, or WAITAOF, in one batch on one connection.

WAIT certifies only what its own connection has written: asked on another one it counts replicas
that may lack the write (seen: it answers 1 with the only replica stopped).

Source: WAIT and WAITAOF in the servers' command reference.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any, Literal, Self

from clustercache._commands import REPEATABLE, Commands, to_error
from clustercache._core import wire
from clustercache._core.blocking import LEAST, before
from clustercache._core.commands import Route
from clustercache._core.decisions import Trouble
from clustercache._core.wire import ServerError
from clustercache._request import NO_SLOT, NOT_TRIED, Command, Failed, Request, merged
from clustercache._scripts import Script
from clustercache._sync.blocking import Vigil
from clustercache._sync.executor import ASKING, Executor
from clustercache.config import check_seconds
from clustercache.exceptions import (
    ConfigurationError,
    InvalidArgumentError,
    NotReplicatedError,
    UnsupportedCommandError,
)

if TYPE_CHECKING:
    from types import TracebackType

    from clustercache._request import Exchange
    from clustercache._sync.cluster import Cluster
    from clustercache._sync.cluster_map import ClusterMap
    from clustercache._sync.exchange import Share
    from clustercache._sync.pool import Pool


class Wanted:
    """What a durable write waits for."""

    __slots__ = ("aof", "local", "replicas", "strict", "timeout")

    def __init__(
        self, *, replicas: int, timeout: float, aof: bool, local: bool, strict: bool
    ) -> None:
        """Check it; see `Cluster.durable`."""
        check_seconds("timeout", timeout)
        if type(replicas) is not int or replicas < 0 or not (replicas or local):
            msg = "replicas must be a whole number of at least 1, or 0 with local=True"
            raise ConfigurationError(msg)
        self.replicas = replicas
        self.timeout = timeout
        self.local = local
        self.aof = aof or local
        self.strict = strict

    def command(self, seconds: float) -> tuple[Any, ...]:
        """Return the WAIT or WAITAOF that takes at most `seconds`."""
        milliseconds = max(int(seconds * 1000), 1)
        if self.aof:
            return ("WAITAOF", int(self.local), self.replicas, milliseconds)
        return ("WAIT", self.replicas, milliseconds)


class Durable(Commands):
    """Writes that are confirmed, one after the other; see `Cluster.durable`. Not thread-safe.

    Attributes:
        acknowledged: How many replicas have the last write (with ``aof``, on disk); of a write to
            several slots, the least. 0 where the node was lost before it could tell.
        local: With ``aof``, whether the primary has it on disk.
    """

    _is_async_client: Literal[False] = False

    def __init__(self, client: Cluster, wanted: Wanted) -> None:
        """Write by `client`."""
        self._client = client
        self._wanted = wanted
        self.encoder = client.encoder
        self.acknowledged = 0
        self.local = False

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Send a write, wait for it to be replicated, and return its result.

        Raises:
            NotReplicatedError: Fewer replicas than wanted have it, with ``strict``.
            UnsupportedCommandError: It has no key, is no write, or blocks.
            redis.RedisError: See `clustercache.exceptions`.
        """
        client = self._client
        limits = client._limits.in_force()  # noqa: SLF001 - a part of the client
        if options.get(REPEATABLE):
            limits = limits.repeating()
        if client.config.recodes:
            args = (*args[:1], *client.config.recode(args[1:]))
        command = Command(args, limits, monotonic(), decode=True)
        parts = client._map.parts_of(command)  # noqa: SLF001
        spec = command.spec
        if parts[0][0] == NO_SLOT or spec.route is not Route.KEYS or spec.readonly:
            msg = "only a write to a key can be confirmed: call it on the client itself"
            raise UnsupportedCommandError(msg, command=spec.name)
        if not {"target", "target_nodes"}.isdisjoint(options):
            msg = "target is for commands without keys"
            raise InvalidArgumentError(msg, command=spec.name)
        executor = Confirming(client._map, self._wanted)  # noqa: SLF001
        self.acknowledged, self.local = 0, False
        if len(parts) == 1:
            reply = executor.run(Request(command, parts[0]))
        else:
            replies = [executor.captured(Request(command, part)) for part in parts]
            errors = [one for one in replies if isinstance(one, Exception)]
            reply = merged(command, parts, replies, errors)
        self._judge(executor, Request(command, parts[0]))
        return client._result(spec, reply, options)  # noqa: SLF001

    def _judge(self, executor: Confirming, request: Request) -> None:
        """Take note of what the servers confirmed, and raise if it is not enough."""
        wanted = self._wanted
        for reply in executor.confirmed:
            if isinstance(reply, ServerError):
                error = to_error(reply)
                error.add_note("the write itself was executed; the waiting for it was refused")
                raise error
        self.local = all(local for local, _ in executor.confirmed)
        self.acknowledged = min(count for _, count in executor.confirmed)
        if wanted.strict and (
            self.acknowledged < wanted.replicas or (wanted.local and not self.local)
        ):
            where = "on disk" if wanted.aof else "replicated"
            msg = (
                f"executed, but {where} by {self.acknowledged} of {wanted.replicas} replicas"
                f" within {wanted.timeout:g} s: a failover may lose it"
            )
            facts = request.facts(None) | {"applied": "maybe"}
            raise NotReplicatedError(msg, self.acknowledged, wanted.replicas, **facts)

    def register_script(self, script: Any, *, repeatable: bool = False) -> Script:
        """Return a script whose calls are confirmed; see `Cluster.register_script`."""
        return Script(self, script, repeatable=repeatable)

    def get_encoder(self) -> Any:
        """Return redis-py's encoder, for its scripts."""
        return self.encoder

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
        left = before(request.command.deadline - monotonic())
        seconds = max(min(self._wanted.timeout, left), LEAST)
        waiting = wire.pack(self._wanted.command(seconds))
        first = [(ASKING, 0.0)] if asking else []
        commands = [*first, (request.pieces[0], 0.0), (waiting, seconds)]
        resent = request.call.safety in request.call.resend
        return ConfirmedShare(pool, commands, follows_map=follows_map, resent=resent)


class Confirmed:
    """A write's reply, and (on the primary's disk, how many replicas) or the server's error."""

    __slots__ = ("by", "reply")

    def __init__(self, reply: Any, by: Any) -> None:
        """Take WAIT's count, WAITAOF's two numbers, an error, or None for what was lost."""
        self.reply = reply
        if isinstance(by, list):
            self.by: Any = (bool(by[0]), by[1])
        else:
            self.by = by if isinstance(by, ServerError) else (False, by or 0)


class ConfirmedShare(Vigil):
    """A write and its WAIT."""

    __slots__ = ("_resent",)

    def __init__(self, *args: Any, resent: bool, **options: Any) -> None:
        """Take what `Vigil` takes, and whether the write may be sent again."""
        super().__init__(*args, **options)
        self._resent = resent

    @property
    def result(self) -> Any:
        """The write's failure, or its reply with what WAIT said.

        Where the node was lost in between, all is sent again if that is safe; the reply of a write
        that may not be repeated is kept, and so is one that came before the deadline.
        """
        write, waiting = self.outcomes[-2:]
        if type(write) is Failed or write is NOT_TRIED:
            return write
        if type(waiting) is not Failed:
            return Confirmed(write, waiting)
        trouble = waiting.event.trouble
        if trouble is Trouble.ERROR:
            return Confirmed(write, waiting.error)
        again = self._resent and trouble is not Trouble.EXPIRED_UNANSWERED
        return waiting if again else Confirmed(write, None)

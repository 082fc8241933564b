"""Durable writes, apart from the sending: what is wanted, and what the servers confirmed.

WAIT certifies only what its own connection has written: asked on another one it counts replicas
that may lack the write (seen: it answers 1 with the only replica stopped). So each write goes out
with its WAIT, or WAITAOF, in one batch on one connection.

Source: WAIT and WAITAOF in the servers' command reference.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clustercache._commands import REPEATABLE, to_error
from clustercache._core import wire
from clustercache._core.blocking import LEAST, before
from clustercache._core.commands import Route
from clustercache._core.decisions import Trouble
from clustercache._core.wire import ServerError
from clustercache._request import NO_SLOT, Command, Failed, Request
from clustercache.config import check_seconds
from clustercache.exceptions import (
    ConfigurationError,
    InvalidArgumentError,
    NotReplicatedError,
    UnsupportedCommandError,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clustercache._core.routing import Part


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

    def question(self, left: float) -> tuple[bytes, float]:
        """Return the WAIT or WAITAOF that goes with a write, and for how many seconds it waits.

        Args:
            left: Of the call's deadline, in seconds.
        """
        seconds = max(min(self.timeout, before(left)), LEAST)
        milliseconds = max(int(seconds * 1000), 1)
        words: tuple[Any, ...] = ("WAIT", self.replicas, milliseconds)
        if self.aof:
            words = ("WAITAOF", int(self.local), *words[1:])
        return wire.pack(words), seconds


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


def confirmed(write: Any, waiting: Any, *, resent: bool) -> Any:
    """Return a write's reply with what WAIT said, or the Failed that the attempt ended in.

    Where the node was lost in between, all is sent again if that is safe; the reply of a write
    that may not be repeated is kept, and so is one that came before the deadline.

    Args:
        write: What came back for the write; not a Failed.
        waiting: What came back for its WAIT.
        resent: Whether the write may be sent again.
    """
    if type(waiting) is not Failed:
        return Confirmed(write, waiting)
    trouble = waiting.event.trouble
    if trouble is Trouble.ERROR:
        return Confirmed(write, waiting.error)
    again = resent and trouble is not Trouble.EXPIRED_UNANSWERED
    return waiting if again else Confirmed(write, None)


class DurableWrites:
    """What both kinds of clients do around the sending; see `Cluster.durable`.

    Attributes:
        acknowledged: How many replicas have the last write (with ``aof``, on disk); of a write to
            several slots, the least. 0 where the node was lost before it could tell.
        local: With ``aof``, whether the primary has it on disk.
    """

    def __init__(self, client: Any, wanted: Wanted) -> None:
        """Write by `client`."""
        self._client = client
        self._wanted = wanted
        self.encoder = client.encoder
        self.acknowledged = 0
        self.local = False

    def _call(self, args: Sequence[Any], options: dict[str, Any], now: float) -> Command:
        """Return a call, checked as far as that needs no topology."""
        limits = self._client._limits.in_force()  # noqa: SLF001 - a part of the client
        if options.get(REPEATABLE):
            limits = limits.repeating()
        if self._client.config.recodes:
            args = (*args[:1], *self._client.config.recode(args[1:]))
        self.acknowledged, self.local = 0, False
        return Command(args, limits, now, decode=True)

    def _requests(
        self, command: Command, parts: Sequence[Part], options: dict[str, Any]
    ) -> list[Request]:
        """Return what is sent, or refuse what cannot be confirmed."""
        spec = command.spec
        if parts[0][0] == NO_SLOT or spec.route is not Route.KEYS or spec.readonly:
            msg = "only a write to a key can be confirmed: call it on the client itself"
            raise UnsupportedCommandError(msg, command=spec.name)
        if not {"target", "target_nodes"}.isdisjoint(options):
            msg = "target is for commands without keys"
            raise InvalidArgumentError(msg, command=spec.name)
        return [Request(command, part) for part in parts]

    def _judge(self, answers: Sequence[Any], request: Request) -> None:
        """Take note of what the servers confirmed, and raise if it is not enough."""
        wanted = self._wanted
        for reply in answers:
            if isinstance(reply, ServerError):
                error = to_error(reply)
                error.add_note("the write itself was executed; the waiting for it was refused")
                raise error
        self.local = all(local for local, _ in answers)
        self.acknowledged = min(count for _, count in answers)
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

    def get_encoder(self) -> Any:
        """Return redis-py's encoder, for its scripts."""
        return self.encoder

"""`Cluster`: the blocking client."""

# The direct path is laid out for speed: what it finds in its first block is there in its second.
# mypy: disable-error-code="possibly-undefined"

from __future__ import annotations

import os
import weakref
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any, Literal, Self, cast

from redis.exceptions import RedisError

from clustercache._client import BaseClient
from clustercache._commands import (
    EMPTY_RESPONSE,
    NEVER_DECODE,
    REPEATABLE,
    SPECIAL,
    Commands,
    merge_nodes,
    to_error,
)
from clustercache._core import wire
from clustercache._core.commands import Merge, Route
from clustercache._core.read_from import ReadFrom, is_read
from clustercache._core.slots import key_slot
from clustercache._core.wire import ServerError
from clustercache._direct import DIRECT
from clustercache._events import NoReply, NotSent, Silent
from clustercache._nodes import NodeCommands
from clustercache._request import NO_SLOT, Command, Failed, Request, by_key, merged
from clustercache._sync.batches import Batches
from clustercache._sync.blocking import Blocking
from clustercache._sync.cluster_map import ClusterMap
from clustercache._sync.executor import Executor
from clustercache._sync.observed import observe
from clustercache._sync.pool import STALE_AFTER, Stale
from clustercache._sync.reads import DirectReads, Reads, merged_stats
from clustercache._sync.recipes import Recipes
from clustercache._sync.renewal import follow, renew_all
from clustercache._sync.scan import ScanAccess
from clustercache._sync.subscriber import disconnect_all
from clustercache._targets import addresses_of
from clustercache.config import RetryPolicy
from clustercache.exceptions import InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from clustercache._core.routing import Part
    from clustercache._core.topology import Topology
    from clustercache._sync.connection import Connection
    from clustercache._sync.executor import First
    from clustercache._sync.pool import Pool
    from clustercache.config import ClusterConfig


class Cluster(BaseClient[NodeCommands], Recipes, ScanAccess, Commands):
    """A client of a Redis or Valkey Cluster, for any number of threads.

    Every command method of redis-py, with its results. Keys go to their slot's primary; redirects,
    failovers and moved slots are followed within the deadline. Nothing is opened before the first
    command, so it may be made before a fork.

    Example:
        >>> r = Cluster.from_url("redis://127.0.0.1:7000")  # doctest: +SKIP
        >>> r.set("k", "v", ex=60)  # doctest: +SKIP
        True
    """

    # redis-py's overloads tell a type checker by it that results are not awaitables.
    _is_async_client: Literal[False] = False
    _node_commands = NodeCommands

    def __init__(self, config: ClusterConfig) -> None:
        """Make a client; see `from_url` for the usual way.

        Args:
            config: Addresses, credentials and limits.
        """
        super().__init__(config)
        self._map = ClusterMap(config)
        self._executor = Executor(self._map)
        self._batches = Batches(self._map, self._executor)
        self._blocking = Blocking(self._map)
        self._deadline = config.deadline
        # Who resends less looks at a connection each time: what was lost cannot be repeated.
        self._trusted = STALE_AFTER if config.retry.resend >= RetryPolicy().resend else 0.0
        self._reads = Reads(self._map, config)
        self._reading: DirectReads | None = None
        if config.read_from != ReadFrom.PRIMARY:
            others = partial(Cluster.execute_command, self)
            self._reading = DirectReads(self, self._reads, others)
            self.execute_command = self._reading.execute_command  # type: ignore[method-assign]
        if config.recodes:
            self.execute_command = self._recoded  # type: ignore[method-assign]
        if config.hooks:
            observe(self, self._map, self._limits)
        follow(config.credential_provider, self._map)
        _clients.add(self)
        # The helper thread keeps the map alive, not the client: dropped, it needs no watching.
        weakref.finalize(self, self._map.let_go).atexit = False

    # Commands ---------------------------------------------------------------------------------

    def execute_command(self, *args: Any, **options: Any) -> Any:  # noqa: C901 - one straight path
        """Send a command and return its result.

        Args:
            args: The command's name and arguments: bytes, str, int or float.
            options: ``target`` (``target_nodes`` in redis-py): "primaries", "replicas", "all",
                "random", a node or several; ``repeatable=True`` for a call, of a script say, that
                may be sent again when its reply was lost; and what redis-py's reply callbacks take.

        Raises:
            redis.RedisError: See `clustercache.exceptions`.
        """
        connection: Connection | None = None
        try:
            place, risky, longest = DIRECT[args[0]]
            if len(args) <= longest and (not options or SPECIAL.isdisjoint(options)):
                pool: Any = self._map.slots[key_slot(args[place])]
                if pool.suspicion is None and self._limited() is None:
                    data = wire.pack(args)
                    connection = pool.idle.pop()
        except (LookupError, TypeError, AttributeError, UnicodeError):
            pass  # not the plain case, or no idle connection: nothing was sent
        if connection is None:
            return self._execute(args, options)
        connection.leased = True
        now = monotonic()
        trouble: First | None = None
        try:
            fresh = now - connection.idle_since < self._trusted and len(args) < risky
            if (fresh and not connection.has_surplus()) or not connection.is_stale():
                reply = connection.exchange(data, now + self._deadline)
            else:
                trouble = Stale()
        except (NotSent, NoReply, Silent) as error:
            trouble = error
        except BaseException:
            pool.discard(connection)
            raise
        if trouble is not None:
            return self._resume(args, options, now, (pool, connection, trouble))
        then = monotonic()
        pool.last_round_trip = then - now
        pool.release(connection, then)
        if type(reply) is ServerError:
            return self._resume(args, options, now, (pool, None, reply))
        callback = self._callbacks.get(args[0])
        if callback is None:
            return reply
        options.pop("keys", None)
        return callback(reply, **options)

    def _recoded(self, *args: Any, **options: Any) -> Any:
        """Encode str in the codec of the configuration, which hiredis does not know."""
        given = self.config.recode(args[1:])
        if self._reading is not None:
            return self._reading.execute_command(*args[:1], *given, **options)
        return Cluster.execute_command(self, *args[:1], *given, **options)

    def _resume(
        self,
        args: Any,
        options: dict[str, Any],
        began: float,
        attempt: tuple[Pool, Connection | None, First],
    ) -> Any:
        """Go on with a direct call after its first attempt, with the whole table of decisions."""
        command = Command(args, self._limits.in_force(), began, decode=True)
        request = Request(command, command.parts()[0])
        first = self._executor.first(request, *attempt)
        reply = self._executor.run(request, first) if type(first) is Failed else first
        return self._result(command.spec, reply, options)

    def _execute(self, args: Any, options: dict[str, Any]) -> Any:
        """Do what `execute_command` says, for every kind of command."""
        limits, decode = self._limits.in_force(), NEVER_DECODE not in options
        if options.get(REPEATABLE):
            limits = limits.repeating()
        command = Command(args, limits, monotonic(), decode=decode, may_block=True)
        parts = self._map.parts_of(command)
        targets = options.get("target_nodes", options.get("target"))
        if targets is not None and (len(parts) > 1 or command.wait is not None):
            msg = "target is for commands without keys: these go to the owners of their slots"
            raise InvalidArgumentError(msg, command=command.spec.name)
        everywhere = command.spec.route in {Route.PRIMARIES, Route.NODES}
        if targets is not None or (everywhere and parts[0][0] == NO_SLOT):
            return self._everywhere(command, parts, targets, options)
        try:
            reply = self._reply_to(command, parts)
        except Exception:
            if EMPTY_RESPONSE in options:
                return options[EMPTY_RESPONSE]
            raise
        return self._result(command.spec, reply, options)

    def _reply_to(self, command: Command, parts: list[Part]) -> Any:
        if command.wait is not None:
            return self._blocking.run(Request(command, parts[0]))
        by_policy = command.limits.read_from != ReadFrom.PRIMARY and parts[0][0] != NO_SLOT
        if by_policy and is_read(command.spec, command.args):
            return self._reads.run(command, parts)
        if len(parts) == 1:
            return self._executor.run(Request(command, parts[0]))
        return merged(command, parts, *self._batches.run(command, parts))

    def _read_each(self, keys: Sequence[str]) -> list[Any]:
        """Return what each key holds at its primary, or the error in its place."""
        command = Command(("MGET", *keys), self._limits.in_force(), monotonic(), decode=True)
        try:
            parts = self._map.parts_of(command)
            replies, _ = self._batches.run(command, parts)
        except RedisError as error:
            return [error] * len(keys)
        return by_key(parts, replies)

    def _everywhere(
        self, command: Command, parts: list[Part], targets: Any, options: dict[str, Any]
    ) -> Any:
        """Send a command to several nodes, and merge their results."""
        self._map.ensure(command.deadline)
        spec = command.spec
        nodes = addresses_of(targets, spec.route, self._map.topology)
        if len(nodes) > 1 and parts[0][0] != NO_SLOT:
            msg = "target names several nodes: a command with keys goes to one of them at the most"
            raise InvalidArgumentError(msg, command=spec.name)
        (_, words, places) = parts[0]
        copies = [(NO_SLOT if slot is None else slot, words, places) for _, slot in nodes]
        names = [str(address) for address, _ in nodes]
        aims = [address if slot is None else None for address, slot in nodes]
        replies, errors = self._batches.run(command, copies, aims)
        if errors and (spec.merge is not Merge.ONE or len(errors) == len(replies)):
            raise errors[0]
        results = {
            name: self._result(spec, reply, options)
            for name, reply in zip(names, replies, strict=True)
            if not isinstance(reply, Exception)
        }
        return merge_nodes(spec.merge, results)

    # The client itself ------------------------------------------------------------------------

    def reauthenticate(self) -> None:
        """Ask for credentials again, and authenticate all connections with them.

        Idle connections are done at once, and those in use when they are given back: no call is
        disturbed. A `credential_provider` with redis-py's `on_next` needs no call of this.

        Raises:
            redis.AuthenticationError: A server refused them; its connections keep the old ones.
        """
        refusal = renew_all(self._map)
        if refusal is not None:
            raise to_error(refusal)

    def stats(self) -> dict[str, Any]:
        """Return what the client did, by node ("host:port").

        Returns:
            ``refreshes`` and ``nodes``; for each node its connections (``pool``), those in use
            (``in_flight``), ``redirects``, ``errors``, ``suspected`` and ``last_round_trip`` in
            seconds (None before the first).
        """
        nodes = merged_stats([*self._map.pools.values(), *self._reads.readers.pools])
        return {"refreshes": self._map.refreshes, "nodes": nodes}

    def _slots(self) -> Sequence[Pool | None]:
        return self._map.slots

    def _topology(self) -> Topology:
        """Return the snapshot in force, learning it if need be."""
        self._map.ensure(monotonic() + self._limits.in_force().deadline)
        return cast("Topology", self._map.topology)

    def close(self) -> None:
        """Let calls under way finish and close all connections; later calls raise ClosedError."""
        self._map.close()
        disconnect_all(self._map)
        self._reads.close()

    def __enter__(self) -> Self:
        """Return the client; nothing is opened yet."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the client."""
        self.close()


_clients: weakref.WeakSet[Cluster] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for client in list(_clients):
        client._map.after_fork()  # noqa: SLF001 - this module is the client
        client._reads.after_fork()  # noqa: SLF001


os.register_at_fork(after_in_child=_after_fork_in_child)

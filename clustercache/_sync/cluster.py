"""`Cluster`: the blocking client."""

from __future__ import annotations

import os
import weakref
from time import monotonic
from typing import TYPE_CHECKING, Any, Self

from clustercache import config as configuration
from clustercache._commands import (
    EMPTY_RESPONSE,
    NEVER_DECODE,
    Commands,
    callbacks_for,
    encoder_for,
    merge_nodes,
)
from clustercache._core import wire
from clustercache._core.commands import COMMANDS, Merge, Route, Safety, Split
from clustercache._core.slots import encode, key_slot
from clustercache._core.wire import ServerError
from clustercache._limits import LimitScope
from clustercache._request import Failed, Request, checked, merged, requests_for
from clustercache._sync.batches import Batches
from clustercache._sync.cluster_map import ClusterMap
from clustercache._sync.connection import NoReply, NotSent, Silent
from clustercache._sync.executor import Executor
from clustercache._sync.pool import STALE_AFTER, Stale
from clustercache._targets import addresses_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from contextlib import AbstractContextManager
    from types import TracebackType

    from redis._parsers.encoders import Encoder

    from clustercache._core.commands import CommandSpec
    from clustercache._sync.connection import Connection
    from clustercache._sync.pool import Pool
    from clustercache.config import ClusterConfig, RetryPolicy

_NO_OPTIONS = 1 << 30


def _direct(spec: CommandSpec) -> tuple[int, int]:
    """Return where the key is, and the length from which the call must not be sent twice.

    SET is safe to send again, but SET with options may be SET NX.
    """
    if spec.safety is Safety.NEVER:
        return spec.single_key, 0
    options = spec.options.start if spec.options is not None else _NO_OPTIONS
    return spec.single_key, options + 1 if spec.safety_words else _NO_OPTIONS


# The commands of one word and of one key at a fixed place: they take the direct path.
_DIRECT = {
    name: _direct(spec)
    for name, spec in COMMANDS.items()
    if spec.single_key
    and len(spec.words) == 1
    and spec.route is Route.KEYS
    and spec.split is Split.NONE
    and not spec.refused
    and not spec.blocking
}


_SPECIAL = frozenset({"target_nodes", EMPTY_RESPONSE, NEVER_DECODE})
_NOT_FOR_CALLBACKS = _SPECIAL | {"keys"}


class Cluster(Commands):
    """A client of a Redis or Valkey Cluster, for any number of threads.

    Every command method of redis-py, with its results. Keys go to their slot's primary; redirects,
    failovers and moved slots are followed within the deadline. Nothing is opened before the first
    command, so it may be made before a fork.

    Example:
        >>> r = Cluster.from_url("redis://127.0.0.1:7000")  # doctest: +SKIP
        >>> r.set("k", "v", ex=60)  # doctest: +SKIP
        True
    """

    def __init__(self, config: ClusterConfig) -> None:
        """Make a client; see `from_url` for the usual way.

        Args:
            config: Addresses, credentials and limits.
        """
        self.config = config
        self._map = ClusterMap(config)
        self._executor = Executor(self._map)
        self._batches = Batches(self._map, self._executor)
        self._limits = LimitScope(config)
        self._limited = self._limits.current.get
        self._deadline = config.deadline
        self._callbacks = callbacks_for(config)
        self.encoder = encoder_for(config)
        _clients.add(self)

    @classmethod
    def from_url(cls, url: str | Iterable[str], **options: Any) -> Self:
        """Return a client for the cluster at a URL, or at several of its nodes' URLs.

        Args:
            url: ``redis[s]://`` or ``valkey[s]://[[user]:password@]host[:port]``; more seeds as
                ``?addr=host:port&addr=...``.
            options: redis-py's names (``decode_responses``, ``socket_timeout``, ``ssl_ca_certs``,
                ...) and those of `ClusterConfig`.

        Raises:
            ConfigurationError: Something in it is unknown or out of range.
        """
        return cls(configuration.from_url(url, **options))

    # Commands ---------------------------------------------------------------------------------

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Send a command and return its result.

        Args:
            args: The command's name and arguments: bytes, str, int or float.
            options: ``target_nodes`` as in redis-py, and what its reply callbacks take.

        Raises:
            redis.RedisError: See `clustercache.exceptions`.
        """
        try:
            place, risky = _DIRECT[args[0]]
            slot = key_slot(args[place])
            data = wire.pack(args)
            pool: Any = self._map.slots[slot]
            if pool.suspicion is not None or self._limited() is not None:
                return self._execute(args, options)
            if options and not _SPECIAL.isdisjoint(options):
                return self._execute(args, options)
            connection = pool.idle.pop()
        except (LookupError, TypeError, AttributeError, UnicodeError):
            # Not the plain case, or no idle connection: nothing was sent.
            return self._execute(args, options)
        try:
            now = monotonic()
            fresh = now - connection.idle_since < STALE_AFTER and len(args) < risky
            if not fresh and connection.is_stale():
                raise Stale  # noqa: TRY301
            reply = connection.exchange(data, now + self._deadline)
        except (Stale, NotSent, NoReply, Silent) as error:
            return self._resume(args, options, (pool, connection, error))
        except BaseException:
            pool.discard(connection)
            raise
        pool.last_round_trip = monotonic() - now
        pool.release(connection)
        if type(reply) is ServerError:
            return self._resume(args, options, (pool, None, reply))
        callback = self._callbacks.get(args[0])
        if callback is None:
            return reply
        options.pop("keys", None)
        return callback(reply, **options)

    def _resume(
        self,
        args: Any,
        options: dict[str, Any],
        attempt: tuple[Pool, Connection | None, Exception],
    ) -> Any:
        """Go on with a direct call after its first attempt, with the whole table of decisions."""
        limits = self._limits.in_force()
        spec, args = checked(args)
        request = requests_for(spec, args, limits, monotonic() + limits.deadline)[0]
        first = self._executor.first(request, *attempt)
        reply = self._executor.run(request, first) if type(first) is Failed else first
        return self._result(spec, reply, options)

    def _execute(self, args: Any, options: dict[str, Any]) -> Any:
        """Do what `execute_command` says, for every kind of command."""
        limits = self._limits.in_force()
        deadline = monotonic() + limits.deadline
        targets = options.pop("target_nodes", None)
        decode = NEVER_DECODE not in options
        spec, args = checked(args)
        requests = requests_for(spec, args, limits, deadline, decode=decode)
        if targets is not None or (
            spec.route in {Route.PRIMARIES, Route.NODES} and requests[0].slot is None
        ):
            return self._everywhere(spec, requests, targets, options)
        try:
            reply = self._reply_to(requests)
        except Exception:
            if EMPTY_RESPONSE in options:
                return options[EMPTY_RESPONSE]
            raise
        return self._result(spec, reply, options)

    def _reply_to(self, requests: list[Request]) -> Any:
        if len(requests) == 1:
            return self._executor.run(requests[0])
        return merged(requests, self._batches.run_all(requests))

    def _everywhere(
        self, spec: CommandSpec, requests: list[Request], targets: Any, options: dict[str, Any]
    ) -> Any:
        """Send a command to several nodes, and merge their results."""
        self._map.ensure(requests[0].deadline)
        topology = self._map.topology
        copies: list[Request] = []
        names: list[str] = []
        for address, slot in addresses_of(targets, spec.route, topology):
            names.append(str(address))
            copies += [
                one.to(slot=slot, target=None if slot is not None else address) for one in requests
            ]
        replies = self._batches.run_all(copies)
        failed = next((reply for reply in replies if isinstance(reply, Exception)), None)
        if failed is not None:
            raise failed
        results = [self._result(spec, reply, options) for reply in replies]
        merge = spec.merge if spec.route in {Route.PRIMARIES, Route.NODES} else Merge.NONE
        by_node = dict(zip(names, results, strict=True))
        return merge_nodes(merge, by_node)

    def _result(self, spec: CommandSpec, reply: Any, options: dict[str, Any]) -> Any:
        callback = self._callbacks.get(spec.name)
        if callback is None:
            return reply
        rest = {name: value for name, value in options.items() if name not in _NOT_FOR_CALLBACKS}
        return callback(reply, **rest)

    # Limits -----------------------------------------------------------------------------------

    def deadline(self, seconds: float) -> AbstractContextManager[None]:
        """Give each call inside the block this many seconds, with all redirects and retries.

        Example:
            >>> with r.deadline(0.2): r.get("k")  # doctest: +SKIP
        """
        return self._limits.block(deadline=seconds)

    def retry(self, policy: RetryPolicy) -> AbstractContextManager[None]:
        """Send again inside the block what `policy` says, when a reply was lost."""
        return self._limits.block(retry=policy)

    # The client itself ------------------------------------------------------------------------

    def stats(self) -> dict[str, Any]:
        """Return what the client did, by node ("host:port").

        Returns:
            ``refreshes`` and ``nodes``; for each node its connections (``pool``), those in use
            (``in_flight``), ``redirects``, ``errors``, ``suspected`` and ``last_round_trip`` in
            seconds (None before the first).
        """
        nodes = {str(pool.address): pool.stats() for pool in list(self._map.pools.values())}
        return {"refreshes": self._map.refreshes, "nodes": nodes}

    def get_encoder(self) -> Encoder:
        """Return redis-py's encoder, for its scripts."""
        return self.encoder

    def get_connection_kwargs(self) -> dict[str, Any]:
        """Return what redis-py's methods ask of a connection."""
        return {"decode_responses": self.config.decode_responses}

    def keyslot(self, key: Any) -> int:
        """Return the slot (0 to 16383) of a key."""
        return key_slot(encode(key, self.config.encoding))

    def close(self) -> None:
        """Let calls under way finish and close all connections; later calls raise ClosedError."""
        self._map.close()

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

    def __repr__(self) -> str:
        """Show the seeds; never credentials."""
        return f"<Cluster {', '.join(map(str, self.config.seeds))}>"


_clients: weakref.WeakSet[Cluster] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for client in list(_clients):
        client._map.after_fork()  # noqa: SLF001 - this module is the client


os.register_at_fork(after_in_child=_after_fork_in_child)

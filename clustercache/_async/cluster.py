"""`AsyncCluster`: the asyncio client."""

# The direct path is laid out for speed: what it finds in its first block is there in its second.
# mypy: disable-error-code="possibly-undefined"

from __future__ import annotations

import os
import weakref
from asyncio import get_running_loop
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any, Literal, Self

from redis.exceptions import RedisError

from clustercache._async.exchange import LARGE, judged
from clustercache._async.knowledge import Knowledge
from clustercache._async.observed import observe
from clustercache._async.reads import DirectReads
from clustercache._async.recipes import Recipes
from clustercache._async.renewal import CredentialAccess, follow
from clustercache._async.scan import ScanAccess
from clustercache._async.subscribing import Subscribing
from clustercache._client import BaseClient
from clustercache._commands import (
    EMPTY_RESPONSE,
    NEVER_DECODE,
    REPEATABLE,
    SPECIAL,
    AsyncCommands,
    merge_nodes,
)
from clustercache._core import wire
from clustercache._core.commands import Merge, Route
from clustercache._core.read_from import ReadFrom
from clustercache._core.slots import key_slot
from clustercache._core.wire import ServerError
from clustercache._direct import DIRECT
from clustercache._nodes import AsyncNodeCommands
from clustercache._request import NO_SLOT, Command, Failed, Request, by_key
from clustercache._targets import addresses_of
from clustercache.exceptions import InvalidArgumentError, NoClusterError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from clustercache._async.mux import Mux
    from clustercache._async.runner import Runner
    from clustercache._core.routing import Part
    from clustercache._core.topology import Topology
    from clustercache.config import ClusterConfig

_TROUBLES = frozenset({ServerError, Failed})


class AsyncCluster(  # type: ignore[misc]
    BaseClient[AsyncNodeCommands],
    CredentialAccess,
    Recipes,
    ScanAccess,
    Subscribing,
    AsyncCommands,
):
    """A client of a Redis or Valkey Cluster for asyncio, for any number of tasks.

    Every command method of redis-py, with its results. All commands of one tick of the loop to a
    node go out in one write, on one connection. Nothing is opened before the first command; used
    on a second loop, it opens connections there.

    Example:
        >>> async with AsyncCluster.from_url("redis://127.0.0.1:7000") as r:  # doctest: +SKIP
        ...     await r.set("k", "v", ex=60)
    """

    _is_async_client: Literal[True] = True
    _node_commands = AsyncNodeCommands

    def __init__(self, config: ClusterConfig) -> None:
        """Make a client; see `from_url` for the usual way.

        Args:
            config: Addresses, credentials and limits.
        """
        super().__init__(config)
        self._knowledge = Knowledge(config)
        self._runner: Runner | None = None
        self._reading: DirectReads | None = None
        if config.read_from != ReadFrom.PRIMARY:
            others = partial(AsyncCluster.execute_command, self)
            self._reading = DirectReads(self, config, others)
            self.execute_command = self._reading.execute_command  # type: ignore[method-assign]
        if config.recodes:
            self.execute_command = self._recoded  # type: ignore[method-assign]
        if config.hooks:
            observe(self, self._knowledge.observer)
        follow(config.credential_provider, self._knowledge)
        _clients.add(self)
        weakref.finalize(self, self._knowledge.let_go).atexit = False

    # Commands ---------------------------------------------------------------------------------

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """Send a command and return its result.

        Args:
            args: The command's name and arguments: bytes, str, int or float.
            options: ``target`` (``target_nodes`` in redis-py): "primaries", "replicas", "all",
                "random", a node or several; ``repeatable=True`` for a call, of a script say, that
                may be sent again when its reply was lost; and what redis-py's reply callbacks take.

        Raises:
            redis.RedisError: See `clustercache.exceptions`.
        """
        lane: Any = None
        try:
            place, _, longest = DIRECT[args[0]]
            if len(args) <= longest and (not options or SPECIAL.isdisjoint(options)):
                runner: Any = self._runner
                if runner.loop is get_running_loop() and self._limited() is None:
                    data = wire.pack(args)
                    if len(data) < LARGE:
                        lane = runner.map.slots[key_slot(args[place])].lane
        except (LookupError, TypeError, AttributeError, UnicodeError):
            pass  # not the plain case: nothing was sent
        if lane is None:
            return await self._execute(args, options)
        began = monotonic()
        reply = await lane.send(data)
        if type(reply) in _TROUBLES:
            return await self._resume(runner, args, options, began, judged(reply, lane.address))
        callback = self._callbacks.get(args[0])
        if callback is None:
            return reply
        options.pop("keys", None)
        return callback(reply, **options)

    async def _recoded(self, *args: Any, **options: Any) -> Any:
        """Encode str in the codec of the configuration, which hiredis does not know."""
        given = self.config.recode(args[1:])
        if self._reading is not None:
            return await self._reading.execute_command(*args[:1], *given, **options)
        return await AsyncCluster.execute_command(self, *args[:1], *given, **options)

    def _here(self) -> Runner:
        """Return what runs calls on the running loop."""
        runner = self._runner
        if runner is None or runner.loop is not get_running_loop() or runner.map.closed:
            runner = self._runner = self._knowledge.here()
        return runner

    async def _resume(
        self, runner: Runner, args: Any, options: dict[str, Any], began: float, first: Failed
    ) -> Any:
        """Go on with a direct call after its first attempt, with the whole table of decisions."""
        command = Command(args, self._limits.in_force(), began, decode=True)
        request = Request(command, command.parts()[0])
        # The one that it was sent by: the client may be closed by now, and what was sent stays so.
        reply = await runner.executor.run(request, first)
        return self._result(command.spec, reply, options)

    async def _execute(self, args: Any, options: dict[str, Any]) -> Any:
        """Do what `execute_command` says, for every kind of command."""
        runner = self._here()
        limits, decode = self._limits.in_force(), NEVER_DECODE not in options
        if options.get(REPEATABLE):
            limits = limits.repeating()
        command = Command(args, limits, monotonic(), decode=decode, may_block=True)
        parts = await runner.map.parts_of(command)
        targets = options.get("target_nodes", options.get("target"))
        if targets is not None and (len(parts) > 1 or command.wait is not None):
            msg = "target is for commands without keys: these go to the owners of their slots"
            raise InvalidArgumentError(msg, command=command.spec.name)
        everywhere = command.spec.route in {Route.PRIMARIES, Route.NODES}
        if targets is not None or (everywhere and parts[0][0] == NO_SLOT):
            return await self._everywhere(runner, command, parts, targets, options)
        try:
            reply = await runner.run(command, parts)
        except Exception:
            if EMPTY_RESPONSE in options:
                return options[EMPTY_RESPONSE]
            raise
        return self._result(command.spec, reply, options)

    async def _read_each(self, keys: Sequence[str]) -> list[Any]:
        """Return what each key holds at its primary, or the error in its place."""
        command = Command(("MGET", *keys), self._limits.in_force(), monotonic(), decode=True)
        runner = self._here()
        try:
            parts = await runner.map.parts_of(command)
            replies, _ = await runner.batches.run(command, parts)
        except RedisError as error:
            return [error] * len(keys)
        return by_key(parts, replies)

    async def _everywhere(
        self,
        runner: Runner,
        command: Command,
        parts: list[Part],
        targets: Any,
        options: dict[str, Any],
    ) -> Any:
        """Send a command to several nodes, and merge their results."""
        await runner.map.ensure(command.deadline)
        spec = command.spec
        nodes = addresses_of(targets, spec.route, runner.map.topology)
        if len(nodes) > 1 and parts[0][0] != NO_SLOT:
            msg = "target names several nodes: a command with keys goes to one of them at the most"
            raise InvalidArgumentError(msg, command=spec.name)
        (_, words, places) = parts[0]
        copies = [(NO_SLOT if slot is None else slot, words, places) for _, slot in nodes]
        names = [str(address) for address, _ in nodes]
        aims = [address if slot is None else None for address, slot in nodes]
        replies, errors = await runner.batches.run(command, copies, aims)
        if errors and (spec.merge is not Merge.ONE or len(errors) == len(replies)):
            raise errors[0]
        results = {
            name: self._result(spec, reply, options)
            for name, reply in zip(names, replies, strict=True)
            if not isinstance(reply, Exception)
        }
        return merge_nodes(spec.merge, results)

    # The client itself ------------------------------------------------------------------------

    async def initialize(self) -> Self:
        """Learn the topology, which the first command would do otherwise.

        Raises:
            NoClusterError: No seed gave it within the deadline.
        """
        await self._here().map.ensure(monotonic() + self._limits.in_force().deadline)
        return self

    def stats(self) -> dict[str, Any]:
        """Return what the client did, by node ("host:port").

        Returns:
            ``refreshes`` and ``nodes``; for each node its connections (``pool``), the commands
            under way (``in_flight``), ``redirects``, ``errors``, ``suspected`` and
            ``last_round_trip`` in seconds (None before the first). All loops' are counted.
        """
        return self._knowledge.stats()

    def _slots(self) -> Sequence[Mux | None]:
        return self._here().map.slots

    def _topology(self) -> Topology:
        """Return the snapshot in force."""
        known = self._knowledge.topology
        if known is None:
            msg = "the topology is not known yet: await initialize(), or any command, before"
            raise NoClusterError(msg)
        return known

    async def aclose(self) -> None:
        """Let calls under way finish and close all connections; later calls raise ClosedError."""
        await self._knowledge.aclose()

    async def __aenter__(self) -> Self:
        """Return the client; nothing is opened yet."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the client."""
        await self.aclose()


_clients: weakref.WeakSet[AsyncCluster] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for client in list(_clients):
        client._runner = None  # noqa: SLF001 - this module is the client
        client._knowledge.after_fork()  # noqa: SLF001


os.register_at_fork(after_in_child=_after_fork_in_child)

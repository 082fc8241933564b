"""What a client does for reads whose policy is not the default."""

# The direct path is laid out for speed: what it finds in its first block is there in its second.
# mypy: disable-error-code="possibly-undefined"

from __future__ import annotations

from asyncio import get_running_loop
from itertools import count
from time import monotonic
from typing import TYPE_CHECKING, Any

from clustercache._async.exchange import LARGE, judged
from clustercache._async.replica_reads import ReadExecutor, SplitReads
from clustercache._commands import SPECIAL
from clustercache._core import wire
from clustercache._core.slots import key_slot
from clustercache._core.wire import ServerError
from clustercache._direct import READS
from clustercache._readers import ReadRequest
from clustercache._request import Command, Failed, merged

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from clustercache._async.cluster import AsyncCluster
    from clustercache._async.cluster_map import ClusterMap
    from clustercache._core.routing import Part
    from clustercache._readers import Reader
    from clustercache.config import ClusterConfig

_TROUBLES = frozenset({ServerError, Failed})


class Reads:
    """Runs reads by their policies, on one loop."""

    def __init__(self, cluster_map: ClusterMap) -> None:
        """Use the readers of this map's shards."""
        self._map = cluster_map
        self._executor = ReadExecutor(cluster_map)

    async def run(self, command: Command, parts: list[Part]) -> Any:
        """Return the reply to a read."""
        if len(parts) == 1:
            request = ReadRequest(command, parts[0], next(self._map.readers.turns))
            return await self._executor.run(request)
        split = SplitReads(self._executor, self._map, command.limits.read_from)
        return merged(command, parts, *await split.run(command, parts))

    async def go_on(self, command: Command, reader: Reader, first: Failed) -> Any:
        """Return the reply to a read after its first attempt, which was made elsewhere."""
        request = ReadRequest(command, command.parts()[0], next(self._map.readers.turns), reader)
        return await self._executor.run(request, first)


class DirectReads:
    """The direct path of a client whose policy is not the default."""

    def __init__(
        self,
        client: AsyncCluster,
        config: ClusterConfig,
        others: Callable[..., Coroutine[Any, Any, Any]],
    ) -> None:
        """Serve a client; `others` is where commands go that are no plain reads."""
        self._client = client
        # Not the executor's: a call that goes on there would take two turns, and always miss one.
        self._turns = count()
        self._measures = config.reads(config.read_from).by_latency
        self._others = others

    async def execute_command(self, *args: Any, **options: Any) -> Any:  # noqa: C901 - one path
        """Send a command and return its result, plain reads where the policy says."""
        lane: Any = None
        client = self._client
        try:
            place, longest = READS[args[0]]
        except (LookupError, TypeError):
            return await self._others(*args, **options)
        began = monotonic()
        try:
            plain = len(args) <= longest and (not options or SPECIAL.isdisjoint(options))
            runner: Any = client._runner  # noqa: SLF001 - a part of the client
            if plain and runner.loop is get_running_loop() and client._limited() is None:  # noqa: SLF001
                followed = runner.map.readers.followed
                shard = followed.slots[key_slot(args[place])]
                if began < shard.until and followed.topology is runner.map.topology:
                    first = shard.first
                    reader: Reader = first[next(self._turns) % len(first)]
                    data = wire.pack(args)
                    if began < reader.check_due and len(data) < LARGE:
                        lane = reader.pool.lane
        except (LookupError, TypeError, AttributeError, UnicodeError):
            pass  # not the plain case: nothing was sent
        if lane is None:
            return await client._execute(args, options)  # noqa: SLF001
        if runner.map.observer.active:
            runner.map.observer.sent_to(lane.address)
        impatient = reader.pool.impatient
        waiting = lane.send(data)
        impatient.add(waiting)
        try:
            reply = await waiting
        finally:
            impatient.discard(waiting)
        if type(reply) in _TROUBLES:
            return await self._resume(args, options, began, reader, judged(reply, lane.address))
        if self._measures:
            reader.measured(monotonic() - began)
        callback = client._callbacks.get(args[0])  # noqa: SLF001
        if callback is None:
            return reply
        options.pop("keys", None)
        return callback(reply, **options)

    async def _resume(
        self, args: Any, options: dict[str, Any], began: float, reader: Reader, first: Failed
    ) -> Any:
        """Go on with a direct read after its first attempt, with the whole table of decisions."""
        client = self._client
        command = Command(args, client._limits.in_force(), began, decode=True)  # noqa: SLF001
        reply = await client._here().reads.go_on(command, reader, first)  # noqa: SLF001
        return client._result(command.spec, reply, options)  # noqa: SLF001

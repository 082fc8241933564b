"""What runs calls on one loop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clustercache._async.batches import Batches
from clustercache._async.blocking import Blocking
from clustercache._async.cluster_map import ClusterMap
from clustercache._async.executor import Executor
from clustercache._async.reads import Reads
from clustercache._core.read_from import ReadFrom, is_read
from clustercache._request import NO_SLOT, Command, Request, merged

if TYPE_CHECKING:
    import asyncio

    from clustercache._async.knowledge import Knowledge
    from clustercache._core.routing import Part


class Runner:
    """One loop's map, and who sends on it.

    Attributes:
        loop: The loop.
        map: Its map.
        executor: Runs single requests.
        batches: Runs calls of several parts.
        blocking: Runs calls that block.
        reads: Runs reads whose policy is not the default.
    """

    __slots__ = ("batches", "blocking", "executor", "loop", "map", "reads")

    def __init__(self, knowledge: Knowledge, loop: asyncio.AbstractEventLoop) -> None:
        """Open nothing yet."""
        self.loop = loop
        self.map = ClusterMap(knowledge, loop)
        self.executor = Executor(self.map)
        self.batches = Batches(self.map, self.executor)
        self.blocking = Blocking(self.map)
        self.reads = Reads(self.map)

    async def run(self, command: Command, parts: list[Part]) -> Any:
        """Return the reply to a checked call."""
        if command.wait is not None:
            return await self.blocking.run(Request(command, parts[0]))
        by_policy = command.limits.read_from != ReadFrom.PRIMARY and parts[0][0] != NO_SLOT
        if by_policy and is_read(command.spec, command.args):
            return await self.reads.run(command, parts)
        if len(parts) == 1:
            return await self.executor.run(Request(command, parts[0]))
        return merged(command, parts, *await self.batches.run(command, parts))

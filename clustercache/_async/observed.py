"""Calls that tell hooks when they are done: put around a client's own, where there are hooks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clustercache._observed import Told, describe

if TYPE_CHECKING:
    from clustercache._async.cluster import AsyncCluster
    from clustercache._async.pipeline import AsyncPipeline
    from clustercache.instrumentation.hooks import Observer


def observe(client: AsyncCluster, observer: Observer) -> None:
    """Put what tells the hooks around a client's calls.

    Args:
        client: The client, which has its own `execute_command` by now.
        observer: Told of them.
    """
    execute = client.execute_command
    limits = client._limits  # noqa: SLF001 - a part of the client

    def owner_of(slot: int) -> Any:
        runner = client._runner  # noqa: SLF001
        return None if runner is None else runner.map.slots[slot]

    async def execute_command(*args: Any, **options: Any) -> Any:
        with Told(observer, owner_of) as told:
            try:
                return await execute(*args, **options)
            finally:
                told.command, told.slot = describe(args, limits)

    client.execute_command = execute_command  # type: ignore[method-assign]


def observe_pipeline(pipeline: AsyncPipeline, observer: Observer) -> None:
    """Put what tells the hooks around a pipeline's `execute`."""
    execute = pipeline.execute

    async def observed(*args: Any, **options: Any) -> list[Any]:
        with Told(observer) as told:
            told.command, told.size = "PIPELINE", len(pipeline)
            results = await execute(*args, **options)
            told.came(results)
            return results

    pipeline.execute = observed  # type: ignore[method-assign]

"""Calls that tell hooks when they are done: put around a client's own, where there are hooks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clustercache._observed import Told, describe

if TYPE_CHECKING:
    from clustercache._limits import LimitScope
    from clustercache._sync.cluster import Cluster
    from clustercache._sync.cluster_map import ClusterMap
    from clustercache._sync.pipeline import Pipeline


def observe(client: Cluster, cluster_map: ClusterMap, limits: LimitScope) -> None:
    """Put what tells the hooks around a client's calls.

    Args:
        client: The client, which has its own `execute_command` by now.
        cluster_map: Its map, which has the observer.
        limits: In force.
    """
    execute = client.execute_command

    def execute_command(*args: Any, **options: Any) -> Any:
        with Told(cluster_map.observer, lambda slot: cluster_map.slots[slot]) as told:
            try:
                return execute(*args, **options)
            finally:
                told.command, told.slot = describe(args, limits)

    client.execute_command = execute_command  # type: ignore[method-assign]


def observe_pipeline(pipeline: Pipeline, cluster_map: ClusterMap) -> None:
    """Put what tells the hooks around a pipeline's `execute`."""
    execute = pipeline.execute

    def observed(*args: Any, **options: Any) -> list[Any]:
        with Told(cluster_map.observer) as told:
            told.command, told.size = "PIPELINE", len(pipeline)
            results = execute(*args, **options)
            told.came(results)
            return results

    pipeline.execute = observed  # type: ignore[method-assign]

"""Calls that tell hooks when they are done: put around a client's own once, where there are hooks.

A client without hooks has none of this in its way, not even a question whether there are any.
"""

from __future__ import annotations

from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Any, Self

from clustercache._core.slots import key_slot
from clustercache._direct import DIRECT
from clustercache._request import NO_SLOT, Command
from clustercache.exceptions import ClusterCacheError
from clustercache.instrumentation import CommandDone

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

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
        with Told(cluster_map) as told:
            try:
                return execute(*args, **options)
            finally:
                told.command, told.slot = describe(args, limits)

    client.execute_command = execute_command  # type: ignore[method-assign]


def observe_pipeline(pipeline: Pipeline, cluster_map: ClusterMap) -> None:
    """Put what tells the hooks around a pipeline's `execute`."""
    execute = pipeline.execute

    def observed(*args: Any, **options: Any) -> list[Any]:
        with Told(cluster_map) as told:
            told.command, told.size = "PIPELINE", len(pipeline)
            results = execute(*args, **options)
            errors = (one for one in results if isinstance(one, Exception))
            told.error = next(errors, None)
            return results

    pipeline.execute = observed  # type: ignore[method-assign]


def describe(args: Sequence[Any], limits: LimitScope) -> tuple[str, int | None]:
    """Return a call's name, and the slot of its keys if it is one; never more of its arguments."""
    with suppress(LookupError, TypeError, AttributeError, UnicodeError):
        place, _, longest = DIRECT[args[0]]
        if len(args) <= longest:
            return args[0], key_slot(args[place])
    name, slots = "", [NO_SLOT]
    with suppress(Exception):  # what was refused has told why
        command = Command(args, limits.in_force(), 0.0, decode=True)
        name = command.spec.name
        slots = [slot for slot, _, _ in command.parts()]
    return name, slots[0] if len(slots) == 1 and slots[0] != NO_SLOT else None


class Told:
    """One call in progress; its end is told."""

    __slots__ = ("_began", "_map", "_outer", "command", "error", "size", "slot")

    def __init__(self, cluster_map: ClusterMap) -> None:
        """Belong to the client of this map."""
        self._map = cluster_map
        self.command = ""
        self.slot: int | None = None
        self.size = 1
        self.error: BaseException | None = None

    def __enter__(self) -> Self:
        """Begin a trail; a signal handler's call may come in the middle of another."""
        trail = self._map.observer.trail
        self._outer = trail.attempts, trail.nodes
        trail.attempts, trail.nodes = 1, ()
        self._began = monotonic()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Tell how it ended."""
        seconds = monotonic() - self._began
        observer = self._map.observer
        error = error or self.error
        event = CommandDone(
            command=self.command or getattr(error, "command", ""),
            slot=self.slot,
            node=self._node(error),
            seconds=seconds,
            attempts=observer.trail.attempts,
            error=type(error).__name__ if error is not None else None,
            size=self.size,
        )
        observer.trail.attempts, observer.trail.nodes = self._outer
        observer.tell(event)

    def _node(self, error: BaseException | None) -> str:
        """Return the node that was asked last, or "" where several were asked at once."""
        if isinstance(error, ClusterCacheError):
            return error.node
        nodes = self._map.observer.trail.nodes
        if self.slot is not None:
            pool = self._map.slots[self.slot]
            owner = str(pool.address) if pool is not None else ""
            return str(nodes[-1]) if nodes else owner
        return str(nodes[0]) if len(nodes) == 1 else ""

"""One computation of a key at a time in an event loop; it does not die with who asked first."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Hashable

_inside: ContextVar[tuple[Any, ...]] = ContextVar("clustercache_flights", default=())
"""The flights that the running code is computed in."""


class AsyncFlights:
    """The flights of one coroutine function, for any number of event loops."""

    def __init__(self) -> None:
        """Begin with none."""
        self._under_way: dict[tuple[asyncio.AbstractEventLoop, Hashable], asyncio.Task[Any]] = {}

    async def fly(
        self,
        key: Hashable,
        work: Callable[[], Coroutine[Any, Any, Any]],
        alone: Callable[[], Coroutine[Any, Any, Any]],
        wait: float,
        again: Callable[[Any], Any],
    ) -> tuple[Any, bool]:
        """Return what `work` returns, in whichever task; and whether another task had begun it.

        Args:
            key: What is computed.
            work: Computes it, in a task of its own.
            alone: Computes it in a task that waited in vain, or inside `work`.
            wait: Seconds that a task waits for one that was begun before.
            again: Makes a result for another caller.

        Raises:
            Exception: What `work` has raised.
        """
        place = asyncio.get_running_loop(), key
        while (task := self._under_way.get(place)) is not None:
            if task in _inside.get():
                return await alone(), False
            await asyncio.wait((task,), timeout=wait)
            if not task.done():
                return await alone(), False
            if not task.cancelled():
                return again(task.result()), True
        task = asyncio.create_task(_run(work))
        self._under_way[place] = task
        task.add_done_callback(lambda done: self._land(place, done))
        return await asyncio.shield(task), False

    def _land(self, place: Any, task: asyncio.Task[Any]) -> None:
        if self._under_way.get(place) is task:
            del self._under_way[place]
        if not task.cancelled():
            task.exception()  # else one that nobody waits for any more would be told of

    async def aclose(self) -> None:
        """Stop the computations of the running loop."""
        loop = asyncio.get_running_loop()
        tasks = [task for (home, _), task in self._under_way.items() if home is loop]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _run(work: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    _inside.set((*_inside.get(), asyncio.current_task()))
    return await work()

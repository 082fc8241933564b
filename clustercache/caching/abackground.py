"""What is computed while nobody waits for it, in an event loop; and leases that are renewed."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, Any, Final

from clustercache.caching.background import log

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
    from contextlib import AbstractContextManager

_PART: Final = 3
"""A lease is renewed so many times before it would end."""


class AsyncBackground:
    """A cache's tasks for refreshes, in any number of event loops."""

    def __init__(
        self,
        workers: int = 4,
        queue: int = 64,
        around: Callable[[], AbstractContextManager[object]] | None = None,
    ) -> None:
        """Start nothing yet.

        Args:
            workers: Tasks at a time, in each loop.
            queue: Computations that wait for their turn; more are refused.
            around: Returns a context manager that each computation runs inside.
        """
        self._most = workers + queue
        self._around = around or nullcontext
        self._workers = workers
        self._tasks: set[asyncio.Task[Any]] = set()
        self._keys: set[Hashable] = set()
        self._turns: dict[asyncio.AbstractEventLoop, asyncio.Semaphore] = {}

    def submit(self, key: Hashable, work: Callable[[], Awaitable[object]]) -> bool:
        """Run something later, unless it is under way or there is too much; tell which."""
        place = asyncio.get_running_loop(), key
        if place in self._keys:
            return False

        async def run() -> None:
            try:
                await work()
            except Exception as error:  # noqa: BLE001 - nobody waits for it
                log.warning("refresh_failed error=%s", type(error).__name__)

        task = self.start(run)
        if task is None:
            return False
        self._keys.add(place)
        task.add_done_callback(lambda _: self._keys.discard(place))
        return True

    def start(self, work: Callable[[], Awaitable[Any]]) -> asyncio.Task[Any] | None:
        """Return a task that is begun, or None where there is too much."""
        loop = asyncio.get_running_loop()
        for other in [one for one in self._turns if one.is_closed()]:
            del self._turns[other]
        self._tasks = {task for task in self._tasks if not task.done()}
        if len(self._tasks) >= self._most:
            return None
        turn = self._turns.setdefault(loop, asyncio.Semaphore(self._workers))

        async def run() -> Any:
            async with turn:
                with self._around():
                    return await work()

        task = loop.create_task(run())
        self._tasks.add(task)
        task.add_done_callback(_hear)
        return task

    async def aclose(self) -> None:
        """Stop what is under way in the running loop."""
        loop = asyncio.get_running_loop()
        tasks = [task for task in self._tasks if task.get_loop() is loop]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._tasks.difference_update(tasks)


def _hear(task: asyncio.Task[Any]) -> None:
    if not task.cancelled():
        task.exception()  # else one that nobody waits for any more would be told of


@asynccontextmanager
async def arenewing(lease: float, renew: Callable[[], Awaitable[bool]]) -> AsyncIterator[None]:
    """Renew a lease while the block runs.

    Args:
        lease: How long it is, in seconds.
        renew: Renews it, and tells whether one has it still.
    """
    loop = asyncio.get_running_loop()
    task: asyncio.Task[None] | None = None

    async def keep() -> None:
        going_on = True
        while going_on:
            with suppress(Exception):
                going_on = await renew()
            await asyncio.sleep(lease / _PART)

    def begin() -> None:
        nonlocal task
        task = loop.create_task(keep())

    timer = loop.call_later(lease / _PART, begin)
    try:
        yield
    finally:
        timer.cancel()
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

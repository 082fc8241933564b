"""The users of a web shop, who come at a steady rate."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections import deque
from time import monotonic
from typing import TYPE_CHECKING, Any, Self

from clustercache.cli.demo.browser import Browser
from clustercache.cli.demo.shopper import HOME, READ, WRITE, Shopper

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from clustercache._core.address import Address
    from clustercache.cli.demo.shopper import Visit

_KINDS = (READ, WRITE, READ, HOME, READ, WRITE, READ, READ, WRITE, READ)
_AT_ONCE = 16  # logins, and looks back


class Crowd:
    """All users, in a thread of their own, which a demo that is interrupted leaves behind.

    Args:
        servers: Where the shop runs.
        users: How many.
        rate: Requests per second, of all users together.

    Attributes:
        visits: All visits so far, as they ended.
    """

    def __init__(self, servers: Sequence[Address], users: int, rate: float) -> None:
        self.visits: list[Visit] = []
        self.shoppers = [
            Shopper(number, Browser(servers, number), self.visits) for number in range(users)
        ]
        self.rate = rate
        self._turns = deque(self.shoppers)
        self._stop = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._drive: Any = None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._run(self._end_tasks())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def log_in(self) -> None:
        """Let every user log in; raises RuntimeError where one cannot."""
        self._run(_all(self.shoppers, Shopper.log_in))

    def start(self) -> None:
        """Let them come, until `stop`."""
        self._drive = asyncio.run_coroutine_threadsafe(self._come(), self._loop)

    def stop(self) -> None:
        """Let nobody come any more, and wait for all answers."""
        self._stop.set()
        self._drive.result()

    def look_back(self) -> None:
        """Let every user look into the cart."""
        for shopper in self.shoppers:
            shopper.cart = None
        self._run(_all(self.shoppers, Shopper.look_back))

    def waiting(self, server: Address | None = None) -> int:
        """Return how many requests are open, of all or at one server."""
        waiting = [shopper.browser.server for shopper in self.shoppers if shopper.waiting]
        return len(waiting) if server is None else waiting.count(server)

    def _run(self, work: Any) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _come(self) -> None:
        begin = monotonic()
        async with asyncio.TaskGroup() as group:
            for number in itertools.count():
                await asyncio.sleep(max(begin + number / self.rate - monotonic(), 0))
                if self._stop.is_set():
                    return
                shopper = self._next()
                if shopper is not None:
                    group.create_task(shopper.visit(_next_kind(shopper)))

    def _next(self) -> Shopper | None:
        """Return a user who waits for nothing; None if all do."""
        for _ in range(len(self._turns)):
            self._turns.rotate(-1)
            if not self._turns[-1].waiting:
                return self._turns[-1]
        return None

    async def _end_tasks(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _next_kind(shopper: Shopper) -> str:
    # Each user's own turns: with common ones, some would always read and others always write.
    return _KINDS[(shopper.number + len(shopper.visits)) % len(_KINDS)]


async def _all(shoppers: Sequence[Shopper], act: Callable[[Shopper], Awaitable[None]]) -> None:
    left = deque(shoppers)

    async def one_after_the_other() -> None:
        while left:
            await act(left.popleft())

    async with asyncio.TaskGroup() as group:
        for _ in range(_AT_ONCE):
            group.create_task(one_after_the_other())

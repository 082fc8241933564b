"""Threads that work on chosen shards and remember every call; see `calls`."""

from __future__ import annotations

import itertools
import threading
from concurrent.futures import ThreadPoolExecutor
from time import monotonic
from typing import TYPE_CHECKING, Any, Self

from tests.faults.calls import BaseLoad, Caller, ManyKeysCaller
from tests.faults.checks import count_absent

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from clustercache import Cluster


class Worker(Caller):
    """One thread on one tag."""

    def run(self, stop: threading.Event) -> None:
        """Call in turn until `stop`; an error never ends it."""
        for number in itertools.count():
            if stop.is_set():
                return
            kind, ask, judge = self._steps[number % len(self._steps)]
            identity = f"{self.name}-{number}"
            start = monotonic()
            error = None
            try:
                judge(ask(identity), identity)
            except Exception as raised:  # noqa: BLE001 - judged later
                error = raised
            self._calls.append((kind, start, monotonic(), error, identity))


class ManyKeys(ManyKeysCaller, Worker):
    """A worker on several keys of its slot at once, too."""


class Load(BaseLoad):
    """Workers as a context: load runs inside it.

    Args:
        client: The client of all of them.
        sick: Tags of the shard that a fault will hit.
        healthy: Tags of the other shards.
        main_works: Whether the first worker runs in this thread, inside `during`.
        make: What makes a worker of (client, tag, name).
    """

    def __init__(
        self,
        client: Cluster,
        sick: Sequence[str],
        healthy: Sequence[str],
        *,
        main_works: bool = False,
        make: Callable[[Cluster, str, str], Worker] = Worker,
    ) -> None:
        super().__init__(client, sick, healthy, make)
        self._main = self.sick[0] if main_works else None
        self._stopped = False
        self._threads = [
            threading.Thread(target=worker.run, args=(self._stop,), name=worker.name)
            for worker in self.workers
            if worker is not self._main
        ]

    def __enter__(self) -> Self:
        self._begin()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End the load; calls under way finish first."""
        if self._stopped:
            return
        self._stopped = True
        self._stop.set()
        limit = monotonic() + self.client.config.deadline + 5
        for thread in self._threads:
            thread.join(max(limit - monotonic(), 0))
        self._end()
        hung = [thread.name for thread in self._threads if thread.is_alive()]
        assert not hung, f"past every deadline, still in a call: {hung}"
        self._finish()

    def during(self, action: Callable[[], Any]) -> Any:
        """Return what `action` returns, done under load, and end the load."""
        try:
            if self._main is None:
                return action()
            with ThreadPoolExecutor(1) as other:
                result = other.submit(self._ending, action)
                self._main.run(self._stop)
                return result.result()
        finally:
            self.stop()

    def _ending(self, action: Callable[[], Any]) -> Any:
        try:
            return action()
        finally:
            self._stop.set()


def check_applied(load: Load) -> int:
    """Check that nothing was applied twice; return how many acknowledged commands are absent."""
    logs = {worker.log: load.client.hgetall(worker.log) for worker in load.workers}
    return count_absent(load.workers, logs)

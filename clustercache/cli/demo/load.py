"""Threads that work on chosen shards and remember every call."""

from __future__ import annotations

import itertools
import threading
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple

from clustercache._core.slots import key_slot

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clustercache import Cluster
    from clustercache.admin import SlotRange

REPEATABLE = ("READ", "SAME", "READ", "COUNT")
ALL_CLASSES = (*REPEATABLE, "NEVER")
_PAUSE = 0.001  # as between the calls of a web application; it leaves the screen its share
_GAP = 0.25  # seconds without a success that are no hiccup


class Call(NamedTuple):
    """One call: its class, from when to when (monotonic), and what it raised."""

    kind: str
    start: float
    end: float
    error: Exception | None
    identity: str


class Worker(threading.Thread):
    """One thread on one hash tag. A daemon, so that an interrupted demo ends at once."""

    def __init__(self, client: Cluster, tag: str, name: str, kinds: Sequence[str]) -> None:
        super().__init__(daemon=True, name=name)
        self.calls: list[Call] = []
        self.reads = self.writes = self.errors = 0
        self.seen, self.log = f"seen:{{{tag}}}", f"log:{{{tag}}}"
        self._value = f"value:{{{tag}}}"
        self._client = client
        self._kinds = kinds
        self._stop_asked = threading.Event()

    def run(self) -> None:
        """Call in turn until told to stop; an error never ends it."""
        for number, kind in enumerate(itertools.cycle(self._kinds)):
            if self._stop_asked.wait(_PAUSE):
                return
            identity = f"{self.name}-{number}"
            error = None
            start = monotonic()
            try:
                self._call(kind, identity)
            except Exception as raised:  # noqa: BLE001 - counted, and shown
                error = raised
            self._note(Call(kind, start, monotonic(), error, identity))

    def _call(self, kind: str, identity: str) -> None:
        if kind == "READ":
            self._client.get(self._value)
        elif kind == "SAME":
            self._client.set(self._value, identity)
        elif kind == "COUNT":
            self._client.hset(self.seen, identity, 1)
        else:
            self._client.hincrby(self.log, identity, 1)

    def _note(self, call: Call) -> None:
        self.calls.append(call)
        if call.error is not None:
            self.errors += 1
        elif call.kind == "READ":
            self.reads += 1
        else:
            self.writes += 1

    def stop(self) -> None:
        """Let the call under way be the last."""
        self._stop_asked.set()


class ShardLoad:
    """The workers on one shard."""

    def __init__(
        self, client: Cluster, slots: SlotRange, threads: int, kinds: Sequence[str]
    ) -> None:
        tags = (f"t{number}" for number in itertools.count())
        mine = (tag for tag in tags if slots.start <= key_slot(tag) <= slots.end)
        self.slots = slots
        self.workers = [
            Worker(client, tag, f"{slots.start}-{tag}", kinds)
            for tag in itertools.islice(mine, threads)
        ]

    @property
    def counts(self) -> tuple[int, int, int]:
        """Reads and writes that succeeded, and errors."""
        workers = self.workers
        return (
            sum(worker.reads for worker in workers),
            sum(worker.writes for worker in workers),
            sum(worker.errors for worker in workers),
        )

    def calls(self) -> list[Call]:
        """Return all calls so far."""
        return [call for worker in self.workers for call in list(worker.calls)]

    def outage(self, since: float) -> tuple[float, float] | None:
        """Return from when to when nothing succeeded after `since`; None if not, or not over."""
        ends = [call.end for call in self.calls() if call.error is None and call.end > since]
        pairs = itertools.pairwise([since, *sorted(ends)])
        longest = max(pairs, key=lambda pair: pair[1] - pair[0], default=(since, since))
        return longest if longest[1] - longest[0] > _GAP else None


def stop_all(shards: Sequence[ShardLoad]) -> None:
    """End the load; calls under way finish first."""
    workers = [worker for shard in shards for worker in shard.workers]
    for worker in workers:
        worker.stop()
    for worker in workers:
        worker.join()

"""Threads that work on chosen shards and remember every call, and what must hold of them.

Half of the threads work on the shard that a fault will hit, half on the others. Each runs the four
classes of rule 17 in turn. Its NEVER commands carry their own identity: HINCRBY of a field that is
used once, so that a 2 is a command applied twice and an absence is one that was lost.
"""

from __future__ import annotations

import itertools
import threading
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple

from clustercache._core.slots import key_slot
from clustercache.exceptions import OutcomeUnknownError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from clustercache import Cluster
    from clustercache.localcluster import LocalCluster, Node

KINDS = ("READ", "SAME", "COUNT", "NEVER")
BEFORE = 3.0
"""Seconds of load before the fault, which the bounds are drawn from."""


class Done(NamedTuple):
    """One call: what kind, from when to when (monotonic), and what it raised."""

    kind: str
    start: float
    end: float
    error: Exception | None
    identity: str

    @property
    def seconds(self) -> float:
        return self.end - self.start


def tags_of(lc: LocalCluster, node: Node, count: int) -> list[str]:
    """Return hash tags whose slots `node` serves now."""
    owned = [(part.start, part.end) for part in node.view().myself.slots]
    tags = (f"t{number}" for number in itertools.count())
    mine = (t for t in tags if any(a <= key_slot(t) <= b for a, b in owned))
    return list(itertools.islice(mine, count))


@dataclass
class Worker:
    """One thread on one tag."""

    client: Cluster
    tag: str
    name: str
    calls: list[Done] = field(default_factory=list)

    def run(self, stop: threading.Event) -> None:
        """Call in turn until `stop`; an error never ends it."""
        for number in itertools.count():
            if stop.is_set():
                return
            kind = KINDS[number % len(KINDS)]
            identity = f"{self.name}-{number}"
            start = monotonic()
            error = None
            try:
                self._call(kind, identity)
            except Exception as raised:  # noqa: BLE001 - judged later
                error = raised
            self.calls.append(Done(kind, start, monotonic(), error, identity))

    def _call(self, kind: str, identity: str) -> None:
        if kind == "READ":
            self.client.get(f"value:{{{self.tag}}}")
        elif kind == "SAME":
            self.client.set(f"value:{{{self.tag}}}", identity)
        elif kind == "COUNT":
            self.client.hset(f"seen:{{{self.tag}}}", self.name, identity)
        else:
            self.client.hincrby(self.log, identity, 1)

    @property
    def log(self) -> str:
        return f"log:{{{self.tag}}}"


class Load:
    """Workers on `sick` tags and `healthy` tags, as a context: load runs inside it."""

    def __init__(self, client: Cluster, sick: Sequence[str], healthy: Sequence[str]) -> None:
        self.client = client
        self.sick = [Worker(client, tag, f"s{i}") for i, tag in enumerate(sick)]
        self.healthy = [Worker(client, tag, f"h{i}") for i, tag in enumerate(healthy)]
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=worker.run, args=(self._stop,)) for worker in self.workers
        ]

    @property
    def workers(self) -> list[Worker]:
        return [*self.sick, *self.healthy]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End the load; calls under way finish first."""
        self._stop.set()
        for thread in self._threads:
            thread.join(40)
        assert not any(thread.is_alive() for thread in self._threads)

    def run_for(self, seconds: float) -> None:
        """Let the load run."""
        self._stop.wait(seconds)

    def first_success_after(self, moment: float) -> float:
        """Return the seconds from `moment` to the first success on the sick shard after it."""
        ends = [c.end for w in self.sick for c in w.calls if c.error is None and c.end > moment]
        assert ends, "no call on the shard succeeded after the promotion"
        return min(ends) - moment


def slowest(workers: Iterable[Worker], begin: float, end: float) -> float:
    """Return the longest call, in seconds, of those that started from `begin` to `end`."""
    return max(c.seconds for w in workers for c in w.calls if begin <= c.start < end)


def rate(workers: Iterable[Worker], begin: float, end: float) -> float:
    """Return the calls per second that ended from `begin` to `end`."""
    ended = sum(begin <= c.end < end for w in workers for c in w.calls)
    return ended / (end - begin)


def check_errors(load: Load, outstanding: Callable[[Done], bool]) -> list[Done]:
    """Check that only NEVER commands failed, as rule 17 says; return those.

    Args:
        load: What ran.
        outstanding: Whether a call's reply was outstanding at the moment of a fault.
    """
    failed = [c for w in load.workers for c in w.calls if c.error is not None]
    wrong = [c for c in failed if c.kind != "NEVER" or type(c.error) is not OutcomeUnknownError]
    assert not wrong, f"{len(wrong)} calls failed, the first: {wrong[0]}"
    assert all(c.error.applied == "maybe" for c in failed if c.error)  # type: ignore[attr-defined]
    early = [c for c in failed if not outstanding(c)]
    assert not early, f"{len(early)} NEVER commands failed that were not outstanding: {early[0]}"
    return failed


def check_applied(load: Load) -> int:
    """Check that nothing was applied twice; return how many acknowledged commands are absent."""
    absent = 0
    for worker in load.workers:
        found = {name.decode(): int(n) for name, n in load.client.hgetall(worker.log).items()}
        mine = {c.identity: c for c in worker.calls if c.kind == "NEVER"}
        twice = [name for name in mine if found.get(name, 0) > 1]
        assert not twice, f"{len(twice)} commands were applied twice, the first: {mine[twice[0]]}"
        absent += sum(name not in found for name, call in mine.items() if call.error is None)
    return absent


def check_healthy(load: Load, fault: float, end: float) -> None:
    """Check that healthy shards never waited for the sick one."""
    before = fault - BEFORE
    bound = max(0.1, 3 * slowest(load.workers, before, fault - 0.2))
    worst = slowest(load.healthy, fault, end)
    assert worst <= bound, f"a healthy shard's call took {worst:.3f} s (bound {bound:.3f} s)"
    usual, meanwhile = rate(load.healthy, before, fault), rate(load.healthy, fault, end)
    assert meanwhile > 0.95 * usual, f"healthy shards fell from {usual:.0f} to {meanwhile:.0f}/s"


def check_recovery(load: Load, fault: float, promotion: float) -> float:
    """Check how soon after the promotion the shard served again; return the seconds."""
    bound = max(0.2, 3 * slowest(load.workers, fault - BEFORE, fault - 0.2))
    took = load.first_success_after(promotion)
    assert took <= bound, f"first success {took:.3f} s after the promotion (bound {bound:.3f} s)"
    return took

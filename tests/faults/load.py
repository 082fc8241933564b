"""Threads that work on chosen shards and remember every call, and what must hold of them.

Half of the threads work on the shard that a fault will hit, half on the others. Each runs the four
classes of rule 17 in turn, on keys that are its own, so that it knows every reply by heart: a wrong
one is an error like any other. Its NEVER commands carry their own identity: HINCRBY of a field that
is used once, so that a 2 is a command applied twice and an absence is one that was lost.
"""

from __future__ import annotations

import gc
import itertools
import threading
from concurrent.futures import ThreadPoolExecutor
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from clustercache._core.slots import key_slot
from clustercache.exceptions import OutcomeUnknownError
from tests.faults.standstill import Watch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from clustercache import Cluster
    from clustercache.localcluster import LocalCluster, Node

WARM_UP = 0.5
"""Seconds of load before anything is measured: connections are opened then."""
BEFORE = 3.0
"""Seconds of load before the fault, which the bounds are drawn from."""
GRACE = 0.5
"""Seconds after its deadline at which a call must be back, with all threads on two cores."""


NOTICED = 0.05
"""Seconds that a call must take for standstills to matter."""


class Done(NamedTuple):
    """One call: its class, from when to when (monotonic), and what it raised.

    `stalled` is for how many seconds of it the machine stood still.
    """

    kind: str
    start: float
    end: float
    error: Exception | None
    identity: str
    stalled: float = 0.0

    @property
    def seconds(self) -> float:
        return self.end - self.start - self.stalled


def tags_of(lc: LocalCluster, node: Node, count: int) -> list[str]:
    """Return hash tags whose slots `node` serves now, each of another slot."""
    owned = [(part.start, part.end) for part in node.view().myself.slots]
    tags = (f"t{number}" for number in itertools.count())
    mine = (t for t in tags if any(a <= key_slot(t) <= b for a, b in owned))
    return list(itertools.islice(mine, count))


class Worker:
    """One thread on one tag.

    `strict` is for where no write may be lost: each reply must then be exactly that of one client
    alone on its keys. Else an older value of its own will do, for replication is asynchronous.
    """

    round_trips = 1
    """How many of them one call takes at the most, one after the other."""

    def __init__(self, client: Cluster, tag: str, name: str, *, strict: bool = False) -> None:
        self.client = client
        self.tag = tag
        self.name = name
        self.strict = strict
        self.calls: list[Done] = []
        # Plain tuples meanwhile: the collector forgets them, where a million of `Done` stall it.
        self._calls: list[tuple[str, float, float, Exception | None, str]] = []
        self.log = f"log:{{{tag}}}"
        self._written: str | None = None
        self._steps: list[tuple[str, Callable[[str], None]]] = [
            ("READ", self._get),
            ("SAME", self._set),
            ("COUNT", self._hset),
            ("NEVER", self._hincrby),
        ]

    def run(self, stop: threading.Event) -> None:
        """Call in turn until `stop`; an error never ends it."""
        for number in itertools.count():
            if stop.is_set():
                return
            kind, step = self._steps[number % len(self._steps)]
            identity = f"{self.name}-{number}"
            start = monotonic()
            error = None
            try:
                step(identity)
            except Exception as raised:  # noqa: BLE001 - judged later
                error = raised
            self._calls.append((kind, start, monotonic(), error, identity))

    @property
    def count(self) -> int:
        """How many calls are done."""
        return len(self._calls)

    def finish(self, watch: Watch) -> None:
        """Fill `calls`, less what the machine stood still."""
        self.calls = [Done(*call) for call in self._calls]
        for number, call in enumerate(self.calls):
            if call.seconds > NOTICED and (stalled := watch.within(call.start, call.end)):
                self.calls[number] = call._replace(stalled=stalled)
        self._steps.clear()  # they refer to this worker: without them its calls need no collector

    def _key(self, name: str) -> str:
        return f"{name}:{{{self.tag}}}"

    def _get(self, _: str) -> None:
        reply = self.client.get(self._key("value"))
        value = reply.decode() if reply is not None else None
        if self.strict:
            assert value == self._written, f"{value!r} where {self._written!r} was written"
        else:
            assert value is None or value.startswith(f"{self.name}-"), f"{value!r} is not mine"

    def _set(self, identity: str) -> None:
        assert self.client.set(self._key("value"), identity) is True
        self._written = identity

    def _hset(self, identity: str) -> None:
        assert self.client.hset(self._key("seen"), self.name, identity) in {0, 1}

    def _hincrby(self, identity: str) -> None:
        reply = self.client.hincrby(self.log, identity, 1)
        assert reply == 1, f"applied {reply} times"


class ManyKeys(Worker):
    """A worker that also reads, writes and deletes several keys of its slot at once."""

    KEYS = 8

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._names = [f"many:{{{self.tag}}}:{number}" for number in range(self.KEYS)]
        more = [("SAME", self._mset), ("READ", self._mget), ("READ", self._mget)]
        self._steps += [*more, ("COUNT", self._delete), ("READ", self._mget_nothing), more[0]]

    def _mset(self, identity: str) -> None:
        self._values = [f"{identity}/{number}".encode() for number in range(self.KEYS)]
        assert self.client.mset(dict(zip(self._names, self._values, strict=True))) is True

    def _mget(self, _: str) -> None:
        found = self.client.mget(self._names)
        assert found == self._values, f"{found} where {self._values} was written"

    def _delete(self, _: str) -> None:
        count = self.client.delete(*self._names)
        assert count == self.KEYS, f"{count} of {self.KEYS} keys were there"

    def _mget_nothing(self, _: str) -> None:
        found = self.client.mget(self._names)
        assert found == [None] * self.KEYS, f"{found} after they were deleted"


class Load:
    """Workers on `sick` tags and `healthy` tags, as a context: load runs inside it.

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
        self.client = client
        self.sick = [make(client, tag, f"s{i}") for i, tag in enumerate(sick)]
        self.healthy = [make(client, tag, f"h{i}") for i, tag in enumerate(healthy)]
        self._main = self.sick[0] if main_works else None
        self.watch = Watch()
        self._stop = threading.Event()
        self._stopped = False
        self._threads = [
            threading.Thread(target=worker.run, args=(self._stop,), name=worker.name)
            for worker in self.workers
            if worker is not self._main
        ]

    @property
    def workers(self) -> list[Worker]:
        return [*self.sick, *self.healthy]

    def __enter__(self) -> Self:
        # What earlier tests left is swept up now: to find a million of calls among it later takes
        # the collector half a second, in which it stops all threads.
        gc.collect()
        gc.freeze()
        self.watch.start()
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
        self.watch.stop()
        gc.unfreeze()
        hung = [thread.name for thread in self._threads if thread.is_alive()]
        assert not hung, f"past every deadline, still in a call: {hung}"
        gc.disable()  # it would look through all calls again and again, and find nothing
        for worker in self.workers:
            worker.finish(self.watch)
        gc.enable()

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

    def run_for(self, seconds: float) -> None:
        """Let the load run."""
        self._stop.wait(seconds)

    def warm_up(self) -> float:
        """Let the load run as long as the bounds need it; return the time."""
        self.run_for(WARM_UP + BEFORE)
        return monotonic()

    def first_success_after(self, moment: float) -> float:
        """Return the seconds from `moment` to the first success on the sick shard after it."""
        ends = [c.end for w in self.sick for c in w.calls if c.error is None and c.end > moment]
        assert ends, "no call on the shard succeeded after the promotion"
        return min(ends) - moment - self.watch.within(moment, min(ends))


def await_calls(workers: Sequence[Worker], count: int, timeout: float = 20.0) -> None:
    """Wait until each worker has done `count` calls more."""
    goals = [(worker, worker.count + count) for worker in workers]
    limit = monotonic() + timeout
    pause = threading.Event()
    while not all(worker.count >= goal for worker, goal in goals):
        late = [worker.name for worker, goal in goals if worker.count < goal]
        assert monotonic() < limit, f"no {count} calls in {timeout} s by {late}"
        pause.wait(0.002)


def slowest(workers: Iterable[Worker], begin: float, end: float) -> float:
    """Return the longest call, in seconds, of those that started from `begin` to `end`."""
    return max(c.seconds for w in workers for c in w.calls if begin <= c.start < end)


def rate(load: Load, begin: float, end: float) -> float:
    """Return the healthy shards' calls per second that ended from `begin` to `end`."""
    ended = sum(begin <= c.end < end for w in load.healthy for c in w.calls)
    return ended / (end - begin - load.watch.within(begin, end))


def bound(load: Load, fault: float, least: float) -> float:
    """Return the larger of `least` and three times the slowest call of the time before."""
    return max(least, 3 * slowest(load.workers, fault - BEFORE, fault - 0.2))


def check_errors(load: Load, outstanding: Callable[[Done], bool]) -> list[Done]:
    """Check that only NEVER commands failed, as rule 17 says, and none too late; return those.

    Args:
        load: What ran.
        outstanding: Whether a call's reply was outstanding at the moment of a fault.
    """
    calls = [c for w in load.workers for c in w.calls]
    late = [c for c in calls if c.seconds > load.client.config.deadline + GRACE]
    assert not late, f"{len(late)} calls took longer than their deadline, the first: {late[0]}"
    failed = [c for c in calls if c.error is not None]
    wrong = [c for c in failed if c.kind != "NEVER" or type(c.error) is not OutcomeUnknownError]
    assert not wrong, f"{len(wrong)} calls failed, the first: {wrong[0]}"
    assert all(c.error.applied == "maybe" for c in failed)
    early = [c for c in failed if not outstanding(c)]
    assert not early, f"{len(early)} NEVER commands failed that were not outstanding: {early[0]}"
    assert not any(c.error for w in load.healthy for c in w.calls), "on a shard that was well"
    return failed


def check_applied(load: Load) -> int:
    """Check that nothing was applied twice; return how many acknowledged commands are absent."""
    absent = 0
    for worker in load.workers:
        found = {name.decode(): int(n) for name, n in load.client.hgetall(worker.log).items()}
        mine = {c.identity: c for c in worker.calls if c.kind == "NEVER"}
        twice = [name for name in found if found[name] > 1]
        assert not twice, f"{len(twice)} commands were applied twice, the first: {mine[twice[0]]}"
        absent += sum(name not in found for name, call in mine.items() if call.error is None)
    return absent


def check_healthy(load: Load, fault: float, end: float) -> float:
    """Check that healthy shards never waited for the sick one; return their slowest call."""
    worst = check_prompt(load, fault, end)
    usual, meanwhile = rate(load, fault - BEFORE, fault), rate(load, fault, end)
    assert meanwhile > 0.95 * usual, f"healthy shards fell from {usual:.0f} to {meanwhile:.0f}/s"
    return worst


def check_prompt(load: Load, fault: float, end: float) -> float:
    """Check that healthy shards answered as soon as before; return their slowest call."""
    for worker in load.healthy:
        worst = slowest([worker], fault, end)
        limit = bound(load, fault, 0.1 * worker.round_trips)
        assert worst <= limit, f"a healthy shard's call took {worst:.3f} s (bound {limit:.3f} s)"
    return slowest(load.healthy, fault, end)


def check_recovery(load: Load, fault: float, promotion: float) -> float:
    """Check how soon after the promotion the shard served again; return the seconds."""
    limit = bound(load, fault, 0.2)
    took = load.first_success_after(promotion)
    assert took <= limit, f"first success {took:.3f} s after the promotion (bound {limit:.3f} s)"
    return took

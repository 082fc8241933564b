"""Callers that remember every call, whatever runs them: threads in `load`, tasks in `aload`.

Half of the callers work on the shard that a fault will hit, half on the others. Each runs the four
classes of rule 17 in turn, on keys that are its own, so that it knows every reply by heart: a wrong
one is an error like any other. Its NEVER commands carry their own identity: HINCRBY of a field that
is used once, so that a 2 is a command applied twice and an absence is one that was lost.
"""

from __future__ import annotations

import gc
import itertools
import threading
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple

from clustercache._core.slots import key_slot
from tests.faults.standstill import Watch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from clustercache.localcluster import LocalCluster, Node

WARM_UP = 0.5
"""Seconds of load before anything is measured: connections are opened then."""
BEFORE = 3.0
"""Seconds of load before the fault, which the bounds are drawn from."""


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


class Step(NamedTuple):
    """One call to make: its class, what asks for it, and what judges its reply.

    `ask` takes the call's identity and returns what the client's method does: a reply, or an
    awaitable of one.
    """

    kind: str
    ask: Callable[[str], Any]
    judge: Callable[[Any, str], None]


def tags_of(lc: LocalCluster, node: Node, count: int) -> list[str]:
    """Return hash tags whose slots `node` serves now, each of another slot."""
    owned = [(part.start, part.end) for part in node.view().myself.slots]
    tags = (f"t{number}" for number in itertools.count())
    mine = (t for t in tags if any(a <= key_slot(t) <= b for a, b in owned))
    return list(itertools.islice(mine, count))


class Caller:
    """Calls on one tag, one after the other.

    `strict` is for where no write may be lost: each reply must then be exactly that of one client
    alone on its keys. Else an older value of its own will do, for replication is asynchronous.
    """

    round_trips = 1
    """How many of them one call takes at the most, one after the other."""

    def __init__(self, client: Any, tag: str, name: str, *, strict: bool = False) -> None:
        self.client = client
        self.tag = tag
        self.name = name
        self.strict = strict
        self.calls: list[Done] = []
        # Plain tuples meanwhile: the collector forgets them, where a million of `Done` stall it.
        self._calls: list[tuple[str, float, float, Exception | None, str]] = []
        self.log = f"log:{{{tag}}}"
        self._written: str | None = None
        self._steps = [
            Step("READ", self._get, self._right_value),
            Step("SAME", self._set, self._is_set),
            Step("COUNT", self._hset, self._is_counted),
            Step("NEVER", self._hincrby, self._is_first),
        ]

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
        self._steps.clear()  # they refer to this caller: without them its calls need no collector

    def _key(self, name: str) -> str:
        return f"{name}:{{{self.tag}}}:{self.name}"

    def _get(self, _: str) -> Any:
        return self.client.get(self._key("value"))

    def _right_value(self, reply: Any, _: str) -> None:
        value = reply.decode() if reply is not None else None
        if self.strict:
            assert value == self._written, f"{value!r} where {self._written!r} was written"
        else:
            assert value is None or value.startswith(f"{self.name}-"), f"{value!r} is not mine"

    def _set(self, identity: str) -> Any:
        return self.client.set(self._key("value"), identity)

    def _is_set(self, reply: Any, identity: str) -> None:
        assert reply is True
        self._written = identity

    def _hset(self, identity: str) -> Any:
        return self.client.hset(self._key("seen"), self.name, identity)

    def _is_counted(self, reply: Any, _: str) -> None:
        assert reply in {0, 1}

    def _hincrby(self, identity: str) -> Any:
        return self.client.hincrby(self.log, identity, 1)

    def _is_first(self, reply: Any, _: str) -> None:
        assert reply == 1, f"applied {reply} times"


class ManyKeysCaller(Caller):
    """Also reads, writes and deletes several keys of its slot at once."""

    KEYS = 8

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._names = [self._key(f"many{number}") for number in range(self.KEYS)]
        self._values: list[bytes] = []
        mset = Step("SAME", self._mset, self._is_set_all)
        mget = Step("READ", self._mget, self._right_values)
        delete = Step("COUNT", self._delete, self._is_deleted)
        nothing = Step("READ", self._mget, self._right_nothing)
        self._steps += [mset, mget, mget, delete, nothing, mset]

    def _mset(self, identity: str) -> Any:
        self._values = [f"{identity}/{number}".encode() for number in range(self.KEYS)]
        return self.client.mset(dict(zip(self._names, self._values, strict=True)))

    def _is_set_all(self, reply: Any, _: str) -> None:
        assert reply is True

    def _mget(self, _: str) -> Any:
        return self.client.mget(self._names)

    def _right_values(self, reply: Any, _: str) -> None:
        assert reply == self._values, f"{reply} where {self._values} was written"

    def _delete(self, _: str) -> Any:
        return self.client.delete(*self._names)

    def _is_deleted(self, reply: Any, _: str) -> None:
        assert reply == self.KEYS, f"{reply} of {self.KEYS} keys were there"

    def _right_nothing(self, reply: Any, _: str) -> None:
        assert reply == [None] * self.KEYS, f"{reply} after they were deleted"


class BaseLoad:
    """Callers on `sick` tags and `healthy` tags, as the thread that breaks things sees them.

    Args:
        client: The client of all of them.
        sick: Tags of the shard that a fault will hit.
        healthy: Tags of the other shards.
        make: What makes a caller of (client, tag, name).
    """

    pause = 0.0
    """Seconds that a caller rests between two calls."""

    def __init__(
        self, client: Any, sick: Sequence[str], healthy: Sequence[str], make: Callable[..., Any]
    ) -> None:
        self.client = client
        self.sick = [make(client, tag, f"s{i}") for i, tag in enumerate(sick)]
        self.healthy = [make(client, tag, f"h{i}") for i, tag in enumerate(healthy)]
        self.watch = Watch()
        self._stop = threading.Event()

    @property
    def workers(self) -> list[Any]:
        return [*self.sick, *self.healthy]

    def _begin(self) -> None:
        # What earlier tests left is swept up now: to find a million of calls among it later takes
        # the collector half a second, in which it stops all callers.
        gc.collect()
        gc.freeze()
        self.watch.start()

    def _end(self) -> None:
        self.watch.stop()
        gc.unfreeze()

    def _finish(self) -> None:
        gc.disable()  # it would look through all calls again and again, and find nothing
        for worker in self.workers:
            worker.finish(self.watch)
        gc.enable()

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


def await_calls(workers: Sequence[Any], count: int, timeout: float = 20.0) -> None:
    """Wait until each worker has done `count` calls more."""
    goals = [(worker, worker.count + count) for worker in workers]
    limit = monotonic() + timeout
    pause = threading.Event()
    while not all(worker.count >= goal for worker, goal in goals):
        late = [worker.name for worker, goal in goals if worker.count < goal]
        assert monotonic() < limit, f"no {count} calls in {timeout} s by {late}"
        pause.wait(0.002)

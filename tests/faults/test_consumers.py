"""Consumers of a queue block while its primary dies: none hangs, and none is told a lie."""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from time import monotonic
from typing import TYPE_CHECKING, Any

import pytest

from clustercache import Cluster
from clustercache.exceptions import ClosedError, OutcomeUnknownError
from clustercache.localcluster import LocalCluster
from tests.faults.calls import tags_of

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.faults
CONSUMERS = 4
PROMOTED = 60.0
"""Seconds until the servers must have promoted the replica."""
END = b"end"


class Consumer(threading.Thread):
    """Pops elements until it gets END; what it is told is judged later."""

    def __init__(self, client: Cluster, queue: str) -> None:
        super().__init__(name=f"consumer of {queue}")
        self.client = client
        self.queue = queue
        self.served: list[tuple[bytes, float]] = []
        self.errors: list[Exception] = []

    def run(self) -> None:
        while not self.served or self.served[-1][0] != END:
            try:
                _, value = self.client.blpop(self.queue)
            except Exception as error:  # noqa: BLE001 - judged later
                self.errors.append(error)
                if isinstance(error, ClosedError):
                    return  # the test failed
            else:
                self.served.append((value, monotonic()))


class Producer:
    """Pushes elements, each once."""

    def __init__(self, client: Cluster, queue: str) -> None:
        self.client = client
        self.queue = queue
        self.numbers = itertools.count()
        self.acknowledged: dict[bytes, float] = {}
        self.unknown: set[bytes] = set()
        self._pause = threading.Event()

    def push(self, until: Callable[[], bool]) -> None:
        """Push until a condition holds."""
        while not until():
            value = b"%d" % next(self.numbers)
            try:
                self.client.rpush(self.queue, value)
            except OutcomeUnknownError:
                self.unknown.add(value)
            else:
                self.acknowledged[value] = monotonic()
            self._pause.wait(0.001)


def after(seconds: float) -> Callable[[], bool]:
    end = monotonic() + seconds
    return lambda: monotonic() > end


def end(client: Cluster, queue: str, consumers: list[Consumer]) -> None:
    """Let each consumer stop, once it has served what was pushed before."""
    waiting = [consumer for consumer in consumers if consumer.is_alive()]
    limit = monotonic() + 20
    while waiting:
        assert monotonic() < limit, f"{len(waiting)} consumers hang"
        client.rpush(queue, *[END] * len(waiting))
        for consumer in waiting:
            consumer.join(2.0)
        waiting = [consumer for consumer in waiting if consumer.is_alive()]


@pytest.mark.parametrize("fault", ["kill", "stop"])
def test_consumers_go_on_when_their_primary_is_hit(
    fault: str, report: Callable[[str, Any], None]
) -> None:
    with LocalCluster() as lc, Cluster.from_url(lc.url) as client:
        victim = lc.primaries[0]
        (replica,) = lc.replicas_of(victim)
        (tag,) = tags_of(lc, victim, 1)
        queue, idle = f"queue:{{{tag}}}", f"idle:{{{tag}}}"
        busy = [Consumer(client, queue) for _ in range(CONSUMERS)]
        idler = Consumer(client, idle)
        producer = Producer(client, queue)
        for consumer in [*busy, idler]:
            consumer.start()
        producer.push(after(1.0))
        hit = monotonic()
        (lc.kill if fault == "kill" else lc.stop)(victim)
        too_late = after(PROMOTED)
        producer.push(lambda: replica.role == "primary" or too_late())
        promotion = monotonic()
        producer.push(after(1.0))
        end(client, queue, busy)
        end(client, idle, [idler])
        if fault == "stop":
            lc.resume(victim)

        errors = [error for consumer in [*busy, idler] for error in consumer.errors]
        report("pushed", len(producer.acknowledged))
        report("unknown_pops", len(errors))
        assert {type(error) for error in errors} <= {OutcomeUnknownError}, errors
        assert all(error.applied == "maybe" for error in errors)
        assert all(len(consumer.errors) <= 1 for consumer in [*busy, idler])
        check_served(producer, busy, hit, promotion, report)


def check_served(
    producer: Producer,
    consumers: list[Consumer],
    hit: float,
    promotion: float,
    report: Callable[[str, Any], None],
) -> None:
    """Check that nothing was served twice but what the replica did not know to be gone."""
    served = [one for consumer in consumers for one in consumer.served if one[0] != END]
    counts = Counter(value for value, _ in served)
    twice = {value for value, count in counts.items() if count > 1}
    first = {value: min(at for other, at in served if other == value) for value in twice}
    report("served", len(served))
    report("popped_again", len(twice))
    assert max(counts.values()) <= 2
    assert all(abs(at - hit) < 0.2 for at in first.values()), "popped twice, and not by the fault"
    strangers = set(counts) - set(producer.acknowledged) - producer.unknown
    assert not strangers, f"{len(strangers)} elements were never pushed"
    late = {value for value, at in producer.acknowledged.items() if at > promotion}
    assert late
    lost = late - set(counts)
    assert len(lost) == 0, f"{len(lost)} elements pushed after the promotion were not served"

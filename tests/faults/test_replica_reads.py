"""Reads with primary-then-replica never wait for a failover, whatever is killed or stopped."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from time import monotonic
from typing import TYPE_CHECKING, Any

import pytest

from clustercache import Cluster, ReadFrom
from clustercache.localcluster import LocalCluster
from tests.faults.calls import BEFORE, Step, tags_of
from tests.faults.checks import slowest
from tests.faults.load import Load, Worker

if TYPE_CHECKING:
    from clustercache.localcluster import Node

pytestmark = pytest.mark.faults
THREADS = 4
"""On the shard that is hit, and as many on the others."""
POLICIES = [ReadFrom.PRIMARY_THEN_REPLICA, ReadFrom.PREFER_REPLICA]
"""Each has a client of its own, and every other thread."""
KILLED = 0.15
"""Seconds that a read may take, whatever is killed."""
TIMEOUT = 1.0
AFTER = 3.0
"""Seconds of load after the fault, at least: several socket timeouts."""
PROMOTED = 60.0
"""Seconds until the servers must have promoted the replica."""


class Reader(Worker):
    """A worker that reads one key, and several of its slot; writes are no part of it."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._names = [self._key(f"value{number}") for number in range(4)]
        self._values = [f"{name}!".encode() for name in self._names]
        one = Step("READ", self._one, self._is_first_value)
        self._steps = [one, one, Step("READ", self._several, self._are_values)]

    def fill(self) -> None:
        """Write what will be read."""
        self.client.mset(dict(zip(self._names, self._values, strict=True)))

    def _one(self, _: str) -> Any:
        return self.client.get(self._names[0])

    def _is_first_value(self, reply: Any, _: str) -> None:
        assert reply == self._values[0]

    def _several(self, _: str) -> Any:
        return self.client.mget(self._names)

    def _are_values(self, reply: Any, _: str) -> None:
        assert reply == self._values


def hit(lc: LocalCluster, node: Node, fault: str, load: Load) -> tuple[float, float]:
    """Hit a node under load, a failover included; return when, and when the load ended."""
    heirs = lc.replicas_of(node)
    load.warm_up()
    before = monotonic()
    (lc.kill if fault == "kill" else lc.stop)(node)
    load.run_for(AFTER)
    for heir in heirs:
        while heir.call("ROLE")[0] != "master":
            assert monotonic() < before + PROMOTED, f"{heir} is not promoted"
            load.run_for(0.05)
        load.run_for(0.5)
    return before, monotonic()


def await_copies(lc: LocalCluster) -> None:
    """Wait until every replica has what was written."""
    limit = monotonic() + 10
    for primary in lc.primaries:
        for replica in lc.replicas_of(primary):
            while replica.call("DBSIZE") < primary.call("DBSIZE"):
                assert monotonic() < limit, f"{replica} lags"
                threading.Event().wait(0.01)


def client_of(lc: LocalCluster, policy: ReadFrom) -> Cluster:
    return Cluster.from_url(lc.url, read_from=policy, socket_timeout=TIMEOUT)


@pytest.mark.parametrize("fault", ["kill", "stop"])
@pytest.mark.parametrize("role", ["primary", "replica"])
def test_reads_go_on_whatever_is_hit(role: str, fault: str, report: Any) -> None:
    with LocalCluster(full_coverage=False) as lc:
        victim, *others = lc.primaries
        sick = tags_of(lc, victim, THREADS)
        healthy = [tag for node in others for tag in tags_of(lc, node, THREADS // len(others))]
        node = victim if role == "primary" else lc.replicas_of(victim)[0]
        with ExitStack() as stack:
            clients = [stack.enter_context(client_of(lc, policy)) for policy in POLICIES]

            def reader(_: Cluster, tag: str, name: str) -> Reader:
                return Reader(clients[int(name[1:]) % len(clients)], tag, name)

            load = Load(clients[0], sick, healthy, make=reader)
            for worker in load.workers:
                worker.fill()
            await_copies(lc)
            with load:
                began, ended = load.during(lambda: hit(lc, node, fault, load))
            judge(load, fault, began, ended, report)


def judge(load: Load, fault: str, began: float, ended: float, report: Any) -> None:
    failed = [call for worker in load.workers for call in worker.calls if call.error]
    assert not failed, f"{len(failed)} reads failed, the first: {failed[0]}"
    usual = slowest(load.workers, began - BEFORE, began - 0.2)
    worst = slowest(load.workers, began - 0.2, ended)
    report("usual", usual)
    report("slowest_read", worst)
    report("reads", sum(len(worker.calls) for worker in load.workers))
    # A machine that is busy with something else is slow before the fault, too.
    limit = max(KILLED, 3 * usual)
    if fault == "kill":
        assert worst <= limit, f"a read took {worst:.3f} s (bound {limit:.3f} s)"
        return
    assert worst <= TIMEOUT + limit, f"a read took {worst:.3f} s: more than one socket timeout"
    waited = [
        sum(call.seconds > max(limit, TIMEOUT / 2) for call in worker.calls)
        for worker in load.workers
    ]
    report("reads_that_waited", sum(waited))
    assert max(waited) <= 1, f"threads waited more than once: {waited}"
    assert sum(waited[len(load.sick) :]) == 0, "on a shard that was well"

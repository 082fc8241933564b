"""A sick shard delays neither the healthy ones nor all of a program's threads: rules 3 and 20."""

from __future__ import annotations

import threading
from time import monotonic
from typing import TYPE_CHECKING, Any

import pytest

from clustercache import Cluster
from clustercache.exceptions import ShardUnavailableError
from clustercache.localcluster import LocalCluster
from tests.faults.calls import tags_of

if TYPE_CHECKING:
    from collections.abc import Sequence

pytestmark = pytest.mark.faults
CONNECTIONS = 4
WAITING = 8
SICK = 26
HEALTHY = 4
FAST = 0.1
LONG = 0.5


class Caller(threading.Thread):
    """Calls one key until it is told to stop."""

    def __init__(self, client: Cluster, key: str, stop: threading.Event) -> None:
        super().__init__()
        self.client = client
        self.key = key
        self.stop = stop
        self.since: float | None = None
        self.calls: list[tuple[float, float, Exception | None]] = []

    def run(self) -> None:
        while not self.stop.is_set():
            self.since = start = monotonic()
            error = None
            try:
                self.client.get(self.key)
            except Exception as raised:  # noqa: BLE001 - judged later
                error = raised
            self.since = None
            self.calls.append((start, monotonic(), error))
            self.stop.wait(0.05 if error else 0.01)


def waiting(callers: Sequence[Caller]) -> int:
    """Return how many callers are in a call for longer than any that is well, or refused."""
    now = monotonic()
    return sum(since is not None and now - since > LONG for since in [c.since for c in callers])


def test_a_sick_shard_parks_few_callers_and_the_rest_fail_fast(report: Any) -> None:
    stop = threading.Event()
    with (
        LocalCluster(node_timeout=8) as lc,
        Cluster.from_url(
            lc.url, max_connections=CONNECTIONS, max_waiting=WAITING, socket_timeout=0.5
        ) as client,
    ):
        victim, other, _ = lc.primaries
        sick = [Caller(client, f"k:{{{tag}}}", stop) for tag in tags_of(lc, victim, SICK)]
        healthy = [Caller(client, f"k:{{{tag}}}", stop) for tag in tags_of(lc, other, HEALTHY)]
        try:
            for caller in [*sick, *healthy]:
                caller.start()
            stop.wait(3)
            fault = monotonic()
            lc.stop(victim)
            while not client.stats()["nodes"][str(victim.address)]["suspected"]:
                assert monotonic() < fault + 2, "nobody suspects a silent node"
                stop.wait(0.01)
            settled = monotonic() + LONG
            stop.wait(LONG)
            most = 0
            while monotonic() < settled + 2:
                most = max(most, waiting(sick))
                stop.wait(0.02)
            resumed = monotonic()
            lc.resume(victim)
            stop.wait(1)
        finally:
            if victim.stopped:
                lc.resume(victim)
            stop.set()
            for caller in [*sick, *healthy]:
                caller.join(15)
        assert not any(caller.is_alive() for caller in [*sick, *healthy])

    before = [end - start for c in [*sick, *healthy] for start, end, _ in c.calls if end < fault]
    bound = max(FAST, 3 * max(before))
    meanwhile = [call for c in healthy for call in c.calls if fault <= call[0] < resumed]
    slowest = max(end - start for start, end, _ in meanwhile)
    refused = [call for c in sick for call in c.calls if call[2] is not None]
    late = [end - start for start, end, _ in refused if start >= settled]
    report("waited_at_most", most)
    report("refused", len(refused))
    report("slowest_refusal", max(late))
    report("slowest_healthy_call", slowest)
    assert not any(error for c in healthy for _, _, error in c.calls)
    assert slowest < bound, f"a healthy shard's call took {slowest:.3f} s"
    assert {type(error) for _, _, error in refused} == {ShardUnavailableError}
    # Those whose command was sent already have to wait for their replies.
    assert WAITING <= most <= WAITING + CONNECTIONS, f"{most} callers waited for the sick shard"
    assert max(late) < 1.0, f"it took {max(late):.3f} s to be refused"
    assert all(c.calls[-1][2] is None for c in sick), "the shard is well, and its callers are not"

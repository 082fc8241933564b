"""Pipelines and transactions while a primary dies, stops, or its slots move."""

from __future__ import annotations

from typing import Any

import pytest

from clustercache import Cluster
from clustercache.localcluster import LocalCluster
from tests.clusters import need_server
from tests.faults import test_moving_slots as moves
from tests.faults import test_primary as primary
from tests.faults.batch_workers import Piped, Transacting, Watching
from tests.faults.load import tags_of

pytestmark = pytest.mark.faults


@pytest.mark.parametrize(
    ("fault", "make"),
    [("kill", Piped), ("stop", Piped), ("kill", Watching), ("stop", Transacting)],
)
def test_batches_survive_a_primary_that_is_hit(fault: str, make: Any, report: Any) -> None:
    with LocalCluster() as lc:
        primary.drill(lc, fault, report, make=make)


@pytest.mark.parametrize(
    ("server", "make"),
    [("valkey", Piped), ("redis-7.0", Piped), ("valkey", Watching), ("redis-7.0", Transacting)],
)
def test_batches_survive_slots_that_move_key_by_key(server: str, make: Any, report: Any) -> None:
    with LocalCluster(server=need_server(server).path) as lc:
        moves.drill(lc, moves.key_by_key, 1, report, make=make)


@pytest.mark.parametrize("make", [Piped, Transacting])
def test_batches_survive_slots_that_move_at_once(make: Any, report: Any) -> None:
    with LocalCluster(server=need_server("valkey").path) as lc:
        moves.drill(lc, moves.at_once, 2, report, make=make)


def test_a_million_commands_need_little_more_than_their_bytes() -> None:
    with LocalCluster(primaries=3, replicas=0) as lc, Cluster.from_url(lc.url) as client:
        tags = [tag for node in lc.primaries for tag in tags_of(lc, node, 2)]
        assert lc.nodes
        pipe = client.pipeline()
        for number in range(1_000_000):
            pipe.set(f"{{{tags[number % 6]}}}:{number % 1000}", "x")
        before = peak()
        results = pipe.execute()
        assert len(results) == 1_000_000
        assert all(results)
        grown = peak() - before
        # The results' list alone is 8 MB; one window's writes and replies are the rest.
        assert grown < 64_000_000, f"{grown / 1e6:.0f} MB more while it was executed"


def peak() -> int:
    """The most memory that this process had so far, in bytes."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

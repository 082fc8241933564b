"""Pipelines and transactions while a primary dies, stops, or its slots move."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from clustercache.localcluster import LocalCluster
from tests.clusters import need_server
from tests.faults import test_moving_slots as moves
from tests.faults import test_primary as primary
from tests.faults.batch_workers import each_kind
from tests.faults.moves import at_once, key_by_key

pytestmark = pytest.mark.faults
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("fault", ["kill", "stop"])
def test_batches_survive_a_primary_that_is_hit(fault: str, report: Any) -> None:
    with LocalCluster() as lc:
        primary.drill(lc, fault, report, make=each_kind)


@pytest.mark.parametrize("server", ["valkey", "redis-7.0"])
def test_batches_survive_slots_that_move_key_by_key(server: str, report: Any) -> None:
    with LocalCluster(server=need_server(server).path) as lc:
        moves.drill(lc, key_by_key, 1, report, make=each_kind)


def test_batches_survive_slots_that_move_at_once(report: Any) -> None:
    with LocalCluster(server=need_server("valkey").path) as lc:
        moves.drill(lc, at_once, 2, report, make=each_kind)


LONG_PIPELINE = """
import resource, sys
from clustercache import Cluster

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

with Cluster.from_url(sys.argv[1]) as client:
    pipe = client.pipeline()
    for number in range(1_000_000):
        pipe.set(f"long:{number % 1000}", "x")
    before = peak()
    results = pipe.execute()
    assert len(results) == 1_000_000 and all(results)
    print(peak() - before)
"""


def test_a_million_commands_need_little_more_than_their_bytes(report: Any) -> None:
    with LocalCluster(primaries=3, replicas=0) as lc:
        # In a process of its own, whose peak no other test has raised before.
        words = [sys.executable, "-c", LONG_PIPELINE, lc.url]
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    grown = int(done.stdout)
    report("megabytes_more", grown / 1e6)
    # The results' list alone is 8 MB; one window's writes and replies are the rest.
    assert grown < 64_000_000, f"{grown / 1e6:.0f} MB more while it was executed"

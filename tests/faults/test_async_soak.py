"""Some rounds of the soak that `tox -e soak` runs for ten."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from clustercache.localcluster import LocalCluster
from tests.soak.run import Soak

pytestmark = pytest.mark.faults
ROUNDS = 4
SECONDS = 7.0


@pytest.mark.timeout(180)
def test_half_a_minute_of_failovers_loses_doubles_and_leaks_nothing(report: Any) -> None:
    with LocalCluster() as lc:
        seen = asyncio.run(Soak(lc, SECONDS, print).run(ROUNDS))
    for number, one in enumerate(seen.rounds, 1):
        report(f"calls_{number}", one.calls)
        report(f"unknown_outcomes_{number}", one.unknown)
        report(f"absent_{number}", one.absent)
        report(f"memory_{number}", one.memory)
    assert not list(seen.wrongs())
    assert all(one.calls > 1000 for one in seen.rounds), "there was no load to speak of"

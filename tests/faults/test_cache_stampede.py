"""Many callers of many processes on one cold key: one of them computes."""

from __future__ import annotations

import pytest

from tests.faults.cache_crowd import crowd

pytestmark = [pytest.mark.faults, pytest.mark.timeout(180)]
PROCESSES, CALLERS = 8, 50


@pytest.mark.parametrize(
    ("kind", "near"), [("threads", "far"), ("threads", "near"), ("tasks", "far"), ("tasks", "near")]
)
def test_of_many_callers_of_many_processes_one_computes(cluster, kind, near, report):
    with crowd(cluster.url, PROCESSES, kind=kind, near=near, callers=CALLERS) as all_of_them:
        all_of_them.go()
        assert [one.end() for one in all_of_them.processes] == [0] * PROCESSES
        results = [result for one in all_of_them.processes for result in one.results]
        assert len(results) == PROCESSES * CALLERS
        assert len(set(results)) == 1
        report("slowest, seconds", max(one.slowest for one in all_of_them.processes))
        assert all_of_them.computes == 1


@pytest.mark.parametrize(
    ("kind", "near"), [("threads", "far"), ("threads", "near"), ("tasks", "near")]
)
def test_where_the_one_that_computes_is_killed_one_other_does_within_the_lease(
    cluster, kind, near, report
):
    lease, work = 1.5, 0.5
    options = {"kind": kind, "near": near, "callers": 10, "lease": lease, "work": work}
    with crowd(cluster.url, 6, **options) as all_of_them:
        all_of_them.go()
        holder = all_of_them.await_one("computing")
        holder.kill()
        others = [one for one in all_of_them.processes if one is not holder]
        assert [one.end() for one in others] == [0] * len(others)
        results = [result for one in others for result in one.results]
        assert len(results) == 50
        assert len(set(results)) == 1
        slowest = max(one.slowest for one in others)
        report("slowest, seconds", slowest)
        assert slowest < lease + work + 1.0
        assert all_of_them.computes == 2

"""Primaries die under real web servers with logged-in users: not one of them notices."""

from __future__ import annotations

import threading
from time import monotonic, sleep

import pytest

from clustercache.cli.demo.crowd import Crowd
from clustercache.cli.demo.verdict import judge
from clustercache.localcluster import LocalCluster
from tests.faults.strikes import PROMOTED, promoted_at, undo
from tests.web.marks import Hit, Marks
from tests.web.shops import FRAMEWORKS, opened

pytestmark = [pytest.mark.faults, pytest.mark.timeout(100)]
USERS, RATE = 500, 120.0
BEFORE, AFTER = 2.0, 1.5
PAUSE = threading.Event()
"""Never set: it is waited for where the load is to go on."""


def hit(lc, victim, fault):
    """Kill or stop a primary, and wait for its successor; tell when, and which shard's it was."""
    (replica,) = lc.replicas_of(victim)
    before = monotonic()
    (lc.kill if fault == "kill" else lc.stop)(victim)
    while replica.call("ROLE")[0] != "master":
        assert monotonic() < before + PROMOTED, f"{replica} is not promoted"
        sleep(0.05)
    return Hit(before, promoted_at(replica))


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_no_user_notices_that_primaries_die(framework, tmp_path, report):
    with (
        LocalCluster(node_timeout=1) as lc,
        opened(framework, lc.url, tmp_path) as server,
        Crowd([server.address], USERS, RATE) as crowd,
        Marks(lc) as marks,
    ):
        crowd.log_in()
        crowd.start()
        PAUSE.wait(BEFORE)
        killed, stopped = (lc.node_for(shard.slots.start) for shard in lc.plan.shards[:2])
        for number, (victim, fault) in enumerate([(killed, "kill"), (stopped, "stop")]):
            marks.hits[number] = hit(lc, victim, fault)
            PAUSE.wait(AFTER)
        crowd.stop()
        undo(lc, killed, "kill")
        undo(lc, stopped, "stop")
        crowd.look_back()
    verdict = judge(crowd.shoppers, marks.replicated)
    shards = {marks.shard_of(shopper) for shopper in crowd.shoppers}
    for name, value in verdict.to_dict().items():
        report(name, value)
    check(verdict, server)
    assert shards == {0, 1, 2}


def check(verdict, server):
    """Check what no user may notice, and that there was something to notice."""
    assert verdict.errors == (), server.tail()
    assert (verdict.failed_home, verdict.failed_reads, verdict.failed_writes) == (0, 0, 0)
    assert (verdict.logged_out, verdict.cookies_changed, verdict.cookies_deleted) == (0, 0, 0)
    assert (verdict.lost, verdict.twice) == (0, 0)
    assert verdict.workers >= 2
    assert verdict.writes > 100
    assert verdict.replicated > 0.5 * verdict.changes
    assert verdict.slowest > 0.5, "no request met the fault"
    assert verdict.slowest_home < 2

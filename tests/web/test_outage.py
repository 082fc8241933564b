"""All of Redis is away: what needs no session is served, the rest is 503, and all comes back."""

from __future__ import annotations

import statistics
import threading
from time import monotonic

import pytest

from clustercache.cli.demo.crowd import Crowd
from clustercache.cli.demo.shopper import HOME
from clustercache.cli.demo.verdict import judge
from clustercache.localcluster import LocalCluster
from tests.web.shops import FRAMEWORKS, opened

pytestmark = [pytest.mark.faults, pytest.mark.timeout(100)]
USERS = 200
RATE = 40.0
"""What waits for a session, for a second and a half each, must leave threads for other pages."""
BEFORE, AWAY, AFTER = 2.0, 4.0, 3.0
BOUNDS = "deadline=1.5&max_waiting=16"
PAUSE = threading.Event()
"""Never set: it is waited for where the load is to go on."""


def stop_all(lc):
    for node in lc.nodes:
        lc.stop(node)


def resume_all(lc):
    for node in lc.nodes:
        lc.resume(node)


def kill_all(lc):
    for node in lc.nodes:
        lc.kill(node)


def restart_all(lc):
    for node in lc.nodes:
        lc.restart(node, wait=False)
    lc.wait_ready()


FAULTS = {"stop": (stop_all, resume_all), "kill": (kill_all, restart_all)}


@pytest.mark.parametrize(
    ("framework", "fault"),
    [*((name, "stop") for name in FRAMEWORKS), ("flask", "kill"), ("fastapi", "kill")],
)
def test_an_outage_of_all_servers_ends_where_the_session_begins(framework, fault, tmp_path, report):
    begin, end = FAULTS[fault]
    # Nobody shall be taken for dead by the other servers, for all of them stand still.
    node_timeout = 15 if fault == "stop" else 1
    with (
        LocalCluster(node_timeout=node_timeout, appendonly=True) as lc,
        opened(framework, f"{lc.url}&{BOUNDS}", tmp_path) as server,
        Crowd([server.address], USERS, RATE) as crowd,
    ):
        crowd.log_in()
        crowd.start()
        PAUSE.wait(BEFORE)
        gone = monotonic()
        begin(lc)
        PAUSE.wait(AWAY)
        end(lc)
        back = monotonic()
        PAUSE.wait(AFTER)
        crowd.stop()
        crowd.look_back()
    verdict = judge(crowd.shoppers)
    for name, value in verdict.to_dict().items():
        report(name, value)
    check_pages_without_session(crowd.visits, gone, back, report)
    refused = check_refusals(crowd.visits, gone, server)
    report("last_refused_after_its_return", max(v.start for v in refused) - back)
    late = [v for v in crowd.visits if v.start > back + 1.0 and not 0 < v.status < 400]
    assert not late, f"{len(late)} failed though all was back, the first: {late[0]}"
    assert (verdict.logged_out, verdict.cookies_changed, verdict.cookies_deleted) == (0, 0, 0)
    assert verdict.twice == 0


def check_pages_without_session(visits, gone, back, report):
    """Check that they were served as if nothing had happened."""
    homes = [v for v in visits if v.kind == HOME]
    usual = [v.end - v.start for v in homes if v.end < gone]
    meanwhile = [v for v in homes if v.start >= gone and v.end <= back]
    times = [v.end - v.start for v in meanwhile]
    report("usual_home", statistics.median(usual))
    report("home_meanwhile", statistics.median(times))
    assert {v.status for v in homes} == {200}
    assert len(meanwhile) > 0.5 * AWAY * RATE / 10
    assert statistics.median(times) < max(3 * statistics.median(usual), 0.03)
    assert max(times) < max(3 * max(usual), 1.0)


def check_refusals(visits, gone, server):
    """Check that others were told to come again, and nothing else; return those."""
    refused = [v for v in visits if v.kind != HOME and v.failed]
    assert len(refused) > 10, "nothing needed Redis"
    wrong = [v for v in refused if v.status != 503 or not v.retry_after.isdigit()]
    assert not wrong, f"{len(wrong)}, the first: {wrong[0]}\n{server.tail()}"
    assert all(v.end > gone for v in refused)
    return refused

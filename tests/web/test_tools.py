"""What the web tests judge by: it sees each fault that a shop can have, and nothing else."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from clustercache.cli.demo.crowd import Crowd
from clustercache.cli.demo.shopper import WRITE, Visit
from clustercache.cli.demo.verdict import judge
from tests.clusters import is_alive
from tests.web.marks import Hit, must_be_there
from tests.web.servers import ROOT, WebServer, gunicorn, uvicorn
from tests.web.stub import StubShop, serving

USERS = 20
PAUSE = threading.Event()
"""Never set: it is waited for where time itself is what is tested."""
CLEAN = {
    "logged_out": 0,
    "cookies_changed": 0,
    "cookies_deleted": 0,
    "failed_home": 0,
    "failed_reads": 0,
    "failed_writes": 0,
    "lost": 0,
    "missing": 0,
    "twice": 0,
}


def visited(shop, fault="", *, seconds=0.6, rate=300, replicated=lambda *_: True):
    """What users say of a shop that does something wrong to two of them."""
    with serving(shop) as address, Crowd([address], USERS, rate) as crowd:
        crowd.log_in()
        shop.faults = dict.fromkeys(["user3", "user7"], fault)
        crowd.start()
        PAUSE.wait(seconds)
        crowd.stop()
        crowd.look_back()
    return judge(crowd.shoppers, replicated)


def test_nothing_is_said_of_a_shop_that_is_well():
    verdict = visited(StubShop())
    figures = dataclasses.asdict(verdict)
    assert verdict.ok
    assert {name: figures[name] for name in CLEAN} == CLEAN
    assert (verdict.users, verdict.workers, verdict.errors) == (USERS, 1, ())
    assert verdict.replicated == verdict.changes == verdict.writes > 30
    assert verdict.requests > verdict.reads + verdict.writes > 100
    assert 0 < verdict.slowest_home <= verdict.slowest < 1


@pytest.mark.parametrize(
    ("fault", "figures"),
    [
        ("forget", {"logged_out"}),
        ("confuse", {"logged_out"}),
        ("delete", {"logged_out", "cookies_deleted"}),
        ("change", {"cookies_changed"}),
        ("fail read", {"failed_reads"}),
        ("fail write", {"failed_writes"}),
        ("hang up", {"failed_reads", "failed_writes"}),
        ("lose", {"missing", "lost"}),
        ("twice", {"twice"}),
    ],
)
def test_each_fault_of_a_shop_is_seen(fault, figures):
    verdict = visited(StubShop(), fault)
    assert not verdict.ok
    found = {name for name in CLEAN if getattr(verdict, name)}
    assert figures <= found
    unseen = {"missing", "lost"}
    # Whoever is not let in cannot see what is in the cart either.
    assert found <= {*figures, *(unseen if figures & {"logged_out", "failed_reads"} else ())}
    for name in figures & {"logged_out", "cookies_deleted"}:
        assert getattr(verdict, name) == 2


def test_what_no_replica_was_known_to_have_is_counted_apart():
    verdict = visited(StubShop(), "lose", replicated=lambda shopper, _: shopper.number != 3)
    assert verdict.missing > verdict.lost > 0
    assert verdict.replicated < verdict.changes


def test_the_users_come_at_a_steady_rate_though_some_wait():
    gate = threading.Event()

    class SlowShop(StubShop):
        def _serve(self, user, fault, item):
            assert fault != "wait" or gate.wait(10)
            return super()._serve(user, fault, item)

    shop = SlowShop()
    with serving(shop) as address, Crowd([address], USERS, 200) as crowd:
        crowd.log_in()
        shop.faults = dict.fromkeys(["user3", "user7"], "wait")
        begin = time.monotonic()
        crowd.start()
        PAUSE.wait(1.0)
        served, waiting = len(crowd.visits), crowd.waiting()
        due = 200 * (time.monotonic() - begin)
        gate.set()
        crowd.stop()
    assert due / 2 < served <= due + 1
    assert waiting >= 2
    assert judge(crowd.shoppers).slowest > 0.5


@pytest.mark.parametrize(
    ("begin", "end", "known"),
    [
        (1.0, 1.1, True),
        (1.0, 2.05, False),  # the mark had begun: it may have come before the change
        (3.0, 3.1, False),  # a later mark was not confirmed in time
        (4.9, 7.0, False),  # across the fault
        (6.0, 6.1, True),  # by the new primary
    ],
)
def test_a_change_must_be_there_if_a_replica_had_it_or_no_fault_came_after(begin, end, known):
    hit, marks = Hit(5.0, 6.0), [(0.5, 0.6), (2.0, 2.1), (4.0, 5.01), (7.0, 7.1)]
    visit = Visit(WRITE, begin, end, 303)
    assert must_be_there(visit, hit, marks) is known
    assert must_be_there(visit, None, [])


APPS = {
    "gunicorn": gunicorn("tests.web.test_tools:wsgi"),
    "uvicorn": uvicorn("tests.web.test_tools:asgi"),
}


def wsgi(_environ, start_response):
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]


async def asgi(scope, _receive, send):
    if scope["type"] == "http":
        headers = [(b"content-length", b"2")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"ok"})


def below(pid):
    """A process, and all that descend from it."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return {pid}.union(*(below(int(child)) for child in children))


def whole(server):
    """The keeper, the web server, and its two workers, once they are there."""
    limit = time.monotonic() + 15
    while len(family := below(server._keeper.pid)) < 4:
        assert time.monotonic() < limit, f"no two workers:\n{server.tail()}"
        PAUSE.wait(0.05)
    return family


def await_end(pids, seconds=15.0):
    """Wait until processes are gone."""
    limit = time.monotonic() + seconds
    while any(map(is_alive, pids)):
        assert time.monotonic() < limit, f"still alive: {[p for p in pids if is_alive(p)]}"
        PAUSE.wait(0.05)


@pytest.mark.live
@pytest.mark.parametrize("name", APPS)
def test_a_closed_web_server_leaves_no_process(name, tmp_path):
    with WebServer(APPS[name], tmp_path, {}) as server:
        family = whole(server)
    await_end(family, 0.5)


@pytest.mark.live
@pytest.mark.parametrize("name", APPS)
def test_a_web_server_ends_when_the_tests_are_killed(name, tmp_path):
    code = (
        "import sys, pathlib\n"
        "from tests.web.test_tools import APPS, WebServer, whole\n"
        "server = WebServer(APPS[sys.argv[1]], pathlib.Path(sys.argv[2]), {})\n"
        "server.wait_ready()\n"
        "print(*whole(server), flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, name, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as tests:
        family = [int(pid) for pid in tests.stdout.readline().split()]
        tests.send_signal(signal.SIGKILL)
    assert len(family) >= 4
    await_end(family)


@pytest.mark.live
def test_a_web_server_that_does_not_start_shows_its_log(tmp_path):
    with (
        pytest.raises(AssertionError, match="No module named 'nothing_of_that_name'"),
        WebServer(gunicorn("nothing_of_that_name:app"), tmp_path, {}),
    ):
        pytest.fail("it started")

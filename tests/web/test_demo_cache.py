"""The third act of the demo: how its processes are told and judged."""

from __future__ import annotations

import dataclasses
import json
import sys
import threading
from time import monotonic

import pytest
from click.testing import CliRunner

from clustercache import Cache
from clustercache.admin.waiting import wait_until
from clustercache.cli.demo import demo, price_servers
from clustercache.cli.demo.cache_verdict import Changes, Crowd, Rates, judge
from clustercache.cli.demo.price_load import PriceLoad
from clustercache.cli.demo.price_server import PriceServer
from clustercache.cli.demo.price_servers import PriceServers
from clustercache.cli.demo.story import Story
from clustercache.cli.demo.summary import Summary
from clustercache.exceptions import AdminError

pytestmark = pytest.mark.timeout(60)

CROWD = Crowd(callers=4, computed=1, answers=1, failed=0, slowest=0.4)
SEEN = {"seen": 10.2, "went_back": 0}
LOAD = {
    # when, calls, near, far, computed without the cache
    "samples": [(t / 10, 10 * t, 6 * t, 3 * t, 0) for t in range(100)],
    "failed": 0, "errors": [], "wrong": 0, "slowest": 0.1,
}  # fmt: skip
STUCK = [*LOAD["samples"][:80], *((8 + t / 10, 800 + 10 * t, 480, 240, 10 * t) for t in range(20))]


def changes(**others):
    return Changes.of([(10.0, True, {**SEEN, **others}), (10.0, True, SEEN)], 1.0)


def verdict(*, crowd=CROWD, writes=None, tags=None, **load):
    loads = [{**LOAD, **load}, LOAD]
    return judge(loads, 5.0, 7.0, crowd=crowd, writes=writes or changes(), tags=tags or changes())


def test_the_processes_figures_are_added_up():
    assert verdict().ok
    assert verdict().before == Rates(calls=200, near=0.6, far=0.3, uncached=0.0)
    assert verdict().during.calls == 400
    assert (verdict().calls, verdict().processes, verdict().slowest) == (1980, 2, 0.1)
    assert changes().typical == changes().longest == pytest.approx(0.2)


@pytest.mark.parametrize(
    "wrong",
    [
        {"crowd": dataclasses.replace(CROWD, computed=2)},
        {"crowd": dataclasses.replace(CROWD, answers=2)},
        {"crowd": dataclasses.replace(CROWD, failed=1)},
        {"writes": changes(seen=None)},
        {"tags": changes(seen=11.1)},
        {"writes": changes(went_back=1)},
        {"tags": Changes.of([(10.0, False, SEEN)], 1.0)},
        {"failed": 1, "errors": ["TimeoutError: it was slow"]},
        {"wrong": 1},
        {"samples": STUCK},
    ],
    ids=["computed twice", "two answers", "no answer", "unseen", "late", "old again", "not near",
         "failed", "another's", "never back"],
)  # fmt: skip
def test_one_wrong_number_makes_the_demo_exit_with_1(monkeypatch, wrong):
    figures = {field.name: 0 for field in dataclasses.fields(Summary)}
    for cache, code in ((verdict(), 0), (verdict(**wrong), 1)):
        summary = Summary(**{**figures, "errors": (), "shop": None, "cache": cache})
        monkeypatch.setattr(Story, "tell", lambda *_, told=summary: told)
        result = CliRunner().invoke(demo, ["--json"])
        told = json.loads(result.stdout)
        assert (result.exit_code, told["ok"], told["cache"]["ok"]) == (code, not code, not code)


def test_a_load_notes_what_failed_and_what_was_another_products():
    cache = Cache.from_url("memory://")

    @cache.cached(ttl=60, name="price")
    def price(pk):
        if pk == 0:
            raise ValueError("no price")
        return (pk + (pk == 1), 0.0)

    load = PriceLoad(price)
    load.start()
    wait_until(
        lambda: None if load._errors and load._wrong and load._samples else "little was noted",
        20,
        "the load",
    )
    told = load.stop()
    assert told["failed"] > 0 < told["wrong"]
    assert told["errors"][0] == "ValueError: no price"
    when, calls, near, far, uncached = told["samples"][-1]
    assert 0 < when <= monotonic()
    assert (calls >= far, near, uncached) == (True, 0, 0)


def test_a_crowd_of_one_process_computes_once():
    server = PriceServer(Cache.from_url("memory://"))
    told = server.crowd(callers=20, at=monotonic() + 0.05)
    assert (told["computed"], len(told["answers"]), told["failed"]) == (1, 1, 0)
    assert 0.4 <= told["slowest"] < 5
    assert Crowd.of(20, [told]).ok


def test_a_watch_sees_the_change_and_says_when(capsys):
    server = PriceServer(Cache.from_url("memory://"))
    assert server.write("notice", 1)["done"]
    server._is_near = lambda _: True  # nothing is near of what is in the process
    told = []
    watch = threading.Thread(target=lambda: told.append(server.watch("notice")))
    watch.start()
    wait_until(lambda: None if capsys.readouterr().out else "silent", 10, "the first answer")
    began = server.write("notice", 2)["began"]
    watch.join(10)
    assert told[0]["seen"] >= began
    assert told[0]["went_back"] == 0


@pytest.fixture
def program(monkeypatch):
    """Makes the processes run this in place of a shop."""

    def use(code):
        started = price_servers._started
        monkeypatch.setattr(
            price_servers, "_started", lambda _: started([sys.executable, "-c", code])
        )

    return use


def test_processes_answer_in_order_and_end_with_their_input(program):
    program("import sys\nfor line in sys.stdin: print(line, end='', flush=True)")
    with PriceServers("", 2) as servers:
        assert (len(servers), list(servers.others)) == (2, [1])
        assert servers.ask_all(do="echo") == [{"do": "echo"}] * 2
        assert servers.ask(1, do="other") == {"do": "other"}
        processes = servers._processes
    assert [process.returncode for process in processes] == [0, 0]


def test_two_answers_that_come_together_are_two(program):
    program(r"import sys; print('1\n2', flush=True); sys.stdin.read()")
    with PriceServers("", 1) as servers:
        assert [servers.hear(0), servers.hear(0)] == [1, 2]


def test_a_process_that_ended_is_told_of(program):
    program("pass")
    with PriceServers("", 1) as servers:
        servers._processes[0].wait()
        with pytest.raises(AdminError, match="ended by itself"):
            servers.ask(0, do="anything")

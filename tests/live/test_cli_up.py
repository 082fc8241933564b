"""`clustercache up` and `demo`: what they show, and that they leave nothing behind."""

from __future__ import annotations

import dataclasses
import json
import signal
import time
from pathlib import Path

import pytest

from clustercache.cli.demo.story import Story
from clustercache.cli.demo.summary import Summary
from clustercache.cli.demo.verdict import Verdict
from tests.clusters import is_alive
from tests.live.cli_runs import family, lines_until, run, started

pytestmark = pytest.mark.live


# up ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_up_prints_a_url_that_works_and_leaves_nothing(number):
    with started("up", "--primaries", "3", "--replicas", "0", "--json") as process:
        told = json.loads(process.stdout.readline())
        assert [node["role"] for node in told["nodes"]] == ["primary"] * 3
        assert run("exec", "--url", told["url"], "SET", "k", "v").exit_code == 0
        servers = family(process)
        assert len(servers) == 4  # and the supervisor
        process.send_signal(number)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (0, "", "")
    assert not any(map(is_alive, servers))
    assert not Path(told["directory"]).exists()


def test_up_shows_a_table():
    with started("up", "--primaries", "1", "--replicas", "1") as process:
        lines = lines_until(process, "url ").splitlines()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)
    first, second = lines[1].split(), lines[2].split()
    assert lines[0].split() == ["node", "role", "slots", "primary", "pid"]
    assert first[1:4] == ["primary", "0-16383", "-"]
    assert second[1:4] == ["replica", "-", first[0]]
    assert lines[-1] == f"url     redis://{first[0]}?addr={second[0]}"


# demo ----------------------------------------------------------------------------------------


def test_the_demo_tells_its_story_and_no_operation_fails():
    began = time.monotonic()
    with started("demo", PYTHONUNBUFFERED="1") as process:
        out = lines_until(process, "is back, as a replica")
        servers = family(process)
        out += lines_until(process, "SIGKILL to")
        shops = family(process) - servers
        rest, err = process.communicate(timeout=60)
        out += rest
    assert len(servers) == 7  # six servers, the one that was killed among them, and the supervisor
    assert len(shops) == 8  # three web servers and theirs, and four that share a cache
    assert (process.returncode, err) == (0, ""), out + err
    assert time.monotonic() - began < 50
    assert "\x1b" not in out
    for scene in ("Six servers start", "They become a cluster", "Keys spread", "A redirect"):
        assert scene in out
    events = ["SIGKILL to", "was promoted", "serve again", "started again", "is back, as a replica"]
    assert [out.find(event) for event in events] == sorted(out.find(event) for event in events)
    assert all(event in out for event in events)
    figures = table_after("What was measured", 9, out)
    assert figures["failed in the application"] == "0"
    assert int(figures["operations"].replace(",", "")) > 1000
    assert figures["promoted to first success"].endswith("s")
    assert "No operation failed.\n" in out
    shopped = table_after("What the users saw", 8, out)
    assert int(shopped.pop("requests").replace(",", "")) > 600
    assert shopped.pop("longest wait").endswith("s")
    assert shopped.pop("longest wait without a session").endswith("s")
    assert set(shopped.values()) == {"0"}
    assert "No user was logged out, no request failed.\n" in out
    cached = table_after("What the cache did", 10, out)
    assert int(cached["calls"].replace(",", "")) > 1000
    assert [cached[zero] for zero in ("failed", "with another's value")] == ["0", "0"]
    assert out.endswith("\n   Computed once for 200 callers, no call failed.\n")
    assert not any(map(is_alive, servers | shops))


def table_after(heading, count, out):
    """The labels and the figures of one of the demo's tables."""
    rows = out.partition(heading)[2].splitlines()[1 : count + 1]
    cells = ([part.strip() for part in row.split("  ") if part.strip()] for row in rows)
    return {label: figure for label, figure, *_ in cells}


@pytest.mark.parametrize("after", ["", "They become a cluster", "SIGKILL to", "users logged in"])
def test_an_interrupted_demo_ends_its_servers(after):
    with started("demo", PYTHONUNBUFFERED="1") as process:
        if after:
            lines_until(process, after)
        else:
            while len(family(process)) < 3:
                time.sleep(0.02)
        servers = family(process)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (1, "Error: interrupted; the servers were ended\n")
    assert not any(map(is_alive, servers))


WELL = {field.name: 0 for field in dataclasses.fields(Summary)}
WELL |= {"errors": (), "shop": None, "cache": None}
SHOPPED = {field.name: 0 for field in dataclasses.fields(Verdict)} | {"errors": ()}


def demo_of(monkeypatch, measured):
    """What the demo prints, and exits with, when it measured this."""
    monkeypatch.setattr(Story, "tell", lambda *_: Summary(**measured))
    result = run("demo", "--json")
    return result.exit_code, json.loads(result.stdout)


@pytest.mark.parametrize(
    ("failed", "twice", "code"), [(0, 0, 0), (1, 0, 1), (0, 1, 1)], ids=["well", "failed", "twice"]
)
def test_the_demo_exits_with_1_when_an_operation_failed(monkeypatch, failed, twice, code):
    measured = {**WELL, "failed": failed, "applied_twice": twice}
    told = demo_of(monkeypatch, measured)
    assert told == (code, {"ok": not code, **measured, "errors": []})


@pytest.mark.parametrize(
    ("name", "code"),
    [
        *dict.fromkeys(["requests", "missing"], 0).items(),
        *dict.fromkeys(["logged_out", "cookies_changed", "cookies_deleted"], 1).items(),
        *dict.fromkeys(
            ["failed_home", "failed_reads", "failed_writes", "lost", "twice"], 1
        ).items(),
    ],
)
def test_the_demo_exits_with_1_when_a_user_noticed_anything(monkeypatch, name, code):
    shopped = {**SHOPPED, name: 1}
    exit_code, told = demo_of(monkeypatch, {**WELL, "shop": Verdict(**shopped)})
    assert (exit_code, told["ok"]) == (code, not code)
    assert told["shop"] == {"ok": not code, **shopped, "errors": []}

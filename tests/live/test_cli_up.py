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
        rest, err = process.communicate(timeout=60)
        out += rest
    assert len(servers) == 7  # six servers, the one that was killed among them, and the supervisor
    assert (process.returncode, err) == (0, ""), out + err
    assert time.monotonic() - began < 40
    assert "\x1b" not in out
    for scene in ("Six servers start", "They become a cluster", "Keys spread", "A redirect"):
        assert scene in out
    events = ["SIGKILL to", "was promoted", "serve again", "started again", "is back, as a replica"]
    assert [out.find(event) for event in events] == sorted(out.find(event) for event in events)
    assert all(event in out for event in events)
    figures = dict(line.rsplit("  ", 1) for line in summary_lines(out))
    assert figures["failed in the application"] == "0"
    assert int(figures["operations"].replace(",", "")) > 1000
    assert figures["promoted to first success"].endswith("s")
    assert out.endswith("No operation failed.\n")
    assert not any(map(is_alive, servers))


def summary_lines(out):
    """The label and the figure of each line of the demo's last table, two spaces between them."""
    rows = out.partition("What was measured")[2].splitlines()[1:10]
    for row in rows:
        label, figure = [part for part in row.strip().split("  ") if part.strip()][:2]
        yield f"{label.strip()}  {figure.strip()}"


@pytest.mark.parametrize("after", ["", "They become a cluster", "SIGKILL to"])
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


@pytest.mark.parametrize(
    ("failed", "twice", "code"), [(0, 0, 0), (1, 0, 1), (0, 1, 1)], ids=["well", "failed", "twice"]
)
def test_the_demo_exits_with_1_when_an_operation_failed(monkeypatch, failed, twice, code):
    names = {field.name: 0 for field in dataclasses.fields(Summary)}
    measured = {**names, "failed": failed, "applied_twice": twice, "errors": ()}
    monkeypatch.setattr(Story, "tell", lambda *_: Summary(**measured))
    result = run("demo", "--json")
    assert result.exit_code == code
    assert json.loads(result.stdout) == {"ok": not code, **measured, "errors": []}

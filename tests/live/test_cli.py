"""The command line: what it prints, how it exits, and what it leaves behind."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from clustercache._core.slots import key_slot
from clustercache.cli.demo.story import Story
from clustercache.cli.demo.summary import Summary
from clustercache.cli.group import commands
from clustercache.localcluster import LocalCluster
from tests.clusters import is_alive

pytestmark = pytest.mark.live
ROOT = Path(__file__).parents[2]
URLS = {"CLUSTERCACHE_URL": "", "VALKEY_URL": "", "REDIS_URL": ""}


def run(*args, text=None, **environment):
    """Run a command in this process, where no cluster is named by the environment."""
    words = [str(arg) for arg in args]
    return CliRunner().invoke(commands, words, input=text, env={**URLS, **environment})


@contextlib.contextmanager
def started(*args, **environment):
    """Run a command as a process of its own."""
    with subprocess.Popen(
        [sys.executable, "-m", "clustercache.cli", *args],
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def family(process):
    """The processes below one: the supervisor, and its servers."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # gone meanwhile
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
    found = {process.pid}
    for _ in range(3):
        found |= {pid for pid, parent in parents.items() if parent in found}
    return found - {process.pid}


def lines_until(process, text):
    """Read what a process prints until a line with `text`."""
    lines = []
    while not lines or (lines[-1] and text not in lines[-1]):
        lines.append(process.stdout.readline())
    return "".join(lines)


def other_owner(cluster, key):
    """A primary that does not own the slot of `key`."""
    owner = cluster.node_for(key)
    return next(node for node in cluster.primaries if node is not owner)


@pytest.fixture(scope="module")
def url(cluster):
    return cluster.url


# Usage ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["check"], "which cluster? Give --url, or set CLUSTERCACHE_URL"),
        (["info", "--url", "http://h"], "unknown URL scheme 'http'"),
        (["check", "--url", "redis://h:70000"], "port '70000' is not a number from 1 to 65535"),
        (["check", "--url", "redis://h", "--password-env", "NOT_THERE"], "has no NOT_THERE"),
        (["create"], "Missing argument 'NODE...'"),
        (["create", "h:0"], "port '0'"),
        (["up", "--primaries", "0"], "--primaries"),
        (["up", "--port", "60000"], "--port"),
        (["up", "--server", "redis-1.0"], "no redis-1.0 server found"),
        (["exec", "--url", "redis://h"], "COMMAND"),
        (["exec", "--url", "redis://h", "-c", "SUBSCRIBE", "c"], "SUBSCRIBE"),
        (["exec", "--url", "redis://h", "-c", "EVAL", "return 1", "x"], "EVAL needs the number"),
        (["demo", "--node-timeout", "60"], "--node-timeout"),
        (["nonsense"], "No such command 'nonsense'"),
    ],
)
def test_wrong_usage_exits_with_2_and_says_why(args, message):
    result = run(*args)
    assert (result.exit_code, message in result.output) == (2, True), result.output
    assert "Traceback" not in result.output


@pytest.mark.parametrize("args", [["check"], ["info"], ["exec", "-c", "GET", "k"]])
def test_a_node_that_does_not_answer_is_one_line_and_1(args):
    result = run(*args, CLUSTERCACHE_URL="redis://127.0.0.1:1")
    assert result.exit_code == 1
    assert result.output.startswith("Error: ")
    assert result.output.count("\n") == 1


def test_help_needs_neither_redis_nor_rich():
    code = (
        "import sys; from clustercache.cli.group import commands\n"
        "commands(['--help'], standalone_mode=False)\n"
        "print(sorted({'redis', 'rich', 'hiredis'} & set(sys.modules)))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert ran.stdout.endswith("[]\n")


def test_without_its_extra_the_command_says_how_to_install_it():
    code = (
        "import importlib.util as u; find = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name in ('click', 'rich') else find(name, *a)\n"
        "from clustercache.cli import main; main()"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 2
    assert ran.stderr == "Error: click and rich missing; pip install 'clustercache[cli]'\n"


@pytest.mark.parametrize("name", ["CLUSTERCACHE_URL", "VALKEY_URL", "REDIS_URL"])
def test_the_environment_names_the_cluster(url, name):
    assert run("info", **{name: url}).exit_code == 0


def test_the_first_variable_wins_and_the_option_beats_it(url):
    nowhere = "redis://127.0.0.1:1"
    assert run("info", CLUSTERCACHE_URL=url, VALKEY_URL=nowhere, REDIS_URL=nowhere).exit_code == 0
    assert run("info", "--url", url, CLUSTERCACHE_URL=nowhere).exit_code == 0


# check and info ------------------------------------------------------------------------------


def test_a_healthy_cluster_passes_the_check(url):
    result = run("check", "--url", url)
    assert result.exit_code == 0
    assert "6 of 6 nodes answer, 3 primaries, 16384 of 16384 slots served: ok" in result.output
    told = json.loads(run("check", "--url", url, "--json").stdout)
    assert (told["ok"], told["reachable"], told["covered"]) == (True, 6, 16384)


def test_more_replicas_can_be_demanded(url):
    result = run("check", "--url", url, "--replicas", 2)
    assert result.exit_code == 1
    assert "; 2 wanted" in result.output


def test_info_lists_each_primary_with_its_replicas(cluster, url):
    lines = run("info", "--url", url).output.splitlines()
    assert [line.split()[1] for line in lines[1:7]] == ["primary", "replica"] * 3
    told = json.loads(run("info", "--url", url, "--json").stdout)
    assert {node["address"] for node in told["nodes"]} == {str(n.address) for n in cluster.nodes}


def test_check_finds_a_dead_node_and_exits_with_1():
    with LocalCluster(node_timeout=1.0) as broken:
        victim = broken.replicas[0]
        broken.kill(victim)
        result = run("check", "--url", broken.url)
        assert result.exit_code == 1
        assert f"{victim.address} does not answer" in result.output
        assert result.output.endswith("not ok\n")
        told = run("check", "--url", broken.url, "--json")
        assert told.exit_code == 1
        codes = {finding["code"] for finding in json.loads(told.stdout)["findings"]}
        assert {"unreachable", "missing-replica"} <= codes
        info = run("info", "--url", broken.url)
        assert info.exit_code == 0
        assert "cannot be reached" in info.output


# exec ----------------------------------------------------------------------------------------


def test_exec_by_hand_shows_the_redirect_that_the_server_sent(cluster):
    key = "by:hand"
    wrong, owner = other_owner(cluster, key), cluster.node_for(key)
    redirect = f"MOVED {key_slot(key)} {owner.address}"
    result = run("exec", "-c", "--url", f"redis://{wrong.address}", "SET", key, "value")
    assert result.exit_code == 0
    assert redirect in result.output
    assert f"slot       {key_slot(key)}" in result.output
    assert f"node       {owner.address}" in result.output
    assert result.output.endswith("OK\n")
    told = json.loads(
        run("exec", "-c", "--json", "--url", f"redis://{wrong.address}", "GET", key).stdout
    )
    assert [(hop["node"], hop["said"]) for hop in told["hops"]] == [
        (str(wrong.address), redirect),
        (str(owner.address), "reply"),
    ]
    assert (told["redirects"], told["reply"], told["error"]) == (1, "value", None)


def test_exec_by_hand_follows_an_ask_with_asking(cluster):
    key = "half:moved"
    slot = key_slot(key)
    source, target = cluster.node_for(key), other_owner(cluster, key)
    target.call("CLUSTER", "SETSLOT", slot, "IMPORTING", source.node_id)
    source.call("CLUSTER", "SETSLOT", slot, "MIGRATING", target.node_id)
    try:
        args = ("exec", "-c", "--json", "--url", f"redis://{source.address}")
        told = json.loads(run(*args, "GET", key).stdout)
    finally:
        for node in (source, target):
            node.call("CLUSTER", "SETSLOT", slot, "STABLE")
    assert [hop["said"] for hop in told["hops"]] == [f"ASK {slot} {target.address}", "reply"]
    assert (told["reply"], told["error"]) == (None, None)


def test_exec_goes_straight_to_the_node_with_a_map(cluster, url):
    key = "with:a:map"
    run("exec", "--url", url, "SET", key, '\u00e9 "q"')
    result = run("exec", "--url", url, "GET", key)
    assert result.output.endswith('"\u00e9 \\"q\\""\n')
    told = json.loads(run("exec", "--url", url, "--json", "GET", key).stdout)
    assert told["nodes"] == [str(cluster.node_for(key).address)]
    assert (told["slots"], told["redirects"]) == ([key_slot(key)], 0)


def test_exec_takes_what_looks_like_options_for_arguments(url):
    assert run("exec", "--url", url, "SET", "minus", "-5").exit_code == 0
    assert run("exec", "--url", url, "INCRBY", "minus", "-1").output.endswith("(integer) -6\n")


@pytest.mark.parametrize("way", [["-c"], []])
def test_exec_prints_the_servers_error_and_exits_with_1(url, way):
    run("exec", "--url", url, "SET", "no:number", "x")
    result = run("exec", *way, "--url", url, "INCR", "no:number")
    assert result.exit_code == 1
    assert "(error)" in result.output
    told = run("exec", *way, "--json", "--url", url, "INCR", "no:number")
    assert told.exit_code == 1
    assert "not an integer" in json.loads(told.stdout)["error"]


def test_exec_shows_replies_of_all_shapes(url):
    run("exec", "--url", url, "RPUSH", "{l}ist", "a", "b")
    listed = run("exec", "--url", url, "LRANGE", "{l}ist", "0", "-1").output
    assert listed.endswith('1) "a"\n2) "b"\n')
    assert run("exec", "--url", url, "GET", "absent").output.endswith("(nil)\n")
    assert run("exec", "--url", url, "MGET", "absent", "other").output.endswith("2) (nil)\n")
    assert "cluster_state:ok\n" in run("exec", "--url", url, "CLUSTER", "INFO").output


# create --------------------------------------------------------------------------------------


def test_create_asks_first_and_makes_the_cluster_that_it_showed():
    with LocalCluster(create=False) as bare:
        nodes = [str(node.address) for node in bare.nodes]
        declined = run("create", *nodes, text="n\n")
        assert declined.exit_code == 1
        assert "Make this cluster?" in declined.output
        assert "nothing was changed" in declined.output
        assert run("check", "--url", f"redis://{nodes[0]}").exit_code == 1

        with started("create", *nodes, "--yes", "--json") as process:
            out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        told = json.loads(out)
        assert [s["primary"] for s in told["plan"]["shards"]] == nodes[:3]
        assert [s["slots"] for s in told["plan"]["shards"]][-1] == [10922, 16383]
        assert f"{nodes[3]} copies {nodes[0]}" in err
        bare.wait_ready(timeout=1)
        assert run("check", "--url", f"redis://{nodes[0]}").exit_code == 0


def test_create_takes_credentials_from_the_environment_or_the_url():
    with LocalCluster(3, 0, create=False, username="app", password="p:w") as bare:
        nodes = [str(node.address) for node in bare.nodes]
        args = ("create", *nodes, "--replicas", 0, "--yes")
        refused = run(*args)
        assert refused.exit_code == 1
        assert "NOAUTH" in refused.output
        assert "p:w" not in refused.output
        made = run(*args, "--username", "app", "--password-env", "SECRET", SECRET="p:w")
        assert (made.exit_code, "ready in" in made.output) == (0, True), made.output
        urls = [f"redis://app:p%3Aw@{node}" for node in nodes]
        again = run("create", *urls, "--replicas", 0, "--yes")
        assert again.exit_code == 0, again.output
        assert run("check", "--url", urls[0], "--replicas", 0).exit_code == 0


def test_create_says_what_is_wrong_with_the_nodes(cluster):
    nodes = [str(node.address) for node in cluster.nodes]
    few = run("create", *nodes[:2], "--yes")
    assert (few.exit_code, few.output.count("Error: ")) == (1, 1)


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

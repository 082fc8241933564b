"""The command line: what it prints, how it exits, and what it leaves behind."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from clustercache._core.slots import key_slot
from clustercache.localcluster import LocalCluster
from tests.live.cli_runs import ROOT, run, started

pytestmark = pytest.mark.live


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
        (["check", "--url", "redis://h:70000"], "the port is not a number from 1 to 65535"),
        (["check", "--url", "redis://h", "--password-env", "NOT_THERE"], "has no NOT_THERE"),
        (["create"], "Missing argument 'NODE...'"),
        (["create", "h:0"], "the port is not a number"),
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

"""LocalCluster: ready in seconds, broken on purpose, gone for sure."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from clustercache.config import from_url
from clustercache.exceptions import AdminError, ConfigurationError
from clustercache.localcluster import LocalCluster, find_server
from tests.clusters import INSTALLED, is_alive, need_server, need_tls

pytestmark = pytest.mark.live


def eventually(condition, timeout=20.0):
    limit = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < limit, "not within the time"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def fragile():
    """A cluster to break; each test leaves it ready again."""
    with LocalCluster(node_timeout=1.0) as made:
        yield made


def test_ready_means_ready_on_every_node(cluster):
    assert len(cluster.primaries) == len(cluster.replicas) == 3
    for node in cluster.nodes:
        assert "cluster_state:ok" in node.call("CLUSTER", "INFO")
        assert node.call("CLUSTER", "MYID") == node.node_id
        assert is_alive(node.pid)
    for primary in cluster.primaries:
        assert "state=online" in primary.call("INFO", "replication")
        assert len(cluster.replicas_of(primary)) == 1
    owner = cluster.node_for("key")
    assert owner.call("SET", "key", "value") == "OK"
    assert cluster.node_for(12539) is owner


def test_the_url_names_all_nodes(cluster):
    assert set(from_url(cluster.url).seeds) == {node.address for node in cluster.nodes}


def test_a_killed_primary_is_replaced_and_comes_back_as_a_replica(fragile):
    victim = fragile.primaries[0]
    heir = fragile.replicas_of(victim)[0]
    fragile.kill(victim)
    assert (victim.pid, victim.role, victim.running) == (None, "down", False)
    seen = fragile.wait_failover()
    assert seen.promoted is heir
    assert 0 < seen.seconds < 20
    fragile.wait_ready()
    fragile.restart(victim)
    assert victim.role == "replica"
    assert fragile.replicas_of(heir) == (victim,)


def test_a_stopped_primary_is_replaced_and_resumes_as_a_replica(fragile):
    victim = fragile.primaries[1]
    fragile.stop(victim)
    assert victim.role == "down"
    assert is_alive(victim.pid)
    assert fragile.wait_failover().promoted is not victim
    fragile.resume(victim)
    eventually(lambda: victim.role == "replica")
    fragile.wait_ready()


def test_a_manual_failover_ends_when_all_agree(fragile):
    replica = fragile.replicas[0]
    fragile.failover(replica)
    assert replica in fragile.primaries
    assert len(fragile.primaries) == 3


def test_waiting_for_a_failover_without_a_fault_says_so(cluster):
    with pytest.raises(AdminError, match="no primary with slots was killed or stopped"):
        cluster.wait_failover()


def test_killing_the_dead_says_so(fragile):
    replica = fragile.replicas[0]
    fragile.kill(replica)
    with pytest.raises(AdminError, match="is dead already"):
        fragile.kill(replica)
    fragile.restart(replica)


def test_a_wait_that_cannot_end_says_what_is_missing():
    with (
        LocalCluster(create=False) as bare,
        pytest.raises(AdminError, match="does not know 5 of 6 nodes"),
    ):
        bare.wait_ready(timeout=0.05)


def test_nodes_can_be_added():
    with LocalCluster(primaries=1, replicas=0) as made:
        added = made.add_node(replica_of=made.nodes[0])
        assert made.replicas == (added,)
        assert made.add_node().role == "primary"
        assert len(made.nodes) == len(from_url(made.url).seeds) == 3


def test_a_fixed_directory_brings_everything_back(tmp_path):
    with LocalCluster(directory=tmp_path) as made:
        made.node_for("k").call("SET", "k", "kept")
        made.failover(made.replicas_of(made.node_for("k"))[0])
        before = {node.port: (node.node_id, node.role) for node in made.nodes}
        with pytest.raises(AdminError, match="another LocalCluster uses it"):
            LocalCluster(directory=tmp_path)
    with pytest.raises(ConfigurationError, match="holds a cluster of 3 primaries with 1"):
        LocalCluster(primaries=4, directory=tmp_path)
    with LocalCluster(directory=tmp_path) as made:
        assert {node.port: (node.node_id, node.role) for node in made.nodes} == before
        assert made.node_for("k").call("GET", "k") == "kept"


def test_two_clusters_and_two_processes_share_no_port():
    code = (
        "from clustercache.localcluster import LocalCluster\n"
        "with LocalCluster(create=False) as lc:\n"
        "    print(*[n.port for n in lc.nodes], flush=True); input()"
    )
    with contextlib.ExitStack() as stack:
        others = [
            stack.enter_context(_python(code, stdin=subprocess.PIPE, text=True)) for _ in range(2)
        ]
        ports = [node.port for node in stack.enter_context(LocalCluster(create=False)).nodes]
        for other in others:
            ports += map(int, other.stdout.readline().split())
        for other in others:
            other.stdin.write("\n")
            other.stdin.flush()
    assert len({*ports, *(port + 10000 for port in ports)}) == 36


def test_a_taken_port_is_named():
    with LocalCluster(primaries=1, replicas=0, create=False) as made:
        port = made.nodes[0].port
        made.kill(made.nodes[0])  # a dead node's port stays its own
        with pytest.raises(AdminError, match=f"port {port} or its bus port {port + 10000}"):
            LocalCluster(port=port, create=False)


def test_a_server_that_does_not_start_is_quoted():
    with pytest.raises(AdminError, match=r"(?s)ended while starting.*no-such-option"):
        LocalCluster(config={"no-such-option": 1}, create=False)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"server": "redis-1.0"}, "no redis-1.0 server found; installed are: "),
        ({"server": "/etc/passwd"}, "/etc/passwd is no Redis or Valkey server"),
        ({"primaries": 0}, "at least 1 primary"),
        ({"replicas": -1}, "at least 1 primary"),
        ({"node_timeout": 0}, "node_timeout"),
        ({"port": 60000}, "ports must be from 1 to 55535"),
        ({"username": "app"}, "username needs a password"),
        ({"config": {"maxmemory": "1\nsave 1 1"}}, "spans lines"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(options, message):
    with pytest.raises(ConfigurationError, match=message):
        LocalCluster(**options, create=False)


def test_a_server_without_tls_says_so():
    plain = next((server for server in INSTALLED.values() if not server.has_tls), None)
    if plain is None:
        pytest.skip("all servers have TLS")
    with pytest.raises(ConfigurationError, match="was built without TLS"):
        LocalCluster(server=plain.path, tls=True)


def test_extra_options_reach_the_server():
    options = {"maxmemory": "50mb", "save": "", "lazyfree-lazy-expire": True}
    with LocalCluster(1, 0, create=False, full_coverage=True, config=options) as made:
        call = made.nodes[0].call
        assert call("CONFIG", "GET", "maxmemory")[1] == str(50 * 1024 * 1024)
        assert call("CONFIG", "GET", "lazyfree-lazy-expire")[1] == "yes"
        assert call("CONFIG", "GET", "cluster-require-full-coverage")[1] == "yes"


@pytest.mark.parametrize("name", ["redis-6.2", "redis-7.0"])
def test_other_servers_work_too(name):
    with LocalCluster(server=need_server(name).name) as made:
        assert f"redis_version:{name.removeprefix('redis-')}" in made.nodes[0].call("INFO")
        made.failover(made.replicas[0])


@pytest.mark.parametrize("username", [None, "app"])
def test_a_password_is_wanted_and_replicas_have_it(username):
    secret = "p w\"'\\#@:/?é"
    with LocalCluster(1, 1, username=username, password=secret) as made:
        assert from_url(made.url).credentials() == (username, secret)
        assert made.replicas[0].call("INFO", "replication").find("master_link_status:up") > 0


def test_tls_all_the_way(tmp_path):
    with LocalCluster(server=need_tls().path, tls=True, directory=tmp_path) as made:
        assert made.url.startswith("rediss://")
        assert from_url(made.url).tls.ca_certs == made.tls.ca_certs
        made.node_for("k").call("SET", "k", "kept")
        lines = made.nodes[0].view().lines
        assert {line.address for line in lines} == {node.address for node in made.nodes}
        paths = made.tls
    with LocalCluster(server=need_tls().path, tls=paths, directory=tmp_path) as made:
        assert made.node_for("k").call("GET", "k") == "kept"


def _python(code, **options):
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.Popen(
        [sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, **options
    )


SACRIFICE = """
import json, os, time
from clustercache.localcluster import LocalCluster
lc = LocalCluster(primaries=2, replicas=0, create=False)
lc.stop(lc.nodes[0])
sleeper = os.fork()
if not sleeper:
    time.sleep(600)     # a forked child must not keep the pipe open
pids = [node.pid for node in lc.nodes]
print(json.dumps({"pids": pids, "directory": str(lc.directory), "sleeper": sleeper}), flush=True)
"""


@pytest.mark.parametrize("end", ["killed", "exits", "fails"])
def test_nothing_is_left_when_python_ends(end):
    last = {"killed": "time.sleep(600)", "exits": "", "fails": "1 / 0"}[end]
    with _python(SACRIFICE + last, stderr=subprocess.DEVNULL) as python:
        told = json.loads(python.stdout.readline())
        try:
            if end == "killed":
                assert all(is_alive(pid) for pid in told["pids"])
                python.kill()
            eventually(lambda: not any(is_alive(pid) for pid in told["pids"]))
            eventually(lambda: not Path(told["directory"]).exists())
            assert is_alive(told["sleeper"])
        finally:
            os.kill(told["sleeper"], signal.SIGKILL)


def test_servers_die_with_their_supervisor():
    with LocalCluster(1, 0, create=False) as made:
        pid = made.nodes[0].pid
        supervisor = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        os.kill(supervisor, signal.SIGKILL)
        eventually(lambda: not is_alive(pid))
        with pytest.raises(AdminError, match="supervisor process ended"):
            _ = made.nodes[0].pid
    eventually(lambda: not is_alive(supervisor))
    for leftover in made.directory.rglob("*"):
        if leftover.is_file():
            leftover.unlink()
    made.nodes[0].directory.rmdir()
    made.directory.rmdir()  # nobody was left to do it


# From Python 3.12 on a fork warns while any thread lives: one that shares out the tests, say.
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_forked_child_ends_nothing(cluster):
    read, write = os.pipe()
    child = os.fork()
    if not child:
        try:
            cluster.close()
            said = cluster.nodes[0].call("PING")
            try:
                cluster.kill(cluster.nodes[0])
            except AdminError as error:
                said += f" {error}"
            os.write(write, said.encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert os.read(read, 1000) == b"PONG this LocalCluster belongs to the process that made it"
    os.close(read)
    os.close(write)
    assert all(is_alive(node.pid) for node in cluster.nodes)
    assert cluster.nodes[0].call("PING") == "PONG"


def test_closing_twice_is_fine_and_using_it_afterwards_is_not():
    made = LocalCluster(1, 0, create=False)
    pid, directory = made.nodes[0].pid, made.directory
    made.close()
    made.close()
    assert not is_alive(pid)
    assert not directory.exists()
    with pytest.raises(AdminError, match="closed"):
        made.restart(made.nodes[0])


def test_servers_are_found_by_name_and_path():
    first = find_server(None)
    assert find_server(first.name) == find_server(first.path) == first
    assert find_server(first.flavour).flavour == first.flavour

"""ClusterAdmin on real servers: it creates, completes what was left half done, and finds faults."""

from __future__ import annotations

import json
import socket
import time

import pytest

from clustercache.admin import ClusterAdmin
from clustercache.exceptions import AdminError, PlanError
from clustercache.localcluster import LocalCluster
from tests.clusters import need_server, need_tls

pytestmark = pytest.mark.live


@pytest.fixture
def bare():
    with LocalCluster(create=False) as made:
        yield made


@pytest.fixture(scope="module")
def patient():
    """A cluster to make ill; each test cures it."""
    with LocalCluster(node_timeout=1.0) as made:
        yield made


def admin_of(local, **options):
    return ClusterAdmin.from_url(local.url, **options)


def codes(report, *severities):
    return {one.code for one in report.findings if one.severity in severities}


def test_bare_nodes_become_a_cluster(bare):
    told = []
    made = admin_of(bare).create(progress=told.append)
    steps = list(dict.fromkeys(event.step for event in told))
    assert steps == ["plan", "epochs", "slots", "meet", "replicate", "wait", "done"]
    assert "slots 0-5460" in str(told[0])
    assert bare.wait_ready() < 1
    assert [node.address for node in made.nodes] == [node.address for node in bare.nodes]
    assert len(bare.replicas) == 3

    report = admin_of(bare).check()
    assert (report.ok, report.covered, report.primaries, report.reachable) == (True, 16384, 3, 6)
    assert codes(report, "error", "warning", "advice") == {"one-host"}
    assert json.loads(json.dumps(report.to_dict()))["ok"] is True


def test_nothing_happens_without_consent(bare):
    seen = []
    assert admin_of(bare).create(confirm=lambda plan: seen.append(plan) or False) is None
    assert [len(shard.replicas) for shard in seen[0].shards] == [1, 1, 1]
    for node in bare.nodes:
        assert "cluster_known_nodes:1\r\ncluster_size:0" in node.call("CLUSTER", "INFO")


class PowerCutError(Exception):
    pass


@pytest.mark.parametrize("step", ["epochs", "slots", "meet", "replicate"])
def test_a_run_that_broke_off_is_completed_by_the_next(bare, step):
    def cut(event):
        if event.step == step:
            raise PowerCutError

    with pytest.raises(PowerCutError):
        admin_of(bare).create(progress=cut)
    plans = []
    assert admin_of(bare).create(confirm=lambda plan: plans.append(plan) or True)
    assert plans[0].resumes is (step != "epochs")
    assert admin_of(bare).check().ok
    assert admin_of(bare).create().resumes  # and once more changes nothing
    assert admin_of(bare).check().ok


def test_a_node_that_vanishes_halfway_is_named(bare):
    victim = bare.nodes[4]

    def pull_the_plug(event):
        if event.step == "meet":
            bare.kill(victim)

    with pytest.raises(AdminError, match=rf"joining the nodes failed: .*{victim.address}.*again"):
        admin_of(bare, timeout=1.5).create(progress=pull_the_plug)
    bare.restart(victim, wait=False)
    admin_of(bare).create()
    assert admin_of(bare).check().ok


def test_a_bus_port_behind_a_firewall_is_named(bare):
    with socket.socket() as closed:  # bound, and nobody listens
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        bare.nodes[2].call("CONFIG", "SET", "cluster-announce-bus-port", port)
        told = []
        with pytest.raises(
            AdminError, match=rf"bus port {port} of 127.0.0.1 cannot be reached: open it in the"
        ):
            admin_of(bare, timeout=2.0).create(progress=told.append)
        assert told[0].step == "ports"
        assert f"bus port {port} of 127.0.0.1" in str(told[0])


def test_nodes_that_will_not_do_are_refused_before_anything_changes(bare, cluster):
    admin = admin_of(bare)
    addresses = [node.address for node in bare.nodes]
    first = bare.nodes[0]
    with pytest.raises(PlanError, match="6 nodes are needed"):
        admin.create(addresses[:5])
    with pytest.raises(PlanError, match="was given 2 times"):
        admin.create([*addresses, str(first.address)])
    with pytest.raises(PlanError, match="are one and the same node"):
        admin.create([*addresses, f"localhost:{first.port}"])
    with pytest.raises(PlanError, match="knows 5 nodes not given"):
        admin.create([*addresses, cluster.nodes[0].address])
    with pytest.raises(PlanError, match=r"serves slots|is a replica already"):
        admin.create([node.address for node in reversed(cluster.nodes)])
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        silent = nobody.getsockname()[1]
        with pytest.raises(AdminError, match=f"127.0.0.1:{silent} cannot be reached"):
            admin.create([*addresses, f"127.0.0.1:{silent}"])
    assert all("cluster_size:0" in node.call("CLUSTER", "INFO") for node in bare.nodes)


def test_a_node_with_keys_is_refused(bare):
    node = bare.nodes[0]
    node.call("CLUSTER", "ADDSLOTSRANGE", 0, 5460)
    while "cluster_state:ok" not in node.call("CLUSTER", "INFO"):
        time.sleep(0.02)
    node.call("SET", "{bar}", "v")  # slot 5061
    with pytest.raises(PlanError, match=f"{node.address} is not empty: it holds 1 key"):
        admin_of(bare).create()


def test_cluster_mode_off_is_said():
    with (
        LocalCluster(create=False, config={"cluster-enabled": False}) as made,
        pytest.raises(PlanError, match="has cluster mode off: set cluster-enabled yes"),
    ):
        admin_of(made).create()


def test_a_wrong_password_is_said_and_not_repeated():
    with LocalCluster(1, 0, password="right", create=False) as made:
        admin = ClusterAdmin.from_url(made.url.replace("right", "wrong-one"))
        with pytest.raises(AdminError, match="refused the login") as caught:
            admin.create()
        assert "wrong-one" not in str(caught.value)


def test_a_replica_without_masterauth_is_named():
    with LocalCluster(password="pw", create=False, config={"masterauth": '""'}) as made:
        with pytest.raises(AdminError, match=r"has no masterauth: .* set masterauth"):
            admin_of(made, timeout=4.0).create()
        for node in made.nodes:
            node.call("CONFIG", "SET", "masterauth", "pw")
        admin_of(made).create()
        assert admin_of(made).check().ok


def test_tls_clusters_are_made_and_checked():
    with LocalCluster(server=need_tls().path, tls=True, create=False) as made:
        admin_of(made).create()
        assert admin_of(made).check().ok


def test_old_servers_without_addslotsrange_are_made_and_checked():
    with LocalCluster(server=need_server("redis-6.2").path, create=False) as made:
        admin_of(made).create()
        assert admin_of(made).check().ok
        assert admin_of(made).info().nodes[0].version == "redis 6.2.5"


def test_info_tells_of_every_node(patient):
    owner = patient.node_for("k")
    owner.call("SET", "k", "v")
    patient.wait_ready()
    info = ClusterAdmin.from_url(f"redis://{patient.nodes[3].address}").info()
    assert [node.role for node in info.nodes] == ["primary", "replica"] * 3
    assert sum(node.slot_count for node in info.nodes) == 16384
    assert (info.keys, info.memory > 0) == (1, True)
    mine = next(node for node in info.nodes if node.address == str(owner.address))
    assert (mine.keys, mine.state, mine.link) == (1, "ok", "")
    copy = next(node for node in info.nodes if node.primary == mine.address)
    assert (copy.link, copy.epoch) == ("up", mine.epoch)
    assert copy.lag is not None
    assert copy.behind is not None
    assert json.loads(json.dumps(info.to_dict()))["keys"] == 1


def test_check_finds_slots_without_an_owner(patient):
    owner = patient.node_for(7)
    for node in sorted(patient.nodes, key=lambda node: node is not owner):
        node.call("CLUSTER", "DELSLOTS", 7)  # the owner first, or its gossip undoes it
    report = admin_of(patient).check()
    assert "uncovered-slots" in codes(report, "error")
    assert any(one.message == "1 slot without an owner: 7" for one in report.findings)
    assert (report.ok, report.covered) == (False, 16383)
    owner.call("CLUSTER", "ADDSLOTS", 7)
    patient.wait_ready()


def test_check_finds_open_slots(patient):
    source = patient.node_for(7)
    target = next(node for node in patient.primaries if node is not source)
    target.call("CLUSTER", "SETSLOT", 7, "IMPORTING", source.node_id)
    source.call("CLUSTER", "SETSLOT", 7, "MIGRATING", target.node_id)
    told = [one.message for one in admin_of(patient).check().findings if one.code == "open-slot"]
    assert len(told) == 2
    assert any(f"slot 7 leaves {source.address} for {target.address}" in text for text in told)
    for node in (source, target):
        node.call("CLUSTER", "SETSLOT", 7, "STABLE")


def test_check_finds_a_missing_replica(patient):
    replica = patient.replicas[0]
    patient.kill(replica)
    report = admin_of(patient).check()
    assert codes(report, "error") == {"unreachable"}
    assert codes(report, "warning") == {"missing-replica"}
    assert admin_of(patient).info().to_dict()["nodes"]
    patient.restart(replica)
    assert admin_of(patient).check().ok
    assert "missing-replica" in codes(admin_of(patient).check(replicas=2), "warning")


@pytest.mark.parametrize("fault", ["kill", "stop"])
def test_check_finds_a_dead_primary_before_the_nodes_do(patient, fault):
    victim = patient.primaries[0]
    getattr(patient, fault)(victim)
    report = admin_of(patient).check()
    assert {"unreachable", "slots-down"} <= codes(report, "error")
    assert report.covered < 16384
    state = {node.address: node.state for node in admin_of(patient).info().nodes}
    assert state[str(victim.address)] in {"unreachable", "failed"}
    patient.wait_failover()
    (patient.resume if fault == "stop" else patient.restart)(victim)
    patient.wait_ready()


def test_check_advises_on_settings(patient):
    def settings(timeout, coverage):
        for node in patient.nodes:
            node.call("CONFIG", "SET", "cluster-node-timeout", timeout)
            node.call("CONFIG", "SET", "cluster-require-full-coverage", coverage)

    settings(15000, "yes")
    report = admin_of(patient).check()
    assert report.ok
    assert codes(report, "advice") == {"one-host", "node-timeout", "full-coverage"}
    settings(1000, "no")
    patient.nodes[0].call("CONFIG", "SET", "cluster-node-timeout", 2000)
    assert "node-timeouts-differ" in codes(admin_of(patient).check(), "warning")
    settings(1000, "no")


def test_no_answer_at_all_is_an_error_that_names_the_nodes():
    with LocalCluster(1, 0, create=False) as made:
        made.kill(made.nodes[0])
        with pytest.raises(AdminError, match=f"{made.nodes[0].address} cannot be reached"):
            admin_of(made).check()

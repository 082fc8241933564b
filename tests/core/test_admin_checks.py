"""What `check` makes of the nodes' answers, without a server."""

from __future__ import annotations

import pytest

from clustercache.admin.checks import check, ranges
from clustercache.admin.collect import Answer, Collected
from clustercache.admin.link import parse_info
from clustercache.admin.nodes_text import SlotRange, amount, parse_nodes
from clustercache.admin.overview import overview
from clustercache.admin.views import NodeView, why_not_ready

SHAPE = {
    "a": "10.0.0.1:7000@17000 {}master - 0 0 1 connected 0-5460",
    "b": "10.0.0.2:7000@17000 {}master - 0 0 2 connected 5461-10921",
    "c": "10.0.0.3:7000@17000 {}master - 0 0 3 connected 10922-16383",
    "d": "10.0.0.2:7001@17001 {}slave a 0 0 1 connected",
    "e": "10.0.0.3:7001@17001 {}slave b 0 0 2 connected",
    "f": "10.0.0.1:7001@17001 {}slave c 0 0 3 connected",
}


def view_of(me, shape=SHAPE, *, link="up", state="ok"):
    text = "\n".join(
        f"{name} {rest.format('myself,' if name == me else '')}" for name, rest in shape.items()
    )
    lines = parse_nodes(text, "")
    mine = next(line for line in lines if line.node_id == me)
    replication = {"slave0": "state=online"} if mine.is_primary else {"master_link_status": link}
    return NodeView(mine.address, lines, {"cluster_state": state}, replication)


def collected(views=(), *, dead=(), version="7.0.15"):
    made = {name: view_of(name) for name in SHAPE} | {view.node_id: view for view in views}
    lines = {name: view.myself for name, view in made.items()}
    answers = {
        name: Answer(view.asked, view, {"redis_version": version if name == "a" else "7.0.15"})
        for name, view in made.items()
        if name not in dead
    }
    return Collected(answers, lines, dict.fromkeys(dead, "cannot connect"))


def found(report):
    return {finding.code for finding in report.findings}


def changed(**lines):
    return {**SHAPE, **lines}


def test_a_sound_cluster_gives_no_findings():
    report = check(collected())
    assert report.findings == ()
    assert (report.ok, report.covered, report.nodes) == (True, 16384, 6)


def test_nodes_that_do_not_agree_are_grouped():
    other = changed(a=SHAPE["a"] + " 5461", b=SHAPE["b"].replace("5461", "5462"))
    report = check(collected([view_of("d", other)]))
    (finding,) = report.findings
    assert (finding.severity, finding.code) == ("error", "disagreement")
    assert finding.nodes == ("10.0.0.2:7001",)


def test_colliding_epochs_are_named():
    shape = changed(b=SHAPE["b"].replace("0 0 2", "0 0 1"))
    report = check(collected([view_of(name, shape) for name in SHAPE]))
    (finding,) = report.findings
    assert finding.code == "epoch-collision"
    assert finding.message == "10.0.0.1:7000 and 10.0.0.2:7000 have the same config epoch, 1"


def test_a_replica_without_its_link_does_not_count():
    report = check(collected([view_of("d", link="down")]))
    assert found(report) == {"link-down", "missing-replica"}
    assert not report.ok


def test_a_node_that_says_fail_is_an_error():
    assert found(check(collected([view_of("b", state="fail")]))) == {"state"}


def test_dead_nodes_take_their_slots_out_of_reach():
    report = check(collected(dead=("c",)))
    assert {"unreachable", "slots-down"} <= found(report)
    assert report.covered == 10922
    assert "10.0.0.3:7000 does not answer and serves 5462 slots: 10922-16383" in {
        finding.message for finding in report.findings
    }


def test_the_newest_claim_on_a_slot_counts():
    taken = changed(
        a=SHAPE["a"].replace("master - 0 0 1", "slave d 0 0 9").replace(" 0-5460", ""),
        d=SHAPE["d"].replace("slave a 0 0 1", "master - 0 0 9") + " 0-5460",
    )
    others = [view_of(name, taken) for name in "bcdef"]
    assert "slots-down" not in found(check(collected(others, dead=("a",))))


@pytest.mark.parametrize(
    ("shape", "code"),
    [
        (changed(d=SHAPE["d"].replace("10.0.0.2", "10.0.0.1")), "same-host"),
        (changed(b=SHAPE["b"].replace("10.0.0.2:7000", "10.0.0.1:7002")), "majority-on-one-host"),
        ({name: f"10.0.0.1:70{i}@0 {SHAPE[name].split(' ', 1)[1]}"
          for i, name in enumerate(SHAPE)}, "one-host"),
    ],
)  # fmt: skip
def test_hosts_that_carry_too_much_get_advice(shape, code):
    report = check(collected([view_of(name, shape) for name in SHAPE]))
    assert code in found(report)
    assert report.ok


def test_mixed_versions_get_advice():
    assert found(check(collected(version="6.2.5"))) == {"mixed-versions"}


def test_overview_puts_each_replica_behind_its_primary():
    info = overview(collected(dead=("c",)))
    assert [node.node_id for node in info.nodes] == list("adbecf")
    assert info.nodes[4].state == "unreachable"
    assert info.nodes[1].primary == "10.0.0.1:7000"


def test_ready_names_the_first_thing_that_is_missing():
    views = [view_of(name) for name in SHAPE]
    assert why_not_ready(views) is None
    lonely = view_of("b", {"b": SHAPE["b"]})
    assert "does not know 5 of 6 nodes" in why_not_ready([*views[:1], lonely, *views[2:]])
    other = view_of("b", changed(a=SHAPE["a"].replace("5460", "5459")))
    assert "do not agree" in why_not_ready([views[0], other, *views[2:]])
    assert "cluster_state:fail" in why_not_ready([view_of("a", state="fail"), *views[1:]])
    assert "is not up yet" in why_not_ready([*views[:5], view_of("f", link="down")])
    gap = changed(a=SHAPE["a"].replace("5460", "5459"))
    gapped = [view_of(name, gap) for name in SHAPE]
    assert why_not_ready(gapped) == "1 of 16384 slots have no owner yet"
    assert why_not_ready(gapped, whole=False) is None


def test_numbers_read_well():
    assert (amount(1, "slot"), amount(2, "slot"), amount(0, "primary", "primaries")) == (
        "1 slot", "2 slots", "0 primaries",
    )  # fmt: skip
    assert ranges([1, 2, 3, 7]) == [SlotRange(1, 3), SlotRange(7, 7)]
    assert parse_info("# Server\r\nredis_version:7.0.15\r\n\r\n") == {"redis_version": "7.0.15"}

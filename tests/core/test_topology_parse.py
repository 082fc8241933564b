"""A node's view, from its replies to CLUSTER SLOTS and CLUSTER NODES."""

from __future__ import annotations

import pytest

from clustercache._core.address import Address
from clustercache._core.topology import NodeFacts, Topology, merge, parse_nodes, parse_view
from tests.core.topologies import SLOTS, large_cluster, node_line, parsed

ASKED = Address("asked", 7000)


def only(*entry, nodes=None):
    """The one shard of a view in which `entry` owns all slots."""
    [claim] = parse_view([[0, 16383, list(entry)]], nodes, ASKED).claims
    assert claim[:2] == (0, 16383)
    return claim.shard


@pytest.mark.parametrize("write", [str, str.encode], ids=["str", "bytes"])
def test_hosts_and_ids_are_read_as_str_and_bytes(write):
    reply = [
        [0, 100, [write("10.0.0.1"), 7000, write("a")], [write("10.0.0.2"), 7001, write("b")]],
        [101, 200, [write("10.0.0.3"), 7000, write("c")]],
    ]
    first, second = parse_view(reply, None, ASKED).claims
    assert first.shard.primary.address == ("10.0.0.1", 7000)
    assert [node.address for node in first.shard.replicas] == [("10.0.0.2", 7001)]
    assert [node.id for node in first.shard.nodes] == ["a", "b"]
    assert (second.start, second.end, second.shard.primary.id) == (101, 200, "c")


@pytest.mark.parametrize("host", [None, "", b""])
def test_a_null_or_empty_endpoint_is_the_host_that_was_asked(host):
    assert only(host, 7003, "a").primary.address == ("asked", 7003)


@pytest.mark.parametrize(
    "metadata",
    [
        [b"ip", b"10.0.0.7"],  # RESP2
        ["hostname", "n7", "ip", "10.0.0.7"],
        {b"ip": b"10.0.0.7"},  # RESP3
        {"hostname": "n7", "ip": "10.0.0.7"},
    ],
)
def test_an_unknown_hostname_gives_way_to_the_ip_in_the_metadata(metadata):
    assert only(b"?", 7000, b"a", metadata).primary.address == ("10.0.0.7", 7000)


@pytest.mark.parametrize(
    "entry", [(b"?", 7000, b"a", []), (b"?", 7000, b"a"), ("?", 7000, "a", {})]
)
def test_an_unknown_hostname_without_an_ip_is_the_host_that_was_asked(entry):
    assert only(*entry).primary.address == ("asked", 7000)


def test_a_preferred_hostname_is_used_and_its_ip_is_not():
    entry = (b"node-1.example.com", 7000, b"a", [b"ip", b"10.0.0.1"])
    assert only(*entry).primary.address == ("node-1.example.com", 7000)


def test_an_ipv6_host_comes_without_brackets():
    assert only(b"2001:db8::1", 7000, b"a").primary.address == ("2001:db8::1", 7000)


def test_old_servers_send_no_ids():
    reply = [[0, 5, [b"h1", 1]], [6, 9, [b"h2", 2]]]
    view = parse_view(reply, None, ASKED)
    assert [claim.shard.primary.id for claim in view.claims] == ["", ""]
    assert view.claims[0].shard is not view.claims[1].shard


def test_all_ranges_of_a_primary_share_one_shard_with_its_epoch():
    reply = [[10, 20, ["a", 7000, "id-a"]], [0, 5, ["a", 7000, "id-a"]]]
    first, second = parse_view(reply, node_line("a", epoch=7), ASKED).claims
    assert (first.start, second.start) == (0, 10)  # in order
    assert first.shard is second.shard
    assert first.shard.epoch == 7


def test_without_cluster_nodes_epochs_are_unknown_and_all_nodes_healthy():
    shard = only("a", 7000, "id-a")
    assert shard.epoch == 0
    assert shard.primary.healthy


def test_a_node_that_cluster_nodes_leaves_out_counts_as_healthy_and_without_epoch():
    shard = only("a", 7000, "id-a", nodes=node_line("b"))
    assert (shard.epoch, shard.primary.healthy) == (0, True)


@pytest.mark.parametrize(
    ("flags", "link", "healthy"),
    [
        ("master", "connected", True),
        ("myself,master", "connected", True),
        ("myself,slave", "disconnected", True),  # a node has no link to itself
        ("slave", "disconnected", False),
        ("master,fail?", "connected", True),  # one node's suspicion is no verdict
        ("master,fail", "connected", False),
        ("myself,master,fail", "connected", False),
        ("slave,noaddr", "connected", False),
        ("handshake", "connected", False),
        ("master,nofailover", "connected", True),
    ],
)
def test_flags_and_link_tell_the_health(flags, link, healthy):
    line = node_line("a", flags=flags, link=link)
    assert parse_nodes(line) == {"id-a": NodeFacts(1, healthy)}


def test_cluster_nodes_of_every_server_version_is_read():
    text = (
        "07c3 127.0.0.1:30004@31004,hostname4 slave e7d1 0 1426238317239 4 connected\n"
        "67ed 127.0.0.1:30002@31002,,shard-id=ab master - 0 1426238316232 2 connected 5461-10922\n"
        "e7d1 127.0.0.1:30001 myself,master - 0 0 1 connected 0-5460 [5461->-67ed] [7-<-67ed]\n"
        "0000 :0@0 master,noaddr - 1426238316232 1426238316232 0 disconnected\n"
    )
    assert parse_nodes(text) == {
        "07c3": (4, True),
        "67ed": (2, True),
        "e7d1": (1, True),
        "0000": (0, False),
    }


@pytest.mark.parametrize(
    "reply",
    [
        None,
        5,
        [None],
        [[0, 1]],
        [[0, 1, None]],
        [[0, 1, []]],
        [[0, 1, ["h"]]],
        [[0, 1, ["h", None, "id"]]],
        [[0, 1, ["h", "port", "id"]]],
        [[0, 1, ["?", 1, "id", ["ip"]]]],
        [[0, 1, [b"\xff", 1, "id"]]],
    ],
)
def test_a_reply_of_another_form_is_a_value_error(reply):
    with pytest.raises(ValueError, match=r"asked:7000 answered .* in an unknown form"):
        parse_view(reply, None, ASKED)


@pytest.mark.parametrize("text", ["\n", "garbage", "id h:1@2 master - 0 0 x connected"])
def test_cluster_nodes_of_another_form_is_a_value_error(text):
    with pytest.raises(ValueError, match="unknown form"):
        parse_view([], text, ASKED)


def test_a_view_knows_all_its_nodes():
    reply = [[0, 5, ["a", 1, "1"], ["b", 1, "2"]], [6, 9, ["c", 1, "3"]]]
    assert parse_view(reply, None, ASKED).ids == {"1", "2", "3"}


class Counted(list):
    """Counts how often anything is taken out of it."""

    taken = 0

    def __getitem__(self, at):
        Counted.taken += 1
        return super().__getitem__(at)

    def __iter__(self):
        for item in super().__iter__():
            Counted.taken += 1
            yield item


def looks(nodes):
    slots, lines = large_cluster(nodes)
    Counted.taken = 0
    parsed("p0", (Counted(map(Counted, slots)), lines))
    return Counted.taken


def test_parsing_looks_at_each_entry_a_fixed_number_of_times():
    assert looks(1000) <= 10.5 * looks(100)


def test_a_lookup_costs_the_same_in_a_large_cluster():
    known = merge([parsed("p0", large_cluster(1000))])
    assert isinstance(known, Topology)
    assert type(known.slots) is list
    assert len(known.slots) == SLOTS
    assert len(known.nodes) == 1000


@pytest.mark.parametrize(
    "claim",
    [
        (0, 16384, ["h", 7000, "a"]),
        (-1, 5, ["h", 7000, "a"]),
        (6, 5, ["h", 7000, "a"]),
        (0, 5, ["h", 0, "a"]),
        (0, 5, ["h", 65536, "a"]),
        (0, 10**12, ["h", 7000, "a"]),
    ],
)
def test_slots_and_ports_that_cannot_be_are_no_view(claim):
    with pytest.raises(ValueError, match="unknown form"):
        parse_view([list(claim)], None, ASKED)

"""What servers and sentinels say, and the one shard that follows from it."""

from __future__ import annotations

import pytest

from clustercache._core import routing, sources
from clustercache._core.address import Address
from clustercache._core.commands import COMMANDS
from clustercache._core.sources import CLUSTER, ROLES, Said, SentinelSource, WrongKindError
from clustercache._core.topology import Node, View
from clustercache._core.wire import ServerError

A, B, C, S = (Address("10.0.0.1", port) for port in (1, 2, 3, 26379))
HELLO = {b"server": b"valkey", b"mode": b"standalone", b"role": b"master"}
DENIED = ServerError("NOPERM User app has no permissions to run the 'role' command")
SENTINEL = SentinelSource("mymaster")


def role_of_primary(*replicas):
    return [b"master", 100, [[a.host.encode(), str(a.port).encode(), b"99"] for a in replicas]]


def role_of_replica(primary, state=b"connected"):
    return [b"slave", primary.host.encode(), primary.port, state, 99]


def entry(address, **fields):
    told = {"ip": address.host, "port": str(address.port), "flags": "slave", **fields}
    return [word.encode() for pair in told.items() for word in pair]


def sentinel_replies(primary=A, epoch=0, replicas=(), peers=()):
    return [
        [primary.host.encode(), str(primary.port).encode()],
        entry(primary, **{"config-epoch": str(epoch)}),
        [entry(one) if isinstance(one, Address) else one for one in replicas],
        [entry(peer) for peer in peers],
    ]


# Roles -------------------------------------------------------------------------------------------


def test_a_primary_tells_of_itself_and_its_replicas():
    said = ROLES.read([role_of_primary(B, C), HELLO], A)
    assert said == Said(A, A, (Node(B), Node(C)))
    assert ROLES.lead(said) is None


@pytest.mark.parametrize("word", [b"slave", b"replica", "slave"])
def test_a_replica_leads_to_its_primary(word):
    said = ROLES.read([[word, *role_of_replica(B)[1:]], HELLO], A)
    assert said == Said(A, B)
    assert ROLES.lead(said) == B


def test_hello_stands_in_for_a_role_that_an_acl_denies():
    assert ROLES.read([DENIED, HELLO], A) == Said(A, A)
    in_turn = [word for pair in HELLO.items() for word in pair]
    assert ROLES.read([DENIED, in_turn], A) == Said(A, A)


@pytest.mark.parametrize("hello", [DENIED, {**HELLO, b"role": b"replica"}])
def test_a_role_that_nothing_tells_is_refused_as_the_server_says(hello):
    with pytest.raises(ServerError, match="NOPERM"):
        ROLES.read([DENIED, hello], A)


@pytest.mark.parametrize("role", [b"?", [b"master"], [b"slave", b"h"], [b"slave", b"h", 0], [], 7])
def test_a_role_in_an_unknown_form_is_an_error_that_names_the_node(role):
    with pytest.raises(ValueError, match=r"10\.0\.0\.1:1"):
        ROLES.read([role, HELLO], A)


def test_a_sentinel_taken_for_a_server_says_how_its_url_is_written():
    with pytest.raises(WrongKindError, match=r"redis\+sentinel://"):
        ROLES.read([[b"sentinel", [b"mymaster"]], HELLO], S)


def test_one_primary_owns_all_slots_and_takes_keys_together():
    known = ROLES.agree([Said(B, A), Said(A, A, (Node(B),))], None, frozenset())
    (shard,) = known.shards
    assert set(known.slots) == {shard}
    assert (shard.primary.address, shard.replicas) == (A, (Node(B),))
    assert known.single
    assert sources.primary_of(known) == A


def test_replicas_alone_make_no_topology():
    assert ROLES.agree([Said(B, A), Said(C, A)], None, frozenset()) is None
    assert ROLES.agree([View(A, ())], None, frozenset()) is None
    assert ROLES.lead(View(A, ())) is None


def test_of_two_primaries_the_one_with_more_replicas_wins_then_ours_then_the_first():
    alone, followed = Said(A, A), Said(B, B, (Node(C),))
    ours = ROLES.agree([alone], None, frozenset())
    agreed = [
        ROLES.agree([alone, followed], ours, frozenset()),
        ROLES.agree([Said(C, C), alone], ours, frozenset()),
        ROLES.agree([Said(C, C), alone], None, frozenset()),
    ]
    assert [sources.primary_of(one) for one in agreed] == [B, A, C]


# Sentinels ---------------------------------------------------------------------------------------


def test_a_sentinel_tells_of_the_primary_its_replicas_and_the_other_sentinels():
    said = SENTINEL.read(sentinel_replies(A, 3, [B, C], [S]), S)
    assert said == Said(S, A, (Node(B), Node(C)), 3, (S,))
    assert SENTINEL.lead(said) is None
    assert ("SENTINEL", "MASTER", "mymaster") in SENTINEL.question


@pytest.mark.parametrize(
    "fields", [{"flags": "slave,s_down"}, {"flags": "slave,disconnected"},
               {"master-link-status": "err"}],
)  # fmt: skip
def test_a_replica_that_a_sentinel_cannot_use_is_not_healthy(fields):
    said = SENTINEL.read(sentinel_replies(A, 0, [entry(B, **fields)]), S)
    assert said.replicas == (Node(B, healthy=False),)


def test_the_promoted_replica_is_not_its_own_replica():
    assert SENTINEL.read(sentinel_replies(B, 1, [B, C]), S).replicas == (Node(C),)


def test_what_a_sentinel_refuses_is_raised():
    replies = [None, ServerError("ERR No such master with that name"), [], []]
    with pytest.raises(ServerError, match="No such master"):
        SENTINEL.read(replies, S)


@pytest.mark.parametrize("broken", [None, [], [b"h", b"x"], [b"h", b"70000"], [b"h"]])
def test_an_answer_in_an_unknown_form_is_an_error_that_names_the_sentinel(broken):
    with pytest.raises(ValueError, match=r"10\.0\.0\.1:26379"):
        SENTINEL.read([broken, *sentinel_replies()[1:]], S)


def test_the_greatest_epoch_wins_over_a_majority_that_lags():
    answers = [Said(S, B, (), 2), Said(S, A, (), 1), Said(S, A, (), 1)]
    known = SENTINEL.agree(answers, None, frozenset())
    assert sources.primary_of(known) == B
    assert known.shards[0].epoch == 2


def test_at_equal_epochs_the_majority_wins_then_the_newest():
    majority = SENTINEL.agree([Said(S, A), Said(S, A), Said(S, B)], None, frozenset())
    newest = SENTINEL.agree([Said(S, A), Said(S, B)], None, frozenset())
    assert [sources.primary_of(one) for one in (majority, newest)] == [A, B]
    assert SENTINEL.agree([], None, frozenset()) is None


@pytest.mark.parametrize(
    ("message", "is_news"),
    [
        ([b"message", b"+switch-master", b"mymaster 10.0.0.1 1 10.0.0.1 2"], True),
        ([b"message", b"+slave", b"slave h:2 h 2 @ mymaster h 1"], True),
        ([b"message", b"+switch-master", b"mymaster2 10.0.0.1 1 10.0.0.1 2"], False),
        ([b"subscribe", b"+switch-master", 1], False),
        ([b"pong", b""], False),
        (b"PONG", False),
    ],
)
def test_only_messages_about_our_service_are_news(message, is_news):
    assert sources.is_news(message, "mymaster") is is_news


# Clusters, and telling them apart ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "maybe_none"),
    [
        ("ERR This instance has cluster support disabled", True),
        ("ERR unknown command 'CLUSTER', with args beginning with: 'SLOTS'", True),
        ("NOPERM User app has no permissions to run the 'cluster|slots' command", True),
        ("LOADING the dataset", False),
    ],
)
def test_a_refusal_of_cluster_slots_may_mean_that_there_is_no_cluster(text, maybe_none):
    assert sources.may_be_no_cluster(ServerError(text)) is maybe_none
    assert not sources.may_be_no_cluster([])


def test_hello_tells_a_member_of_a_cluster_that_an_acl_keeps_silent():
    assert sources.in_cluster([DENIED, {**HELLO, b"mode": b"cluster"}])
    assert not sources.in_cluster([DENIED, HELLO])
    assert not sources.in_cluster([DENIED, DENIED])


def slots_reply(primary=A, node_id=b"a" * 40):
    return [[0, 16383, [primary.host.encode(), primary.port, node_id]]]


@pytest.mark.parametrize("nodes", [DENIED, None])
def test_a_cluster_is_learnt_without_cluster_nodes(nodes):
    view = CLUSTER.read([slots_reply(), nodes], A)
    known = CLUSTER.agree([view, Said(B, B)], None, frozenset())
    assert sources.primary_of(known) == A
    assert not known.single
    assert CLUSTER.lead(view) is None


def test_epochs_come_from_cluster_nodes():
    line = f"{'a' * 40} 10.0.0.1:1@2 myself,master - 0 0 7 connected 0-16383\n"
    view = CLUSTER.read([slots_reply(), line.encode()], A)
    assert view.claims[0].shard.epoch == 7


def test_a_cluster_that_refuses_or_is_another_gives_no_topology():
    with pytest.raises(ServerError):
        CLUSTER.read([DENIED, DENIED], A)
    known = CLUSTER.agree([CLUSTER.read([slots_reply(), None], A)], None, frozenset())
    strange = CLUSTER.read([slots_reply(B, b"b" * 40), None], B)
    assert CLUSTER.agree([strange], known, frozenset()) is None
    rebuilt = CLUSTER.agree([strange], known, frozenset({B}))
    assert sources.primary_of(rebuilt) == B


def test_slots_that_one_view_alone_has_an_owner_for_are_taken_from_it_and_gaps_stay():
    node = slots_reply()[0][2:]
    half, more = [[0, 99, *node]], [[0, 150, *node], [200, 16383, *node]]
    views = [CLUSTER.read([slots, None], A) for slots in (half, more, half)]
    known = CLUSTER.agree(views, None, frozenset())
    assert [slot for slot, owner in enumerate(known.slots) if owner is None] == [*range(151, 200)]


def test_a_topology_of_several_shards_or_none_has_no_one_primary():
    a, b = [0, 99, [b"h", 1, b"a"]], [100, 16383, [b"h", 2, b"b"]]
    known = CLUSTER.agree([CLUSTER.read([[a, b], None], A)], None, frozenset())
    assert sources.primary_of(known) is None
    assert sources.primary_of(None) is None


# Keys of any slots -------------------------------------------------------------------------------


def test_one_node_that_has_all_slots_takes_a_call_whole():
    assert routing.whole(COMMANDS["MSET"], ("mset", "foo", 1, "bar", 2)) == (
        12182, (b"MSET", "foo", 1, "bar", 2), [0, 1],
    )  # fmt: skip
    rename = ("RENAME", "foo", "bar")
    assert routing.slot_of(COMMANDS["RENAME"], rename, together=True) == 12182
    with pytest.raises(routing.CrossSlot):
        routing.slot_of(COMMANDS["RENAME"], rename)

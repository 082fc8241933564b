"""MOVED and ASK."""

from __future__ import annotations

import redis

from clustercache.exceptions import DeadlineExceededError
from clustercache.testing import error
from tests.shells.scenario_model import A_KEY, SLOT, VALUE, Call, Cast, Scenario, get, put

STORED = VALUE.encode()


def moved_to(address):
    return error(f"MOVED {SLOT} {address}")


def ask_for(address):
    return error(f"ASK {SLOT} {address}")


def slot_moves_to_b(cast: Cast):
    cast.deny_refreshes()
    cast.cluster.move(A_KEY, cast.b)


def one_redirect_then_straight(cast: Cast):
    assert len(cast.seen(cast.a, "SET", "GET")) == 1
    assert [one.name for one in cast.seen(cast.b, "SET", "GET")] == ["SET", "GET"]


def empty_host(cast: Cast):
    slot_moves_to_b(cast)
    cast.a.on("SET", moved_to(f":{cast.b.port}"))


def ipv6_host(cast: Cast):
    slot_moves_to_b(cast)
    cast.a.on("SET", moved_to(f"::ffff:127.0.0.1:{cast.b.port}"))


def a_replica_is_promoted(cast: Cast):
    cast.deny_refreshes()
    cast.cluster.promote(cast.a.replicas[0])


def the_whole_shard_moved(cast: Cast):
    # `Cast.a` is the old primary, a replica now: it redirected the first call and saw no other.
    assert len(cast.seen(cast.a, "SET", "GET")) == 1
    assert len(cast.seen(cast.cluster.owner(A_KEY), "SET", "GET")) == 3


def asking_came_with_its_command(cast: Cast, node, name: str, times: int = 1):
    words = cast.seen(node, "ASKING", name)
    assert [one.name for one in words] == ["ASKING", name] * times
    for asking, command in zip(words[::2], words[1::2], strict=True):
        assert asking.connection_id == command.connection_id
        assert asking.chunk == command.chunk


def ask_left_the_map_alone(cast: Cast):
    assert [one.name for one in cast.seen(cast.a, "SET", "GET")] == ["SET", "GET"]
    first, second = cast.seen(cast.b, "SET", "GET")
    assert (first.name, second.name) == ("SET", "GET")
    for name in ("SET", "GET"):
        [command] = cast.seen(cast.b, name)
        askings = [
            one.chunk
            for one in cast.seen(cast.b, "ASKING")
            if one.connection_id == command.connection_id
        ]
        assert command.chunk in askings
    assert len(cast.seen(cast.b, "ASKING")) == 2


def ask_names_a_stranger(cast: Cast):
    cast.stranger.on("GET", b"far")
    cast.a.on("GET", [ask_for(cast.stranger.address), b"near"])


def storm(cast: Cast):
    cast.a.on("GET", [ask_for(cast.b.address)] * 4 + [b"calm"])
    cast.b.on("GET", ask_for(cast.a.address))


def circle(cast: Cast):
    for node, other in ((cast.a, cast.b), (cast.b, cast.a)):
        node.on("GET", moved_to(other.address))


def a_circle_that_ends(cast: Cast):
    cast.a.on("GET", [moved_to(cast.b.address)] * 2 + [b"settled"])
    cast.b.on("GET", moved_to(cast.a.address))


def bounded(most: int, *names: str):
    def seen(cast: Cast):
        assert 1 <= cast.count(*names) <= most, cast.count(*names)

    return seen


REDIRECTS = [
    Scenario(
        "MOVED is followed and patched: the next call goes straight to the new owner",
        [put(), get(returns=STORED)],
        slot_moves_to_b,
        one_redirect_then_straight,
    ),
    Scenario(
        "MOVED with an empty host means the host that was asked",
        [put(), get(returns=STORED)],
        empty_host,
        one_redirect_then_straight,
    ),
    Scenario(
        "MOVED to an IPv6 address is parted at the last colon",
        [put(), get(returns=STORED)],
        ipv6_host,
        one_redirect_then_straight,
    ),
    Scenario(
        "MOVED to a replica of the owner moves the whole shard",
        [put(), put("b"), get("b", returns=STORED)],
        a_replica_is_promoted,
        the_whole_shard_moved,
    ),
    Scenario(
        "MOVED that a refresh undoes is not believed for ever",
        [get(returns=b"mine"), get(returns=b"mine")],
        lambda cast: cast.a.on("GET", [moved_to(cast.b.address), b"mine"]),
        bounded(6, "GET"),
    ),
    Scenario(
        "MOVED to the node itself is asked again, not for ever",
        [get(returns=b"here")],
        lambda cast: cast.a.on("GET", [moved_to(cast.a.address)] * 2 + [b"here"]),
        bounded(3, "GET"),
    ),
    Scenario(
        "MOVED in a circle ends when one of the nodes knows better",
        [get(returns=b"settled")],
        a_circle_that_ends,
        bounded(5, "GET"),
    ),
    Scenario(
        "MOVED in a circle ends by the deadline without a busy loop, and the attempts are named",
        [
            get(
                raises=DeadlineExceededError,
                facts={"command": "GET", "slot": SLOT, "applied": "no"},
                says=("attempts: ", "moved to ", "expired"),
                at_least=0.5,
                at_most=1.5,
            )
        ],
        circle,
        bounded(24, "GET"),
        options={"deadline": 0.6},
    ),
    Scenario(
        "MOVED that names no slot of the cluster is the caller's to see",
        [get(raises=redis.ResponseError, says=("99999",))],
        lambda cast: cast.a.on("GET", error("MOVED 99999 127.0.0.1:7000")),
        bounded(1, "GET"),
    ),
    Scenario(
        "ASK goes with ASKING in one write, and leaves the map alone",
        [put(), get(returns=STORED)],
        lambda cast: cast.cluster.migrate(A_KEY, cast.b),
        ask_left_the_map_alone,
    ),
    Scenario(
        "ASK leads to a node that the map has never seen",
        [get(returns=b"far"), get(returns=b"near")],
        ask_names_a_stranger,
        lambda cast: asking_came_with_its_command(cast, cast.stranger, "GET"),
    ),
    Scenario(
        "ASK of a part of a split call is followed too",
        [Call("mget", ([A_KEY, "foo"],), returns=[b"far", None])],
        lambda cast: (
            cast.stranger.on("MGET", [[b"far"]]),
            cast.a.on("MGET", ask_for(cast.stranger.address)),
        ),
        lambda cast: asking_came_with_its_command(cast, cast.stranger, "MGET"),
    ),
    Scenario(
        "an ASK storm is ridden out with pauses",
        [get(returns=b"calm")],
        storm,
        bounded(9, "GET"),
    ),
    Scenario(
        "an ASK storm without end ends by the deadline",
        [get(raises=DeadlineExceededError, at_least=0.5, at_most=1.5)],
        lambda cast: (
            cast.a.on("GET", ask_for(cast.b.address)),
            cast.b.on("GET", ask_for(cast.a.address)),
        ),
        bounded(24, "GET"),
        options={"deadline": 0.6},
    ),
]

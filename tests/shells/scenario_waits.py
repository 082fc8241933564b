"""Refusals that pass: the call waits within its deadline, and splits where that helps."""

from __future__ import annotations

import redis

from clustercache.exceptions import DeadlineExceededError, NoClusterError
from clustercache.testing import error
from tests.shells.scenario_model import A_KEY, SLOT, VALUE, Call, Cast, Scenario, get, put

FIRST, SECOND = "{bar}1", "{bar}2"
FULL = "ERR max number of clients reached"

UNREADY = {
    "CLUSTERDOWN Hash slot not served": "a slot that nobody serves",
    "CLUSTERDOWN The cluster is down": "a cluster that is down",
    "LOADING Valkey is loading the dataset in memory": "a node that is loading",
    "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.": (
        "a replica without its primary"
    ),
    "TRYAGAIN Multiple keys request during rehashing of slot": "a half-moved slot",
}


def refused_twice(name, text, answer):
    return lambda cast: cast.a.on(name, [error(text), error(text), answer])


def times(node_name: str, count: int, *names: str):
    def seen(cast: Cast):
        assert len(cast.seen(getattr(cast, node_name), *names)) == count

    return seen


def half_moved(cast: Cast):
    """Leave one key behind and carry the other over: every MGET of both gets TRYAGAIN."""
    for number, key in enumerate((FIRST, SECOND)):
        cast.a.shard.store.data[key.encode()] = b"v%d" % number
    cast.cluster.migrate(FIRST, cast.b)
    cast.cluster.move_keys(SECOND)


def asked_key_by_key(cast: Cast):
    assert cast.seen(cast.a, "MGET") == [
        [b"MGET", FIRST.encode(), SECOND.encode()],
        [b"MGET", FIRST.encode()],
        [b"MGET", SECOND.encode()],
    ]
    assert cast.seen(cast.b, "MGET") == [[b"MGET", SECOND.encode()]]


def bounded(most: int, *names: str):
    def seen(cast: Cast):
        assert 1 <= cast.count(*names) <= most, cast.count(*names)

    return seen


def a_dies_and_is_replaced(cast: Cast):
    cast.cluster.fail(cast.a)
    cast.cluster.promote(cast.a.replicas[0])


def a_becomes_a_replica(cast: Cast):
    # Its own map still says otherwise: it answers READONLY where a node with news says MOVED.
    cast.a.on("SET", error("READONLY You can't write against a read only replica."))
    cast.cluster.promote(cast.a.replicas[0])


def nobody_owns_it(cast: Cast):
    cast.cluster.unassign(SLOT)


def the_new_owner_served(cast: Cast):
    assert cast.seen(cast.cluster.owner(A_KEY), "SET", "GET")


WAITS = [
    *(
        Scenario(
            f"{what} is waited for ({text.split(' ', maxsplit=1)[0]})",
            [get(returns=b"at last")],
            refused_twice("GET", text, b"at last"),
            times("a", 3, "GET"),
        )
        for text, what in UNREADY.items()
    ),
    *(
        Scenario(
            f"a refused INCR is sent again, for it was not applied ({text.split()[0]})",
            [Call("execute_command", ("INCR", A_KEY), returns=7)],
            refused_twice("INCR", text, 7),
            times("a", 3, "INCR"),
        )
        for text in ("LOADING x", "CLUSTERDOWN x", "READONLY x", "TRYAGAIN x")
    ),
    Scenario(
        "a node that says READONLY became a replica: the map is learnt anew",
        [put()],
        a_becomes_a_replica,
        the_new_owner_served,
    ),
    Scenario(
        "a dead primary's calls wait for its successor",
        [put(), get(returns=VALUE.encode())],
        a_dies_and_is_replaced,
        the_new_owner_served,
    ),
    Scenario(
        "a node that takes no more clients is waited for",
        [get(returns=b"at last")],
        refused_twice("GET", FULL, b"at last"),
        times("a", 3, "GET"),
    ),
    Scenario(
        "a node that never takes another client is not asked in a busy loop",
        [get(raises=DeadlineExceededError, at_least=0.5, at_most=1.5)],
        lambda cast: cast.a.on("GET", error(FULL)),
        bounded(20, "GET"),
        options={"deadline": 0.6},
    ),
    Scenario(
        "a node that loads for ever ends the call by its deadline, which names slot and node",
        [
            get(
                raises=DeadlineExceededError,
                facts={"command": "GET", "slot": SLOT, "applied": "no"},
                says=("unready", "raise the deadline"),
                at_least=0.5,
                at_most=1.0,
            )
        ],
        lambda cast: cast.a.on("GET", error("LOADING x")),
        bounded(15, "GET"),
        options={"deadline": 0.6},
    ),
    Scenario(
        "a slot without an owner is waited for, until the deadline",
        [get(raises=DeadlineExceededError, says=("uncovered",), at_least=0.3, at_most=1.0)],
        nobody_owns_it,
        times("a", 0, "GET"),
        options={"deadline": 0.4},
        cold=True,
    ),
    Scenario(
        "the error at the deadline names the node that was asked last",
        [get(raises=DeadlineExceededError, facts={"command": "GET"}, says=(f"slot {SLOT}, 127.",))],
        lambda cast: cast.a.on("GET", error("LOADING x")),
        options={"deadline": 0.3},
    ),
    Scenario(
        "TRYAGAIN for a command that can be split asks key by key",
        [Call("mget", ([FIRST, SECOND],), returns=[b"v0", b"v1"])],
        half_moved,
        asked_key_by_key,
    ),
    Scenario(
        "TRYAGAIN for a part of a split call asks that part key by key",
        [Call("mget", ([SECOND, "foo", FIRST, SECOND],), returns=[b"v1", None, b"v0", b"v1"])],
        half_moved,
    ),
    Scenario(
        "TRYAGAIN for MSET sets pair by pair",
        [
            Call("mset", ({FIRST: "w0", SECOND: "w1"},), returns=True),
            Call("mget", ([FIRST, SECOND],), returns=[b"w0", b"w1"]),
        ],
        half_moved,
    ),
    Scenario(
        "TRYAGAIN for DEL counts key by key",
        [Call("delete", (FIRST, SECOND, "{bar}3"), returns=2)],
        half_moved,
    ),
    Scenario(
        "TRYAGAIN for a command that cannot be split waits",
        [Call("sinter", ([FIRST, SECOND],), returns={b"x"})],
        refused_twice("SINTER", "TRYAGAIN x", {b"x"}),
        times("a", 3, "SINTER"),
    ),
    Scenario(
        "a part of a split call that is refused is waited for while the others are kept",
        [Call("mget", ([A_KEY, "foo"],), returns=[b"at last", b"kept"])],
        lambda cast: (
            refused_twice("MGET", "LOADING x", [b"at last"])(cast),
            cast.b.on("MGET", [[b"kept"], error("ERR asked twice")]),
        ),
        times("b", 1, "MGET"),
    ),
    # Starting up -------------------------------------------------------------------------------
    Scenario(
        "starting up needs no more than CLUSTER SLOTS",
        [put(), get(returns=VALUE.encode())],
        lambda cast: [
            node.on(pattern, error("NOPERM this user has no permissions to run the command"))
            for node in cast.cluster.nodes
            for pattern in ("CLUSTER NODES", "CLUSTER INFO", "CLUSTER SHARDS", "CLIENT", "COMMAND")
        ],
        cold=True,
    ),
    Scenario(
        "without CLUSTER NODES redirects are followed and confirmed",
        [put(), get(returns=VALUE.encode())],
        lambda cast: (
            [node.on("CLUSTER NODES", error("NOPERM x")) for node in cast.cluster.nodes],
            cast.cluster.move(A_KEY, cast.b),
        ),
        the_new_owner_served,
    ),
    Scenario(
        "refused credentials end the first call at once",
        [get(raises=redis.AuthenticationError, at_most=1.0)],
        lambda cast: [
            node.on("HELLO", error("WRONGPASS invalid username-password pair"))
            for node in cast.cluster.nodes
        ],
        cold=True,
        options={"deadline": 2.0, "password": "x"},
    ),
    Scenario(
        "credentials refused later end the call at once",
        [get(raises=redis.AuthenticationError, at_most=1.0, note="GET")],
        lambda cast: (
            cast.a.on("HELLO", error("WRONGPASS invalid username-password pair")),
            cast.a.drop_connections(),
        ),
        times("a", 0, "GET"),
    ),
    *(
        Scenario(
            f"a node that refuses a new connection for a while is waited for ({text.split()[0]})",
            [get(returns=None)],
            lambda cast, text=text: (
                cast.a.on("HELLO", [error(text), error(text), cast.a._default]),
                cast.a.drop_connections(),
            ),
            times("a", 1, "GET"),
        )
        for text in ("LOADING the dataset is in memory soon", FULL)
    ),
    Scenario(
        "a server that is no cluster is said to be none, with the reason",
        [get(raises=NoClusterError, says=("cluster support disabled",))],
        lambda cast: [
            node.on("CLUSTER SLOTS", error("ERR This instance has cluster support disabled"))
            for node in cast.cluster.nodes
        ],
        cold=True,
        options={"deadline": 0.3},
    ),
    Scenario(
        "a node that sends nonsense as its map is no seed",
        [get(raises=NoClusterError, says=("unknown form",))],
        lambda cast: [node.on("CLUSTER SLOTS", [[b"x"]]) for node in cast.cluster.nodes],
        cold=True,
        options={"deadline": 0.3},
    ),
    Scenario(
        "a cluster that is half up is used as soon as its first seed has a map",
        [put()],
        lambda cast: cast.a.on(
            "CLUSTER SLOTS", [error("LOADING x"), error("LOADING x"), cast.a.slots_reply()]
        ),
        cold=True,
    ),
    Scenario(
        "a cluster that speaks RESP2 is used as well",
        [
            put(),
            get(returns=VALUE.encode()),
            Call("mget", ([A_KEY, "foo"],), returns=[VALUE.encode(), None]),
        ],
        options={"protocol": 2},
        cold=True,
        seen=times("a", 0, "HELLO"),
    ),
]

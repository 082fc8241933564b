"""What servers answer, and how split calls are put together."""

from __future__ import annotations

import redis

from clustercache.exceptions import PartialError, ReplyDecodeError, ReplyTooLargeError
from clustercache.testing import error, null, push, raw, reply
from tests.shells.scenario_model import A_KEY, B_KEY, SLOT, VALUE, Call, Cast, Scenario, get, put

STORED = VALUE.encode()
OOM = "OOM command not allowed when used memory > 'maxmemory'."


def pushed_first(command, connection):
    connection.send(push(b"invalidate", [b"x"]))
    connection.send(push(b"message", b"c", b"m"))
    return b"the reply"


def one_batch_each(cast: Cast):
    assert len(cast.seen(cast.a, "MGET")) == len(cast.seen(cast.b, "MGET")) == 1


def one_write_per_node(cast: Cast):
    """Keys of many slots: all commands for a node arrive together on one connection."""
    for node in (cast.a, cast.b):
        commands = cast.seen(node, "MGET")
        assert len(commands) > 3
        assert len({(one.connection_id, one.chunk) for one in commands}) == 1


def expect_one(commands):
    assert len(commands) == 1


def sent_in_latin_1(cast: Cast):
    assert cast.seen(cast.a, "SET") == [[b"SET", A_KEY.encode(), b"\xf6"]]


NOT_TEXT = STORED + b"\xff"
LARGEST = ("max_reply_bytes",)
TOO_LARGE = raw(b"$300000\r\n" + b"x" * 200_000)

MANY = [f"key-{number}" for number in range(40)]

REPLIES = [
    Scenario(
        "WRONGTYPE is redis-py's ResponseError, with a note of where it came from",
        [
            Call("sadd", (A_KEY, VALUE), returns=1),
            get(raises=redis.ResponseError, says=("WRONGTYPE",), note=f"[GET, slot {SLOT}, 127."),
        ],
    ),
    Scenario(
        "an error of the server is not asked for twice",
        [get(raises=redis.ResponseError, says=("whatever",))],
        lambda cast: cast.a.on("GET", error("ERR whatever")),
        lambda cast: expect_one(cast.seen(cast.a, "GET")),
    ),
    Scenario(
        "what a server quotes of the arguments is not repeated",
        [
            Call(
                "execute_command",
                ("NOSUCHCOMMAND", A_KEY, VALUE),
                raises=redis.ResponseError,
                says=("unknown command",),
            )
        ],
    ),
    Scenario(
        "a push is never taken for the reply",
        [get(returns=b"the reply", at_most=0.25), get(B_KEY, returns=None)],
        lambda cast: cast.a.on("GET", pushed_first),
    ),
    Scenario(
        "the RESP3 boolean false is a reply and not half of one",
        [Call("execute_command", ("GET", A_KEY), returns=False, at_most=0.5)],
        lambda cast: cast.a.on("GET", reply(False)),
    ),
    Scenario(
        "null is a reply",
        [get(returns=None, at_most=0.5)],
        lambda cast: cast.a.on("GET", null()),
    ),
    Scenario(
        "text is decoded where that was asked for, in split calls too",
        [
            put(),
            get(returns=VALUE),
            Call("mget", ([A_KEY, B_KEY],), returns=[VALUE, None]),
        ],
        options={"decode_responses": True},
    ),
    Scenario(
        "another codec is used both ways",
        [
            Call("set", (A_KEY, "\u00f6"), returns=True),
            get(returns="\u00f6"),
        ],
        seen=sent_in_latin_1,
        options={"decode_responses": True, "encoding": "latin-1"},
    ),
    *(
        Scenario(
            f"a value given as {type(value).__name__} is sent",
            [Call("set", (A_KEY, value), returns=True), get(returns=stored)],
        )
        for value, stored in (
            (b"\x00\xff", b"\x00\xff"),
            (7, b"7"),
            (1.5, b"1.5"),
            (memoryview(b"view"), b"view"),
        )
    ),
    Scenario(
        "a value given as bytearray is sent",
        [Call("set", (A_KEY, bytearray(b"x")), returns=True), get(returns=b"x")],
    ),
    *(
        Scenario(
            f"a reply that is not text is an error of {what} alone, which does not show it",
            [
                Call(method, args, raises=ReplyDecodeError, says=("decode_responses",)),
                get(B_KEY, returns=None),
                get(returns="text"),
            ],
            lambda cast, name=name, answer=answer: (
                cast.a.on(name, answer),
                cast.a.on("GET", b"text") if name != "GET" else cast.a.on("GET", [answer, b"text"]),
            ),
            options={"decode_responses": True},
        )
        for what, method, args, name, answer in (
            ("its call", "get", (A_KEY,), "GET", NOT_TEXT),
            ("its split call", "mget", ([A_KEY, B_KEY],), "MGET", [NOT_TEXT]),
        )
    ),
    *(
        Scenario(
            f"a reply above max_reply_bytes ends {what}, and the connection that it came on",
            [
                Call(method, args, raises=ReplyTooLargeError, says=LARGEST, facts=facts),
                Call("exists", (A_KEY,), returns=0),
            ],
            lambda cast, name=name: cast.a.on(name, TOO_LARGE),
            options={"max_reply_bytes": 65536},
        )
        for what, method, args, name, facts in (
            ("a READ that was certainly not applied", "get", (A_KEY,), "GET", {"applied": "no"}),
            ("a split READ", "mget", ([A_KEY, B_KEY],), "MGET", {"applied": "no"}),
            (
                "an INCR that may have been",
                "execute_command",
                ("INCR", A_KEY),
                "INCR",
                {"applied": "maybe"},
            ),
        )
    ),
    # Split calls -----------------------------------------------------------------------------
    Scenario(
        "a split MGET keeps the order of its keys, duplicates included",
        [
            Call("mset", ({A_KEY: "x", B_KEY: "y"},), returns=True),
            Call(
                "mget",
                ([B_KEY, A_KEY, "no", B_KEY, A_KEY, A_KEY],),
                returns=[b"y", b"x", None, b"y", b"x", b"x"],
            ),
        ],
    ),
    Scenario(
        "keys of one slot make one command",
        [Call("mget", (["{bar}1", "{bar}2", B_KEY],), returns=[None, None, None])],
        seen=one_batch_each,
    ),
    Scenario(
        "a split call is one write to each node",
        [Call("mget", (MANY,), returns=[None] * len(MANY))],
        seen=one_write_per_node,
    ),
    *(
        Scenario(
            f"{method} counts over all slots",
            [
                Call("mset", ({A_KEY: "x", B_KEY: "y"},), returns=True),
                Call(method, (A_KEY, B_KEY, "no"), returns=2),
            ],
        )
        for method in ("delete", "unlink", "exists", "touch")
    ),
    Scenario(
        "a key named twice counts as servers count it",
        [
            Call("set", (A_KEY, VALUE), returns=True),
            Call("exists", (A_KEY, A_KEY, B_KEY), returns=2),
        ],
    ),
    Scenario(
        "MSET that one half refuses is a PartialError without keys or values",
        [
            Call(
                "mset",
                ({A_KEY: VALUE, B_KEY: VALUE},),
                raises=PartialError,
                facts={"command": "MSET"},
                says=("1 of 2 parts failed",),
            ),
            get(returns=STORED),
        ],
        lambda cast: cast.b.on("MSET", error(OOM)),
    ),
    Scenario(
        "MSET that all refuse is the server's own error",
        [Call("mset", ({A_KEY: VALUE, B_KEY: VALUE},), raises=redis.ResponseError, says=("comm",))],
        lambda cast: [node.on("MSET", error(OOM)) for node in (cast.a, cast.b)],
    ),
    Scenario(
        "MGET that one half refuses is the server's own error",
        [Call("mget", ([A_KEY, B_KEY],), raises=redis.ResponseError, says=("comm",))],
        lambda cast: cast.b.on("MGET", error(OOM)),
    ),
    Scenario(
        "a call to all primaries is one for each, whatever the slots",
        [Call("dbsize", (), returns=2)],
        lambda cast: [
            cast.a.shard.store.data.update({A_KEY.encode(): b"x"}),
            cast.b.shard.store.data.update({B_KEY.encode(): b"y"}),
        ],
    ),
]

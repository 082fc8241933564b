"""Replies that are lost, late or broken: sent again by what is known, and never twice by chance."""

from __future__ import annotations

import redis

from clustercache import RetryPolicy
from clustercache._core.commands import Safety
from clustercache.exceptions import DeadlineExceededError, OutcomeUnknownError
from clustercache.testing import (
    close_after_reply,
    close_before_reply,
    delay,
    error,
    partial,
    raw,
    reset,
    silence,
    simple,
)
from tests.shells.scenario_model import A_KEY, SLOT, VALUE, Call, Cast, Scenario, get, incr, put

ONLY_READ = RetryPolicy(resend=frozenset({Safety.READ}))
EVERYTHING = RetryPolicy(resend=frozenset(Safety))
MAYBE = {"applied": "maybe", "slot": SLOT}


def sent(count: int, *names: str):
    def seen(cast: Cast):
        assert cast.count(*names) == count

    return seen


def at_most(count: int, *names: str):
    def seen(cast: Cast):
        assert 1 <= cast.count(*names) <= count, cast.count(*names)

    return seen


def answers(name: str, *given):
    return lambda cast: cast.a.on(name, list(given))


def unknown(**expected):
    return {"raises": OutcomeUnknownError, "facts": MAYBE} | expected


BREAKS = {
    "closed before it": close_before_reply(),
    "reset before it": reset(),
    "cut in half and closed": partial(b"$9\r\nhal", then="close"),
    "cut in half and reset": partial(b"$9\r\nhal", then="reset"),
    "not RESP": raw(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
}


def idle_connections_are_closed(cast: Cast):
    cast.a.drop_connections()


def asked_and_slow(name: str, answer):
    def script(cast: Cast):
        cast.a.on(name, error(f"ASK {SLOT} {cast.b.address}"))
        cast.b.on(name, delay(0.6, answer))

    return script


LOSSES = [
    *(
        Scenario(
            f"a READ is sent again when its reply was {what}",
            [get(returns=b"whole")],
            answers("GET", action, b"whole"),
            sent(2, "GET"),
        )
        for what, action in BREAKS.items()
    ),
    *(
        Scenario(
            f"an INCR is not sent again when its reply was {what}",
            [incr(**unknown(facts=MAYBE | {"command": "INCR"}, at_most=1.0))],
            answers("INCR", action, 8),
            sent(1, "INCR"),
        )
        for what, action in BREAKS.items()
    ),
    *(
        Scenario(
            f"{call.args[0]} is sent again, for twice is the same state",
            [call],
            answers(call.args[0], close_before_reply(), answer),
            sent(2, call.args[0]),
        )
        for call, answer in (
            (Call("execute_command", ("SET", A_KEY, VALUE), returns=True), simple("OK")),
            (Call("execute_command", ("SETEX", A_KEY, 9, VALUE), returns=True), simple("OK")),
            (Call("execute_command", ("SADD", A_KEY, VALUE), returns=1), 1),
            (Call("execute_command", ("HSET", A_KEY, "f", VALUE), returns=1), 1),
            (Call("execute_command", ("DEL", A_KEY), returns=1), 1),
            (Call("execute_command", ("EXPIRE", A_KEY, 9), returns=True), 1),
        )
    ),
    *(
        Scenario(
            f"{' '.join(map(str, words))} is not sent again, for its reply decides something",
            [Call("execute_command", (words[0], A_KEY, *words[1:]), **unknown())],
            answers(words[0], close_before_reply(), 1),
            sent(1, words[0]),
        )
        for words in (
            ("SET", VALUE, "NX"),
            ("SET", VALUE, "GET"),
            ("SET", VALUE, "EX", 9, "XX"),
            ("LPUSH", VALUE),
            ("APPEND", VALUE),
            ("GETDEL",),
            ("NEWCOMMAND", VALUE),
        )
    ),
    Scenario(
        "a policy narrows what is sent again",
        [put(**unknown())],
        answers("SET", close_before_reply(), simple("OK")),
        sent(1, "SET"),
        options={"retry": ONLY_READ},
    ),
    Scenario(
        "a policy widens what is sent again",
        [incr(returns=8)],
        answers("INCR", close_before_reply(), 8),
        sent(2, "INCR"),
        options={"retry": EVERYTHING},
    ),
    Scenario(
        "a lost MGET part is sent again and the others' replies are kept",
        [Call("mget", ([A_KEY, "foo", A_KEY],), returns=[b"x", b"y", b"x"])],
        lambda cast: (
            cast.a.on("MGET", [close_before_reply(), [b"x", b"x"]]),
            cast.b.on("MGET", [[b"y"], error("ERR asked twice")]),
        ),
        sent(3, "MGET"),
    ),
    Scenario(
        "replies that are lost again and again are asked for with pauses, until the deadline",
        [get(raises=DeadlineExceededError, says=("no reply",), at_least=0.5, at_most=1.5)],
        answers("GET", close_before_reply()),
        at_most(20, "GET"),
        options={"deadline": 0.6},
    ),
    # Idle connections ------------------------------------------------------------------------
    Scenario(
        "an idle connection that the server closed is never used for an INCR",
        [incr(returns=1), incr(returns=2)],
        idle_connections_are_closed,
        sent(2, "INCR"),
    ),
    Scenario(
        "an idle connection that the server closed costs a READ nothing",
        [get(returns=None)],
        idle_connections_are_closed,
        sent(1, "GET"),
    ),
    Scenario(
        "a server that hangs up after each reply is used all the same",
        [get(returns=b"x")] * 3,
        lambda cast: cast.a.on("GET", close_after_reply(b"x")),
        at_most(6, "GET"),
    ),
    # Silence ----------------------------------------------------------------------------------
    Scenario(
        "silence longer than socket_timeout does not end a READ",
        [get(returns=b"late", at_least=0.5)],
        answers("GET", delay(0.6, b"late")),
        sent(1, "GET"),
    ),
    Scenario(
        "silence longer than socket_timeout does not end an INCR",
        [incr(returns=8, at_least=0.5)],
        answers("INCR", delay(0.6, 8)),
        sent(1, "INCR"),
    ),
    Scenario(
        "silence longer than socket_timeout in the middle of a reply does not end a call",
        [get(returns=b"halfhalf", at_least=0.5)],
        lambda cast: cast.a.on("GET", lambda command, connection: half_and_half(connection)),
        sent(1, "GET"),
    ),
    Scenario(
        "silence of a node that an ASK named does not end a READ",
        [get(returns=b"late", at_least=0.5)],
        asked_and_slow("GET", b"late"),
        options={"deadline": 1.0},
    ),
    Scenario(
        "silence of a node that an ASK named does not end an INCR",
        [incr(returns=8, at_least=0.5)],
        asked_and_slow("INCR", 8),
    ),
    Scenario(
        "silence of one node in a split call does not end it",
        [Call("mget", ([A_KEY, "foo"],), returns=[b"late", b"y"], at_least=0.5)],
        lambda cast: (
            cast.a.on("MGET", delay(0.6, [b"late"])),
            cast.b.on("MGET", [[b"y"]]),
        ),
        sent(2, "MGET"),
    ),
    Scenario(
        "silence of a primary that was replaced meanwhile sends a READ to its successor",
        [get(returns=None, at_least=0.2)],
        lambda cast: (cast.a.pause(), cast.cluster.promote(cast.a.replicas[0])),
        lambda cast: cast.a.resume(),
    ),
    Scenario(
        "silence of a primary that was replaced meanwhile leaves an INCR unknown",
        [incr(**unknown(at_least=0.2))],
        lambda cast: (cast.a.pause(), cast.cluster.promote(cast.a.replicas[0])),
        lambda cast: cast.a.resume(),
    ),
    # Deadlines ----------------------------------------------------------------------------------
    *(
        Scenario(
            f"a deadline of {deadline:g} s ends a silent {name} in time"
            f" (socket_timeout {patience:g} s)",
            [
                Call(
                    "execute_command",
                    (name, A_KEY),
                    raises=DeadlineExceededError if name == "GET" else OutcomeUnknownError,
                    facts={"applied": "no" if name == "GET" else "maybe", "command": name},
                    at_least=deadline - 0.02,
                    at_most=deadline + 0.2,
                )
            ],
            answers(name, silence()),
            sent(1, name),
            options={"deadline": deadline, "socket_timeout": patience},
        )
        for deadline, patience in ((0.3, 1.0), (0.7, 0.5), (0.5, 0.2))
        for name in ("GET", "INCR")
    ),
    Scenario(
        "a block's deadline ends a silent call in time",
        [get(deadline=0.3, raises=DeadlineExceededError, says=("0.3 s",), at_most=0.5)],
        answers("GET", silence()),
        sent(1, "GET"),
        options={"socket_timeout": 1.0},
    ),
    Scenario(
        "a block's deadline ends a split call in time",
        [
            Call(
                "mget",
                ([A_KEY, "foo"],),
                deadline=0.4,
                raises=DeadlineExceededError,
                at_least=0.35,
                at_most=0.8,
            )
        ],
        answers("MGET", silence()),
        options={"socket_timeout": 1.0},
    ),
    Scenario(
        "a block's deadline may be longer than the client's",
        [get(deadline=3.0, returns=b"late", at_least=0.5)],
        answers("GET", delay(0.6, b"late")),
        options={"deadline": 0.2},
    ),
    Scenario(
        "a block's deadline covers starting up",
        [get(deadline=0.3, raises=redis.ConnectionError, at_most=1.0)],
        lambda cast: [node.pause() for node in cast.cluster.nodes],
        lambda cast: [node.resume() for node in cast.cluster.nodes],
        cold=True,
    ),
    Scenario(
        "a reply that drips in does not outlast the deadline",
        [get(deadline=0.4, raises=DeadlineExceededError, at_most=0.8)],
        lambda cast: cast.a.on("GET", lambda command, connection: dripping(connection)),
        lambda cast: None,
    ),
]


def half_and_half(connection):
    """Send half of a reply now and the rest when the client has become impatient."""
    connection.send(raw(b"$8\r\nhalf"))
    return delay(0.6, raw(b"half\r\n"))


def dripping(connection):
    """Send a byte more often than any silence is noticed, and never a whole reply."""
    import threading

    def drip():
        for _ in range(16):
            if connection.closed:
                return
            connection.send(raw(b"x"))
            threading.Event().wait(0.1)

    connection.send(raw(b"$100\r\n"))
    threading.Thread(target=drip, name="drip", daemon=True).start()
    return silence()

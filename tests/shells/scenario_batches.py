"""Pipelines and transactions: what is refused or lost inside a batch."""

from __future__ import annotations

import redis

from clustercache._core.slots import key_slot
from clustercache.exceptions import (
    DeadlineExceededError,
    OutcomeUnknownError,
    OvertakenError,
    PartialError,
)
from clustercache.testing import close_before_reply, error, silence, simple
from tests.shells.scenario_model import A_KEY, B_KEY, SLOT, Call, Cast, Scenario
from tests.shells.scenario_redirects import asking_came_with_its_command, moved_to

TWIN = f"{{{A_KEY}}}2"
OOM = error("OOM command not allowed when used memory > 'maxmemory'.")


def batch(*commands: str, returns: list, transaction: bool = False, **expected) -> Call:
    """A pipeline of commands written as one string each; an exception's class stands for it."""
    words = [tuple(command.split()) for command in commands]
    return Call("pipeline", words, {"transaction": transaction}, returns=returns, **expected)


def in_one_write(cast: Cast, node, *names: str, count: int):
    seen = cast.seen(node, *names)
    assert len(seen) == count
    assert len({(one.connection_id, one.chunk) for one in seen}) == 1


def slot_moves(cast: Cast):
    cast.deny_refreshes()
    cast.cluster.move(A_KEY, cast.b)


def only_the_moved_went_twice(cast: Cast):
    in_one_write(cast, cast.a, "INCR", "GET", count=3)
    assert [one.name for one in cast.seen(cast.b, "SET")] == ["SET"]
    assert [one.name for one in cast.seen(cast.b, "INCR", "GET")] == ["INCR", "INCR", "GET"]
    assert len({one.chunk for one in cast.seen(cast.b, "INCR", "GET")}) == 1


def slot_half_moved(cast: Cast):
    cast.cluster.migrate(A_KEY, cast.b)


def asked_in_one_write(cast: Cast):
    asking_came_with_its_command(cast, cast.b, "INCR", times=2)
    assert len({one.chunk for one in cast.seen(cast.b, "INCR")}) == 1


def one_key_left_behind(cast: Cast):
    cast.a.shard.store.data[A_KEY.encode()] = b"old"
    cast.cluster.migrate(A_KEY, cast.b)


def nothing_was_inverted(cast: Cast):
    assert cast.count("MSET") == 1
    assert cast.a.shard.store.data[A_KEY.encode()] == b"new"


def loses_the_second_reply(cast: Cast):
    cast.a.on("INCR", [3, close_before_reply()], strict=True)


def loses_both(cast: Cast):
    cast.a.on("SET", close_before_reply())


def replica_is_promoted(cast: Cast):
    cast.a.pause()
    cast.cluster.promote(cast.a.replicas[0])


def loading_for_a_while(cast: Cast):
    loading = error("LOADING the dataset is in memory soon")
    cast.a.on("SET", [loading, simple("OK")])
    cast.a.on("GET", [loading, b"1"])


# Transactions: the fake node queues nothing, so each reply is scripted.


def queueing(node, *, at_exec):
    node.on("MULTI", simple("OK"))
    node.on("SET", simple("QUEUED"))
    node.on("INCR", simple("QUEUED"))
    node.on("EXEC", at_exec)


def executes(cast: Cast):
    queueing(cast.a, at_exec=[[simple("OK"), 1]])


def moved_while_queueing(cast: Cast):
    cast.deny_refreshes()
    cast.a.on("MULTI", simple("OK"))
    for name in ("SET", "INCR"):
        cast.a.on(name, moved_to(cast.b.address))
    cast.a.on("EXEC", error("EXECABORT Transaction discarded because of previous errors."))
    queueing(cast.b, at_exec=[[simple("OK"), 1]])


def asked_at_exec(cast: Cast):
    queueing(cast.a, at_exec=error(f"ASK {SLOT} {cast.b.address}"))
    queueing(cast.b, at_exec=[[simple("OK"), 1]])


def one_asking_before_multi(cast: Cast):
    words = cast.seen(cast.b, "ASKING", "MULTI", "SET", "INCR", "EXEC")
    assert [one.name for one in words] == ["ASKING", "MULTI", "SET", "INCR", "EXEC"]
    assert len({(one.connection_id, one.chunk) for one in words}) == 1


def exec_is_lost(cast: Cast):
    queueing(cast.a, at_exec=close_before_reply())


def refused_when_queued(cast: Cast):
    queueing(cast.a, at_exec=error("EXECABORT Transaction discarded because of previous errors."))
    cast.a.on("INCR", OOM)


def exec_was_sent_once(cast: Cast):
    assert cast.count("EXEC") == 1


BOTH = (f"SET {A_KEY} 1", f"INCR {A_KEY}")

BATCHES = [
    Scenario(
        "a batch's results come in the order of its calls, from one write to each node",
        [batch(f"SET {A_KEY} 1", f"SET {B_KEY} 2", f"INCR {A_KEY}", f"GET {B_KEY}",
               returns=[True, True, 2, b"2"])],
        seen=lambda cast: [in_one_write(cast, node, "SET", "INCR", "GET", count=2)
                           for node in (cast.a, cast.b)],
    ),
    Scenario(
        "a multi-key command in a batch is split as outside of it",
        [batch(f"MSET {A_KEY} 1 {B_KEY} 2", f"MGET {A_KEY} {B_KEY} nothing", f"DEL {A_KEY} {B_KEY}",
               returns=[True, [b"1", b"2", None], 2])],
    ),
    Scenario(
        "commands of a batch that are refused with MOVED stay batched and in order",
        [batch(f"SET {B_KEY} 1", f"INCR {A_KEY}", f"INCR {A_KEY}", f"GET {A_KEY}",
               returns=[True, 1, 2, b"2"])],
        script=slot_moves,
        seen=only_the_moved_went_twice,
    ),
    Scenario(
        "commands of a batch that are refused with ASK go with an ASKING each, in one write",
        [batch(f"INCR {A_KEY}", f"INCR {A_KEY}", returns=[1, 2])],
        script=slot_half_moved,
        seen=asked_in_one_write,
    ),
    Scenario(
        "a refused MSET is not sent again behind the SET that was executed after it",
        [batch(f"MSET {A_KEY} 1 {TWIN} 1", f"SET {A_KEY} new", returns=[OvertakenError, True])],
        script=one_key_left_behind,
        seen=nothing_was_inverted,
    ),
    Scenario(
        "a refused MSET that nothing overtook is asked again key by key",
        [batch(f"MSET {A_KEY} 1 {TWIN} 2", f"GET {B_KEY}", f"SET {B_KEY} 1",
               returns=[True, None, True])],
        script=one_key_left_behind,
    ),
    Scenario(
        "an error of one command stands in its place among the results",
        [batch(f"SET {A_KEY} x", f"INCR {A_KEY}", f"GET {A_KEY}",
               returns=[True, redis.ResponseError, b"x"])],
    ),
    Scenario(
        "replies that were received before the connection was lost are kept",
        [batch(f"INCR {A_KEY}", f"INCR {A_KEY}", f"GET {A_KEY}", f"GET {B_KEY}",
               returns=[3, OutcomeUnknownError, None, None])],
        script=loses_the_second_reply,
    ),
    Scenario(
        "a lost SET is not sent again where an INCR behind it may have been executed",
        [batch(f"SET {A_KEY} 1", f"INCR {A_KEY}", returns=[OutcomeUnknownError] * 2)],
        script=loses_both,
    ),
    Scenario(
        "a batch waits for a node that loads its data",
        [batch(f"SET {A_KEY} 1", f"GET {A_KEY}", f"GET {B_KEY}", returns=[True, b"1", None])],
        script=loading_for_a_while,
    ),
    Scenario(
        "a batch goes on at the replica that was promoted",
        [batch(f"GET {A_KEY}", f"GET {B_KEY}", returns=[None, None])],
        script=replica_is_promoted,
        options={"socket_timeout": 0.1},
    ),
    Scenario(
        "only the commands of a silent node miss a batch's deadline",
        [batch(f"SET {A_KEY} 1", f"SET {B_KEY} 1", returns=[DeadlineExceededError, True])],
        script=lambda cast: cast.a.on("SET", silence()),
        options={"deadline": 0.5},
    ),
    Scenario(
        "a write of a batch that was applied in part is a PartialError in its place",
        [batch(f"MSET {A_KEY} 1 {B_KEY} 2", f"GET {A_KEY}", returns=[PartialError, b"1"])],
        script=lambda cast: cast.b.on("MSET", OOM),
    ),
    Scenario(
        "a transaction goes out in one write",
        [batch(*BOTH, returns=[True, 1], transaction=True)],
        script=executes,
        seen=lambda cast: in_one_write(cast, cast.a, "MULTI", "SET", "INCR", "EXEC", count=4),
    ),
    Scenario(
        "a transaction that is redirected while it is queued is sent again as a whole",
        [batch(*BOTH, returns=[True, 1], transaction=True)],
        script=moved_while_queueing,
        seen=lambda cast: in_one_write(cast, cast.b, "MULTI", "SET", "INCR", "EXEC", count=4),
    ),
    Scenario(
        "a transaction that is asked for elsewhere at EXEC takes one ASKING for all of it",
        [batch(*BOTH, returns=[True, 1], transaction=True)],
        script=asked_at_exec,
        seen=one_asking_before_multi,
    ),
    Scenario(
        "a transaction whose EXEC got no reply is not sent again",
        [batch(*BOTH, transaction=True, returns=[], raises=OutcomeUnknownError,
               facts={"applied": "maybe", "command": "EXEC", "slot": key_slot(A_KEY)})],
        script=exec_is_lost,
        seen=exec_was_sent_once,
    ),
    Scenario(
        "a transaction that repeats to the same end is sent again",
        [batch(f"SET {A_KEY} 1", transaction=True, returns=[True])],
        script=lambda cast: queueing(cast.a, at_exec=[close_before_reply(), [simple("OK")]]),
    ),
    Scenario(
        "a command that the server refuses to queue is named, and nothing is executed",
        [batch(*BOTH, transaction=True, returns=[], raises=redis.exceptions.OutOfMemoryError,
               says=["Command # 2 (INCR) of pipeline"])],
        script=refused_when_queued,
        seen=exec_was_sent_once,
    ),
]  # fmt: skip

"""The command table's entries: what blocks, where commands go, what is refused."""

from __future__ import annotations

import pytest

from clustercache._core import command_table
from clustercache._core.commands import (
    COMMANDS,
    KeySpec,
    Merge,
    Route,
    Safety,
    Split,
    is_blocking,
    keys_of,
    resolve,
    safety_of,
    timeout_of,
)

READ, SAME, COUNT, NEVER = Safety


def call(text):
    """Split a call written as one string; '' is an empty argument."""
    return ["" if word == "''" else word for word in text.split()]


def keys(text):
    return keys_of(*resolve(call(text)))


def safety(text):
    return safety_of(*resolve(call(text)))


# -------------------------------------------------------------------------------------- blocking


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("BLPOP a b 5", (3, 1.0)),
        ("BRPOP a 5", (2, 1.0)),
        ("BZPOPMIN a 5", (2, 1.0)),
        ("BZPOPMAX a 5", (2, 1.0)),
        ("BRPOPLPUSH a b 5", (3, 1.0)),
        ("BLMOVE a b LEFT RIGHT 5", (5, 1.0)),
        ("BLMOVEM a b LEFT RIGHT 5 COUNT 3 OBO", (5, 1.0)),
        ("BLMPOP 5 1 a LEFT", (1, 1.0)),
        ("BZMPOP 5 1 a MIN", (1, 1.0)),
        ("XREAD COUNT 1 BLOCK 5 STREAMS a 0", (4, 0.001)),
        ("XREADGROUP GROUP BLOCK c BLOCK 5 STREAMS a >", (5, 0.001)),
        ("XREAD STREAMS BLOCK 0", None),
        ("XREADGROUP GROUP g c STREAMS a >", None),
        ("XREAD BLOCK", None),
        ("TS.READ k 0 BLOCK 5 1", (4, 0.001)),
        ("TS.READ k 0", None),
        ("BLMOVE a b", None),
        ("LPOP k", None),
    ],
)
def test_the_timeout_of_a_blocking_call_is_found(text, expected):
    spec, args = resolve(call(text))
    assert timeout_of(spec, args) == expected
    assert is_blocking(spec, args) is (expected is not None)


def test_an_entry_tells_whether_it_can_block():
    assert COMMANDS["XREAD"].blocking
    assert not COMMANDS["GET"].blocking


# ---------------------------------------------------------------------------- routes and refusals


@pytest.mark.parametrize(
    ("name", "route", "merge"),
    [
        ("DBSIZE", Route.PRIMARIES, Merge.SUM),
        ("KEYS", Route.PRIMARIES, Merge.UNION),
        ("SCAN", Route.PRIMARIES, Merge.CURSORS),
        ("FLUSHALL", Route.PRIMARIES, Merge.ALL),
        ("SCRIPT LOAD", Route.PRIMARIES, Merge.ALL),
        ("SCRIPT EXISTS", Route.PRIMARIES, Merge.AND),
        ("SCRIPT KILL", Route.PRIMARIES, Merge.ONE),
        ("PUBSUB NUMSUB", Route.NODES, Merge.COUNTS),
        ("CONFIG SET", Route.NODES, Merge.ALL),
        ("PING", Route.DEFAULT, Merge.ALL),
        ("INFO", Route.DEFAULT, Merge.NONE),
        ("RANDOMKEY", Route.PRIMARIES, Merge.PICK),
        ("PUBLISH", Route.ANY, Merge.NONE),
        ("CLUSTER COUNTKEYSINSLOT", Route.SLOT, Merge.NONE),
        ("GET", Route.KEYS, Merge.NONE),
    ],
)
def test_routes(name, route, merge):
    assert (COMMANDS[name].route, COMMANDS[name].merge) == (route, merge)


def test_the_commands_of_rule_22_are_split():
    split = {name: spec.split for name, spec in COMMANDS.items() if spec.split is not Split.NONE}
    assert split == {
        "MGET": Split.VALUES,
        "MSET": Split.PAIRS,
        **dict.fromkeys(["DEL", "UNLINK", "EXISTS", "TOUCH"], Split.SUM),
    }


REFUSED = {
    "Cluster.pipeline(transaction=True)": "MULTI EXEC DISCARD WATCH UNWATCH",
    "Cluster.pubsub()": "SUBSCRIBE PSUBSCRIBE SSUBSCRIBE UNSUBSCRIBE PUNSUBSCRIBE SUNSUBSCRIBE",
    "Cluster.durable()": "WAIT WAITAOF",
    "not supported yet": "CLIENT_TRACKING CLIENT_CACHING",
    "db=": "SELECT",
    "password=": "AUTH",
    "protocol=": "HELLO",
    "client_name=": "CLIENT_SETNAME",
    "read_from=": "READONLY READWRITE",
    "Cluster.pipeline": "CLIENT_REPLY",
    "Cluster.close()": "RESET QUIT",
    "redirects": "ASKING",
    "when it connects": "CLIENT_SETINFO CLIENT_CAPA",
    "redis.Redis": "MONITOR SCRIPT_DEBUG CLIENT_NO-EVICT CLIENT_NO-TOUCH CLIENT_IMPORT-SOURCE "
    "HIMPORT_PREPARE HIMPORT_SET HIMPORT_DISCARD HIMPORT_DISCARDALL",
    "replicas": "SYNC PSYNC REPLCONF CLUSTER_SYNCSLOTS",
    "web page": "HOST: POST",
}


@pytest.mark.parametrize(("api", "names"), REFUSED.items())
def test_rule_7_refuses_what_changes_a_connection_and_names_the_api(api, names):
    for name in names.split():
        spec, _ = resolve(name.split("_"))
        assert api in spec.refused


def test_nothing_else_is_refused():
    listed = {name.replace("_", " ") for names in REFUSED.values() for name in names.split()}
    assert {name for name, spec in COMMANDS.items() if spec.refused} == listed


# ------------------------------------------------------------------------------- the table itself


def test_no_command_is_listed_twice():
    names = [
        name
        for row in command_table._rows(command_table.TABLE)
        for name in command_table._names(row.split(maxsplit=2)[2])
    ]
    assert len(names) == len(set(names)) > 500


def test_all_side_tables_name_commands_of_the_table():
    sides = (
        command_table._OPTIONS_OF,
        command_table._TIMEOUT_OF,
        command_table._REFUSAL_OF,
        command_table.SPLITS,
    )
    assert [name for side in sides for name in side if name not in COMMANDS] == []


@pytest.mark.parametrize("text", ["x", "1:", "#", "@", "1/", "1?x"])
def test_a_place_that_cannot_be_read_is_an_error_in_the_table(text):
    with pytest.raises(AssertionError):
        command_table._key_spec(text)


def test_a_place_says_what_a_key_spec_holds():
    assert command_table._key_spec("1:*-1") == KeySpec(1, last=-2)
    assert command_table._key_spec("3!") == KeySpec(3, placeholder=True)
    assert command_table._key_spec("@KEYS:2?") == KeySpec(0, "KEYS", last=1, optional=True)

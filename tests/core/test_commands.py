"""The command table's questions: where are the keys, may it be sent twice, will it block."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clustercache._core.commands import (
    COMMANDS,
    KeysError,
    Route,
    Safety,
    find,
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


# ---------------------------------------------------------------------------------------- lookup


@pytest.mark.parametrize("name", ["GET", "get", "Get"])
def test_find_takes_any_case(name):
    assert find(name) is COMMANDS["GET"]


@pytest.mark.parametrize("name", ["CONFIG GET", "config get", "Config  Get"])
def test_find_takes_two_words(name):
    assert find(name) is COMMANDS["CONFIG GET"]


@pytest.mark.parametrize("name", ["", "NOSUCH", "CONFIG NOSUCH", "GET GET"])
def test_find_tells_what_is_not_in_the_table(name):
    assert find(name) is None


@pytest.mark.parametrize(
    ("args", "name", "resolved"),
    [
        (("GET", "k"), "GET", ("GET", "k")),
        (("get", "k"), "GET", ("get", "k")),
        ((b"get", "k"), "GET", (b"get", "k")),
        ((bytearray(b"get"), "k"), "GET", (bytearray(b"get"), "k")),
        (("CONFIG", "GET", "x"), "CONFIG GET", ("CONFIG GET", "x")),
        ((b"config", b"get", "x"), "CONFIG GET", ("CONFIG GET", "x")),
        (("CONFIG GET", "x"), "CONFIG GET", ("CONFIG GET", "x")),
        (("config get", "x"), "CONFIG GET", ("config get", "x")),
        (("COMMAND",), "COMMAND", ("COMMAND",)),
        (("CLUSTER", "NOSUCH", "x"), "CLUSTER", ("CLUSTER", "NOSUCH", "x")),
        (("CLUSTER NOSUCH", "x"), "CLUSTER", ("CLUSTER", "NOSUCH", "x")),
        (("CLUSTER", 5), "CLUSTER", ("CLUSTER", 5)),
        (("FOO.BAR", "k"), "FOO.BAR", ("FOO.BAR", "k")),
        (("foo bar", "k"), "FOO", ("foo", "bar", "k")),
        (("lolwut version", 5), "LOLWUT", ("lolwut", "version", 5)),
        (("config  get x",), "CONFIG GET", ("CONFIG GET", "x")),
    ],
)
def test_resolve_joins_the_name_and_falls_back_to_the_container(args, name, resolved):
    spec, joined = resolve(args)
    assert spec.name == name
    assert tuple(joined) == resolved


@pytest.mark.parametrize("name", [None, 5, ["GET"]])
def test_resolve_refuses_what_is_no_name(name):
    with pytest.raises(TypeError, match=type(name).__name__):
        resolve((name, "k"))


def test_words_are_what_goes_on_the_wire():
    assert COMMANDS["CONFIG GET"].words == (b"CONFIG", b"GET")
    assert all(" ".join(w.decode() for w in s.words) == name for name, s in COMMANDS.items())


def test_an_unknown_command_writes_its_first_argument_and_is_never_sent_twice():
    spec, args = resolve(("FOO.BAR", "k", "v"))
    assert keys_of(spec, args) == ["k"]
    assert keys_of(*resolve(("FOO.BAR",))) == []
    assert (spec.safety, spec.readonly, spec.route) == (NEVER, False, Route.KEYS)
    assert safety_of(spec, args) is NEVER


# ------------------------------------------------------------------------------------------ keys

CALLS = {
    "GET k": ["k"],
    "GET ''": [""],
    "SET k v EX 5": ["k"],
    "MGET a b c": ["a", "b", "c"],
    "MSET a 1 b 2": ["a", "b"],
    "MSETNX a 1 b 2": ["a", "b"],
    "MSETEX 2 a 1 b 2 EX 5": ["a", "b"],
    "DEL a b": ["a", "b"],
    "RENAME a b": ["a", "b"],
    "COPY a b REPLACE": ["a", "b"],
    "LCS a b IDX": ["a", "b"],
    "BITOP AND d a b": ["d", "a", "b"],
    "PFCOUNT a b": ["a", "b"],
    "PFMERGE d a b": ["d", "a", "b"],
    "SORT k": ["k"],
    "SORT k BY store GET STORE LIMIT 0 1 STORE d": ["k", "d"],
    "sort k store d": ["k", "d"],
    "GEORADIUS k 1 2 3 m": ["k"],
    "GEORADIUS k 1 2 3 m COUNT 1 STORE d": ["k", "d"],
    "GEORADIUSBYMEMBER k STORE 3 m STOREDIST d": ["k", "d"],
    "GEOSEARCHSTORE d k FROMMEMBER m BYRADIUS 1 m": ["d", "k"],
    "ZRANGESTORE d k 0 1": ["d", "k"],
    "ZUNION 2 a b WEIGHTS 1 2": ["a", "b"],
    "ZDIFFSTORE d 2 a b": ["d", "a", "b"],
    "SINTERCARD 2 a b LIMIT 1": ["a", "b"],
    "LMPOP 2 a b LEFT": ["a", "b"],
    "BLMPOP 0 2 a b LEFT": ["a", "b"],
    "BLPOP a b 0": ["a", "b"],
    "EVAL script 0 x": [],
    "EVALSHA sha 2 a b x": ["a", "b"],
    "EVAL_RO script 1 a": ["a"],
    "FCALL f 1 a x": ["a"],
    "XREAD STREAMS a 0": ["a"],
    "xread count 1 block 5 streams a streams 0 0": ["a", "streams"],
    "XREADGROUP GROUP STREAMS c STREAMS a b > >": ["a", "b"],
    "XREAD NEWOPTION STREAMS a 0": ["a"],
    "XGROUP CREATE k g $": ["k"],
    "XINFO STREAM k": ["k"],
    "OBJECT ENCODING k": ["k"],
    "OBJECT HELP": [],
    "MEMORY USAGE k": ["k"],
    "DEBUG OBJECT k": ["k"],
    "DEBUG SLEEP 0": [],
    "MIGRATE h 1 k 0 5": ["k"],
    "MIGRATE h 1 '' 0 5": [""],
    "MIGRATE h 1 '' 0 5 COPY AUTH2 u KEYS KEYS a b": ["a", "b"],
    "MIGRATE h 1 k 0 5 KEYS a": ["k", "a"],
    "STRALGO LCS KEYS a b": ["a", "b"],
    "STRALGO LCS STRINGS KEYS b": [],
    "JSON.MGET a b $": ["a", "b"],
    "JSON.MSET a $ 1 b $ 2": ["a", "b"],
    "TS.MADD a 1 2 b 1 2": ["a", "b"],
    "TS.CREATERULE a b AGGREGATION avg 1": ["a", "b"],
    "TDIGEST.MERGE d 2 a b": ["d", "a", "b"],
    "SPUBLISH channel m": ["channel"],
    "SUNSUBSCRIBE": [],
    "PING": [],
}


@pytest.mark.parametrize(("text", "expected"), CALLS.items())
def test_keys_are_found(text, expected):
    assert keys(text) == expected


def test_keys_are_returned_as_given():
    key = memoryview(b"k")
    assert keys_of(*resolve((b"MGET", b"a", 5, key))) == [b"a", 5, key]
    assert keys_of(*resolve((b"eval", b"s", b"2", "a", "b"))) == ["a", "b"]
    assert keys_of(*resolve((b"eval", b"s", 1, "a", "b"))) == ["a"]
    assert keys_of(*resolve(("MIGRATE", "h", 1, b"", 0, 5, b"keys", b"a"))) == [b"a"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("GET", "GET lacks a key"),
        ("DEL", "DEL lacks a key"),
        ("RENAME a", "RENAME lacks a key"),
        ("BLPOP 0", "BLPOP lacks a key"),
        ("MSET a 1 b", "MSET takes its arguments in groups of 2: one is missing"),
        ("JSON.MSET a $ 1 b $", "JSON.MSET takes its arguments in groups of 3: one is missing"),
        ("XREAD STREAMS a b 0", "XREAD takes its arguments in groups of 2: one is missing"),
        ("XREAD STREAMS", "XREAD lacks a key"),
        ("XREAD COUNT 1", "XREAD needs STREAMS before its keys"),
        ("SORT k STORE", "SORT lacks a key"),
        ("EVAL s", "EVAL needs the number of its keys at position 2"),
        ("EVAL s x", "EVAL needs the number of its keys at position 2"),
        ("EVAL s -1 a", "EVAL needs the number of its keys at position 2"),
        ("EVAL s 1_0 a", "EVAL needs the number of its keys at position 2"),
        ("EVAL s 2 a", "EVAL has fewer keys than the number at position 2 says"),
        ("EVAL s 99999999999999999999 a", "EVAL needs the number of its keys at position 2"),
        ("ZUNION 0", "ZUNION needs at least one key"),
        ("MSETEX 2 a 1 b", "MSETEX has fewer keys than the number at position 1 says"),
    ],
)
def test_a_malformed_call_is_told_without_its_arguments(text, message):
    with pytest.raises(KeysError) as caught:
        keys(text)
    assert str(caught.value) == message


@pytest.mark.parametrize("count", [True, 1.0, None, "\u0661"])
def test_a_number_of_keys_is_a_whole_number(count):
    with pytest.raises(KeysError):
        keys_of(*resolve(("EVAL", "s", count, "a")))


arguments = st.one_of(
    st.sampled_from(["STREAMS", "KEYS", "STORE", "BLOCK", "FIELDS", "NX", b"EX", b"keys", "", b""]),
    st.integers(-2, 4),
    st.integers(-2, 4).map(str),
    st.text(max_size=2),
    st.binary(max_size=2),
    st.floats(),
    st.none(),
)


@given(st.sampled_from([*COMMANDS, "FOO", "FOO BAR"]), st.lists(arguments, max_size=9))
def test_any_arguments_give_keys_among_them_or_a_keys_error(name, rest):
    spec, args = resolve((name, *rest))
    try:
        found = keys_of(spec, args)
        worst = safety_of(spec, args)
    except KeysError:
        return
    assert all(any(key is argument for argument in args[1:]) for key in found)
    assert worst in Safety
    assert is_blocking(spec, args) == (timeout_of(spec, args) is not None)


@given(st.sampled_from(sorted(name for name in COMMANDS if COMMANDS[name].single_key)))
def test_a_single_key_is_where_the_entry_says(name):
    spec = COMMANDS[name]
    args = [name, *(f"a{at}" for at in range(1, spec.single_key + 1))]
    assert keys_of(spec, args) == [f"a{spec.single_key}"]


# ---------------------------------------------------------------------------------------- safety


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("GET k", READ),
        ("SET k v", SAME),
        ("SET k v EX 5", SAME),
        ("MSET a 1 b 2", SAME),
        ("SETEX k 5 v", SAME),
        ("DEL k", COUNT),
        ("UNLINK k", COUNT),
        ("SADD k m", COUNT),
        ("HSET k f v", COUNT),
        ("EXPIRE k 5", COUNT),
        ("INCR k", NEVER),
        ("LPUSH k v", NEVER),
        ("APPEND k v", NEVER),
        ("SET k v NX", NEVER),
        ("SET k v XX", NEVER),
        ("SET k v GET", NEVER),
        ("GETDEL k", NEVER),
        ("RENAME a b", NEVER),
        ("EVAL s 0", NEVER),
    ],
)
def test_rule_17_names_these(text, expected):
    assert safety(text) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("SET k NX", SAME),
        ("SET NX GET EX 5", SAME),
        ("SET k v ex 5 keepttl nx", NEVER),
        ("SET k v IFEQ NX", NEVER),
        ("SET k v EX 5 NEWOPTION", NEVER),
        ("SET k", SAME),
        ("GETEX k EX 5", SAME),
        ("GETEX k", SAME),
        ("GETEX k EXAT 5", NEVER),
        ("HGETEX k EX 5 FIELDS 1 PXAT", SAME),
        ("HSETEX k EX 5 FIELDS 1 FNX FNX", SAME),
        ("HSETEX k FNX FIELDS 1 f v", NEVER),
        ("MSETEX 1 NX NX EX 5", SAME),
        ("MSETEX 1 k v NX", NEVER),
        ("DELEX k", COUNT),
        ("DELEX k IFEQ v", NEVER),
        ("DELIFEQ k v", NEVER),
        ("EXPIRE k 5 NX", NEVER),
        ("HEXPIRE k 5 FIELDS 1 NX", COUNT),
        ("HEXPIRE k 5 GT FIELDS 1 f", NEVER),
        ("ZADD k 1 INCR", COUNT),
        ("ZADD k NX CH 1 INCR", COUNT),
        ("ZADD k XX INCR 1 m", NEVER),
        ("RESTORE k 0 REPLACE", NEVER),
        ("RESTORE k 0 payload ABSTTL REPLACE", SAME),
        ("SORT k GET STORE", SAME),
        ("SORT k STORE d", NEVER),
        ("GEORADIUS k 1 2 3 m ASC", SAME),
        ("GEORADIUS k 1 2 3 m STORE d", NEVER),
        ("XREAD COUNT 1 STREAMS a 0", READ),
        ("XREADGROUP GROUP g c STREAMS a >", NEVER),
        ("SUNIONSTORE d a b", NEVER),
        ("FUNCTION LOAD code", NEVER),
        ("FUNCTION LOAD REPLACE code", SAME),
        ("FUNCTION RESTORE payload FLUSH", SAME),
        ("FUNCTION RESTORE payload APPEND", NEVER),
        ("JSON.SET k $ NX", SAME),
        ("JSON.SET k $ 1 XX", NEVER),
        ("CONFIG SET a b", SAME),
        ("LTRIM k 0 1", NEVER),
    ],
)
def test_options_count_and_values_do_not(text, expected):
    assert safety(text) is expected


def test_option_words_may_be_bytes():
    assert safety_of(*resolve((b"set", b"k", b"v", b"nx"))) is NEVER
    assert safety_of(*resolve(("SET", "k", "v", "EX", 5))) is SAME
    assert safety_of(*resolve(("SET", "k", "v", 5))) is NEVER


def test_what_only_reads_may_go_to_a_replica_and_nothing_else():
    assert all(spec.readonly == (spec.safety is READ) for spec in COMMANDS.values())

"""What cannot be meant is refused before anything is sent, with the way out."""

from __future__ import annotations

import re

import pytest
import redis

from clustercache import Cluster, ClusterConfig
from clustercache._core.commands import COMMANDS
from clustercache.exceptions import (
    ConfigurationError,
    CrossSlotError,
    InvalidArgumentError,
    UnsupportedCommandError,
)
from clustercache.testing import FakeCluster

SECRET = "a-value-that-no-message-may-show"
REFUSED = {name: spec.refused for name, spec in COMMANDS.items() if spec.refused}
BLOCKING = {
    "BLPOP": ("k", 1),
    "BRPOP": ("k", 1),
    "BLMOVE": ("{k}1", "{k}2", "LEFT", "RIGHT", 1),
    "BZPOPMIN": ("k", 1),
    "XREAD": ("BLOCK", 0, "STREAMS", "k", "$"),
}


@pytest.fixture(scope="module")
def fake():
    with FakeCluster(primaries=2) as cluster:
        yield cluster


@pytest.fixture(params=["cold", "warm"])
def client(fake, request):
    with Cluster.from_url(fake.url, deadline=2.0) as made:
        if request.param == "warm":
            made.get("bar")
            made.get("foo")
        yield made


@pytest.fixture
def refused(fake, client):
    """Call the client; it must refuse without sending the call, and without quoting the value.

    Whether keys may live in several slots depends on the topology, which may be asked for.
    """

    def call(error, make):
        before = len(sent())
        with pytest.raises(error) as caught:
            make(client)
        assert len(sent()) == before
        assert SECRET not in str(caught.value)
        assert caught.value.applied == "no"
        return caught.value

    def sent():
        asked = {"HELLO", "CLIENT", "CLUSTER"}
        return [command for node in fake.nodes for command in node.commands
                if command.name not in asked]  # fmt: skip

    return call


@pytest.mark.parametrize("client", ["warm"], indirect=True)
@pytest.mark.parametrize("name", REFUSED)
def test_what_changes_a_connections_state_is_refused_with_the_api_named(name, refused):
    words = name.split()
    spellings = [(name,), (name.lower(),), (name.encode(),), tuple(words), (*words, "x", "y")]
    spellings += [tuple(word.lower().encode() for word in words), (f" {name} ",)]
    for args in spellings:
        error = refused(UnsupportedCommandError, lambda r, args=args: r.execute_command(*args))
        assert REFUSED[name] in str(error)
        assert error.command == name


@pytest.mark.parametrize("text", sorted(set(REFUSED.values())))
def test_what_a_refusal_names_is_there(text):
    for method in re.findall(r"Cluster\.(\w+)", text):
        assert callable(getattr(Cluster, method))
    for option in re.findall(r"(\w+)= ", text):
        assert option in ClusterConfig.__dataclass_fields__


@pytest.mark.parametrize("client", ["warm"], indirect=True)
@pytest.mark.parametrize("name", BLOCKING)
def test_what_would_keep_a_shared_connection_waiting_is_refused(name, refused):
    call = (name, *BLOCKING[name])
    refused(UnsupportedCommandError, lambda r: r.pipeline().execute_command(*call))


@pytest.mark.parametrize(
    "make",
    [
        lambda r: r.wait(1, 100),
        lambda r: r.select(1),
        lambda r: r.auth(SECRET),
        lambda r: r.client_reply("OFF"),
        lambda r: r.readonly(),
    ],
)
def test_redis_pys_methods_for_them_are_refused_too(make, refused):
    refused((UnsupportedCommandError, NotImplementedError), make)


AN_OBJECT = pytest.param(object(), id="an object")
UNSENDABLE = [None, True, False, [SECRET], {SECRET: 1}, (SECRET,), object(), 1j, {SECRET}]


@pytest.mark.parametrize("value", UNSENDABLE, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize(
    "make",
    [
        lambda r, value: r.set("k", value),
        lambda r, value: r.set("k", value, ex=5, nx=True),
        lambda r, value: r.execute_command("SET", "k", value),
        lambda r, value: r.mset({"k": "v", "j": value}),
        lambda r, value: r.hset("k", "f", value),
        lambda r, value: r.hset("k", mapping={"f": value}),
        lambda r, value: r.sadd("k", value),
    ],
    ids=["set", "set nx", "execute_command", "mset", "hset", "hset mapping", "sadd"],
)
def test_a_value_that_cannot_be_sent_is_refused(make, value, refused):
    refused(redis.DataError, lambda r: make(r, value))


@pytest.mark.parametrize("key", [None, True, object(), 1j], ids=lambda key: type(key).__name__)
@pytest.mark.parametrize(
    "make",
    [
        lambda r, key: r.get(key),
        lambda r, key: r.set(key, SECRET),
        lambda r, key: r.mget(["a", key]),
        lambda r, key: r.delete("a", key),
        lambda r, key: r.incr(key),
        lambda r, key: r.execute_command("GET", key),
    ],
    ids=["get", "set", "mget", "delete", "incr", "execute_command"],
)
def test_a_key_that_cannot_be_sent_is_refused(make, key, refused):
    refused(InvalidArgumentError, lambda r: make(r, key))


@pytest.mark.parametrize("place", ["key", "value"])
def test_text_that_cannot_be_encoded_is_refused_without_quoting_it(place, refused):
    text = f"{SECRET}\udcff"
    args = (text, "v") if place == "key" else ("k", text)
    error = refused(InvalidArgumentError, lambda r: r.set(*args))
    assert SECRET not in repr(error.__context__)


@pytest.mark.parametrize(
    "args",
    [
        ("MGET",),
        ("DEL",),
        ("EXISTS",),
        ("MSET",),
        ("MSET", "a", SECRET, "b"),
        ("MSET", "a"),
        ("GET",),
        ("SET",),
        ("ZUNION", "x", "a"),
        ("ZUNION", 0, "a"),
        ("EVAL", "return 1", SECRET),
        ("EVAL", "return 1", 2, "a"),
        ("XREAD", "COUNT", 1),
        ("CLUSTER", "COUNTKEYSINSLOT", 16384),
        ("CLUSTER", "GETKEYSINSLOT", "x", 1),
        ("CLUSTER", "COUNTKEYSINSLOT"),
    ],
    ids=lambda args: " ".join(map(str, args)),
)
def test_a_malformed_call_is_refused(args, refused):
    error = refused(InvalidArgumentError, lambda r: r.execute_command(*args))
    assert error.command.split()[0] == args[0]


def test_an_empty_mget_is_refused(refused):
    refused(InvalidArgumentError, lambda r: r.mget([]))
    refused(InvalidArgumentError, lambda r: r.delete())
    refused(redis.DataError, lambda r: r.mset({}))


@pytest.mark.parametrize("name", [None, 1, "", " ", b"", True, [], AN_OBJECT], ids=repr)
def test_a_command_needs_a_name(name, refused):
    refused(InvalidArgumentError, lambda r: r.execute_command(name, "k"))


def test_a_call_of_nothing_is_refused(refused):
    refused(InvalidArgumentError, lambda r: r.execute_command())


@pytest.mark.parametrize(
    "make",
    [
        lambda r: r.sinter(["bar", "foo"]),
        lambda r: r.rename("bar", "foo"),
        lambda r: r.eval("return 1", 2, "bar", "foo"),
        lambda r: r.pfmerge("bar", "foo"),
        lambda r: r.execute_command("MSETNX", "bar", SECRET, "foo", SECRET),
        lambda r: r.lmove("bar", "foo"),
    ],
    ids=["sinter", "rename", "eval", "pfmerge", "msetnx", "lmove"],
)
def test_keys_of_several_slots_are_refused_with_the_hash_tag_named(make, refused):
    error = refused((CrossSlotError, redis.exceptions.RedisClusterException), make)
    assert "{hash tag}" in str(error)
    assert isinstance(error, CrossSlotError)


@pytest.mark.parametrize(
    "target", ["nowhere:1", ("10.0.0.9", 1), "nonsense", AN_OBJECT, "10.0.0.9:99999", 5], ids=repr
)
def test_a_target_node_that_is_none_is_refused(target, fake, client):
    client.get("bar")
    before = [len(node.received("PING")) for node in fake.nodes]
    with pytest.raises(InvalidArgumentError):
        client.execute_command("PING", target_nodes=target)
    assert [len(node.received("PING")) for node in fake.nodes] == before


@pytest.mark.parametrize("targets", [(), [], {}, "replicas"], ids=repr)
def test_targets_that_mean_no_node_are_refused(targets, client):
    client.get("bar")
    with pytest.raises(InvalidArgumentError, match="no node"):
        client.execute_command("PING", target_nodes=targets)


def test_a_command_that_is_split_takes_no_target_nodes(refused, client):
    client.get("bar")
    refused(
        InvalidArgumentError,
        lambda r: r.execute_command("DEL", "bar", "foo", target_nodes="primaries"),
    )


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), 1e9, "1", True])
def test_a_deadline_that_cannot_be_meant_is_refused(seconds, client):
    with pytest.raises(ConfigurationError), client.deadline(seconds):
        pass  # pragma: no cover

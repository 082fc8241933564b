"""Durable writes: the write and its WAIT on one connection, through redirects and losses."""

from __future__ import annotations

import pytest
import redis

from clustercache import Cluster
from clustercache.exceptions import (
    ConfigurationError,
    DeadlineExceededError,
    NotReplicatedError,
    OutcomeUnknownError,
    PartialError,
    UnsupportedCommandError,
)
from clustercache.testing import (
    FakeCluster,
    array,
    close_before_reply,
    error,
    integer,
    silence,
)
from tests.asyncs import both  # noqa: F401 - for both clients

KEY = "bar"
SECRET = "a-value-that-no-message-may-show"


@pytest.fixture
def fake():
    with FakeCluster(primaries=2, replicas=1) as cluster:
        for node in cluster.nodes:
            node.on("WAIT", integer(1))
        yield cluster


@pytest.fixture
def owner(fake):
    return fake.owner(KEY)


@pytest.fixture
def client(fake):
    with Cluster.from_url(fake.url, socket_timeout=0.2, deadline=3.0) as made:
        yield made


def test_the_write_and_its_wait_go_out_together(client, owner):
    with client.durable(replicas=1, timeout=0.25) as d:
        assert d.set(KEY, "v") is True
        assert d.acknowledged == 1
    ((write,), (wait,)) = owner.received("SET"), owner.received("WAIT")
    assert (write.connection_id, write.chunk) == (wait.connection_id, wait.chunk)
    assert wait == [b"WAIT", b"1", b"250"]


def test_results_are_those_of_the_client(client):
    d = client.durable()
    assert d.incr(KEY) == 1
    assert d.hset("{bar}h", mapping={"a": 1}) == 1
    assert d.get_encoder() is client.get_encoder()


def test_a_wait_takes_no_place_from_ordinary_calls(fake, owner):
    with Cluster.from_url(fake.url, max_connections=1) as client:
        client.get(KEY)
        client.durable().set(KEY, "v")
    (get,), (write,) = owner.received("GET"), owner.received("SET")
    assert get.connection_id != write.connection_id


def test_too_few_are_reported_or_raised(client, owner):
    owner.on("WAIT", integer(0))
    with client.durable() as d:
        assert d.set(KEY, SECRET) is True
        assert d.acknowledged == 0
    with pytest.raises(NotReplicatedError) as caught:
        client.durable(2, strict=True).set(KEY, SECRET)
    told = caught.value
    assert (told.acknowledged, told.wanted, told.applied, told.command) == (0, 2, "maybe", "SET")
    assert SECRET not in str(told)


def test_a_write_over_several_slots_counts_the_least(client, fake):
    fake.owner("foo").on("WAIT", integer(0))
    with client.durable() as d:
        assert d.mset({"foo": 1, "bar": 2}) is True
        assert d.acknowledged == 0
        assert d.delete("bar") == 1
        assert d.acknowledged == 1


def test_a_write_over_several_slots_may_succeed_in_part(client, fake):
    fake.owner("foo").on("SET", error("OOM no memory"))
    fake.owner("foo").on("MSET", error("OOM no memory"))
    with pytest.raises(PartialError):
        client.durable().mset({"foo": 1, "bar": 2})


def test_waitaof_tells_of_the_disks(client, owner):
    owner.on("WAITAOF", array(1, 0))
    with client.durable(replicas=1, local=True) as d:
        d.set(KEY, "v")
        assert (d.local, d.acknowledged) == (True, 0)
    assert owner.received("WAITAOF") == [[b"WAITAOF", b"1", b"1", b"100"]]
    owner.on("WAITAOF", array(0, 2))
    with client.durable(replicas=2, aof=True, strict=True) as d:
        d.set(KEY, "v")
        assert (d.local, d.acknowledged) == (False, 2)
    with pytest.raises(NotReplicatedError, match="on disk"):
        client.durable(replicas=0, local=True, strict=True).set(KEY, "v")


def test_a_server_that_refuses_to_wait_says_so(client, owner):
    owner.on("WAITAOF", error("ERR WAITAOF cannot be used when appendonly is disabled."))
    with pytest.raises(redis.ResponseError, match="appendonly") as caught:
        client.durable(local=True).set(KEY, "v")
    assert "was executed" in str(caught.value.__notes__)


def test_a_refused_write_does_not_wait(client, owner):
    owner.on("SET", error("WRONGTYPE no"))
    owner.on("WAIT", silence())
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        client.durable().set(KEY, "v")
    owner.off("SET")
    owner.on("WAIT", integer(1))
    with client.durable() as d:
        d.set(KEY, "v")
        assert d.acknowledged == 1


def test_a_redirect_takes_both_to_the_other_node(client, fake, owner):
    client.set(KEY, "x")
    other = next(node for node in fake.primaries if node is not owner)
    fake.move(KEY, other)
    with client.durable() as d:
        assert d.set(KEY, "v") is True
    assert [c.name for c in other.commands if c.name in {"SET", "WAIT"}] == ["SET", "WAIT"]


def test_a_half_moved_slot_takes_both(client, fake, owner):
    other = next(node for node in fake.primaries if node is not owner)
    fake.migrate(KEY, other)
    with client.durable() as d:
        assert d.set(KEY, "v") is True
        assert d.acknowledged == 1
    names = [c.name for c in other.commands if c.name in {"ASKING", "SET", "WAIT"}]
    assert names == ["ASKING", "SET", "WAIT"]


def test_a_lost_wait_sends_all_again_where_that_is_safe(client, owner):
    owner.on("WAIT", [close_before_reply(), integer(1)])
    with client.durable() as d:
        assert d.set(KEY, "v") is True
        assert d.acknowledged == 1
    assert len(owner.received("SET")) == 2


def test_a_lost_wait_keeps_the_reply_of_what_must_not_be_repeated(client, owner):
    owner.on("WAIT", close_before_reply())
    with client.durable() as d:
        assert d.incr(KEY) == 1
        assert d.acknowledged == 0
    assert len(owner.received("INCRBY")) == 1
    with pytest.raises(NotReplicatedError):
        client.durable(strict=True).incr(KEY)


def test_a_lost_write_is_judged_by_its_class(client, owner):
    owner.on("INCRBY", close_before_reply())
    with pytest.raises(OutcomeUnknownError):
        client.durable().incr(KEY)


def test_a_deadline_shortens_the_wait(client, owner):
    with client.deadline(0.5):
        client.durable(timeout=30).set(KEY, "v")
    (wait,) = owner.received("WAIT")
    assert int(wait[2]) <= 450


def test_a_wait_without_an_answer_leaves_the_writes_own(client, owner):
    owner.on("WAIT", silence())
    with client.deadline(0.3), client.durable() as d:
        assert d.set(KEY, "v") is True
        assert d.acknowledged == 0


def test_a_write_without_an_answer_ends_at_the_deadline(client, owner):
    owner.on("SET", silence())
    with client.deadline(0.3), pytest.raises(DeadlineExceededError):
        client.durable().set(KEY, "v")


@pytest.mark.parametrize(
    "call",
    [
        lambda d: d.get(KEY),
        lambda d: d.ping(),
        lambda d: d.flushall(),
        lambda d: d.blpop(KEY, 1),
        lambda d: d.wait(1, 1),
        lambda d: d.eval("return 1", 0),
    ],
)
def test_what_is_no_write_to_a_key_is_refused(client, call):
    with pytest.raises(UnsupportedCommandError):
        call(client.durable())


@pytest.mark.parametrize(
    "options",
    [{"replicas": 0}, {"replicas": -1}, {"replicas": "1"}, {"timeout": 0}, {"timeout": "1"}],
)
def test_what_cannot_be_meant_is_refused(client, options):
    with pytest.raises(ConfigurationError):
        client.durable(**options)


@pytest.mark.parametrize("name", ["WAIT", "WAITAOF"])
def test_a_bare_wait_names_it(client, name):
    with pytest.raises(UnsupportedCommandError, match=r"Cluster\.durable"):
        client.execute_command(name, 1, 100)

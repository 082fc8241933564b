"""What transactions promise beside the scenario table, and what lies between the features."""

from __future__ import annotations

import threading

import pytest
import redis

from clustercache import Cluster
from clustercache._core.slots import key_slot
from clustercache.exceptions import (
    CrossSlotError,
    InvalidArgumentError,
    UnsupportedCommandError,
)
from clustercache.testing import FakeCluster, close_before_reply, error, null, simple
from tests.asyncs import sync_only

SECRET = "a-value-that-no-message-may-show"


@pytest.fixture(scope="module")
def fake():
    with FakeCluster(primaries=2) as cluster:
        yield cluster


@pytest.fixture
def client(fake, shell):
    with shell.from_url(fake.url, deadline=5.0) as made:
        yield made


def test_keys_of_a_transaction_share_a_slot_and_what_does_not_is_not_kept(client):
    assert client.exists("bar") in {0, 1}, "how many shards there are is known"
    pipe = client.pipeline(transaction=True).set("{a}1", "1")
    with pytest.raises(CrossSlotError, match="hash tag") as caught:
        pipe.set("b", SECRET)
    assert "slots 15495, 3300" in str(caught.value)
    with pytest.raises(CrossSlotError):
        pipe.mget("{a}1", "b")
    with pytest.raises(CrossSlotError):
        pipe.mget("c", "b")
    assert len(pipe) == 1
    with pytest.raises(InvalidArgumentError):
        pipe.watch("{a}1")


def queueing(node, exec_reply):
    node.on("WATCH", simple("OK"))
    node.on("MULTI", simple("OK"))
    node.on("EXEC", exec_reply)


@pytest.fixture
def watching(shell):
    with FakeCluster(primaries=2) as fake, shell.from_url(fake.url, deadline=3.0) as client:
        client.set("bar", "1")
        node = fake.owner("bar")
        queueing(node, [["OK"]])
        node.on("UNWATCH", simple("OK"))
        with client.pipeline(transaction=True) as pipe:
            pipe.watch("bar")
            yield client, node, pipe


def leased(client):
    return sum(node["in_flight"] for node in client.stats()["nodes"].values())


def test_reads_between_watch_and_multi_go_out_at_once_on_the_connection_that_watches(watching):
    client, node, pipe = watching
    assert pipe.get("bar") == b"1"
    with pytest.raises(CrossSlotError):
        pipe.get("foo")
    (watch,) = node.received("WATCH")
    assert node.received("GET")[-1].connection_id == watch.connection_id
    pipe.multi()
    node.on("SET", simple("QUEUED"))
    assert pipe.set("bar", "2").execute() == [True]
    assert node.received("EXEC")[-1].connection_id == watch.connection_id
    assert leased(client) == 0
    assert not node.received("UNWATCH"), "EXEC forgot what was watched"


def test_a_changed_key_is_a_watch_error_and_the_connection_serves_on(watching):
    client, node, pipe = watching
    pipe.multi()
    node.on("SET", simple("QUEUED"))
    node.on("EXEC", null())
    with pytest.raises(redis.WatchError, match="changed"):
        pipe.set("bar", "2").execute()
    assert leased(client) == 0


@pytest.mark.parametrize(
    "answer",
    [error("MOVED 5061 127.0.0.1:1"), error("ASK 5061 127.0.0.1:1"), error("CLUSTERDOWN x"),
     close_before_reply()],
    ids=["MOVED", "ASK", "CLUSTERDOWN", "closed"],
)  # fmt: skip
def test_a_watch_that_is_lost_before_exec_is_a_watch_error(watching, answer):
    client, node, pipe = watching
    node.on("GET", [answer, b"1"])
    with pytest.raises(redis.WatchError, match="watch them again"):
        pipe.get("bar")
    assert leased(client) == 0


def test_leaving_without_exec_unwatches(watching):
    client, node, pipe = watching
    pipe.reset()
    node.wait_for(lambda: node.received("UNWATCH"))
    assert leased(client) == 0
    node.on("SET", simple("OK"))
    assert pipe.set("foo", "1") is pipe


def test_multi_and_watch_have_their_order(watching):
    client, _, pipe = watching
    pipe.multi()
    with pytest.raises(InvalidArgumentError, match="nested"):
        pipe.multi()
    with pytest.raises(InvalidArgumentError, match="before"):
        pipe.watch("bar")
    with pytest.raises(InvalidArgumentError, match="needs a key"):
        client.pipeline(transaction=True).watch()


def test_a_connection_that_watches_is_nobody_elses(watching):
    client, node, _ = watching
    (watch,) = node.received("WATCH")
    before = len(node.received("GET"))
    for _ in range(3):
        client.get("bar")
    assert all(one.connection_id != watch.connection_id for one in node.received("GET")[before:])


def test_a_transaction_is_tried_again_while_its_keys_change_until_the_deadline(watching):
    client, node, _ = watching
    node.on("SET", simple("QUEUED"))
    node.on("EXEC", [null(), null(), ["OK"]])
    calls = []

    def work(pipe):
        calls.append(pipe.get("bar"))
        pipe.multi()
        pipe.set("bar", "2")
        return "value"

    assert client.transaction(work, "bar", value_from_callable=True) == "value"
    assert len(calls) == 3
    node.on("EXEC", null())
    with pytest.raises(redis.WatchError), client.deadline(0.2):
        client.transaction(work, "bar", watch_delay=0.01)
    assert not [one for one in threading.enumerate() if one.name == "clustercache"]


# ------------------------------------------------------------------------- between the features


@pytest.mark.parametrize("name", ["watch", "unwatch", "multi", "discard"])
@pytest.mark.parametrize("make", [lambda r: r, lambda r: r.pipeline()], ids=["client", "pipeline"])
def test_what_belongs_to_a_transaction_is_refused_elsewhere(client, make, name):
    arguments = ["bar"] if name == "watch" else []
    with pytest.raises(UnsupportedCommandError, match="pipeline\\(transaction=True\\)"):
        getattr(make(client), name)(*arguments)


def test_a_transaction_that_keeps_nothing_still_tells_of_a_change(watching):
    client, node, pipe = watching
    pipe.multi()
    node.on("EXEC", null())
    with pytest.raises(redis.WatchError, match="changed"):
        pipe.execute()
    assert leased(client) == 0


@sync_only
def test_a_connection_that_watched_is_as_patient_as_before(watching):
    client, node, pipe = watching
    pipe.multi()
    node.on("SET", simple("QUEUED"))
    with client.deadline(0.2):
        pipe.set("bar", "2").execute()
    pool = client._map.pool_at(client._map.slots[key_slot("bar")].address)
    assert {connection.patience for connection in pool.idle} == {client.config.patience}


def test_transactions_and_durable_writes_use_the_clients_codec(fake):
    key = "k\xe9"
    with Cluster.from_url(fake.url, encoding="latin-1") as client:
        wire = key.encode("latin-1")
        node = fake.owner(wire)
        queueing(node, [["OK"]])
        node.on("WAIT", 0)
        with client.pipeline(transaction=True) as pipe:
            pipe.watch(key)
            assert pipe.get(key) is None, "it is executed at once"
            with pytest.raises(CrossSlotError):
                pipe.get("other")
            node.on("UNWATCH", simple("OK"))
        assert node.received("WATCH")[-1] == [b"WATCH", wire]
        with pytest.raises(InvalidArgumentError):
            client.durable().execute_command("SET", key, "1", target="primaries")
        client.durable(timeout=0.1).set(key, "1")
        assert node.received("SET")[-1] == [b"SET", wire, b"1"]
        with pytest.raises(InvalidArgumentError) as caught:
            client.set(key, f"{SECRET}\u20ac")
        assert SECRET not in repr((caught.value, caught.value.__context__))


def test_a_keyed_command_goes_to_one_target_at_the_most(fake, client):
    client.get("bar")
    with pytest.raises(InvalidArgumentError, match="several nodes"):
        client.execute_command("INCR", "bar", target="primaries")


def test_a_write_aimed_at_a_replica_is_refused_at_once(shell):
    with FakeCluster(primaries=1, replicas=1) as fake, shell.from_url(fake.url) as client:
        client.get("bar")
        (replica,) = fake.primaries[0].replicas
        replica.on("FLUSHDB", error("READONLY You can't write against a read only replica."))
        with pytest.raises(redis.exceptions.ReadOnlyError):
            client.flushdb(target="replicas")
        assert len(replica.received("FLUSHDB")) == 1


def test_what_is_no_text_is_refused_in_a_pipeline_that_decodes(fake, shell):
    with (
        shell.from_url(fake.url, decode_responses=True) as client,
        pytest.raises(UnsupportedCommandError, match="no text"),
    ):
        client.pipeline().dump("bar")


def test_a_call_of_a_pipeline_may_be_declared_repeatable(fake, client):
    fake.owner("bar").on("HINCRBYFLOAT", [close_before_reply(), b"1.5"])
    pipe = client.pipeline()
    pipe.execute_command("HINCRBYFLOAT", "bar", "f", 1.5, repeatable=True)
    assert pipe.execute() == [1.5]
    fake.owner("bar").off("HINCRBYFLOAT")

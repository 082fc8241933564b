"""What hooks are told of a client's calls, nodes and map: one test for each event."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from clustercache.exceptions import ConfigurationError, CrossSlotError, DeadlineExceededError
from clustercache.instrumentation import (
    CommandDone,
    NodeBack,
    NodeReplaced,
    NodeSuspected,
    PoolWaited,
    PubSubGap,
    Redirected,
    RefreshDone,
    Retried,
    TopologyChanged,
)
from clustercache.testing import FakeCluster, array, delay, error, silence, simple
from tests.asyncs import sync_only
from tests.shells.subscribers import Broker

SECRET = "a-key-or-value-that-no-event-may-show"
SLOT = 5061  # of "bar"


@pytest.fixture
def fake():
    with FakeCluster(primaries=2, replicas=1) as cluster:
        yield cluster


class Heard(list):
    """A hook that keeps events, and lets a test wait for one."""

    def __init__(self):
        super().__init__()
        self.news = threading.Condition()

    def __call__(self, event):
        with self.news:
            self.append(event)
            self.news.notify_all()

    def of(self, kind):
        return [event for event in list(self) if type(event) is kind]

    def await_one(self, kind, timeout=5.0):
        with self.news:
            assert self.news.wait_for(lambda: self.of(kind), timeout), f"no {kind.__name__} came"
        return self.of(kind)[-1]


@pytest.fixture
def heard():
    return Heard()


@pytest.fixture
def client(fake, heard, shell):
    options = {"socket_timeout": 0.1, "deadline": 3.0}
    with shell.from_url(fake.url, hooks=[heard], **options) as made:
        made.set("bar", "1")
        made.set("foo", "1")
        heard.clear()
        yield made


def test_a_command_is_told_with_its_slot_and_node(fake, client, heard):
    assert client.get("bar") == b"1"
    (done,) = heard
    assert (done.command, done.slot, done.node) == ("GET", SLOT, fake.owner("bar").address)
    assert (done.attempts, done.error, done.size) == (1, None, 1)
    assert 0 < done.seconds < 1


@pytest.mark.parametrize("name", ["get", b"GET", "GET"])
def test_a_commands_name_is_told_as_the_table_has_it(name, client, heard):
    client.execute_command(name, "bar")
    assert [event.command for event in heard] == ["GET"]


def test_a_split_command_has_no_slot_and_no_node(client, heard):
    assert client.mget("foo", "bar") == [b"1", b"1"]
    (done,) = heard
    assert (done.command, done.slot, done.node) == ("MGET", None, "")


def test_a_command_without_keys_names_the_node_asked(fake, client, heard):
    client.ping(target_nodes=fake.primaries[1].address)
    (done,) = heard
    assert (done.command, done.slot, done.node) == ("PING", None, fake.primaries[1].address)


def test_a_failed_command_names_its_error_never_its_arguments(client, heard):
    with pytest.raises(CrossSlotError):
        client.rename(SECRET, f"{SECRET}2")
    with pytest.raises(Exception, match="unknown"):
        client.execute_command("NOSUCH", SECRET)
    first, second = heard.of(CommandDone)
    assert (first.command, first.error) == ("RENAME", "CrossSlotError")
    assert (second.command, second.error) == ("NOSUCH", "ResponseError")
    assert SECRET not in str(heard)


def test_a_pipeline_is_told_as_one(client, heard):
    with client.pipeline() as pipe:
        pipe.get("foo").get("bar")
        assert pipe.execute() == [b"1", b"1"]
    (done,) = heard
    assert (done.command, done.size, done.error) == ("PIPELINE", 2, None)


def test_a_transaction_is_told_as_one_too(fake, client, heard):
    node = fake.owner("bar")
    node.on("MULTI", simple("OK")).on("GET", simple("QUEUED")).on("EXEC", array(b"1"))
    assert client.transaction(lambda pipe: pipe.get("bar")) == [b"1"]
    assert [(event.command, event.size) for event in heard] == [("PIPELINE", 1)]


def test_a_pipelines_first_error_is_told_also_where_none_is_raised(fake, client, heard):
    fake.owner("bar").on("GET", error("ERR no"))
    with client.pipeline() as pipe:
        pipe.get("foo").get("bar").execute(raise_on_error=False)
    assert [event.error for event in heard] == ["ResponseError"]


def test_str_in_another_codec_is_told_all_the_same(fake, heard, shell):
    with shell.from_url(fake.url, hooks=[heard], encoding="latin-1") as client:
        client.set("bar", "\xe9")
    assert [event.command for event in heard.of(CommandDone)] == ["SET"]


def test_a_moved_slot_is_told_as_a_redirect_and_a_provisional_map(fake, client, heard):
    source, target = fake.owner("bar"), fake.owner("foo")
    fake.move("bar", target)
    assert client.get("bar") == b"1"
    (redirected,) = heard.of(Redirected)
    assert (redirected.command, redirected.by, redirected.slot) == ("GET", "moved", SLOT)
    assert (redirected.node, redirected.to) == (source.address, target.address)
    assert heard.of(TopologyChanged)[0].provisional
    (done,) = heard.of(CommandDone)
    assert (done.attempts, done.node) == (2, target.address)
    assert heard.await_one(RefreshDone).answered >= 1


def test_ask_is_told_as_a_redirect_in_a_pipeline_too(fake, client, heard):
    target = fake.owner("foo")
    fake.migrate("bar", target)
    fake.move_keys("bar")
    with client.pipeline() as pipe:
        assert pipe.get("bar").get("foo").execute() == [b"1", b"1"]
    (redirected,) = heard.of(Redirected)
    assert (redirected.by, redirected.to, redirected.attempt) == ("ask", target.address, 1)
    assert heard.of(CommandDone)[0].attempts == 2


def test_a_retry_says_why(fake, client, heard):
    node = fake.owner("bar")
    node.on("GET", [error("LOADING Redis is loading"), b"1"])
    assert client.get("bar") == b"1"
    (retried,) = heard.of(Retried)
    assert (retried.command, retried.reason, retried.slot) == ("GET", "unready", SLOT)
    assert (retried.node, retried.attempt) == (node.address, 1)
    assert 0 < retried.pause <= 0.1


def test_a_silent_node_is_suspected_and_back(fake, client, heard):
    node = fake.owner("bar")
    node.pause()
    with ThreadPoolExecutor(1) as executor:
        call = executor.submit(client.get, "bar")
        assert heard.await_one(NodeSuspected).node == node.address
        node.resume()
        assert call.result() == b"1"
        assert heard.await_one(NodeBack).node == node.address
    assert not heard.of(NodeReplaced)


def test_a_dead_node_is_suspected_and_replaced(fake, client, heard):
    node = fake.owner("bar")
    (replica,) = node.replicas
    fake.fail(node)
    with ThreadPoolExecutor(1) as executor:
        call = executor.submit(client.get, "bar")
        assert heard.await_one(NodeSuspected).node == node.address
        fake.promote(replica)
        assert heard.await_one(NodeReplaced).node == node.address
        assert call.result() == b"1"
    changed = heard.of(TopologyChanged)[-1]
    assert (changed.shards, changed.provisional) == (2, False)


def test_a_nodes_fate_is_logged_without_any_hook(fake, caplog, shell):
    node = fake.owner("bar")
    options = {"socket_timeout": 0.1, "deadline": 0.3}
    with (
        caplog.at_level(logging.DEBUG, "clustercache"),
        shell.from_url(fake.url, **options) as client,
    ):
        client.set("bar", SECRET)
        node.pause()
        with pytest.raises(DeadlineExceededError):
            client.get("bar")
        node.resume()
    assert f"node_suspected node={node.address}" in caplog.messages
    assert any(line.startswith("topology_changed nodes=") for line in caplog.messages)
    assert SECRET not in caplog.text


def test_a_caller_that_waited_for_a_connection_is_told(fake, heard, shell):
    node = fake.owner("bar")
    few = {"max_connections": 1, "max_in_flight": 1}
    with (
        shell.from_url(fake.url, hooks=[heard], **few) as client,
        ThreadPoolExecutor(2) as executor,
    ):
        client.set("bar", "1")
        node.on("GET", delay(0.1, b"1"))
        calls = [executor.submit(client.get, "bar") for _ in range(2)]
        assert [call.result() for call in calls] == [b"1", b"1"]
    waited = heard.of(PoolWaited)
    assert {event.node for event in waited} == {node.address}
    assert 0 < waited[0].seconds < 1


def test_seeds_that_do_not_answer_are_told(fake, heard, shell):
    silent, other = fake.primaries
    silent.on("HELLO", silence())
    urls = [silent.url, other.url]
    options = {"hooks": [heard], "deadline": 2.0, "socket_connect_timeout": 0.2}
    with shell.from_url(urls, **options) as client:
        client.ping(target_nodes=other.address)
    assert heard.of(RefreshDone)[0].failed == (silent.address,)


def test_a_gap_of_a_subscription_is_told_without_its_channel(fake, client, heard):
    broker = Broker(fake)
    with client.pubsub() as ps:
        ps.ssubscribe(SECRET)
        assert next(ps.listen())["type"] == "ssubscribe"
        broker.evict(SECRET.encode())
        assert [next(ps.listen())["type"] for _ in range(2)] == ["gap", "gap"]
    reasons = [event.reason for event in heard.of(PubSubGap)]
    assert reasons == ["unsubscribed by the node", "subscribed again"]
    assert SECRET not in str(heard)


def test_a_hook_that_fails_disturbs_no_call(fake, caplog, shell):
    def broken(_):
        raise RuntimeError

    with shell.from_url(fake.url, hooks=[broken]) as client:
        client.set("bar", "1")
        assert client.get("bar") == b"1"
    assert len([line for line in caplog.messages if "hook_failed" in line]) == 1


@sync_only
def test_a_hook_may_use_the_client_and_holds_no_lock_meanwhile(fake, shell):
    told, ends = [], []

    def hook(event):
        told.append(event)
        if type(event) is TopologyChanged:
            # Another thread could not answer if the map were locked.
            with ThreadPoolExecutor(1) as executor:
                ends.append(executor.submit(client.get, "foo").result())
            client.get("bar")

    with shell.from_url(fake.url, hooks=[hook], deadline=3.0) as client:
        client.set("foo", "1")
        fake.move("bar", fake.owner("foo"))
        client.get("bar")
    assert b"1" in ends
    assert Redirected in {type(event) for event in told}


def test_without_hooks_nothing_is_put_around_a_call(fake, shell):
    with shell.from_url(fake.url) as client, client.pipeline() as pipe:
        assert "execute_command" not in vars(client)
        assert "execute" not in vars(pipe)


@pytest.mark.parametrize("hooks", [print, [1], "x", None])
def test_hooks_are_a_list_of_functions(hooks, shell):
    with pytest.raises(ConfigurationError, match="hooks must be a list"):
        shell.from_url("redis://a", hooks=hooks)

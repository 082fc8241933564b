"""Pub/sub with the blocking client alone: threads, a forked child, an interrupt."""

from __future__ import annotations

import multiprocessing
import threading

import pytest
from redis.exceptions import PubSubError

from clustercache import Cluster
from clustercache._core.session import Session
from clustercache.testing import FakeCluster
from tests.shells.subscribers import Broker, messages, types


@pytest.fixture
def fake():
    with FakeCluster(primaries=2) as cluster:
        yield cluster


@pytest.fixture
def broker(fake):
    return Broker(fake)


@pytest.fixture
def client(fake):
    with Cluster.from_url(fake.url, socket_timeout=0.3, deadline=5.0) as made:
        yield made


def test_a_thread_handles_messages_until_it_is_stopped(client, broker, fake):
    seen = []
    came = threading.Event()

    def handler(one):
        seen.append(one)
        came.set()

    ps = client.pubsub()
    ps.subscribe(a=handler)
    thread = ps.run_in_thread(daemon=True)
    broker.send("", b"a", b"1")
    assert came.wait(5)
    thread.stop()
    thread.join(5)
    assert not thread.is_alive()
    assert not ps.subscribed
    assert [one["data"] for one in seen] == [b"1"]


def test_a_thread_hands_exceptions_over(client, broker):
    raised = []

    def handler(_):
        raise ValueError

    def failed(error, pubsub, thread):
        raised.append((type(error), pubsub))
        thread.stop()

    ps = client.pubsub()
    ps.subscribe(a=handler)
    thread = ps.run_in_thread(exception_handler=failed)
    broker.send("", b"a", b"1")
    thread.join(5)
    assert raised == [(ValueError, ps)]


def test_a_thread_ends_with_its_client(fake, broker):
    client = Cluster.from_url(fake.url)
    ps = client.pubsub()
    ps.subscribe(a=print)
    thread = ps.run_in_thread()
    client.close()
    thread.join(5)
    assert not thread.is_alive()


def test_a_thread_needs_a_handler_for_each_subscription(client, broker):
    with client.pubsub() as ps:
        ps.subscribe("a")
        with pytest.raises(PubSubError):
            ps.run_in_thread()


def test_a_child_uses_none_of_its_parents_sockets(client, broker, fake):
    def child(done):
        assert [one["data"] for one in messages(ps, 2)] == ["process forked", "subscribed again"]
        done.send("ready")
        done.send(messages(ps, 1)[0]["data"])
        done.recv()

    with client.pubsub() as ps:
        ps.ssubscribe("foo")
        assert types(ps, 1) == ["ssubscribe"]
        node = fake.owner("foo")
        (mine,) = broker.held[node, "s", b"foo"]
        before = len(mine.chunks)
        here, there = multiprocessing.Pipe()
        process = multiprocessing.get_context("fork").Process(target=child, args=(there,))
        process.start()
        assert here.poll(10)
        assert here.recv() == "ready"
        assert len(mine.chunks) == before
        broker.send("s", b"foo", b"both")
        assert here.poll(10)
        assert here.recv() == b"both"
        assert messages(ps, 1)[0]["data"] == b"both"
        assert not mine.closed
        ps.close()
        node.wait_for(lambda: mine.closed)  # so the child has let go of its copy
        here.send("end")
        process.join(10)
        assert process.exitcode == 0
        process.close()
        here.close()
        there.close()


def test_an_interrupt_closes_the_connection_and_nothing_goes_silent(client, broker, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    with client.pubsub() as ps:
        ps.ssubscribe("foo")
        assert types(ps, 1) == ["ssubscribe"]
        broker.send("s", b"foo", b"1")
        with monkeypatch.context() as patch:
            patch.setattr(Session, "take", interrupted)
            with pytest.raises(KeyboardInterrupt):
                messages(ps, 1)
        assert types(ps, 2) == ["gap", "gap"]
        broker.send("s", b"foo", b"2")
        assert messages(ps, 1)[0]["data"] == b"2"

"""Credentials that change while connections are open: AUTH again, and nobody is disturbed."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis

from clustercache import Cluster, ReadFrom
from clustercache.testing import FakeCluster, delay, error, silence, simple
from tests.asyncs import both, sync_only  # noqa: F401 - for both clients

NOAUTH = error("NOAUTH Authentication required.")
WRONGPASS = error("WRONGPASS invalid username-password pair or user is disabled.")
OK = simple("OK")


class Provider:
    password = "first"

    def get_credentials(self):
        return "app", self.password


@pytest.fixture
def fake():
    with FakeCluster(primaries=2) as cluster:
        yield cluster


@pytest.fixture
def provider():
    return Provider()


@pytest.fixture
def client(fake, provider):
    options = {"socket_timeout": 0.2, "deadline": 3.0}
    with Cluster.from_url(fake.url, credential_provider=provider, **options) as made:
        made.set("bar", "1")
        yield made


def logins(node):
    """The passwords that came by AUTH."""
    return [command[-1].decode() for command in node.received("AUTH")]


@pytest.mark.parametrize("code", [NOAUTH, WRONGPASS], ids=["noauth", "wrongpass"])
@pytest.mark.parametrize("many", [False, True], ids=["call", "pipeline"])
def test_a_login_that_is_not_accepted_is_made_anew(fake, client, provider, code, many):
    node = fake.owner("bar")
    node.on("GET", [code, b"1"])
    provider.password = "second"
    if many:
        assert client.pipeline().get("bar").execute() == [b"1"]
    else:
        assert client.get("bar") == b"1"
    assert b"second" in node.received("HELLO")[-1]


def test_a_login_that_is_refused_twice_is_an_error(fake, client):
    fake.owner("bar").on("GET", NOAUTH)
    with pytest.raises(redis.AuthenticationError):
        client.get("bar")
    assert len(fake.owner("bar").received("GET")) == 2


@sync_only
def test_a_connection_in_use_is_renewed_when_it_is_given_back(fake, client, provider):
    node = fake.owner("bar")
    node.on("GET", delay(0.2, b"1"))
    with ThreadPoolExecutor(1) as executor:
        call = executor.submit(client.get, "bar")
        node.wait_for(lambda: node.received("GET"))
        provider.password = "second"
        client.reauthenticate()
        assert logins(node) == []
        assert call.result() == b"1"
    node.wait_for(lambda: logins(node) == ["second"])
    (pool,) = [pool for pool in client._map.pools.values() if pool.size]
    assert (pool.renewal, pool.waiting, len(pool.idle)) == (None, 0, 1)


def test_a_connection_that_was_being_opened_is_renewed_too(fake, client, provider):
    node = fake.owner("foo")
    node.on("CLIENT SETINFO", delay(0.1, OK))
    before = len(node.received("HELLO"))
    with ThreadPoolExecutor(1) as executor:
        call = executor.submit(client.get, "foo")
        node.wait_for(lambda: len(node.received("HELLO")) > before)
        provider.password = "second"
        client.reauthenticate()
        assert call.result() is None
    node.wait_for(lambda: logins(node) == ["second"])


def test_a_connection_whose_server_is_silent_about_it_is_closed(fake, client, provider):
    node = fake.owner("bar")
    node.on("AUTH", silence())
    provider.password = "second"
    client.reauthenticate()
    assert client.get("bar") == b"1"
    assert b"second" in node.received("HELLO")[-1]


def test_refused_credentials_leave_the_connection_as_it_was(fake, client, provider, caplog):
    node = fake.owner("bar")
    node.on("AUTH", WRONGPASS)
    provider.password = "s3cret"
    before = len(node.all_connections)
    with pytest.raises(redis.AuthenticationError):
        client.reauthenticate()
    assert client.get("bar") == b"1"
    assert len(node.all_connections) == before
    assert f"credentials_refused node={node.address} code=WRONGPASS" in caplog.messages
    assert "s3cret" not in caplog.text


@sync_only
def test_an_interrupt_while_renewing_leaks_no_connection(fake, client, provider, monkeypatch):
    (pool,) = [pool for pool in client._map.pools.values() if pool.size]

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(type(pool.idle[0]), "call", interrupted)
    with pytest.raises(KeyboardInterrupt):
        client.reauthenticate()
    monkeypatch.undo()
    assert pool.size == 0
    assert client.get("bar") == b"1"


def test_without_credentials_there_is_nothing_to_renew(fake):
    with Cluster.from_url(fake.url) as client:
        client.set("bar", "1")
        client.reauthenticate()
    assert not fake.owner("bar").received("AUTH")


def idle_connections(client, node, count):
    """Let a client have so many connections to a node."""
    node.on("GET", delay(0.1, b"1"))
    with ThreadPoolExecutor(count) as executor:
        list(executor.map(client.get, ["bar"] * count))
    node.off("GET")


def test_a_silent_node_holds_a_renewal_up_once_and_not_for_each_connection(fake, provider):
    node = fake.owner("bar")
    options = {"credential_provider": provider, "socket_timeout": 0.3}
    with Cluster.from_url(fake.url, **options) as client:
        idle_connections(client, node, 4)
        node.on("AUTH", silence())
        provider.password = "second"
        began = time.monotonic()
        client.reauthenticate()
        assert time.monotonic() - began < 0.9
        assert client.get("bar") is None


@sync_only
def test_a_caller_renews_its_own_connection_and_waits_for_no_other(fake, provider):
    node = fake.owner("bar")
    with Cluster.from_url(fake.url, credential_provider=provider) as client:
        idle_connections(client, node, 4)
        (pool,) = [pool for pool in client._map.pools.values() if pool.size]
        own = pool.lease(time.monotonic() + 1)
        pool.renew(("AUTH", "app", "second"))
        others = len(logins(node))
        idle_connections(client, node, 3)
        pool.release(own, time.monotonic())
        node.wait_for(lambda: len(logins(node)) == others + 1)


def test_connections_to_replicas_and_blocking_ones_are_renewed_too(provider):
    with FakeCluster(primaries=1, replicas=1) as fake:
        options = {"credential_provider": provider, "read_from": ReadFrom.PREFER_REPLICA}
        with Cluster.from_url(fake.url, **options) as client:
            (replica,) = fake.primaries[0].replicas
            client.get("bar")
            fake.primaries[0].on("BLPOP", [["bar", "1"]])
            client.blpop("bar", timeout=1)
            provider.password = "second"
            client.reauthenticate()
            assert "second" in logins(replica)
            assert "second" in logins(fake.primaries[0])


def test_a_lock_is_looked_up_at_the_primary(fake_with_replica):
    url, replica = fake_with_replica
    with Cluster.from_url(url, read_from=ReadFrom.PREFER_REPLICA) as client:
        client.get("bar")
        before = len(replica.received("GET"))
        client.lock("bar").locked()
        assert len(replica.received("GET")) == before


@pytest.fixture
def fake_with_replica():
    with FakeCluster(primaries=1, replicas=1) as made:
        yield made.url, made.primaries[0].replicas[0]

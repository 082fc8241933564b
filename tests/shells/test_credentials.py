"""Credentials that change while connections are open: AUTH again, and nobody is disturbed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import redis

from clustercache import Cluster
from clustercache.testing import FakeCluster, delay, error, silence, simple

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

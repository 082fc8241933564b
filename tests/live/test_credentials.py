"""Users with few rights, passwords that change, and what CLIENT LIST says of a client."""

from __future__ import annotations

import re
import threading
import time
from pathlib import Path

import pytest
import redis

from clustercache import Cluster
from clustercache.localcluster import LocalCluster
from tests.asyncs import both, sync_only  # noqa: F401 - for both clients
from tests.clusters import need_server
from tests.faults.calls import await_calls, tags_of
from tests.faults.load import Load

pytestmark = pytest.mark.live
PAGE = Path(__file__).resolve().parents[2] / "docs" / "security.md"
RULES = re.search(r"^    ACL SETUSER app on >(?:\S+) (.*)$", PAGE.read_text(), re.MULTILINE)[1]


@pytest.fixture(scope="module", params=["valkey", "redis-7.0"])
def guarded(request):
    """A cluster on which nobody but its operator has all rights."""
    need_server(request.param)
    options = {"server": request.param, "username": "root", "password": "r00t", "node_timeout": 1.0}
    with LocalCluster(3, 1, **options) as made:
        yield made


@pytest.fixture
def app(guarded):
    """A user with the rights that docs/security.md names; returns what sets its passwords."""

    def set_user(*rules):
        for node in guarded.nodes:
            node.call("ACL", "SETUSER", "app", *rules)

    set_user("reset", "on", ">first", *RULES.split())
    for node in guarded.primaries:
        node.call("FLUSHALL")
    yield set_user
    for node in guarded.nodes:
        node.call("ACL", "DELUSER", "app")


class Provider:
    """A credential provider that streams, as redis-py's do."""

    def __init__(self, password):
        self.password = password
        self.callbacks = []

    def get_credentials(self):
        return "app", self.password

    def on_next(self, callback):
        self.callbacks.append(callback)

    def change(self, password):
        self.password = password
        for callback in self.callbacks:
            callback(object())


def urls(cluster):
    return [f"redis://{node.address}" for node in cluster.nodes]


def users_connections(cluster):
    """The ids of the app's connections, by node."""
    lists = {node: node.call("CLIENT", "LIST") for node in cluster.nodes}
    return {
        (node.port, line.split()[0])
        for node, text in lists.items()
        for line in text.splitlines()
        if " user=app " in line
    }


def test_the_documented_rights_are_all_that_a_client_needs(guarded, app):
    with Cluster.from_url(urls(guarded), username="app", password="first") as client:
        node = guarded.node_for("shop:k")
        for denied in (["CLUSTER", "NODES"], ["CONFIG", "GET", "x"], ["KEYS", "*"], ["FLUSHALL"]):
            with pytest.raises(redis.exceptions.NoPermissionError):
                client.execute_command(" ".join(denied[:2]), *denied[2:], target_nodes=node.address)
        with pytest.raises(redis.exceptions.NoPermissionError):
            client.get("elsewhere:k")
        client.set("shop:k", "1", ex=60)
        assert client.mget([f"shop:{n}" for n in range(10)]) == [None] * 10
        with client.pipeline(transaction=True) as pipe:
            pipe.watch("shop:{u}")
            pipe.multi()
            assert pipe.incr("shop:{u}").expire("shop:{u}", 60).execute()[1]


def test_a_user_of_few_rights_follows_moved_and_ask(guarded, app):
    source = guarded.node_for("shop:k")
    target = next(node for node in guarded.primaries if node is not source)
    slot = 0
    with Cluster.from_url(urls(guarded), username="app", password="first") as client:
        client.set("shop:k", "1")
        slot = client.keyslot("shop:k")
        target.call("CLUSTER", "SETSLOT", slot, "IMPORTING", source.node_id)
        source.call("CLUSTER", "SETSLOT", slot, "MIGRATING", target.node_id)
        tail = "shop:new:{shop:k}"
        assert client.set(tail, "2") is True  # not there, so ASK leads to the target
        assert client.get(tail) == b"2"
        assert client.delete("shop:k", tail) == 2
        for node in guarded.primaries:
            node.call("CLUSTER", "SETSLOT", slot, "NODE", target.node_id)
        assert client.set("shop:k", "3") is True  # MOVED
        assert client.get("shop:k") == b"3"


def test_a_user_of_few_rights_survives_a_failover(guarded, app):
    guarded.wait_ready()
    victim = guarded.node_for("shop:k")
    with Cluster.from_url(urls(guarded), username="app", password="first") as client:
        client.set("shop:k", "1")
        guarded.kill(victim)
        assert client.set("shop:k", "2") is True
    guarded.restart(victim)
    victim.call("ACL", "SETUSER", "app", "on")


def test_a_wrong_password_is_refused_at_once(guarded, app):
    began = time.monotonic()
    with (
        Cluster.from_url(urls(guarded), username="app", password="wr0ng") as client,
        pytest.raises(redis.AuthenticationError) as caught,
    ):
        client.get("shop:k")
    assert time.monotonic() - began < 2.0
    assert "wr0ng" not in str(caught.value)


@sync_only
@pytest.mark.parametrize("streams", [True, False], ids=["on_next", "reauthenticate"])
def test_a_password_is_rotated_under_load_on_live_connections(guarded, app, streams):
    app("allkeys")
    provider = Provider("first")
    with Cluster.from_url(urls(guarded), credential_provider=provider) as client:
        nodes = guarded.primaries
        tags = [tag for node in nodes for tag in tags_of(guarded, node, 2)]
        load = Load(client, tags[:2], tags[2:4])
        with load:
            await_calls(load.workers, 50)
            before = users_connections(guarded)
            app(">second")
            if streams:
                provider.change("second")
            else:
                provider.password = "second"
                client.reauthenticate()
            await_calls(load.workers, 50)
            app("<first")
            await_calls(load.workers, 200)
            after = users_connections(guarded)
            pools = list(client._map.pools.values())
            assert not any(pool.renewal for pool in pools), "all were renewed"
            assert not any(pool.waiting for pool in pools)
        errors = [call for worker in load.workers for call in worker.calls if call.error]
        assert not errors
        assert before <= after, "no connection was given up"


def test_new_connections_come_in_with_new_credentials(guarded, app):
    provider = Provider("first")
    with Cluster.from_url(urls(guarded), credential_provider=provider) as client:
        client.set("shop:k", "1")
        app("resetpass", ">second")
        provider.password = "second"
        for pool in client._map.pools.values():
            pool.flush()
        assert client.get("shop:k") == b"1"


def test_credentials_that_are_refused_cost_no_connection(guarded, app):
    provider = Provider("first")
    with Cluster.from_url(urls(guarded), credential_provider=provider) as client:
        client.set("shop:k", "1")
        provider.password = "wr0ng"
        with pytest.raises(redis.AuthenticationError) as caught:
            client.reauthenticate()
        assert "wr0ng" not in str(caught.value)
        assert client.get("shop:k") == b"1"


def test_connections_of_a_user_that_was_made_anew_are_replaced(guarded, app):
    with Cluster.from_url(urls(guarded), username="app", password="first") as client:
        client.set("shop:k", "1")
        for node in guarded.nodes:
            node.call("ACL", "DELUSER", "app")  # ends its connections
        app("reset", "on", ">first", *RULES.split())
        assert client.get("shop:k") == b"1"


def test_a_provider_that_outlives_its_client_disturbs_nobody(guarded, app):
    provider = Provider("first")
    with Cluster.from_url(urls(guarded), credential_provider=provider) as client:
        client.get("shop:k")
    provider.change("second")


def test_client_list_names_the_client_and_the_library(cluster):
    with Cluster.from_url(cluster.url, client_name="shop-7") as client:
        client.set("k", "1")
        text = cluster.node_for("k").call("CLIENT", "LIST")
    (line,) = [line for line in text.splitlines() if " name=shop-7 " in line]
    assert " lib-name=clustercache " in f"{line} "
    assert " lib-ver=" in line


@sync_only
def test_threads_that_renew_and_use_the_same_connections_disturb_nobody(guarded, app):
    app("allkeys")
    provider = Provider("first")
    stop = threading.Event()
    with Cluster.from_url(urls(guarded), credential_provider=provider) as client:
        (tag,) = tags_of(guarded, guarded.primaries[0], 1)
        load = Load(client, [tag], [f"{tag}{n}" for n in range(3)])

        def renew():
            while not stop.is_set():
                client.reauthenticate()

        thread = threading.Thread(target=renew)
        with load:
            thread.start()
            try:
                await_calls(load.workers, 200)
            finally:
                stop.set()
                thread.join()
            await_calls(load.workers, 20)
        assert not [call for worker in load.workers for call in worker.calls if call.error]
        assert not any(pool.renewal for pool in client._map.pools.values())

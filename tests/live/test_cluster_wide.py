"""Commands for several nodes, and the nodes themselves, as redis-py's cluster client has them."""

from __future__ import annotations

import threading

import pytest
import redis

from clustercache import Cluster
from clustercache.exceptions import InvalidArgumentError, UnsupportedCommandError
from tests.asyncs import both  # noqa: F401 - for both clients

pytestmark = pytest.mark.live

KEYS = [f"k{i}" for i in range(30)]


@pytest.fixture
def r(cluster):
    with Cluster.from_url(cluster.url, decode_responses=True) as client:
        client.flushall()
        yield client


@pytest.fixture
def theirs(cluster):
    client = redis.RedisCluster.from_url(cluster.url.partition("?")[0], decode_responses=True)
    yield client
    client.close()


def names(nodes):
    return sorted(node.name for node in nodes)


def test_nodes_are_those_that_redis_py_finds(r, theirs):
    assert names(r.get_primaries()) == names(theirs.get_primaries())
    assert names(r.get_replicas()) == names(theirs.get_replicas())
    assert names(r.get_nodes()) == names(theirs.get_nodes())
    assert {node.server_type for node in r.get_primaries()} == {"primary"}
    assert {node.server_type for node in r.get_replicas()} == {"replica"}


def test_a_keys_node_is_the_one_that_redis_py_finds(r, theirs):
    for key in KEYS:
        assert r.get_node_from_key(key).name == theirs.get_node_from_key(key).name
    replica = r.get_node_from_key("k0", replica=True)
    assert replica.server_type == "replica"
    assert replica.redis_connection.role()[0] == "slave"


def test_a_node_is_found_by_its_name_and_by_its_address(r):
    node = r.get_default_node()
    assert node == r.get_primaries()[0]
    assert r.get_node(node_name=node.name) == node
    assert r.get_node("localhost", node.port) == r.get_node(node.host, node.port) == node
    assert r.get_node(node.host, 1) is None
    assert r.get_random_node() in r.get_nodes()
    assert r.get_random_primary_node() in r.get_primaries()


def test_a_nodes_own_commands_go_to_it(r):
    for node in r.get_nodes():
        connection = r.get_redis_connection(node)
        assert connection.config_get("port") == {"port": str(node.port)}
        assert connection.info("server")["tcp_port"] == node.port


def test_monitor_names_the_way_out(r):
    with pytest.raises(UnsupportedCommandError, match=r"redis\.Redis\(host, port\)\.monitor\(\)"):
        r.monitor()


def test_keys_of_all_primaries_are_counted_and_listed_once(r):
    r.mset(dict.fromkeys(KEYS, 1))
    assert r.dbsize() == len(KEYS)
    assert sorted(r.keys()) == sorted(KEYS)
    assert sorted(r.keys(target="all")) == sorted(KEYS)
    assert r.flushdb() is True
    assert r.dbsize() == 0


def test_a_random_key_is_found_on_whichever_node_has_one(r):
    assert r.randomkey() is None
    for key in KEYS:
        r.set(key, 1)
        assert r.randomkey() == key
        r.delete(key)


@pytest.mark.parametrize("word", ["target", "target_nodes"])
def test_target_chooses_the_nodes(r, word):
    assert sorted(r.info("server", **{word: "primaries"})) == names(r.get_primaries())
    assert sorted(r.info("server", **{word: "replicas"})) == names(r.get_replicas())
    assert sorted(r.info("server", **{word: "all"})) == names(r.get_nodes())
    some = r.get_replicas()[:2]
    assert sorted(r.info("server", **{word: some})) == names(some)
    assert r.info("server", **{word: some[0]})["tcp_port"] == some[0].port
    ports = {r.info("server", **{word: "random"})["tcp_port"] for _ in range(60)}
    assert len(ports) > 1


def test_results_of_chosen_nodes_become_one(r):
    assert r.ping(target="all") is True
    assert r.slowlog_reset(target="all") is True
    assert r.client_unpause(target="primaries") is True
    assert r.client_unblock(1 << 40, target="primaries") == 0
    assert r.config_set("maxmemory-samples", 6) is True
    found = r.config_get("maxmemory-samples", target="all")
    assert list(found.values()) == [{"maxmemory-samples": "6"}] * len(r.get_nodes())


def test_scripts_and_functions_reach_every_primary(r):
    sha = r.script_load("return 7")
    assert r.script_exists(sha) == [True]
    assert all(node.redis_connection.script_exists(sha) == [True] for node in r.get_primaries())
    source = "#!lua name=l\nredis.register_function('f', function() return 8 end)"
    assert r.function_load(source, replace=True) == "l"
    assert [r.fcall("f", 1, key) for key in KEYS] == [8] * len(KEYS)
    assert r.function_delete("l") is True
    with pytest.raises(redis.ResponseError, match="No scripts"):
        r.script_kill()


def test_a_script_is_killed_wherever_it_runs(cluster, r):
    """One primary has it to kill; the others say that they run none, which is no error."""
    forever = "while true do end"
    ended = []
    r.config_set("lua-time-limit", 20)  # milliseconds until the server listens again
    with Cluster.from_url(cluster.url, socket_timeout=5) as other:
        other.ping()

        def run():
            try:
                other.eval(forever, 1, "k0")
            except redis.ResponseError as error:
                ended.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        killed = None
        while killed is None:
            try:
                killed = r.script_kill()
            except redis.ResponseError:
                assert thread.is_alive()
        thread.join()
    assert len(ended) == 1


def test_a_split_command_takes_no_target(r):
    with pytest.raises(InvalidArgumentError, match="target is for commands without keys"):
        r.execute_command("DEL", "a", "b", target="primaries")

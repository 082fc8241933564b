"""Reads by a policy, where replicas refuse, lag, hang and are gone."""

from __future__ import annotations

import contextlib
import contextvars
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from redis.exceptions import ResponseError

from clustercache import Cluster, ReadFrom
from clustercache.exceptions import (
    ConfigurationError,
    DeadlineExceededError,
    PoolTimeoutError,
    ShardUnavailableError,
)
from clustercache.testing import FakeCluster, array, delay, error

KEY, OTHER = "bar", "foo"
SPREADING = [ReadFrom.PREFER_REPLICA, ReadFrom.ROUND_ROBIN, ReadFrom.LOWEST_LATENCY]
LINK_DOWN = b"role:slave\r\nmaster_link_status:down\r\n"
LINK_UP = b"role:slave\r\nmaster_link_status:up\r\n"


@pytest.fixture
def fake():
    with FakeCluster(primaries=2, replicas=2) as cluster:
        yield cluster


@pytest.fixture
def primary(fake):
    return fake.owner(KEY)


def client_of(fake, policy, **options):
    options = {"deadline": 5.0, "socket_timeout": 0.3} | options
    return Cluster.from_url(fake.url, read_from=policy, **options)


def gets(nodes, name="GET"):
    return [len(node.received(name)) for node in nodes]


def wait_until(condition, timeout=5.0):
    limit = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < limit, "the condition did not come true"
        threading.Event().wait(0.005)


def kill(node):
    """End a primary; until one is promoted, the others go on to name it."""
    node.stop_accepting()
    node.drop_connections()


def stats_of(client, node):
    return client.stats()["nodes"][node.address]


# Where reads go ----------------------------------------------------------------------------------


def test_reads_go_to_replicas_in_turn_and_writes_to_the_primary(fake, primary):
    with client_of(fake, ReadFrom.PREFER_REPLICA) as client:
        for number in range(40):
            client.set(KEY, number)
            assert client.get(KEY) == b"%d" % number
        assert gets([primary]) == [0]
        assert all(10 <= count <= 30 for count in gets(primary.replicas))
        assert gets(primary.replicas, "SET") == [0, 0]


def test_a_round_robin_takes_the_primary_too(fake, primary):
    with client_of(fake, ReadFrom.ROUND_ROBIN) as client:
        for _ in range(60):
            client.get(KEY)
        assert all(10 <= count <= 30 for count in gets([primary, *primary.replicas]))


def test_the_node_that_answers_fastest_gets_most_reads(fake, primary):
    slow, fast = primary.replicas
    slow.on("GET", delay(0.01, b"1"))
    primary.on("GET", delay(0.01, b"1"))
    with client_of(fake, ReadFrom.LOWEST_LATENCY) as client:
        for _ in range(100):
            client.get(KEY)
        assert gets([fast])[0] > 70
        assert all(count >= 2 for count in gets([slow, primary])), "they are never measured again"


@pytest.mark.parametrize("by_option", [False, True])
def test_a_replica_in_the_clients_zone_is_preferred(fake, primary, by_option):
    far, near = primary.replicas
    primary.on("INFO", b"availability_zone:az1\r\n")
    far.on("INFO", b"availability_zone:az2\r\n")
    near.on("INFO", b"availability_zone:az1\r\n")
    policy = ReadFrom.SAME_ZONE if by_option else ReadFrom.same_zone("az1")
    with client_of(fake, policy, availability_zone="az1" if by_option else None) as client:
        for _ in range(30):
            client.get(KEY)
        assert gets([far, primary]) == [1, 1], "once each, to learn where they are"
        assert gets([near]) == [28]


def test_the_url_names_a_policy(fake, primary):
    with Cluster.from_url(f"{fake.url}?read_from=prefer_replica") as client:
        client.get(KEY)
        assert gets([primary]) == [0]


def test_a_block_has_a_policy_of_its_own(fake, primary):
    with Cluster.from_url(fake.url) as client:
        client.get(KEY)
        with client.read_from(ReadFrom.PREFER_REPLICA):
            client.get(KEY)
            with client.read_from(ReadFrom.PRIMARY), client.deadline(1.0):
                client.get(KEY)
            with client.deadline(1.0):
                client.get(KEY)
        client.get(KEY)
        assert gets([primary]) == [3]
        assert sum(gets(primary.replicas)) == 2


def test_a_block_takes_a_client_with_a_policy_to_the_primary(fake, primary):
    with client_of(fake, ReadFrom.PREFER_REPLICA) as client:
        client.get(KEY)
        with client.read_from(ReadFrom.PRIMARY):
            client.get(KEY)
        assert gets([primary]) == [1]


def test_a_zone_that_nobody_knows_is_refused(fake):
    with Cluster.from_url(fake.url) as client, pytest.raises(ConfigurationError):
        client.read_from(ReadFrom.SAME_ZONE).__enter__()


@pytest.mark.parametrize("name", ["HSCAN", "TOUCH"])
def test_what_only_one_node_knows_goes_to_the_primary(fake, primary, name):
    primary.on(name, b"x")
    with client_of(fake, ReadFrom.PREFER_REPLICA) as client:
        with contextlib.suppress(Exception):
            client.execute_command(name, KEY, *(["0"] if name == "HSCAN" else []))
        assert gets([primary], name) == [1]


def test_the_parts_of_a_split_read_follow_the_policy(fake):
    with client_of(fake, ReadFrom.PREFER_REPLICA) as client:
        client.mset({KEY: "1", OTHER: "2"})
        for _ in range(4):
            assert client.mget(KEY, OTHER, "none") == [b"1", b"2", None]
        assert client.exists(KEY, OTHER) == 2
        assert sum(gets(fake.primaries, "MGET")) == 0
        assert sum(gets(fake.primaries, "EXISTS")) == 0
        assert all(gets(fake.replicas, "MGET"))


def test_a_pipeline_goes_to_primaries(fake, primary):
    with client_of(fake, ReadFrom.PREFER_REPLICA) as client, client.pipeline() as pipe:
        pipe.get(KEY).get(OTHER)
        assert pipe.execute() == [None, None]
        assert gets(fake.primaries) == [1, 1]


def test_other_encodings_and_result_callbacks_stay(fake, primary):
    with client_of(fake, ReadFrom.PREFER_REPLICA, encoding="latin-1") as client:
        client.set(KEY, "\xe9")
        client.hset("{bar}h", "f", "1")
        assert client.get(KEY) == b"\xe9"
        for _ in range(3):
            assert client.hgetall("{bar}h") == {b"f": b"1"}
            assert client.exists(KEY) == 1
        assert gets([primary]) == [0]


def test_results_are_made_with_the_options_of_a_call(fake, primary):
    for replica in primary.replicas:
        replica.on("ZRANGE", array(b"m", b"1.5"))
    with client_of(fake, ReadFrom.PREFER_REPLICA, protocol=2) as client:
        for _ in range(4):
            assert client.zrange(KEY, 0, -1, withscores=True) == [(b"m", 1.5)]


def test_an_error_of_a_replica_is_the_callers(fake, primary):
    with client_of(fake, ReadFrom.PREFER_REPLICA) as client:
        client.set(KEY, "1")
        for _ in range(4):
            with pytest.raises(ResponseError, match="WRONGTYPE"):
                client.hgetall(KEY)
        with pytest.raises(ResponseError, match="WRONGTYPE"), client.read_from(ReadFrom.PRIMARY):
            client.hgetall(KEY)


# Connections -------------------------------------------------------------------------------------


def test_only_connections_for_reads_say_readonly(fake, primary):
    with client_of(fake, ReadFrom.ROUND_ROBIN) as client:
        for _ in range(20):
            client.get(KEY)
            client.set(KEY, "1")
        assert gets(primary.replicas, "READONLY") == [1, 1]
        assert gets([primary], "READONLY") == [0]


def test_a_promoted_replica_serves_and_a_demoted_primary_too(fake, primary):
    with client_of(fake, ReadFrom.ROUND_ROBIN) as client:
        for _ in range(9):
            client.get(KEY)
        fake.promote(primary.replicas[0])
        for number in range(20):
            assert client.set(KEY, number)
            assert client.get(KEY) == b"%d" % number
        wait_until(lambda: client.get(KEY) and gets([primary], "READONLY") == [1])


def test_a_replica_that_forbids_readonly_is_left_out(fake, primary):
    one, other = primary.replicas
    one.on("READONLY", error("NOPERM this user has no permissions to run the 'readonly' command"))
    with client_of(fake, ReadFrom.PREFER_REPLICA) as client:
        client.set(KEY, "1")
        assert [client.get(KEY) for _ in range(20)] == [b"1"] * 20
        assert gets([one])[0] <= 2
        assert gets([other])[0] >= 18


def test_closing_leaves_no_connection(fake, primary):
    client = client_of(fake, ReadFrom.PREFER_REPLICA)
    client.get(KEY)
    client.mget(KEY, OTHER)
    client.close()
    wait_until(lambda: not any(node.connections for node in fake.replicas))


def test_a_forked_child_has_connections_of_its_own(fake, primary):
    with client_of(fake, ReadFrom.PREFER_REPLICA) as client:
        client.set(KEY, "1")
        client.get(KEY)
        before = sum(gets(primary.replicas, "READONLY"))
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.write(write, client.get(KEY) or b"nothing")
            os._exit(0)
        os.close(write)
        with os.fdopen(read, "rb") as answer:
            assert answer.read() == b"1"
        os.waitpid(pid, 0)
        assert sum(gets(primary.replicas, "READONLY")) > before
        assert client.get(KEY) == b"1"


def test_stats_count_both_kinds_of_connections(fake, primary):
    with client_of(fake, ReadFrom.PREFER_REPLICA) as client:
        client.set(KEY, "1")
        for _ in range(4):
            client.get(KEY)
        assert [stats_of(client, node)["pool"] for node in (primary, *primary.replicas)] == [1] * 3
        facts = stats_of(client, primary.replicas[0])
        assert facts["last_round_trip"] > 0
        assert facts["suspected"] is False


# Redirects and refusals --------------------------------------------------------------------------


def test_a_moved_slot_is_followed(fake, primary):
    (target,) = [node for node in fake.primaries if node is not primary]
    with client_of(fake, ReadFrom.PREFER_REPLICA) as client:
        client.set(KEY, "1")
        client.get(KEY)
        fake.move(KEY, target)
        assert client.get(KEY) == b"1"
        wait_until(lambda: client.get(KEY) == b"1" and sum(gets(target.replicas)) > 0)


def test_an_ask_of_a_replica_is_followed_once(fake, primary):
    (target,) = [node for node in fake.primaries if node is not primary]
    target.on("GET", b"there")
    for replica in primary.replicas:
        replica.on("GET", [error(f"ASK 5061 {target.address}"), b"here"])
    with client_of(fake, ReadFrom.PREFER_REPLICA) as client:
        assert client.get(KEY) == b"there"
        assert gets([target], "ASKING") == [1]
        assert client.get(KEY) in {b"here", b"there"}


def test_a_half_moved_slot_is_asked_key_by_key(fake, primary):
    for replica in primary.replicas:
        replica.on("MGET", error("TRYAGAIN Multiple keys request during rehashing of slot"))
    with client_of(fake, ReadFrom.PREFER_REPLICA) as client:
        client.mset({"{bar}1": "1", "{bar}2": "2"})
        assert client.mget("{bar}1", "{bar}2") == [b"1", b"2"]


@pytest.mark.parametrize(
    "text", ["MASTERDOWN Link with MASTER is down", "LOADING x", "CLUSTERDOWN x"]
)
@pytest.mark.parametrize("name", ["GET", "MGET"])
def test_a_replica_that_refuses_is_left_out_and_tried_again_later(fake, primary, text, name):
    one, _other = primary.replicas
    one.on(name, error(text))
    with client_of(fake, ReadFrom.PREFER_REPLICA) as client:
        client.mset({KEY: "1", OTHER: "2"})
        began = time.monotonic()
        read = {"GET": lambda: client.get(KEY), "MGET": lambda: client.mget(KEY, OTHER)[0]}[name]
        assert [read() for _ in range(10)] == [b"1"] * 10
        assert time.monotonic() - began < 0.3, "a refusal made calls wait"
        assert gets([one], name)[0] == 1
        assert gets([primary], name) == [0]
        one.off(name)
        wait_until(lambda: read() == b"1" and gets([one], name)[0] > 3)


def test_a_replica_without_its_link_is_left_out_until_it_has_it_again(fake, primary):
    one, _other = primary.replicas
    one.on("INFO", LINK_DOWN)
    with client_of(fake, ReadFrom.PREFER_REPLICA) as client:
        for _ in range(20):
            client.get(KEY)
        assert gets([one]) == [1], "the read along with which it was asked"
        wait_until(lambda: client.get(KEY) is None and gets([one], "INFO")[0] >= 4)
        assert gets([one]) == [1]
        one.on("INFO", LINK_UP)
        wait_until(lambda: client.get(KEY) is None and gets([one])[0] > 3)


def test_replicas_without_their_link_serve_where_nobody_else_can(fake, primary):
    for replica in primary.replicas:
        replica.on("INFO", LINK_DOWN)
    with client_of(fake, ReadFrom.PRIMARY_THEN_REPLICA) as client:
        client.set(KEY, "1")
        kill(primary)
        began = time.monotonic()
        assert [client.get(KEY) for _ in range(10)] == [b"1"] * 10
        assert time.monotonic() - began < 0.3


@pytest.mark.parametrize("text", ["MASTERDOWN x", "CLUSTERDOWN x"])
def test_a_shard_that_refuses_altogether_is_asked_again_until_the_deadline(fake, primary, text):
    for node in (primary, *primary.replicas):
        node.on("GET", error(text))
    with client_of(fake, ReadFrom.ROUND_ROBIN, deadline=0.5) as client:
        with pytest.raises(DeadlineExceededError) as raised:
            client.get(KEY)
        assert len(raised.value.attempts) > 5
        assert sum(gets([primary, *primary.replicas])) < 100, "it was asked without a pause"
        for node in (primary, *primary.replicas):
            node.off("GET")
        assert client.get(KEY) is None


# Nodes that are gone -----------------------------------------------------------------------------


def test_a_read_goes_to_a_replica_as_soon_as_the_primary_is_gone(fake, primary):
    with client_of(fake, ReadFrom.PRIMARY_THEN_REPLICA) as client:
        client.mset({KEY: "1", OTHER: "2"})
        client.get(KEY)
        assert sum(gets(primary.replicas)) == 0
        kill(primary)
        began = time.monotonic()
        assert [client.get(KEY) for _ in range(10)] == [b"1"] * 10
        assert [client.mget(KEY, OTHER) for _ in range(10)] == [[b"1", b"2"]] * 10
        assert time.monotonic() - began < 0.3
        primary.start_accepting()
        before = gets([primary])[0]
        wait_until(lambda: client.get(KEY) == b"1" and gets([primary])[0] > before + 3)


def test_a_read_waits_for_a_silent_primary_for_one_socket_timeout(fake, primary):
    with client_of(fake, ReadFrom.PRIMARY_THEN_REPLICA) as client:
        client.set(KEY, "1")
        client.get(KEY)
        primary.pause()
        began = time.monotonic()
        assert client.get(KEY) == b"1"
        assert 0.3 <= time.monotonic() - began < 0.45
        began = time.monotonic()
        assert [client.get(KEY) for _ in range(10)] == [b"1"] * 10
        assert time.monotonic() - began < 0.2
        primary.resume()
        wait_until(lambda: not stats_of(client, primary)["suspected"])


@pytest.mark.parametrize("name", ["GET", "MGET"])
def test_a_silent_replica_is_avoided_until_it_answers(fake, primary, name):
    one, _other = primary.replicas
    with client_of(fake, ReadFrom.PREFER_REPLICA) as client:
        client.mset({KEY: "1", OTHER: "2"})
        read = {"GET": lambda: client.get(KEY), "MGET": lambda: client.mget(KEY, OTHER)[0]}[name]
        for _ in range(6):
            read()
        one.pause()
        began = time.monotonic()
        assert [read() for _ in range(20)] == [b"1"] * 20
        assert 0.3 <= time.monotonic() - began < 0.6
        assert stats_of(client, one)["suspected"]
        one.resume()
        wait_until(lambda: not stats_of(client, one)["suspected"])
        before = gets([one], name)[0]
        wait_until(lambda: read() == b"1" and gets([one], name)[0] > before + 3)


def test_a_replica_that_came_is_found(fake, primary):
    one, _other = primary.replicas
    fake.fail(one)
    with client_of(fake, ReadFrom.PREFER_REPLICA) as client:
        client.get(KEY)
        fake.recover(one)
        wait_until(lambda: client.get(KEY) is None and gets([one])[0] > 3, timeout=8.0)


def test_a_primary_is_protected_when_its_replicas_are_gone(fake, primary):
    for replica in primary.replicas:
        fake.fail(replica)
    primary.on("GET", delay(0.5, b"1"))
    options = {"max_connections": 4, "socket_timeout": 2.0}
    with (
        client_of(fake, ReadFrom.PREFER_REPLICA, **options) as client,
        ThreadPoolExecutor(8) as executor,
    ):
        reads = [executor.submit(client.get, KEY) for _ in range(8)]
        wait_until(lambda: gets([primary])[0] == 2)
        began = time.monotonic()
        assert client.set(KEY, "1")
        assert time.monotonic() - began < 0.3, "reads took the connections that a write needs"
        assert [read.result() for read in reads] == [b"1"] * 8
        assert stats_of(client, primary)["pool"] <= 3


def test_a_read_that_finds_no_place_says_so(fake, primary):
    for replica in primary.replicas:
        fake.fail(replica)
    primary.on("GET", delay(0.6, b"1"))
    options = {"max_connections": 2, "socket_timeout": 2.0}
    with (
        client_of(fake, ReadFrom.PREFER_REPLICA, **options) as client,
        ThreadPoolExecutor(1) as executor,
    ):
        first = executor.submit(client.get, KEY)
        wait_until(lambda: gets([primary])[0] == 1)
        with pytest.raises(PoolTimeoutError), client.deadline(0.2):
            client.get(KEY)
        assert first.result() == b"1"
        with client.deadline(3.0):
            assert client.mget(KEY, OTHER) == [None, None]


# Nobody is left ----------------------------------------------------------------------------------


def suspected(client, nodes):
    return [stats_of(client, node)["suspected"] for node in nodes]


@pytest.fixture
def silent_shard(fake, primary):
    """A client that suspects all nodes of a shard, and these."""
    nodes = [primary, *primary.replicas]
    options = {"socket_timeout": 0.1, "max_waiting": 2}
    with client_of(fake, ReadFrom.PREFER_REPLICA, **options) as client:
        client.set(KEY, "1")
        for _ in range(4):
            client.get(KEY)
        for node in nodes:
            node.pause()
        with pytest.raises(DeadlineExceededError), client.deadline(0.6):
            client.get(KEY)
        assert suspected(client, nodes) == [True] * 3
        yield client, nodes
        for node in nodes:
            node.resume()


@pytest.mark.parametrize("which", [0, 1])
def test_a_read_waits_for_whichever_node_answers_first(silent_shard, which):
    client, nodes = silent_shard
    with ThreadPoolExecutor(2) as executor:
        calls = [executor.submit(client.get, KEY), executor.submit(client.mget, KEY, OTHER)]
        threading.Event().wait(0.1)
        assert not any(call.done() for call in calls)
        nodes[which].resume()
        assert [call.result() for call in calls] == [b"1", [b"1", None]]


def test_no_more_reads_wait_than_may(silent_shard):
    client, _ = silent_shard
    with ThreadPoolExecutor(4) as executor, client.deadline(0.5):
        contexts = [contextvars.copy_context() for _ in range(4)]
        calls = [executor.submit(context.run, client.get, KEY) for context in contexts]
        kinds = {type(call.exception()) for call in calls}
    assert kinds == {ShardUnavailableError, DeadlineExceededError}


def test_a_slot_without_an_owner_is_waited_for(fake, primary):
    with client_of(fake, ReadFrom.PREFER_REPLICA, deadline=0.5) as client:
        client.get(OTHER)
        fake.unassign(KEY)
        with pytest.raises(DeadlineExceededError):
            client.get(KEY)
        with pytest.raises(DeadlineExceededError):
            client.mget(KEY, OTHER)
        fake.move(KEY, primary)
        assert client.get(KEY) is None


def test_a_full_pool_to_a_replica_is_waited_for(fake, primary):
    for replica in primary.replicas:
        replica.on("GET", delay(0.4, b"1"))
    options = {"max_connections": 1, "socket_timeout": 2.0}
    with (
        client_of(fake, ReadFrom.PREFER_REPLICA, **options) as client,
        ThreadPoolExecutor(2) as executor,
    ):
        calls = [executor.submit(client.get, KEY) for _ in range(2)]
        wait_until(lambda: sum(gets(primary.replicas)) == 2)
        with pytest.raises(PoolTimeoutError), client.deadline(0.1):
            client.get(KEY)
        assert [call.result() for call in calls] == [b"1", b"1"]


def test_a_probe_of_a_lost_link_ends_with_the_client(fake, primary):
    for replica in primary.replicas:
        replica.on("INFO", LINK_DOWN)
    client = client_of(fake, ReadFrom.PREFER_REPLICA)
    wait_until(lambda: client.get(KEY) is None and sum(gets(primary.replicas, "INFO")) > 4)
    client.close()
    wait_until(lambda: not any(node.connections for node in fake.replicas))

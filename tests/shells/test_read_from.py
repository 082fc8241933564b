"""Reads by a policy, where replicas refuse, lag, hang and are gone."""

from __future__ import annotations

import contextlib
import os

import pytest
from redis.exceptions import ResponseError

from clustercache import Cluster, ReadFrom
from clustercache.exceptions import (
    ConfigurationError,
)
from clustercache.testing import FakeCluster, array, delay, error
from tests.asyncs import sync_only
from tests.shells.readings import (  # noqa: F401 - a fixture
    KEY,
    OTHER,
    both,
    client_of,
    gets,
    stats_of,
    wait_until,
)


@pytest.fixture
def fake():
    with FakeCluster(primaries=2, replicas=2) as cluster:
        yield cluster


@pytest.fixture
def primary(fake):
    return fake.owner(KEY)


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


@sync_only
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

"""The fake cluster is itself tested, with redis-py: its nodes agree, redirect and fail over."""

from __future__ import annotations

import time

import pytest
import redis

from clustercache._core.slots import key_slot
from clustercache.testing import (
    FakeCluster,
)
from tests.shells.wires import answer, ask, client, dial


@pytest.fixture
def cluster():
    with FakeCluster(primaries=2, replicas=1) as fake:
        yield fake


def in_slot(number, count=1):
    """Some keys of one slot."""
    keys = (f"k{i}" for i in range(10_000_000))
    found = [key for key in (next(keys) for _ in range(400_000)) if key_slot(key) == number]
    return found[:count]


@pytest.mark.parametrize("protocol", [2, 3])
def test_redis_py_works_on_the_fake_cluster(cluster, protocol):
    first = cluster.nodes[0]
    with redis.RedisCluster(host=first.host, port=first.port, protocol=protocol) as r:
        for number in range(50):
            assert r.set(f"key{number}", number)
        assert [r.get(f"key{number}") for number in range(50)] == [
            str(number).encode() for number in range(50)
        ]
        assert r.hset("h", mapping={"a": 1, "b": 2}) == 2
        assert r.hgetall("h") == {b"a": b"1", b"b": b"2"}
        assert r.get("missing") is None
    assert all(shard.store.data for shard in cluster.shards)


def test_every_node_tells_the_same_layout(cluster):
    views = []
    for node in cluster.nodes:
        with client(node) as r:
            views.append(r.execute_command("CLUSTER SLOTS"))
            assert r.execute_command("CLUSTER MYID").decode() == node.id
            assert r.execute_command("CLUSTER INFO")["cluster_state"] == "ok"
            nodes = r.execute_command("CLUSTER NODES")
            assert set(nodes) == {other.address for other in cluster.nodes}
            assert nodes[node.address]["flags"].startswith("myself,")
            assert nodes[node.address]["epoch"] == str(node.shard.epoch)
    assert all(view == views[0] for view in views)


def test_shards_tell_slots_roles_and_health(cluster):
    cluster.fail(cluster.replicas[0])
    with client(cluster.nodes[0], protocol=3) as r:
        shards = r.execute_command("CLUSTER SHARDS")
    text = str(shards)
    assert "16383" in text
    assert "fail" in text
    assert cluster.nodes[0].id in text


def test_a_moved_slot_takes_its_keys_along(cluster):
    source = cluster.owner("k")
    (target,) = (node for node in cluster.primaries if node is not source)
    with client(source) as r:
        r.set("k", "v")
    epoch = cluster.epoch
    cluster.move("k", target)
    assert cluster.epoch == epoch + 1 == target.shard.epoch
    assert answer(source, "GET", "k") == f"-MOVED {key_slot('k')} {target.address}"
    with client(target) as r:
        assert r.get("k") == b"v"


def test_ranges_move_and_slots_can_be_without_owner(cluster):
    a, b = cluster.primaries
    cluster.move(range(100), b)
    assert a.slots[0] == 100
    cluster.unassign(range(100))
    with client(a) as r:
        assert r.execute_command("CLUSTER INFO")["cluster_state"] == "fail"
    assert answer(a, "GET", in_slot(99)[0]) == "-CLUSTERDOWN Hash slot not served"
    with pytest.raises(LookupError):
        cluster.owner(99)


def test_a_half_moved_slot_answers_ask_and_tryagain(cluster):
    a, b = cluster.primaries
    here, there = in_slot(7, 2)
    with client(a) as r:
        r.mset({here: "1", there: "2"})
        cluster.migrate(7, b)
        cluster.move_keys(there)
        assert r.get(here) == b"1"
        assert r.execute_command("CLUSTER NODES")[a.address]["migrations"]
    assert answer(a, "GET", there) == f"-ASK 7 {b.address}"
    assert answer(a, "MGET", here, there).startswith("-TRYAGAIN ")
    assert answer(b, "GET", there) == f"-MOVED 7 {a.address}"
    assert answer(b, "GET", there, after=["ASKING"]) == "$1"
    assert answer(b, "MGET", there, here, after=["ASKING"]).startswith("-TRYAGAIN ")


def test_asking_holds_for_one_command(cluster):
    a, b = cluster.primaries
    cluster.migrate(7, b)
    with dial(b) as sock:
        ask(sock, "ASKING", expect=b"+OK\r\n")
        ask(sock, "GET", in_slot(7)[0], expect=b"$-1\r\n")
        ask(sock, "GET", in_slot(7)[0], expect=f"-MOVED 7 {a.address}".encode())


def test_a_migration_that_makes_no_sense_is_refused(cluster):
    with pytest.raises(ValueError, match="cannot migrate to where it is"):
        cluster.migrate("k", cluster.owner("k"))
    with pytest.raises(ValueError, match="is not migrating"):
        cluster.move_keys("k")


def test_a_promoted_replica_takes_over_the_slots_and_the_data(cluster):
    old = cluster.owner("k")
    (new,) = old.replicas
    with client(old) as r:
        r.set("k", "v")
    cluster.fail(old)
    cluster.promote(new)
    with pytest.raises(ConnectionRefusedError), dial(old):
        pass
    with client(new) as r:
        assert r.get("k") == b"v"
        nodes = r.execute_command("CLUSTER NODES")
        assert "fail" in nodes[old.address]["flags"]
        assert nodes[old.address]["master_id"] == new.id
    cluster.recover(old)
    assert answer(old, "GET", "k").startswith("-MOVED ")
    assert old in cluster.replicas


def test_a_replica_serves_reads_after_readonly_and_never_writes(cluster):
    primary = cluster.owner("k")
    (replica,) = primary.replicas
    with client(primary) as r:
        r.set("k", "v")
    assert answer(replica, "GET", "k").startswith("-MOVED ")
    assert answer(replica, "GET", "k", after=["READONLY"]) == "$1"
    assert answer(replica, "SET", "k", "w", after=["READONLY"]).startswith("-MOVED ")
    assert answer(replica, "GET", "k", after=["READONLY", "READWRITE"]).startswith("-MOVED ")


def test_a_script_lets_a_node_tell_an_outdated_story(cluster):
    node, other = cluster.primaries
    old = node.slots_reply()
    cluster.move(0, other)
    node.on("CLUSTER SLOTS", old)
    with client(node) as r, client(other) as s:
        assert r.execute_command("CLUSTER SLOTS") != s.execute_command("CLUSTER SLOTS")


def test_keys_of_several_slots_are_refused(cluster):
    with client(cluster.nodes[0]) as r, pytest.raises(redis.ResponseError, match="same slot"):
        r.mget("a", "b", "c")


def test_a_cluster_needs_a_primary():
    with pytest.raises(ValueError, match="primaries"):
        FakeCluster(primaries=0)


@pytest.fixture
def single():
    with FakeCluster(primaries=1) as fake, client(fake.nodes[0]) as r:
        yield r


def test_the_store_knows_strings(single):
    assert single.set("s", "1", ex=100)
    assert 98 <= single.ttl("s") <= 100
    assert single.persist("s")
    assert single.ttl("s") == -1
    assert single.set("s", "2", nx=True) is None
    assert single.set("other", "2", xx=True) is None
    assert single.set("s", "5", get=True) == b"1"
    assert [single.incr("s"), single.incrby("s", 4), single.decr("s"), single.decrby("s", 2)] == [
        6,
        10,
        9,
        7,
    ]
    assert single.append("s", "x") == 2
    assert single.strlen("s") == 2
    with pytest.raises(redis.ResponseError, match="not an integer"):
        single.incr("s")
    assert single.getdel("s") == b"7x"
    assert single.setnx("s", "1")
    assert not single.setnx("s", "2")
    assert single.set("brief", "1", px=10)
    time.sleep(0.02)
    assert single.get("brief") is None
    assert single.exists("s", "s", "{s}none") == 2
    assert single.touch("s") == 1
    assert single.delete("s", "{s}none") == 1
    assert single.expire("s", 5) == 0
    assert single.ttl("s") == -2


def test_the_store_knows_hashes_lists_and_sets(single):
    assert single.hset("h", "f", "1") == 1
    assert [single.hincrby("h", "f", 2), single.hlen("h"), single.hget("h", "f")] == [3, 1, b"3"]
    assert single.hdel("h", "f", "g") == 1
    assert single.type("h") == b"none"
    assert single.rpush("l", "a", "b") == 2
    assert single.lpush("l", "c") == 3
    assert single.lrange("l", 0, -1) == [b"c", b"a", b"b"]
    assert single.lrange("l", 0, 1) == [b"c", b"a"]
    assert [single.lpop("l"), single.rpop("l"), single.llen("l")] == [b"c", b"b", 1]
    assert single.rpop("none") is None
    assert single.sadd("s", "a", "b", "a") == 2
    assert single.smembers("s") == {b"a", b"b"}
    assert single.sismember("s", "a")
    assert not single.sismember("s", "z")
    assert [single.srem("s", "a", "z"), single.scard("s"), single.type("s")] == [1, 1, b"set"]
    with pytest.raises(redis.ResponseError, match="wrong kind"):
        single.get("s")
    assert single.mget("s", "{s}none") == [None, None]
    assert single.dbsize() == 2
    assert single.flushall()
    assert single.dbsize() == 0


@pytest.mark.parametrize("words", ["GET", "GET a b", "SET a", "MSET a", "HSET h f", "CLUSTER"])
def test_a_wrong_number_of_arguments_is_refused(single, words):
    with pytest.raises(redis.ResponseError, match="wrong number of arguments"):
        single.execute_command(*words.split())

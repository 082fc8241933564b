"""A server alone, its databases, one with replicas, sentinels: behind the same constructor."""

from __future__ import annotations

import pytest
import redis

from clustercache import Cluster
from clustercache.exceptions import AdminError, ConfigurationError, CrossSlotError
from clustercache.localcluster import LocalCluster
from tests.asyncs import both  # noqa: F401 - for both clients
from tests.clusters import is_alive, need_tls

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def alone():
    with LocalCluster.standalone() as made:
        yield made


@pytest.fixture(scope="module")
def watched():
    with LocalCluster.sentinel(password="data p", sentinel_password="sentinels' p") as made:
        yield made


def test_a_standalone_server_takes_keys_of_any_slots_in_one_command(connect, alone):
    with connect(alone.url) as client:
        assert client.mset({"foo": 1, "bar": 2, "baz": 3}) is True
        before = client.info("commandstats")
        assert client.mget("foo", "bar", "baz") == [b"1", b"2", b"3"]
        assert client.rename("foo", "elsewhere")
        assert client.sinter("bar-set", "foo-set") in (set(), [])
        assert client.eval("return #KEYS", 2, "foo", "bar") == 2
        assert client.delete("elsewhere", "bar", "baz") == 3
        after = client.info("commandstats")
    count = [stats.get("cmdstat_mget", {}).get("calls", 0) for stats in (before, after)]
    assert count[1] - count[0] == 1


def test_a_pipeline_to_a_standalone_server_may_mix_keys_too(alone):
    with Cluster.from_url(alone.url) as client, client.pipeline() as pipe:
        pipe.mset({"foo": 1, "bar": 2}).rename("foo", "baz").mget("foo", "bar", "baz")
        assert pipe.execute() == [True, True, [None, b"2", b"1"]]


def test_numbered_databases_are_apart(connect, alone):
    with connect(f"{alone.url}/3") as three, connect(alone.url) as zero:
        three.set("k", "three")
        zero.set("k", "zero")
        assert (three.get("k"), zero.get("k")) == (b"three", b"zero")
        assert three.dbsize() == 1


def test_a_database_that_a_server_has_not_is_named_in_the_error(connect, alone):
    with (
        connect(f"{alone.url}/99") as client,
        pytest.raises(ConfigurationError, match="no database 99"),
    ):
        client.get("k")


def test_numbered_databases_of_a_cluster_are_apart(connect):
    with LocalCluster(3, 0, config={"cluster-databases": 4}) as lc:
        first, _, rest = lc.url.partition("?")
        with connect(f"{first}/2?{rest}") as two, connect(lc.url) as zero:
            two.mset({"foo": 1, "bar": 2})
            zero.set("foo", "zero")
            assert two.mget("foo", "bar") == [b"1", b"2"]
            assert zero.mget("foo", "bar") == [b"zero", None]
            with pytest.raises(CrossSlotError):
                two.rename("foo", "bar")


def test_a_cluster_without_numbered_databases_says_so(connect, cluster):
    first, _, rest = cluster.url.partition("?")
    with (
        connect(f"{first}/2?{rest}") as client,
        pytest.raises(ConfigurationError, match="cluster-databases"),
    ):
        client.get("k")


def test_an_acl_that_allows_no_more_than_keys_is_enough(connect, alone):
    (node,) = alone.nodes
    node.call("ACL", "SETUSER", "app", "on", ">pw", "~*", "+get", "+set")
    host = alone.url.removeprefix("redis://")
    with connect(f"redis://app:pw@{host}") as client:
        assert client.set("k", "v")
        assert client.get("k") == b"v"


def test_a_replica_given_as_the_seed_leads_to_its_primary(connect):
    with LocalCluster.replicated(replicas=2) as lc:
        seed = lc.replicas[0]
        with connect(f"redis://{seed.address}") as client:
            assert client.set("k", "v")
            assert set(client.stats()["nodes"]) == {str(node.address) for node in lc.nodes}
            promoted = lc.replicas[1]
            lc.failover(promoted)
            assert client.set("k", "w")
            assert lc.primary is promoted
            lc.restart(lc.nodes[0])
            assert lc.primary is promoted


def test_sentinels_name_the_primary_with_passwords_apart(connect, watched):
    with connect(watched.url) as client:
        assert client.mset({"foo": 1, "bar": 2}) is True
        assert client.mget("foo", "bar") == [b"1", b"2"]
        assert set(client.stats()["nodes"]) == {str(node.address) for node in watched.nodes}


def test_sentinels_and_servers_share_tls_and_the_url_names_an_acl_user(connect):
    options = {"username": "app", "password": "p w", "tls": True}
    with (
        LocalCluster.sentinel(replicas=1, server=need_tls().path, **options) as lc,
        connect(lc.url) as client,
    ):
        assert lc.url.startswith("rediss+sentinel://")
        assert client.set("k", "v")


def test_wrong_credentials_of_either_kind_end_the_first_call_at_once(connect, watched):
    for options in ({"password": "x"}, {"sentinel_password": "x"}):
        with (
            connect(watched.url, **options) as client,
            pytest.raises(redis.AuthenticationError),
        ):
            client.get("k")


def test_sentinels_that_do_not_know_the_service_end_the_first_call_at_once(connect, watched):
    url = watched.url.replace("/mymaster", "/other")
    with (
        connect(url) as client,
        pytest.raises(redis.ConnectionError, match="No such master"),
    ):
        client.get("k")


@pytest.mark.parametrize(
    "make",
    [LocalCluster.standalone, LocalCluster.replicated, LocalCluster.sentinel],
    ids=["standalone", "replicated", "sentinel"],
)
def test_no_server_outlives_its_form(make):
    with make() as lc:
        nodes = [*lc.nodes, *getattr(lc, "sentinels", ())]
        pids = [node.pid for node in nodes]
        lc.stop(nodes[-1])
        directory = lc.directory
    assert not any(is_alive(pid) for pid in pids)
    assert not directory.exists()
    with pytest.raises(AdminError):
        lc.kill(nodes[0])

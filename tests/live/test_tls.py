"""TLS with a real server: who is trusted, who is not, and what the error says to do."""

from __future__ import annotations

import datetime as dt
import time
from dataclasses import replace
from pathlib import Path

import pytest

from clustercache import Cluster
from clustercache.admin.link import NodeLink
from clustercache.config import ClusterConfig
from clustercache.exceptions import AdminError, UntrustedError
from clustercache.localcluster import LocalCluster
from clustercache.localcluster.certificates import make_certificates
from tests.asyncs import both  # noqa: F401 - for both clients
from tests.clusters import need_tls

pytestmark = pytest.mark.live
TLS_1_3 = 0x0304


@pytest.fixture(scope="module")
def mutual():
    """A cluster whose servers want a certificate of each client."""
    config = {"tls-auth-clients": True}
    with LocalCluster(3, 0, server=need_tls().path, tls=True, config=config) as made:
        yield made


@pytest.fixture
def own(mutual):
    """What a client has to show."""
    return {"ssl_certfile": mutual.tls.certfile, "ssl_keyfile": mutual.tls.keyfile}


@pytest.fixture
def stranger(tmp_path):
    """Certificates of another CA."""
    return make_certificates(tmp_path / "stranger")


@pytest.fixture
def refused():
    """Check that a client is refused at once, with advice; return what it was told."""

    def call(url, key="k", **options):
        began = time.monotonic()
        with Cluster.from_url(url, **options) as client, pytest.raises(UntrustedError) as caught:
            client.get(key)
        assert time.monotonic() - began < 3.0, "no waiting mends it"
        assert caught.value.applied == "no"
        assert caught.value.node
        return str(caught.value)

    return call


def test_both_sides_show_certificates(mutual, own):
    with Cluster.from_url(mutual.url, **own) as client:
        for number in range(20):
            client.set(f"k{number}", number)
        assert client.mget([f"k{number}" for number in range(20)]) == [b"%d" % n for n in range(20)]


def test_redirects_go_to_tls_ports(mutual, own):
    with Cluster.from_url(mutual.url, **own) as client:
        client.set("k", "1")
        client._map.patch(client.keyslot("k"), wrong_owner(client, "k"))
        assert client.get("k") == b"1"
        assert sum(node["redirects"] for node in client.stats()["nodes"].values()) == 1


def wrong_owner(client, key):
    owner = client._map.slots[client.keyslot(key)].address
    primaries = [shard.primary.address for shard in client._map.topology.shards]
    return next(address for address in primaries if address != owner)


def test_a_client_without_a_certificate_is_told_to_give_one(mutual, refused):
    assert "give ssl_certfile" in refused(mutual.url)


def test_a_client_certificate_of_a_foreign_ca_is_told(mutual, refused, stranger):
    foreign = {"ssl_certfile": stranger.certfile, "ssl_keyfile": stranger.keyfile}
    assert "does not trust the CA of the certificate in ssl_certfile" in refused(
        mutual.url, **foreign
    )


def test_a_server_of_a_foreign_ca_is_refused(mutual, own, refused, stranger):
    assert "give its CA as ssl_ca_certs" in refused(
        mutual.url, ssl_ca_certs=stranger.ca_certs, **own
    )


def test_a_server_of_another_name_is_refused(mutual, own, refused):
    told = refused(mutual.url, ssl_server_name="shop.example", **own)
    assert "cluster-announce-hostname" in told
    assert "ssl_server_name" in told


def test_administration_is_told_the_same(mutual, stranger):
    tls = replace(mutual.tls, ca_certs=stranger.ca_certs)
    config = ClusterConfig(seeds=(mutual.nodes[0].address,), tls=tls)
    link = NodeLink(mutual.nodes[0].address, config, tls.context())
    with pytest.raises(AdminError, match="ssl_ca_certs"):
        link.call("PING")


def test_the_name_to_verify_can_be_given(mutual, own):
    with Cluster.from_url(mutual.url, ssl_server_name="localhost", **own) as client:
        assert client.ping()


def test_verification_can_be_switched_off_for_the_name_alone(mutual, own):
    options = {"ssl_server_name": "shop.example", "ssl_check_hostname": False}
    with Cluster.from_url(mutual.url, **options, **own) as client:
        assert client.ping()


def test_a_least_version_that_the_server_lacks_is_refused(refused):
    config = {"tls-protocols": "TLSv1.2"}
    with LocalCluster(1, 0, server=need_tls().path, tls=True, config=config) as old:
        assert "ssl_min_version" in refused(old.url, ssl_min_version=TLS_1_3)
        with Cluster.from_url(old.url) as client:
            assert client.ping()


def test_an_expired_certificate_is_refused_at_that_node_alone(tmp_path, refused):
    with LocalCluster(3, 0, server=need_tls().path, tls=True) as made:
        node = made.node_for("k")
        old = make_certificates(tmp_path / "old", age=dt.timedelta(days=40))
        both = tmp_path / "both.pem"
        both.write_text(Path(made.tls.ca_certs).read_text() + Path(old.ca_certs).read_text())
        node.call("CONFIG", "SET", "tls-cert-file", old.certfile, "tls-key-file", old.keyfile)
        others = [f"rediss://{other.address}" for other in made.nodes if other is not node]
        options = {"ssl": True, "ssl_ca_certs": str(both)}
        assert "renew it" in refused(others, "k", **options)
        with Cluster.from_url(others, **options) as client:
            key = next(k for k in "abcdefgh" if made.node_for(k) is not node)
            assert client.get(key) is None
            with client.pipeline() as pipe, pytest.raises(UntrustedError):
                pipe.get("k").execute()

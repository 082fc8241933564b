"""What a client is told is checked before anything is opened, and secrets stay inside."""

from __future__ import annotations

import socket
import ssl
from dataclasses import FrozenInstanceError

import pytest

from clustercache import Cluster, exceptions
from clustercache._core.commands import Safety
from clustercache.config import (
    TLS,
    ClusterConfig,
    RetryPolicy,
    from_url,
    parse_address,
    parse_url,
)
from clustercache.exceptions import ConfigurationError

SECRET = "hunter2"


@pytest.fixture(autouse=True)
def no_sockets(monkeypatch):
    """Opening anything at all fails the test."""

    def refuse(*args, **options):
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.mark.parametrize(
    ("url", "seeds"),
    [
        ("redis://10.0.0.1:7000", [("10.0.0.1", 7000)]),
        ("redis://10.0.0.1", [("10.0.0.1", 6379)]),
        ("redis://", [("localhost", 6379)]),
        ("redis://:7000", [("localhost", 7000)]),
        ("redis://user@", [("localhost", 6379)]),
        ("valkey://h:7000/", [("h", 7000)]),
        ("redis://[::1]:7000", [("::1", 7000)]),
        ("redis://[::1]", [("::1", 6379)]),
        ("redis://h:1?addr=i:2&addr=[::1]:3&addr=j", [("h", 1), ("i", 2), ("::1", 3), ("j", 6379)]),
        ("redis://h:1?addr=h:1", [("h", 1)]),
        (["redis://h:1", "redis://i:2", "redis://h:1"], [("h", 1), ("i", 2)]),
        (("redis://h:1",), [("h", 1)]),
    ],
)
def test_urls_name_the_seeds(url, seeds):
    assert list(from_url(url).seeds) == seeds


@pytest.mark.parametrize(
    ("scheme", "tls"), [("redis", False), ("valkey", False), ("rediss", True), ("valkeys", True)]
)
def test_the_scheme_says_whether_it_is_tls(scheme, tls):
    assert (from_url(f"{scheme}://h").tls is not None) is tls


def test_a_url_carries_credentials_percent_encoded():
    config = from_url("redis://us%40er:p%3Ass@h:7000")
    assert config.credentials() == ("us@er", "p:ss")
    assert from_url("redis://:p@h").credentials() == (None, "p")
    assert from_url("redis://u@h").credentials() == ("u", None)
    assert from_url("redis://h").credentials() == (None, None)


def test_a_url_carries_options_of_every_type():
    config = from_url(
        "rediss://h/2?socket_timeout=0.5&deadline=3&max_connections=7&decode_responses=Yes"
        "&socket_keepalive=off&client_name=shop&protocol=2&ssl_ca_certs=/ca.pem"
        "&ssl_check_hostname=false&ssl_min_version=772&ssl_server_name=n1&legacy_responses=0"
    )
    assert (config.db, config.socket_timeout, config.deadline) == (2, 0.5, 3.0)
    assert (config.max_connections, config.client_name, config.protocol) == (7, "shop", 2)
    assert (config.decode_responses, config.socket_keepalive) == (True, False)
    assert not config.legacy_responses
    assert config.tls == TLS(
        ca_certs="/ca.pem", check_hostname=False, min_version=772, server_name="n1"
    )


def test_keyword_options_win_over_the_urls():
    assert from_url("redis://h?deadline=3", deadline=4).deadline == 4
    assert from_url("redis://u:p@h", username="v").credentials() == ("v", "p")
    assert from_url("redis://h", ssl=True).tls == TLS()


@pytest.mark.parametrize("given", [("p",), ("u", "p")], ids=["password", "username and password"])
def test_a_credential_provider_is_asked_at_each_connect(given):
    class Provider:
        asked = 0

        def get_credentials(self):
            Provider.asked += 1
            return given

    config = from_url("redis://h", credential_provider=Provider())
    assert config.credentials() == config.credentials() == (None, "p")[2 - len(given) :] or given
    assert Provider.asked == 2


BAD_URLS = [
    "",
    "h:7000",
    "http://h",
    "redis+tls://h",
    "unix:///tmp/sock",
    "redis://h:0",
    "redis://h:65536",
    "redis://h:-1",
    "redis://h:port",
    "redis://h:",
    "redis://h/zero",
    "redis://h/-1",
    "redis://h/1/2",
    "redis://h?nonsense=1",
    "redis://h?seeds=i",
    "redis://h?tls=1",
    "redis://h?retry=1",
    "redis://h?deadline=soon",
    "redis://h?deadline=0",
    "redis://h?deadline=-1",
    "redis://h?socket_timeout=",
    "redis://h?socket_timeout=0",
    "redis://h?socket_connect_timeout=-0.1",
    "redis://h?max_connections=0",
    "redis://h?max_connections=1.5",
    "redis://h?max_waiting=none",
    "redis://h?protocol=4",
    "redis://h?decode_responses=maybe",
    "redis://h?addr=i:0",
    "redis://h?addr=i:x",
    "redis://h?ssl_ca_certs=/ca.pem",
    "rediss://h?ssl_nonsense=1",
    "rediss://h?ssl_context=1",
    "rediss://h?ssl_min_version=high",
    [],
    ["redis://h", "rediss://i"],
    ["redis://:p@h", "redis://i"],
    ["redis://h?db=1", "redis://i"],
]


@pytest.mark.parametrize("url", BAD_URLS, ids=str)
def test_a_bad_url_is_refused_before_anything_is_opened(url):
    with pytest.raises(ConfigurationError):
        Cluster.from_url(url)


@pytest.mark.parametrize(
    "options",
    [
        {"nonsense": 1},
        {"seeds": ()},
        {"deadline": None},
        {"deadline": "3"},
        {"deadline": True},
        {"socket_timeout": None},
        {"socket_connect_timeout": 0},
        {"max_connections": 2.0},
        {"max_connections": None},
        {"max_waiting": 0},
        {"db": "1"},
        {"db": -1},
        {"protocol": 1},
        {"protocol": "4"},
        {"ssl_ca_certs": "/ca.pem"},
        {"ssl": True, "ssl_ca_certs": "/does/not/exist.pem"},
        {"ssl": True, "ssl_ca_data": "no PEM"},
        {"ssl": True, "ssl_certfile": "/does/not/exist.pem"},
        {"ssl": True, "ssl_ciphers": "NONSENSE"},
        {"ssl": True, "ssl_min_version": 5},
        pytest.param({"credential_provider": object(), "password": SECRET}, id="both credentials"),
    ],
    ids=str,
)
def test_a_bad_option_is_refused_before_anything_is_opened(options):
    with pytest.raises(ConfigurationError) as caught:
        Cluster.from_url("redis://h", **options)
    assert SECRET not in str(caught.value)


MISTAKES = {
    "an open bracket": ("redis://[::1", {}),
    "no URL at all": (None, {}),
    "a URL as bytes": (b"redis://h", {}),
    "a deadline that is no number": ("redis://h?deadline=nan", {}),
    "a silence that never ends": ("redis://h", {"socket_timeout": float("inf")}),
    "an empty seed connects to nowhere": ("redis://h?addr=", {}),
    "a codec that does not exist": ("redis://h", {"encoding": "nonsense"}),
    "a verification mode that does not exist": ("rediss://h", {"ssl_cert_reqs": "nonsense"}),
    "a fragment, which means an unescaped #": ("redis://h#x", {}),
    "a host with a space": ("redis://a b:7000", {}),
    "an error handler that does not exist": ("redis://h", {"encoding_errors": "nonsense"}),
    "a wait of weeks": ("redis://h", {"deadline": 1e9}),
    "a truth that is none": ("redis://h", {"decode_responses": "no"}),
    "TLS as a word": ("redis://h", {"ssl": "yes"}),
    "TLS forbidden by an option": ("rediss://h", {"ssl": False}),
    "an IPv6 address without brackets": ("redis://fe80::1", {}),
    "two ports": ("redis://h:1:2", {}),
}


@pytest.mark.parametrize(("url", "options"), MISTAKES.values(), ids=MISTAKES)
def test_what_cannot_be_meant_is_refused_too(url, options):
    with pytest.raises(ConfigurationError):
        Cluster.from_url(url, **options)


@pytest.mark.parametrize(
    "url",
    [
        f"redis://:{SECRET}/x@h",
        f"redis://:{SECRET}#x@h:1",
        f"redis://:{SECRET}?x@h:1",
        f"redis://:{SECRET}@\u2100",
        f"redis://:{SECRET}",
        f"redis://user:{SECRET}",
        f"redis://user@{SECRET}@h",
        f"redis://h?db={SECRET}",
        f"redis://h?addr=:{SECRET}@i",
    ],
)
def test_an_unescaped_password_is_not_repeated_by_the_error(url):
    with pytest.raises(ConfigurationError) as caught:
        from_url(url)
    assert SECRET not in str(caught.value)
    assert SECRET not in repr(caught.value.__context__)


@pytest.mark.parametrize("options", [{}, {"db": "x"}, {"deadline": -1}, {"nonsense": SECRET}])
def test_secrets_are_never_shown(options):
    url = f"rediss://user:{SECRET}@h:7000"
    try:
        client = Cluster.from_url(url, ssl_password=SECRET, **options)
    except exceptions.ConfigurationError as error:
        shown = [str(error), repr(error)]
    else:
        config = client.config
        shown = [repr(config), str(config), repr(config.tls), repr(client), str(client)]
        client.close()
    assert SECRET not in " ".join(shown)


def test_an_unknown_option_names_the_known_ones():
    with pytest.raises(ConfigurationError, match=r"unknown option 'timeout'.*socket_timeout"):
        from_url("redis://h", timeout=1)
    with pytest.raises(ConfigurationError, match=r"unknown URL scheme 'http'.*rediss.*valkeys"):
        from_url("http://h")


def test_a_configuration_is_frozen():
    config = from_url("rediss://h")
    for value, field in [(config, "deadline"), (config.tls, "ciphers"), (config.retry, "resend")]:
        with pytest.raises(FrozenInstanceError):
            setattr(value, field, None)


def test_tls_verifies_everything_unless_told_otherwise():
    context = TLS().context()
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize(
    ("cert_reqs", "mode"), [("none", ssl.CERT_NONE), ("optional", ssl.CERT_OPTIONAL)]
)
def test_tls_verifies_less_where_it_was_told_to(cert_reqs, mode):
    context = TLS(cert_reqs=cert_reqs, ciphers="ECDHE+AESGCM").context()
    assert context.verify_mode is mode
    assert not context.check_hostname


def test_read_same_and_count_are_repeated_by_default_and_never_is_not():
    assert RetryPolicy().resend == {Safety.READ, Safety.SAME, Safety.COUNT}


@pytest.mark.parametrize(("base", "cap"), [(0, 1), (-1, 1), (2, 1)])
def test_a_backoff_that_cannot_be_meant_is_refused(base, cap):
    with pytest.raises(ConfigurationError, match="backoff_base"):
        RetryPolicy(backoff_base=base, backoff_cap=cap)


def test_the_defaults_are_the_ones_that_the_documentation_names():
    config = ClusterConfig(seeds=(parse_address("h"),))
    assert (config.deadline, config.socket_timeout) == (10.0, 1.0)
    assert (config.max_connections, config.max_waiting) == (64, 128)


def test_parse_url_leaves_out_what_the_url_does_not_say():
    assert parse_url("redis://h:7") == {"seeds": [("h", 7)]}


def test_a_sentinel_url_names_sentinels_service_and_database():
    config = from_url(
        "redis+sentinel://app:pw@s1,s2:5/mymaster/3?addr=s3&sentinel_username=u",
        sentinel_password="p",
    )
    assert config.seeds == (("s1", 26379), ("s2", 5), ("s3", 26379))
    assert (config.service_name, config.db) == ("mymaster", 3)
    assert (config.username, config.password) == ("app", "pw")
    assert (config.sentinel_username, config.sentinel_password) == ("u", "p")
    assert from_url("rediss+sentinel:///a%2Fb").service_name == "a/b"
    assert from_url("rediss+sentinel:///m").tls is not None


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("redis+sentinel://h", {}),
        ("redis+sentinel://h/", {}),
        ("redis+sentinel://h/m/x", {}),
        ("redis+sentinel://h/a%20b", {}),
        ("http+sentinel://h/m", {}),
        ("redis://h", {"sentinel_password": "x"}),
    ],
)
def test_a_sentinel_url_that_cannot_be_meant_is_refused(url, options):
    with pytest.raises(ConfigurationError):
        from_url(url, **options)


def test_the_sentinels_password_is_never_shown():
    config = from_url("redis+sentinel://h/m", sentinel_password=SECRET)
    assert SECRET not in repr(config)


def test_a_protocol_may_be_text_as_in_redis_py():
    assert from_url("redis://h", protocol="2").protocol == 2

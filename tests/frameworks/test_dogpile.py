"""What dogpile.cache's own tests do not look at: keys, other processes, absent servers."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from time import monotonic

import pytest
from dogpile.cache import make_region
from dogpile.cache.api import NO_VALUE

import clustercache.dogpile  # noqa: F401 - makes the backend known
from clustercache import Cluster
from clustercache.exceptions import ConfigurationError

KEY = "k" * 16
AWAY = {"url": "redis://127.0.0.1:1", "signing_key": KEY, "deadline": 0.2}


def region(url="memory://", expiration_time=60, signing_key=KEY, **arguments):
    arguments = {"url": url, "signing_key": signing_key, **arguments}
    return make_region().configure(
        "clustercache", expiration_time=expiration_time, arguments=arguments
    )


def test_a_key_has_to_be_given():
    with pytest.raises(ConfigurationError, match="signing_key=, or the region a serializer"):
        region(signing_key=None)


def test_a_region_with_its_own_serializer_needs_no_key():
    made = make_region(serializer=str.encode, deserializer=bytes.decode)
    made.configure("clustercache", arguments={"url": "memory://"})
    made.set("a", "text")
    assert made.get("a") == "text"


def test_what_another_key_has_signed_is_made_again():
    url = "memory://dogpile-signed"
    region(url, signing_key="o" * 16).set("a", {1})
    assert region(url).get("a") is NO_VALUE
    assert region(url, signing_key_fallbacks=["o" * 16]).get("a") == {1}
    assert region(url).get_or_create("a", lambda: {2}) == {2}


def test_a_configuration_file_says_it_in_text():
    words = {"backend": "clustercache", "expiration_time": "60", "arguments.url": "memory://"}
    words |= {"arguments.signing_key": KEY, "arguments.near": "7", "arguments.ttl": "120"}
    words |= {"arguments.distributed_lock": "false"}
    made = make_region().configure_from_config({f"c.{k}": v for k, v in words.items()}, "c.")
    assert made.backend.cache.settings.ttl == 120
    assert made.backend.get_mutex("a") is None
    assert not made.backend.has_lock_timeout()


def test_values_are_for_ever_by_default_as_the_region_judges_their_age():
    made = region()
    made.set("a", 1)
    assert made.backend.cache.ttl("a") == float("inf")


def test_unknown_arguments_are_logged(caplog):
    with caplog.at_level(logging.WARNING, "clustercache.cache"):
        region(colour="red")
    assert caplog.messages == ["arguments_ignored names=colour"]


# Locks --------------------------------------------------------------------------------------------


@pytest.mark.live
def test_one_process_at_a_time_makes_a_value(cluster):
    made, started = [], threading.Semaphore(0)

    def create():
        made.append(1)
        for _ in range(8):
            assert started.acquire(timeout=10)
        return "value"

    def ask(one):
        started.release()
        return one.get_or_create("a", create)

    with Cluster.from_url(cluster.url) as one, Cluster.from_url(cluster.url) as other:
        regions = [region(client, namespace="dogpile-once") for client in (one, other)]
        with ThreadPoolExecutor(8) as pool:
            values = list(pool.map(ask, regions * 4))
        regions[0].delete("a")
    assert values == ["value"] * 8
    assert len(made) == 1


@pytest.mark.live
def test_a_lock_that_took_too_long_is_the_next_ones_and_that_is_no_error(cluster, caplog):
    with Cluster.from_url(cluster.url) as client:
        mutexes = [
            region(client, namespace="dogpile-late", lock_timeout=seconds).backend.get_mutex("a")
            for seconds in (0.1, 30)
        ]
        assert mutexes[0].acquire()
        assert mutexes[1].acquire()  # as soon as the first has expired
        with caplog.at_level(logging.WARNING, "clustercache.cache"):
            mutexes[0].release()
        assert caplog.messages == ["lock_not_released error=LockNotOwnedError"]
        assert mutexes[0].locked()
        mutexes[1].release()
        assert not mutexes[0].locked()


def test_a_lock_in_process_is_free_again_for_another_thread():
    backend = region().backend
    mutex, other = backend.get_mutex("a"), backend.get_mutex("a")
    assert mutex.acquire()
    assert not other.acquire(wait=False)
    assert other.locked()
    thread = threading.Thread(target=mutex.release)
    thread.start()
    thread.join(10)
    assert other.acquire(wait=False)
    other.release()


def test_without_a_server_each_process_makes_its_own_values(caplog):
    made = make_region().configure("clustercache", expiration_time=60, arguments=AWAY)
    with caplog.at_level(logging.WARNING, "clustercache.cache"):
        mutex = made.backend.get_mutex("a")
        assert mutex.acquire()
        mutex.release()
        assert made.get_or_create("a", lambda: "made") == "made"
    assert any(message.startswith("lock_not_taken error=") for message in caplog.messages)
    assert not made.backend.get_mutex("a").locked()
    made.backend.cache.close()


def test_an_absent_server_is_waited_for_once_and_not_for_each_value():
    made = region(**AWAY)
    assert made.get_or_create("a", lambda: 1) == 1
    began = monotonic()
    assert [made.get_or_create("a", lambda at=at: at) for at in range(10)] == list(range(10))
    assert monotonic() - began < AWAY["deadline"]

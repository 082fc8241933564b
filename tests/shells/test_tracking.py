"""Tracking connections and what servers seldom do: nothing is kept that nobody vouches for."""

from __future__ import annotations

import logging
import threading
from time import monotonic

import pytest

from clustercache.caching.near import MISSING, NearCache
from clustercache.testing import FakeCluster, error, raw, silence, simple
from tests.nearby import await_true, nearby

KEY = b"k"


def client_answers(command, _):
    """CLIENT TRACKING and CACHING, which the fake server does not know."""
    return simple("OK") if command[1].upper() in {b"TRACKING", b"CACHING"} else error("ERR no")


@pytest.fixture
def cluster():
    with FakeCluster(primaries=1) as made:
        made.primaries[0].on("CLIENT", client_answers)
        yield made


@pytest.fixture
def node(cluster):
    return cluster.primaries[0]


@pytest.fixture
def here(cluster):
    with nearby(cluster.url, near=NearCache(max_silence=0.5), socket_timeout=0.3) as made:
        made.client.set(KEY, "v")
        yield made


def read(here):
    (reading,) = here.tracker.read([KEY])
    with reading:
        return reading.data, reading.keep(reading.data)


def test_a_read_that_is_not_tracked_is_not_believed(here, node):
    here.warm(KEY)
    node.on("CLIENT", error("ERR no tracking"))
    here.near.discard([KEY])
    assert read(here) == (MISSING, False)
    assert here.fetch(KEY) == b"v"
    assert here.lacks(KEY)


@pytest.mark.parametrize("code", ["ASK", "MOVED"])
def test_a_redirect_is_left_to_the_client_and_not_kept(here, node, code):
    here.warm(KEY)
    here.near.discard([KEY])
    node.on("GET", error(f"{code} 7629 127.0.0.1:1"))
    (reading,) = here.tracker.read([KEY])
    with reading:
        assert reading.data is MISSING
        assert not here.near._coherence.stands(reading.token)


def test_a_reply_that_nobody_asked_for_costs_the_connection(here, node):
    here.warm(KEY)
    node.on("GET", [raw(b"$1\r\nv\r\n+SURPLUS\r\n")])
    here.near.discard([KEY])
    read(here)
    here.await_gone(KEY)
    (listener,) = here.tracker.listeners
    await_true(lambda: listener.source.ready, what="it is not tracked again")


def test_a_silent_node_keeps_nobody_longer_than_the_socket_timeout(here, node):
    here.warm(KEY)
    here.near.discard([KEY])
    node.on("GET", silence())
    began = monotonic()
    assert read(here) == (MISSING, False)
    assert 0.25 < monotonic() - began < 1.5
    (listener,) = here.tracker.listeners
    await_true(lambda: not listener.source.ready, what="its silence is not noticed")
    began = monotonic()
    assert read(here) == (MISSING, False)
    assert monotonic() - began < 0.1


def test_a_node_that_loads_is_asked_again_soon_and_without_a_warning(here, node, caplog):
    here.warm(KEY)
    (listener,) = here.tracker.listeners
    with caplog.at_level(logging.WARNING, "clustercache.near"):
        node.on("PING", error("LOADING loading the dataset in memory"))
        await_true(lambda: not listener.source.ready, what="it is believed all the same")
        assert here.lacks(KEY)
        node.on("PING", simple("PONG"))
        here.warm(KEY)
    assert not caplog.records


def test_an_interrupted_read_leaves_the_connection_in_step(here, monkeypatch):
    here.warm(KEY)
    (listener,) = here.tracker.listeners
    link, real = listener._link, type(listener._link).read

    def interrupted(self, **options):
        if threading.current_thread() is threading.main_thread():
            raise KeyboardInterrupt
        return real(self, **options)

    here.near.discard([KEY])
    with monkeypatch.context() as patch:
        patch.setattr(type(link), "read", interrupted)
        with pytest.raises(KeyboardInterrupt):
            here.tracker.read([KEY])
    assert listener._link is not link
    here.client.set(b"other", "w")
    here.warm(KEY, b"other")
    assert (here.near.get(KEY), here.near.get(b"other")) == (b"v", b"w")

"""Stores of both kinds, in process and at real servers."""

from __future__ import annotations

from uuid import uuid4

import pytest

from clustercache import AsyncSessionStore, SessionStore
from tests.asyncs import Blocking, Bridged
from tests.sessions.stores import Places


@pytest.fixture
def store_class(shell):
    """`SessionStore`, or `AsyncSessionStore` used as that."""
    if shell is not Blocking:
        return SessionStore
    bridge = Blocking._of_test

    class BlockingStore:
        @staticmethod
        def from_url(url, **options):
            return Bridged(bridge, AsyncSessionStore.from_url(url, **options))

    return BlockingStore


@pytest.fixture(params=["memory", "cluster"])
def url(request):
    """Where sessions are kept; what is opened there in one test is one and the same."""
    if request.param == "memory":
        return f"memory://{uuid4().hex}"
    return request.getfixturevalue("cluster").url


@pytest.fixture
def places(store_class, url):
    """What opens stores that share their sessions."""
    with Places(store_class, url) as made:
        yield made


@pytest.fixture
def open_store(places):
    """Open a store with these options."""
    return places.open


@pytest.fixture
def store(open_store):
    """One with the usual settings."""
    return open_store()


@pytest.fixture
def real(store_class, cluster):
    """What opens stores at a real cluster."""
    with Places(store_class, cluster.url) as made:
        yield made.open

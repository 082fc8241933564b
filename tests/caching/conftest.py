"""Caches of both kinds: in process, at real servers, and with a near cache before them."""

from __future__ import annotations

from uuid import uuid4

import pytest
import redis

from tests.caching.stages import Stage


@pytest.fixture(params=["memory", "cluster", "near"])
def place(request):
    """Where values are kept."""
    return request.param


@pytest.fixture
def url(request, place):
    """What caches of one test share."""
    if place == "memory":
        return f"memory://{uuid4().hex}"
    return request.getfixturevalue("cluster").url


@pytest.fixture
def stage(shell, url, place):
    """What opens caches, and decorates functions."""
    with Stage(shell, url, near=place == "near") as made:
        yield made


@pytest.fixture
def plain(cluster):
    """Another client, which knows nothing of leases and envelopes."""
    with redis.RedisCluster.from_url(cluster.url) as client:
        yield client

"""Counting while the server is away: who is told so does not wait long for it."""

from __future__ import annotations

from time import monotonic

import pytest
from redis.exceptions import RedisError

from clustercache import Cache
from clustercache.caching.ways import SURE
from clustercache.localcluster import LocalReplication

pytestmark = pytest.mark.faults


def test_a_count_waits_for_its_deadline_and_from_then_on_not_at_all():
    with (
        LocalReplication(replicas=0) as server,
        Cache.from_url(server.url, deadline=0.3) as cache,
    ):
        cache.set("visits", 1)
        assert cache.incr("visits") == 2
        server.kill(server.primary)
        waited = []
        for _ in range(3):
            began = monotonic()
            with pytest.raises(RedisError):
                cache.incr("visits")
            waited.append(monotonic() - began)
    assert waited[0] < SURE / 5
    assert waited[-1] < 0.3

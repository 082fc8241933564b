"""Nothing that the asynchronous client does blocks its loop."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from clustercache import AsyncCluster, Cluster
from clustercache.exceptions import DeadlineExceededError
from clustercache.localcluster import LocalCluster
from tests.blocking_calls import blocking_calls
from tests.clusters import need_tls

pytestmark = pytest.mark.live


async def use(url: str) -> None:
    """Use the client in each of its ways, from the first connection to the last."""
    async with AsyncCluster.from_url(url, client_name="watched") as r:
        names = [f"key:{number}" for number in range(20)]
        assert await r.mset(dict.fromkeys(names, "v"))
        assert await asyncio.gather(*map(r.get, names)) == [b"v"] * 20
        assert await r.mget(names) == [b"v"] * 20
        async with r.pipeline() as pipe:
            for name in names:
                pipe.get(name).strlen(name)
            assert await pipe.execute() == [b"v", 1] * 20
        assert await r.execute_command("ECHO", "said", target="random") == b"said"
        with r.deadline(0.2), suppress(DeadlineExceededError):
            await r.blpop("nothing", timeout=0.1)
        big = b"x" * 2_000_000
        assert await r.set("big", big)
        assert await r.get("big") == big
        assert await r.delete(*names, "big") == 21
        assert r.stats()["nodes"]


def test_the_watch_sees_a_client_that_blocks(cluster: LocalCluster) -> None:
    async def wrong() -> None:
        with suppress(Exception), Cluster.from_url(cluster.url, deadline=0.5) as r:
            r.get("k")

    with blocking_calls() as found:
        asyncio.run(wrong())
    assert found


def test_no_call_blocks_the_loop(cluster: LocalCluster) -> None:
    with blocking_calls() as found:
        asyncio.run(use(cluster.url.replace("127.0.0.1", "localhost", 1)))
    assert not found


def test_no_call_blocks_the_loop_under_tls() -> None:
    with (
        LocalCluster(server=need_tls().path, tls=True, replicas=0) as lc,
        blocking_calls() as found,
    ):
        asyncio.run(use(lc.url))
    assert not found

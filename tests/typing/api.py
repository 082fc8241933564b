"""What a user's type checker sees. Checked by mypy --strict, never run."""

from __future__ import annotations

from typing import assert_type

from clustercache import (
    AsyncCluster,
    AsyncSessionStore,
    Cache,
    Cluster,
    ClusterConfig,
    ReadFrom,
    RetryPolicy,
    Session,
    SessionStore,
    exceptions,
)
from clustercache.cachelib import ClusterCache as CachelibCache
from clustercache.django import ClusterCache as DjangoCache
from clustercache.django import cached, cached_many
from clustercache.flask import ClusterCache
from clustercache.instrumentation import CommandDone, Event, Hook
from clustercache.localcluster import LocalCluster
from clustercache.sessions import Saved, SessionInfo, TaggedJSON

r = Cluster.from_url("redis://127.0.0.1:7000", decode_responses=True, deadline=2.0)
assert_type(r, Cluster)
assert_type(r.config, ClusterConfig)
assert_type(r.get("k"), bytes | str | None)
assert_type(r.set("k", "v", ex=60), bool | str | bytes | None)
assert_type(r.incr("k"), int)
assert_type(r.delete("a", "b"), int)
assert_type(r.mget(["a", "b"]), list[bytes | str | None])
assert_type(r.keyslot("k"), int)

with Cluster.from_url(["redis://a:1", "redis://b:1"]) as client, client.deadline(0.2):
    assert_type(client, Cluster)
with r.retry(RetryPolicy()):
    pass
with r.durable(replicas=1, timeout=0.1, strict=True) as d:
    assert_type(d.set("k", "v"), bool | str | bytes | None)
    assert_type(d.acknowledged, int)
with r.lock("k", timeout=10, blocking=False) as lock:
    assert_type(lock.owned(), bool)
r.register_script("return 1", repeatable=True)(keys=["k"], args=[1])
with r.read_from(ReadFrom.same_zone("az1")), r.read_from(ReadFrom.PRIMARY_THEN_REPLICA):
    assert_type(r.get("k"), bytes | str | None)


def heard(event: Event) -> None:
    if isinstance(event, CommandDone):
        assert_type(event.slot, int | None)


hook: Hook = heard
assert_type(Cluster.from_url("redis://a", hooks=[hook]).config.hooks, tuple[Hook, ...])
with LocalCluster() as local:
    assert_type(local.url, str)
try:
    r.get("k")
except exceptions.OutcomeUnknownError as error:
    assert_type(error.attempts, tuple[str, ...])


ar = AsyncCluster.from_url("redis://127.0.0.1:7000", decode_responses=True, max_in_flight=100)
assert_type(ar, AsyncCluster)
assert_type(ar.config, ClusterConfig)
assert_type(ar.keyslot("k"), int)


async def looping() -> None:
    async with AsyncCluster.from_url(["redis://a:1", "redis://b:1"]) as entered:
        assert_type(entered, AsyncCluster)
    assert_type(await ar.initialize(), AsyncCluster)
    assert_type(await ar.get("k"), bytes | str | None)
    assert_type(await ar.set("k", "v", ex=60), bool | str | bytes | None)
    assert_type(await ar.incr("k"), int)
    assert_type(await ar.delete("a", "b"), int)
    assert_type(await ar.mget(["a", "b"]), list[bytes | str | None])
    with ar.deadline(0.2), ar.retry(RetryPolicy()), ar.read_from(ReadFrom.PREFER_REPLICA):
        assert_type(await ar.exists("k"), int)
    for node in ar.get_primaries():
        assert_type(await node.redis_connection.get("k"), bytes | str | None)
        assert_type(await ar.get_redis_connection(node).incr("k"), int)
    async for key in ar.scan_iter("user:*", parallel=True):
        assert key
    async for _, score in ar.zscan_iter("z"):
        assert score
    await ar.reauthenticate()
    await ar.aclose()


for one in r.get_nodes():
    assert_type(one.redis_connection.incr("k"), int)


# Sessions -------------------------------------------------------------------------------------

store = SessionStore.from_url("memory://", idle=60, lifetime=600, serializer=TaggedJSON())
assert_type(store, SessionStore)
session = store.create({"cart": []}, user="u1", device="a browser", address="::1")
assert_type(session, Session)
assert_type(session.token, str | None)
assert_type(session.user, str | None)
assert_type(session.incr("visits"), int)
assert_type(store.load(session.token), Session | None)
assert_type(store.save(session), Saved)
assert_type(store.login(session, "u2").set_token, str | None)
assert_type(store.rotate(session).acknowledged, int | None)
assert_type(store.delete(session).ended, bool)
assert_type(store.sessions_of("u1", current=session), list[SessionInfo])
assert_type(store.revoke("u1", "0123456789ab"), bool)
assert_type(store.revoke_all("u1", keep=session), int)
assert_type(store.count(), int)


async def keeping() -> None:
    async with AsyncSessionStore.from_url("memory://") as kept:
        assert_type(kept, AsyncSessionStore)
        made = await kept.create({"cart": []})
        assert_type(made, Session)
        assert_type(await kept.load(made.token), Session | None)
        assert_type(await kept.save(made), Saved)
        async for info in kept.scan():
            assert_type(info, SessionInfo)


# Caches in frameworks -------------------------------------------------------------------------

extension = ClusterCache(cache={"near": 10_000})
assert_type(extension.cache, Cache)


@extension.cache.cached(ttl=60)
def priced(pk: int) -> str:
    return str(pk)


assert_type(priced(5), str)
assert_type(priced.cache_key(pk=5), str)
kept_values = CachelibCache("memory://", 300, signing_key=b"0123456789abcdef")
assert_type(kept_values.cache, Cache)
assert_type(kept_values.inc("k"), int | None)


@cached(using="other", ttl=60)
def sold(pk: int) -> str:
    return str(pk)


@cached_many
def in_stock(pks: list[int]) -> dict[int, int]:
    return dict.fromkeys(pks, 1)


assert_type(sold(5), str)
assert_type(sold.refresh(pk=5), str)
assert_type(in_stock([5]), dict[int, int])
backend = DjangoCache("memory://", {})
assert_type(backend.inner, Cache)
assert_type(backend.ttl("k"), float | None)

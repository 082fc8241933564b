"""What a user's type checker sees. Checked by mypy --strict, never run."""

from __future__ import annotations

from typing import assert_type

from clustercache import Cluster, ClusterConfig, ReadFrom, RetryPolicy, exceptions
from clustercache.instrumentation import CommandDone, Event, Hook
from clustercache.localcluster import LocalCluster

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

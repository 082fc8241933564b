"""Django's cache backend: what its own tests do not ask."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from django.core import signals
from django.core.cache import cache, caches
from django.http import HttpResponse
from django.test import RequestFactory, override_settings
from django.views.decorators.cache import cache_page
from redis.exceptions import RedisError

from tests.frameworks import django_site

pytestmark = pytest.mark.live
OURS = "clustercache.django.ClusterCache"
ROOT = Path(__file__).resolve().parents[2]


def in_a_thread(function):
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function).result(20)


# One cache -----------------------------------------------------------------------------------


def test_threads_and_tasks_share_one_cache(caching):
    async def of_a_task():
        return caches["default"]

    mine, others = caches["default"], in_a_thread(lambda: caches["default"])
    awaited = asyncio.run(of_a_task())
    assert mine is not others
    assert mine.inner is others.inner is awaited.inner


def test_aliases_share_what_is_configured_alike(caching):
    with caching(prefixed={"KEY_PREFIX": "p", "VERSION": 3}, other={"OPTIONS": {"lease": 2}}):
        assert caches["prefixed"].inner is cache.inner
        assert caches["other"].inner is not cache.inner


def test_threads_that_come_first_at_once_make_one_cache(caching):
    with caching(new={"OPTIONS": {"wait": 3}}), ThreadPoolExecutor(8) as pool:
        gate = threading.Barrier(8, timeout=10)

        def first():
            gate.wait()
            return caches["new"].inner

        assert len({id(one.result(20)) for one in [pool.submit(first) for _ in range(8)]}) == 1


def test_the_end_of_a_request_closes_nothing(caching):
    cache.set("a", 1)
    inner = cache.inner
    signals.request_finished.send(type(cache))
    asyncio.run(cache.aclose())
    assert cache.get("a") == 1
    assert cache.inner is inner


def test_a_fork_goes_on_with_connections_of_its_own(caching):
    cache.set("a", {"from": "parent"})

    def child(pipe):
        pipe.send([cache.get("a"), cache.incr_version("a"), os.getpid()])

    here, there = multiprocessing.Pipe()
    forked = multiprocessing.get_context("fork").Process(target=child, args=(there,), daemon=True)
    forked.start()
    assert here.poll(20)
    assert here.recv() == [{"from": "parent"}, 2, forked.pid]
    forked.join(20)
    assert (forked.exitcode, cache.get("a"), cache.get("a", version=2)) == (
        0,
        None,
        {"from": "parent"},
    )


def test_a_fork_does_not_wait_for_who_made_a_cache_in_the_parent(caching, monkeypatch):
    lock = threading.RLock()
    monkeypatch.setattr("clustercache.django.caches._lock", lock)
    in_a_thread(lock.acquire)  # and that thread has ended

    def child():
        with caching(forked={"OPTIONS": {"wait": 2}}):
            os._exit(caches["forked"].get_or_set("forked", 7))

    forked = multiprocessing.get_context("fork").Process(target=child, daemon=True)
    forked.start()
    forked.join(20)
    assert forked.exitcode == 7


def test_a_process_ends_without_a_word(cluster):
    program = f"""
import asyncio
from django.conf import settings
options = {{"near": True, "deadline": 8}}
entry = {{"BACKEND": "{OURS}", "LOCATION": "{cluster.url}", "OPTIONS": options}}
settings.configure(SECRET_KEY="x" * 50, CACHES={{"default": entry}})
from django.core.cache import cache
cache.set("ends", 1)
async def main():
    return await cache.aget_or_set("ends", 2), cache.get("ends")
print(asyncio.run(main()))
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True, check=False, cwd=ROOT, env={"PYTHONPATH": str(ROOT)},
        text=True, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "(1, 1)\n", "")


# Values --------------------------------------------------------------------------------------


def test_what_a_fallback_of_the_secret_key_signed_is_read(caching):
    cache.set("a", {1, 2})
    with override_settings(
        SECRET_KEY="n" * 50, SECRET_KEY_FALLBACKS=[django_site.settings.SECRET_KEY]
    ):
        with caching():
            assert cache.get("a") == {1, 2}
        with override_settings(SECRET_KEY_FALLBACKS=[]), caching():
            assert cache.get("a") is None


def test_what_nobody_signed_is_a_miss(caching):
    cache.set("a", [1])
    client = cache.inner.client
    stored = f"{cache.inner.settings.namespace}::1:a"
    broken = bytearray(client.get(stored))
    broken[-2] ^= 1
    client.set(stored, bytes(broken))
    assert cache.get("a") is None


def test_ttl_is_in_seconds_none_for_ever_and_zero_for_nothing(caching):
    cache.set("short", 1, 20)
    cache.set("delta", 1, timedelta(minutes=1))
    cache.set("ever", 1, None)
    cache.set("own", 1)
    assert 19 < cache.ttl("short") <= 20
    assert 59 < cache.ttl("delta") <= 60
    assert 299 < cache.ttl("own") <= 300
    assert (cache.ttl("ever"), cache.ttl("nothing")) == (None, 0)


def test_a_value_keeps_its_time_when_its_version_changes_and_when_it_counts(caching):
    cache.set("a", 1, 20)
    assert cache.incr_version("a") == 2
    assert cache.incr("a", 5, version=2) == 6
    assert asyncio.run(cache.aincr_version("a", version=2)) == 3
    assert 19 < cache.ttl("a", version=3) <= 20
    cache.set("ever", 1, None)
    assert (cache.incr_version("ever"), cache.ttl("ever", version=2)) == (2, None)


def test_no_count_of_many_threads_is_lost(caching):
    cache.set("count", 0)
    with ThreadPoolExecutor(8) as pool:
        for one in [pool.submit(cache.incr, "count") for _ in range(400)]:
            one.result(20)
    assert cache.get("count") == 400


def test_what_cannot_be_counted_says_so(caching):
    cache.set("text", "5")
    for wrong, key in [(ValueError, "nothing"), (TypeError, "text")]:
        with pytest.raises(wrong):
            cache.incr(key)
        with pytest.raises(wrong):
            asyncio.run(cache.aincr(key))
    cache.set("large", 2**63 - 1)
    with pytest.raises(RedisError):
        cache.incr("large")
    assert cache.get("large") == 2**63 - 1


def test_locks_are_apart_from_values_and_held_by_one(caching):
    cache.set("name", 1)
    with cache.lock("name", timeout=5):
        assert not in_a_thread(cache.lock("name", timeout=5, blocking_timeout=0).acquire)
        with cache.lock("name", timeout=5, blocking_timeout=0, version=2):
            assert cache.get("name") == 1

    async def held():
        async with cache.alock("name", timeout=5):
            return cache.lock("name", blocking_timeout=0).acquire()

    assert asyncio.run(held()) is False


def test_without_servers_reads_find_nothing_and_what_has_to_be_known_raises(caching):
    away = {"LOCATION": "redis://127.0.0.1:1", "OPTIONS": {"deadline": 0.05}}
    with caching(away=away):
        there = caches["away"]
        there.set("a", 1)
        assert (there.get("a", "none"), there.get_many(["a"]), there.set_many({"a": 1})) == (
            "none",
            {},
            ["a"],
        )
        assert there.get_or_set("a", lambda: 5) == 5
        for name, *words in [("incr", "a"), ("add", "a", 1), ("touch", "a"), ("ttl", "a")]:
            with pytest.raises(RedisError):
                getattr(there, name)(*words)


def test_a_page_that_is_cached_is_there_without_servers(caching):
    with caching(away={"LOCATION": "redis://127.0.0.1:1", "OPTIONS": {"deadline": 0.05}}):
        view = cache_page(60, cache="away")(lambda _: HttpResponse("page"))
        assert [view(RequestFactory().get("/")).content for _ in range(2)] == [b"page"] * 2


# Patterns ------------------------------------------------------------------------------------


def test_a_pattern_is_deleted_on_all_nodes_within_prefix_and_version(caching):
    names = [f"user:{number}" for number in range(2500)]
    with caching(odd={"KEY_PREFIX": "a*[b]?\\"}, plain={"KEY_PREFIX": "ax[b]?\\"}):
        odd, plain = caches["odd"], caches["plain"]
        odd.set_many(dict.fromkeys(names, 1))
        odd.set_many({"user": 1, "page": 1})
        odd.set("user:1", 1, version=2)
        plain.set("user:1", 1)
        assert odd.delete_pattern("user:*") == 2500
        assert odd.get_many([*names, "user", "page"]) == {"user": 1, "page": 1}
        assert asyncio.run(odd.adelete_pattern("user:*", version=2)) == 1
        assert odd.get("user:1", version=2) is None
        assert plain.get("user:1") == 1

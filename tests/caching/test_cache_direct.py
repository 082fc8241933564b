"""Values under one's own keys, at each place and from both shells."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor

import pytest

from clustercache import MISSING
from tests.caching.stages import Counted
from tests.nearby import await_true


@pytest.fixture
def cache(stage):
    return stage.cache


def test_a_value_is_set_found_replaced_and_deleted(cache):
    assert cache.get("k") is None
    assert cache.get("k", MISSING) is MISSING
    assert cache.set("k", {"a": [1]}) is True
    assert cache.get("k") == cache.get("k", fresh=True) == {"a": [1]}
    assert cache.set("k", None) is True
    assert cache.get("k", "none") is None
    assert cache.delete("k") is True
    assert cache.delete("k") is False
    assert cache.get("k", "none") == "none"


def test_add_stores_once(cache):
    assert [cache.add("k", value) for value in (1, 2)] == [True, False]
    assert cache.get("k") == 1


def test_many_are_set_found_and_deleted_in_batches(cache):
    values = {f"k{number}": [number] for number in range(50)}
    assert cache.set_many(values) == []
    assert cache.get_many([*values, "other", "k1"]) == values
    assert cache.get_many([*values], fresh=True) == values
    assert cache.delete_many([*values, "other"]) == 50
    assert cache.get_many(values) == {}
    assert cache.set_many({}) == []
    assert cache.delete_many([]) == 0
    assert cache.get_many([]) == {}


def test_times_to_live_are_told_and_changed(cache):
    cache.set("k", 1, ttl=100)
    assert 90 < cache.ttl("k") <= 100
    assert cache.touch("k", 1000) is True
    assert 900 < cache.ttl("k") <= 1000
    assert cache.touch("k", None) is True
    assert cache.ttl("k") == math.inf
    assert cache.get("k") == 1
    assert cache.touch("other", 5) is False
    assert cache.ttl("other") == 0.0
    cache.set("k", 2, ttl=0)
    assert cache.get("k", "none") == "none"


def test_a_value_ends_with_its_time(cache):
    cache.set("k", 1, ttl=0.2)
    await_true(lambda: cache.get("k", "none") == "none", 5.0)


def test_integers_are_counted_to_64_bits(cache):
    cache.set("k", 2**62, ttl=100)
    assert [cache.incr("k"), cache.incr("k", 5), cache.incr("k", -6)] == [
        2**62 + 1,
        2**62 + 6,
        2**62,
    ]
    assert cache.get("k") == 2**62
    assert 90 < cache.ttl("k") <= 100
    with pytest.raises(KeyError):
        cache.incr("other")
    cache.set("text", "1")
    with pytest.raises(TypeError):
        cache.incr("text")


def test_no_count_is_lost_between_threads(cache):
    cache.set("k", 0)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: cache.incr("k"), range(200)))
    assert cache.get("k", fresh=True) == 200


def test_tags_invalidate_what_was_stored_under_them_and_no_more(cache):
    cache.set("a", 1, tags=("x", "y"))
    cache.set("b", 2, tags=("y",))
    cache.set("c", 3)
    assert cache.get_many("abc") == {"a": 1, "b": 2, "c": 3}
    cache.invalidate_tags("x", "nobody's")
    assert cache.get_many("abc") == {"b": 2, "c": 3}
    cache.invalidate_tags("y")
    assert cache.get_many("abc") == {"c": 3}
    cache.set("a", 4, tags=("x",))
    assert cache.get("a") == 4
    with pytest.raises(TypeError, match="several names"):
        cache.set("a", 1, tags="x")


def test_another_process_finds_what_was_set_and_misses_what_was_invalidated(stage, cache):
    other = stage.open()
    cache.set("k", 1, tags=("t",))
    assert other.get("k") == 1
    for invalidate in (lambda: cache.invalidate_tags("t"), cache.clear, lambda: cache.delete("k")):
        cache.set("k", 1, tags=("t",))
        await_true(lambda: other.get("k") == 1)
        invalidate()
        await_true(lambda: other.get("k", "none") == "none", 5.0)
        assert cache.get("k", "none") == "none"
        other.set("k", 2, tags=("t",))
        assert other.get("k") == 2


def test_get_or_set_makes_a_value_once(stage, cache):
    made = Counted(lambda: [1])
    make = stage.dressed(made)
    assert cache.get_or_set("k", make) == cache.get_or_set("k", make) == [1]
    assert made.count == 1


def test_a_lock_has_one_holder(cache):
    with cache.lock("l", timeout=10):
        assert cache.lock("l", timeout=10, blocking_timeout=0.05).acquire() is False
    with cache.lock("l", timeout=10, blocking_timeout=5):
        pass


@pytest.mark.parametrize("key", ["", b"k", None, 5])
def test_keys_are_text(cache, key):
    for act in (cache.get, cache.delete, cache.ttl, lambda key: cache.set(key, 1)):
        with pytest.raises(TypeError):
            act(key)


@pytest.mark.parametrize("key", ["k" * 10_000, "ä€\U0001f600", "a b\r\n\x00", "{tag}:1", "*?[x]"])
def test_keys_may_be_any_text(cache, key):
    cache.set(key, key)
    assert cache.get(key, fresh=True) == key
    assert cache.delete(key) is True


def test_a_value_that_cannot_be_written_sends_nothing(cache):
    cache.set("k", 1)
    with pytest.raises(TypeError):
        cache.set_many({"k": 2, "l": object()})
    assert cache.get_many(["k", "l"]) == {"k": 1}


def test_statistics_count_what_happened(cache):
    cache.set("k", 1)
    before = cache.stats()
    cache.get("k")
    cache.get("other")
    assert str(cache.stats()) != str(before)

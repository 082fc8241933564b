"""The near cache alone: bounded, safe from its callers, and usable by threads."""

from __future__ import annotations

import json
import math
import threading
from time import monotonic

import pytest

from clustercache._core.vouching import Health, Source
from clustercache.caching.near import MISSING, NearCache
from clustercache.exceptions import ConfigurationError


def tracked(near):
    source = Source()
    near.tell(lambda state: state.tracked(source, Health(monotonic(), serving=True)))
    return source


def keep(near, key, value=b"v", *, source=None, data=b"v", **options):
    token = near.claim(key, source or tracked(near))
    try:
        return near.keep(token, data, value, **options)
    finally:
        near.release(token)


def test_a_value_that_nobody_can_change_is_shared():
    near, value = NearCache(), ("a", 1)
    assert keep(near, b"k", value)
    assert near.get(b"k") is value
    assert (near.hits, near.misses) == (1, 0)
    assert near.get(b"other") is MISSING
    assert (near.hits, near.misses) == (1, 1)


def test_none_is_a_value():
    near = NearCache()
    assert keep(near, b"k", None)
    assert near.get(b"k") is None
    assert not MISSING
    assert repr(MISSING) == "MISSING"


def test_a_value_that_a_caller_could_change_is_decoded_anew_for_each():
    near = NearCache()
    assert keep(near, b"k", [1], data=b"[1]", decode=json.loads)
    near.get(b"k").append(2)
    assert near.get(b"k") == [1]


def test_a_value_that_cannot_be_decoded_anew_is_not_kept():
    near = NearCache()
    assert not keep(near, b"k", [1])
    assert not keep(near, b"k", [1], data=None, decode=json.loads)
    assert near.get(b"k") is MISSING


def test_a_value_can_be_frozen_instead():
    near = NearCache(mutable="freeze")
    assert keep(near, b"k", {"a": [1]})
    assert near.get(b"k") is near.get(b"k")
    assert near.get(b"k")["a"] == (1,)


def test_what_cannot_be_frozen_is_decoded_anew():
    near = NearCache(mutable="freeze")
    assert keep(near, b"k", [{1: object()}], data=b"1", decode=lambda _: [object()])
    assert near.get(b"k") != near.get(b"k")


@pytest.mark.parametrize("policy", ["lru", "lfu", "fifo", "rr"])
def test_it_never_holds_more_entries_than_it_may(policy):
    near = NearCache(maxsize=3, policy=policy)
    source = tracked(near)
    for number in range(20):
        assert keep(near, b"k%d" % number, source=source, name=("f", number))
        assert len(near) <= 3
    assert near.get(("f", 19)) == b"v"
    assert len(near._coherence._names) == 3


def test_the_one_that_was_used_least_recently_goes_first():
    near = NearCache(maxsize=2)
    source = tracked(near)
    for key in (b"a", b"b"):
        keep(near, key, source=source)
    near.get(b"a")
    keep(near, b"c", source=source)
    assert near.get(b"b") is MISSING
    assert near.get(b"a") == near.get(b"c") == b"v"


def test_to_look_at_the_figures_is_no_use_of_what_is_kept():
    near = NearCache(maxsize=2)
    source = tracked(near)
    for key in (b"a", b"b"):
        keep(near, key, source=source)
    near.get(b"a")
    assert near.size == 4
    assert near.oldest is not None
    keep(near, b"c", source=source)
    assert near.get(b"b") is MISSING
    assert near.get(b"a") == b"v"


def test_it_never_holds_more_bytes_than_it_may():
    near = NearCache(max_bytes=100)
    source = tracked(near)
    for number in range(20):
        assert keep(near, b"%02d" % number, data=b"x" * 30, source=source)
        assert near.size <= 100
    assert (len(near), near.size) == (3, 96)
    assert not keep(near, b"k", data=b"x" * 100, source=source)
    assert len(near) == 3


def test_arguments_count_as_bytes_for_they_are_kept_in_the_name():
    near = NearCache(max_bytes=100)
    source = tracked(near)
    assert not keep(near, b"k", source=source, name=("f", ("x" * 60, b"y" * 60)))
    assert keep(near, b"k", source=source, name=("f", ("x" * 60, 7)))
    assert near.size == len(b"k") + len(b"v") + 61


def test_dropped_keys_are_gone_under_every_name():
    near = NearCache()
    source = tracked(near)
    keep(near, b"k", source=source, name=("f", 1))
    keep(near, b"k", source=source)
    near.discard([b"k"])
    assert near.get(("f", 1)) is near.get(b"k") is MISSING
    keep(near, b"k", source=source)
    near.clear()
    assert near.get(b"k") is MISSING
    assert len(near) == 0


def test_a_hit_says_what_the_value_cost_and_how_long_it_lives():
    near = NearCache()
    before = monotonic()
    assert keep(near, b"k", "v", ttl=30.0, cost=70)
    hit = near.hit(b"k")
    assert (hit.value, hit.cost) == ("v", 70)
    assert 30 <= hit.expires - before < 31
    assert near.hit(b"other") is None
    assert (near.hits, near.misses) == (1, 1)


def test_the_value_of_a_hit_is_its_callers_own():
    near = NearCache()
    assert keep(near, b"k", [1], data=b"[1]", decode=json.loads, cost=70)
    near.hit(b"k").value.append(2)
    hit = near.hit(b"k")
    assert (hit.value, hit.cost) == ([1], 70)
    assert hit.expires == math.inf


def test_what_depends_on_another_name_is_dropped_with_it():
    near = NearCache()
    source = tracked(near)
    keep(near, b"tag", b"token", source=source)
    keep(near, b"k", source=source, depends=((b"tag", b"token"),))
    assert near.get(b"k") == b"v"
    near.discard([b"tag"])
    assert near.get(b"k") is MISSING
    assert near.hit(b"k") is None
    assert near.recall(b"k") is MISSING


def test_what_may_not_be_served_is_recalled_with_its_age():
    near = NearCache()
    source = tracked(near)
    keep(near, b"k", source=source)
    keep(near, b"j", [1], data=b"[1]", decode=json.loads, source=source)
    assert near.recall(b"k") == (b"v", 0.0)
    near.tell(lambda state: state.lost(source))
    assert near.get(b"k") is MISSING
    value, seconds = near.recall(b"k")
    assert value == b"v"
    assert 0.0 < seconds < 10.0
    near.recall(b"j")[0].append(2)
    assert near.recall(b"j")[0] == [1]
    assert near.recall(b"other") is MISSING


def test_who_watches_a_key_is_woken_without_the_lock():
    near, seen = NearCache(), []

    def wake():
        thread = threading.Thread(target=lambda: seen.append(near.get(b"k")))
        thread.start()
        thread.join(10)

    keep(near, b"k")
    near.watch(b"k", wake)
    near.discard([b"k"])
    assert seen == [MISSING]
    near.clear()
    assert len(seen) == 2
    near.unwatch(b"k", wake)
    near.discard([b"k"])
    assert len(seen) == 2


def test_one_who_cannot_be_woken_keeps_nobody_else_asleep(caplog):
    near, seen = NearCache(), []

    def fail():
        raise RuntimeError

    near.watch(b"k", fail)
    near.watch(b"k", lambda: seen.append(1))
    near.discard([b"k"])
    assert seen == [1]
    assert [record.message for record in caplog.records] == ["wake_failed"]


def test_nothing_is_kept_without_a_tracked_source():
    assert NearCache().claim(b"k", Source()) is None


@pytest.mark.parametrize(
    "options",
    [{"maxsize": 0}, {"max_bytes": 0}, {"max_silence": 0}, {"max_staleness": -1},
     {"policy": "fancy"}, {"mutable": "share"}],
)  # fmt: skip
def test_what_is_out_of_range_is_refused(options):
    with pytest.raises(ConfigurationError):
        NearCache(**options)


def test_a_child_begins_with_nothing_even_if_a_lock_was_held():
    near = NearCache()
    keep(near, b"k")
    held, go = threading.Event(), threading.Event()

    def hold():
        def event(_):
            held.set()
            go.wait(10)

        near.tell(event)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(10)
    near.after_fork()
    assert near.get(b"k") is MISSING
    go.set()
    thread.join()


def test_threads_may_do_anything_at_once():
    near, source, problems = NearCache(maxsize=50), None, []
    source = tracked(near)
    near.tell(lambda state: setattr(source, "pong", monotonic() + 60))

    def work(seed):
        try:
            for turn in range(2000):
                key = b"%d" % ((turn * seed) % 97)
                if turn % 7 == 0:
                    near.discard([key])
                elif near.get(key) not in {MISSING, key}:
                    problems.append(key)
                else:
                    keep(near, key, key, source=source)
        except Exception as error:  # noqa: BLE001 - told in the main thread
            problems.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in (1, 3, 5, 7)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems
    assert 0 < len(near) <= 50
    assert not near._coherence._inflight

"""What somebody else left at a key is a miss, never an error; and it is replaced."""

from __future__ import annotations

import pytest

from tests.caching.stages import Counted

pytestmark = pytest.mark.parametrize("place", ["cluster", "near"], indirect=True)

LEFT = {
    "text": lambda plain, key: plain.set(key, b"hello"),
    "nothing": lambda plain, key: plain.set(key, b""),
    "half an envelope": lambda plain, key: plain.set(key, (plain.get(key) or b"")[:20]),
    "a later format": lambda plain, key: plain.set(key, b"\xcc\x09" + plain.get(key)[2:]),
    "another body": lambda plain, key: plain.set(key, plain.get(key)[:-2] + b"\xff\xff"),
    "half a lease": lambda plain, key: plain.set(key, b"\xccL123"),
    "a lease of nonsense": lambda plain, key: plain.set(key, b"\xccL" + b"x" * 40),
    "a list": lambda plain, key: (plain.unlink(key), plain.rpush(key, "x")),
}


@pytest.mark.parametrize("left", LEFT)
def test_what_cannot_be_read_is_a_miss_and_replaced(stage, plain, left):
    made = Counted(lambda pk: {"pk": pk, "calls": made.count})
    function = stage.cached(made, name="f", lease=0.3, wait=5)
    assert function(1) == {"pk": 1, "calls": 1}
    LEFT[left](plain, stage.raw(function, 1))
    stage.cache.get(function.cache_key(1), fresh=True)
    assert function.fresh(1)["calls"] == 2
    if left != "a list":  # of which it is not known that it is nobody's
        assert function.fresh(1)["calls"] == 2
    assert stage.cache.get(function.cache_key(2)) is None


@pytest.mark.parametrize("left", LEFT)
def test_get_finds_nothing_there(stage, plain, left):
    stage.cache.set("k", [1, 2])
    LEFT[left](plain, f"{stage.namespace}:k")
    assert stage.cache.get("k", "none", fresh=True) == "none"
    assert stage.cache.get_many(["k"], fresh=True) == {}


def test_set_replaces_whatever_is_there(stage, plain):
    plain.rpush(f"{stage.namespace}:k", "x")
    assert stage.cache.set("k", 1) is True
    assert stage.cache.get("k", fresh=True) == 1


def test_tokens_that_were_evicted_are_misses_and_come_back(stage, plain):
    made = Counted()
    function = stage.cached(made, name="f", tags=("t",))
    function(1)
    gone_ones = tokens(plain, stage.namespace)
    assert len(gone_ones) >= 3  # the tag's, the namespace's and the function's
    for gone in gone_ones:
        function.fresh(1)  # what is near may not have heard of the last one yet
        before = made.count
        function.fresh(1)
        assert made.count == before
        plain.unlink(gone)
        assert function.fresh(1) == [1]
        function.fresh(1)
        assert made.count <= before + 1
    assert 4 <= made.count <= 1 + len(gone_ones)


def tokens(plain, namespace):
    return [key.decode() for key in plain.scan_iter(f"{namespace}#*")]

"""What values depend on: tokens are never brought back, and each value has its own alone."""

from __future__ import annotations

import json

import pytest

from clustercache import Cache
from clustercache.caching import direct


class Meddling:
    """A serializer that does something else the next time."""

    def __init__(self):
        self.then = None

    def dumps(self, value):
        then, self.then = self.then, None
        if then is not None:
            then()
        return json.dumps(value).encode()

    def loads(self, data):
        return json.loads(data)


@pytest.fixture
def meddling():
    return Meddling()


@pytest.fixture
def cache(url, place, meddling):
    with Cache.from_url(url, serializer=meddling) as made:
        made.clear()
        made.set("old", "old", tags=["tag"])
        assert made.get("old") == "old"
        yield made


def test_a_tag_that_is_invalidated_while_one_stores_is_not_brought_back(cache, meddling):
    meddling.then = lambda: cache.invalidate_tags("tag")
    assert cache.set("new", "new", tags=["tag"])
    assert cache.get("old") is None
    assert cache.get("new") == "new"


def test_nor_is_one_that_was_forgotten_meanwhile(cache, meddling, url, monkeypatch):
    def forget_and_invalidate():
        monkeypatch.setattr(direct, "_REMEMBERED", -1)
        cache.set("other", 1)  # forgets all tokens
        with Cache.from_url(url) as another:
            another.invalidate_tags("tag")

    meddling.then = forget_and_invalidate
    assert cache.set("new", "new", tags=["tag"])
    assert cache.get("old") is None


def test_what_was_invalidated_can_be_added_anew(stage):
    stage.cache.set("key", 1, tags=["tag"])
    stage.cache.invalidate_tags("tag")
    assert stage.cache.add("key", 2)
    assert stage.cache.get("key") == 2


def test_a_value_has_its_own_tags_and_none_of_what_was_there_before(stage):
    for n in range(3):
        assert stage.cache.get_or_set("key", stage.dressed(lambda n=n: n), tags=[f"t{n}"]) == n
        stage.cache.invalidate_tags(f"t{n}")
    assert stage.cache.get_or_set("key", stage.dressed(lambda: "last"), tags=["last"]) == "last"
    stage.cache.invalidate_tags("t0", "t1", "t2")
    assert stage.cache.get("key") == "last"
    stage.cache.invalidate_tags("last")
    assert stage.cache.get("key") is None


@pytest.mark.parametrize("place", ["cluster"], indirect=True)
def test_the_tags_of_what_lives_longer_live_longer(stage, plain):
    stage.cache.set("touched", 1, ttl=60, tags=["tag"])
    stage.cache.set("old", 1, ttl=60, tags=["other"])
    stage.cache.delete("old")
    assert plain.ttl(f"{stage.namespace}#tag:tag") < 10_000
    assert stage.cache.touch("touched", ttl=1_000_000)
    assert stage.cache.add("added", 1, ttl=1_000_000, tags=["other"])
    for tag in ("tag", "other"):
        assert plain.ttl(f"{stage.namespace}#tag:{tag}") >= 1_000_000


def test_what_is_not_there_has_no_time_to_live_to_be_asked_for(stage):
    assert not stage.cache.touch("nothing", ttl=lambda value: value["ttl"])

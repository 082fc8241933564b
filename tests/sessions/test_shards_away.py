"""A shard of which nobody answers: who asks it, and who is told so at once."""

from __future__ import annotations

import gc
from time import monotonic

import pytest

from clustercache.exceptions import SessionUnavailableError
from clustercache.sessions import ways
from clustercache.sessions.settings import SessionSettings


class Suspicion:
    """Of the primary of a shard."""


class Client:
    """Doubts one shard: that of the keys that begin with "sick"."""

    suspicion: Suspicion | None = None

    def doubts(self, key):
        return self.suspicion if key.startswith("sick") else None

    def keyslot(self, key):
        return len(key)


@pytest.fixture
def client():
    made = Client()
    made.suspicion = Suspicion()
    return made


@pytest.fixture
def way(client):
    return ways.Ways(client, SessionSettings(), lambda event: None)


def long_ago():
    return monotonic() - 100


def refused(way, key):
    with pytest.raises(SessionUnavailableError, match="nor a replica answers"):
        way._left_for_replicas(key)
    return True


def test_replicas_are_asked_at_once_where_the_primary_is_doubted(way):
    assert way._left_for_replicas("well") is None
    assert way._left_for_replicas("sick:1") == float("inf")


def test_one_load_in_vain_speaks_for_the_whole_shard(way):
    way._in_vain("sick:1", long_ago())
    assert refused(way, "sick:1")
    assert refused(way, "sick:another slot")
    assert way._left_for_replicas("well") is None


def test_a_load_that_had_no_time_says_nothing(way):
    way._in_vain("sick:1", monotonic())
    assert way._left_for_replicas("sick:1") == float("inf")


def test_one_load_a_second_asks_again_and_not_for_long(way, monkeypatch):
    way._in_vain("sick:1", long_ago())
    now = monotonic() + ways._PAUSE
    monkeypatch.setattr(ways, "monotonic", lambda: now)
    assert way._left_for_replicas("sick:2") == SessionSettings().stale_after
    assert refused(way, "sick:3")


def test_all_ask_again_once_a_replica_answered(way):
    way._in_vain("sick:1", long_ago())
    way._answered("sick:2")
    assert way._left_for_replicas("sick:1") == float("inf")


def test_another_suspicion_begins_anew_and_an_old_one_is_forgotten(way, client):
    way._in_vain("sick:1", long_ago())
    client.suspicion = Suspicion()
    assert way._left_for_replicas("sick:1") == float("inf")
    gc.collect()
    assert len(way._failed) == 0


def test_where_nobody_is_doubted_there_is_nothing_to_note(way, client):
    client.suspicion = None
    way._in_vain("sick:1", long_ago())
    way._answered("sick:1")
    assert way._left_for_replicas("sick:1") is None

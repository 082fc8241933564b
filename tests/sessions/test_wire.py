"""What each operation sends, as the servers count it."""

from __future__ import annotations

from collections import Counter

import pytest

from clustercache.localcluster import LocalCluster
from tests.sessions.stores import Places, expire

pytestmark = pytest.mark.live

OURS = {"hgetall", "evalsha", "eval", "unlink", "exists", "wait", "get"}
"""What no script calls: the servers count those calls, too."""


@pytest.fixture(scope="module")
def own():
    """A cluster that nobody else asks."""
    with LocalCluster(primaries=3, replicas=1) as lc:
        yield lc


@pytest.fixture
def open_here(store_class, own):
    with Places(store_class, own.url) as places:
        yield places.open


@pytest.fixture
def sent(own):
    """What counts the commands that clients send during an act."""

    def counted(act, *more):
        before = totals(own, more)
        act()
        return dict(totals(own, more) - before)

    return counted


def totals(lc, more):
    """Return how often each command was called."""
    counts = Counter()
    for node in lc.primaries:
        for line in node.call("INFO", "commandstats").splitlines():
            if line.startswith("cmdstat_"):
                name, _, facts = line.removeprefix("cmdstat_").partition(":")
                if name in {*OURS, *more}:
                    counts[name] += int(facts.split(",")[0].split("=")[1])
    return counts


@pytest.fixture
def store(open_here):
    """A store whose scripts the servers know."""
    made = open_here()
    for number in range(60):
        session = made.create({"a": 1}, user=f"warm{number}")
        session["a"] = 2
        made.save(session)
        made.sessions_of(f"warm{number}")
        made.revoke_all(f"warm{number}")
    return made


def test_a_load_is_one_round_trip_of_two_commands(store, sent):
    made = store.create({"a": 1})
    assert sent(lambda: store.load(made.token), "pttl") == {"hgetall": 1, "pttl": 1}


def test_what_is_untouched_or_malformed_sends_nothing(store, sent):
    made = store.load(store.create({"a": 1}).token)
    assert sent(lambda: store.save(made)) == {}
    assert sent(lambda: store.save(store.new())) == {}
    assert sent(lambda: store.load("nonsense")) == {}
    assert sent(lambda: (made["a"], store.save(made))) == {}


def test_setting_what_is_there_already_sends_nothing(store, sent):
    made = store.load(store.create({"a": 1, "b": [1]}).token)
    made["a"] = 1
    made["b"] = [1]
    assert not made.modified
    assert sent(lambda: store.save(made)) == {}


def test_a_save_is_one_script(store, sent):
    made = store.load(store.create({"a": 1, "b": 1, "n": 0}).token)
    made["a"] = 2
    made.incr("n")
    del made["b"]
    counts = sent(lambda: store.save(made))
    assert counts == {"evalsha": 1}


def test_a_touch_is_one_script_when_it_is_due(store, sent):
    made = store.create({"a": 1})
    expire(store, made, 100)
    due = store.load(made.token)
    assert sent(lambda: store.save(due))["evalsha"] == 1
    assert sent(lambda: store.save(due)) == {}


def test_a_login_is_three_scripts_and_waits_once(store, sent):
    made = store.create({"a": 1})
    counts = sent(lambda: store.login(made, "u"))
    assert counts == {"evalsha": 3, "wait": 1}


def test_a_logout_unlinks_and_leaves_the_index(store, sent):
    made = store.create({"a": 1}, user="u")
    assert sent(lambda: store.delete(made), "zrem") == {"unlink": 1, "zrem": 1, "wait": 1}


def test_a_rotation_waits_once(store, sent):
    made = store.create({"a": 1})
    assert sent(lambda: store.rotate(made)) == {"evalsha": 1, "wait": 1}


def test_a_list_asks_for_the_facts_alone(store, sent):
    for _ in range(3):
        store.create({"a": "x" * 1000}, user="many")
    assert sent(lambda: store.sessions_of("many"), "hmget") == {"evalsha": 1, "hmget": 3}

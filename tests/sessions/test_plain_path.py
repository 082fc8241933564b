"""A load in one write past all special cases: whatever is in its way, it comes to the same."""

from __future__ import annotations

import pytest

from clustercache._direct import SCRIPT_OF_ONE_KEY
from clustercache.exceptions import SessionUnavailableError
from clustercache.sessions import SessionStore
from clustercache.testing import FakeCluster, array, close_before_reply, error, integer, silence

pytestmark = pytest.mark.timeout(60)
TOKEN = f"{'x' * 16}.{'y' * 22}"


@pytest.fixture
def fake():
    with FakeCluster(primaries=2, replicas=1) as made:
        for node in made.nodes:
            node.on("HGETALL", array())
            node.on("PTTL", integer(-2))
        yield made


@pytest.fixture
def store(fake):
    with SessionStore.from_url(fake.url, socket_timeout=0.3, stale_after=0.5, deadline=1.5) as made:
        assert made.load(TOKEN) is None  # a connection is idle from here on
        yield made


@pytest.fixture
def owner(fake, store):
    return fake.owner(store.plans.key(TOKEN.partition(".")[0]))


def asked(node, name="HGETALL"):
    return len(node.received(name))


def test_it_is_one_write_of_two_commands(owner, store):
    assert store.load(TOKEN) is None
    reads, lives = owner.received("HGETALL"), owner.received("PTTL")
    assert (reads[-1].connection_id, reads[-1].chunk) == (lives[-1].connection_id, lives[-1].chunk)


@pytest.mark.parametrize(
    "trouble",
    [close_before_reply(), error("TRYAGAIN x"), error("LOADING x"), error("CLUSTERDOWN x")],
)
@pytest.mark.parametrize("name", ["HGETALL", "PTTL"])
def test_a_trouble_that_passes_is_not_seen(owner, store, name, trouble):
    usual = array() if name == "HGETALL" else integer(-2)
    owner.on(name, [trouble, usual])
    before = asked(owner)
    assert store.load(TOKEN) is None
    assert asked(owner) >= before + 2


def test_a_slot_that_moved_is_followed(fake, owner, store):
    (other,) = [node for node in fake.primaries if node is not owner]
    key = store.plans.key(TOKEN.partition(".")[0])
    for name in ("HGETALL", "PTTL"):
        owner.on(name, error(f"MOVED {store.client.keyslot(key)} {other.address}"))
    fake.move(key, other)
    before = asked(other)
    assert store.load(TOKEN) is None
    assert asked(other) == before + 1


def test_a_key_of_another_kind_is_no_session(owner, store):
    owner.on("HGETALL", error("WRONGTYPE Operation against a key"))
    assert store.load(TOKEN) is None


@pytest.mark.parametrize("name", ["HGETALL", "PTTL"])
def test_silence_is_a_suspicion_and_half_an_answer_is_nobodys(owner, store, name):
    owner.on(name, silence())
    with pytest.raises(SessionUnavailableError):
        store.load(TOKEN)
    owner.off(name)
    owner.on("HGETALL", array())
    owner.on("PTTL", integer(-2))
    with store.client.deadline(5):
        assert store.client.get("x" * 16) is None
    assert store.load(TOKEN) is None


def test_an_interrupted_load_leaves_no_reply_for_the_next(owner, store, monkeypatch):
    pool = store.client._map.slots[store.client.keyslot(store.plans.key(TOKEN.partition(".")[0]))]
    (connection,) = pool.idle

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(type(connection), "read", interrupted)
    with pytest.raises(KeyboardInterrupt):
        store.load(TOKEN)
    assert connection not in pool.idle
    monkeypatch.undo()
    assert store.load(TOKEN) is None


def test_a_script_of_one_key_goes_to_the_owner_of_that_key(fake, store):
    keys = ["a", "b", "c", "d"]
    for node in fake.primaries:
        node.on("EVALSHA", lambda command, connection: command[3])
    for key in keys:
        assert (
            store.client.execute_command(SCRIPT_OF_ONE_KEY, "f" * 40, 1, key, "x") == key.encode()
        )
        assert fake.owner(key).received("EVALSHA")[-1][3] == key.encode()

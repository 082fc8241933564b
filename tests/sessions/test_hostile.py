"""Tokens that nobody issued, and hashes that nobody wrote: nothing but None comes of them."""

from __future__ import annotations

import random
import string
from time import monotonic

import pytest

from clustercache import Session, SessionStore
from clustercache.sessions.memory import Memory
from clustercache.sessions.token import Token
from tests.sessions.stores import Told

COUNT = 100_000
ALPHABET = string.ascii_letters + string.digits + "-_"
NAMES = [b"_k", b"_r", b"_c", b"_a", b"_x", b"_i", b"_kp", b"_kpx", b"_u", b"_at", b"_d", b"_n"]


@pytest.fixture
def told():
    return Told()


@pytest.fixture
def store(told):
    return SessionStore(Memory(), hooks=(told,))


def broken(draw, token):
    """Return a token that was changed, or noise."""
    kind = draw.randrange(6)
    if kind == 0:
        return "".join(chr(draw.randrange(0x110000)) for _ in range(draw.randrange(60)))
    if kind == 1:
        return str(Token.issue())
    if kind == 2:
        return token[: draw.randrange(len(token))]
    at = draw.randrange(len(token))
    if kind == 3:
        return token[:at] + draw.choice(ALPHABET) + token[at:]
    other = draw.choice([c for c in ALPHABET if c != token[at]])
    if kind == 4:
        return token[:at] + other + token[at + 1 :]
    return token[:17] + "".join(draw.choice(ALPHABET) for _ in range(22))


def test_no_token_but_the_issued_one_opens_a_session(store, told):
    draw, token = random.Random(3), store.create({"a": 1}).token
    before = monotonic()
    for _ in range(COUNT):
        assert store.load(broken(draw, token)) is None
    assert monotonic() - before < 60
    assert store.load(token)["a"] == 1
    assert store.count() == 1
    assert {"malformed", "absent", "verifier"} == set(told.reasons("session_unknown"))


def test_a_token_that_the_store_did_not_issue_is_never_adopted(store, told):
    foreign = Token.issue()
    assert store.load(str(foreign)) is None
    new = store.new()
    new["a"] = 1
    store.save(new)
    assert new.selector != foreign.selector
    assert store.load(str(foreign)) is None
    [event] = [one for one in told if one.kind == "session_unknown"][:1]
    assert (event.reason, len(event.session)) == ("absent", 12)


def test_hashes_that_are_corrupted_are_no_session_or_lose_a_field(store):
    draw = random.Random(5)
    made = store.create({"a": 1, "b": [2]}, user="u")
    held = store._sent._held[store.plans.key(made.selector)]
    good = dict(held.fields)
    outcomes = set()
    for _ in range(20_000):
        held.fields = dict(good)
        for _ in range(draw.randint(1, 3)):
            name = draw.choice([*NAMES, b":a", b":b", draw.randbytes(3)])
            kind = draw.randrange(4)
            if kind == 0:
                held.fields.pop(name, None)
            elif kind == 1:
                held.fields[name] = draw.randbytes(draw.randrange(40))
            elif kind == 2:
                held.fields[name] = str(draw.choice([-1, 0, 10**18, 10**40])).encode()
            else:
                old = bytearray(held.fields.get(name, b"x") or b"x")
                old[draw.randrange(len(old))] ^= 1 << draw.randrange(8)
                held.fields[name] = bytes(old)
        session = store.load(made.token)
        outcomes.add(type(session))
        if session is not None:
            dict(session)
            _ = (session.created, session.last_seen, session.expires, session.auth_time)
            _ = (session.idle, session.modified, repr(session))
        list(store.scan())
    assert outcomes == {type(None), Session}


@pytest.mark.live
def test_keys_of_another_kind_are_no_session(real):
    store = real()
    key = store.plans.key("s" * 16)
    store.client.set(key, "text")
    assert store.load(f"{'s' * 16}.{'v' * 22}") is None
    store.client.unlink(key)
    store.client.hset(key, mapping={"a": 1})
    assert store.load(f"{'s' * 16}.{'v' * 22}") is None


@pytest.mark.live
def test_a_key_of_another_kind_does_not_hide_the_sessions(real):
    store = real()
    store.client.set(store.plans.key("s" * 16), "text")
    made = store.create({"a": 1}, user="u")
    assert [one.public_id for one in store.scan()] == [made.public_id]
    assert store.revoke_everybody() >= 1

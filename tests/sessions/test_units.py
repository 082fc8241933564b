"""Tokens, records, fields, settings: what needs no store."""

from __future__ import annotations

import logging
import math
import pickle
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clustercache import Cluster, SessionStore
from clustercache.exceptions import (
    ConfigurationError,
    PartialError,
    SessionGoneError,
    SessionLimitError,
    SessionTooLargeError,
    SessionUnavailableError,
)
from clustercache.sessions import AsyncSessionStore, Session, SessionSettings, TaggedJSON
from clustercache.sessions.codec import Codec
from clustercache.sessions.memory import Memory
from clustercache.sessions.record import Record, Standing
from clustercache.sessions.token import Token, public_id
from tests.sessions.stores import Told

NOW = 1_800_000_000_000
AGE, GRACE = 900_000, 60_000


# Tokens


def test_a_token_is_short_and_long_enough():
    token = Token.issue()
    assert len(str(token)) == 39
    assert (len(token.selector) * 6, len(token.verifier) * 6) == (96, 132)
    assert Token.parse(str(token)) == token


def test_no_two_tokens_are_alike():
    assert len({part for _ in range(1000) for part in Token.issue()}) == 2000


def test_a_successor_has_the_selector_and_another_verifier():
    token = Token.issue()
    assert token.successor().selector == token.selector
    assert token.successor().verifier != token.verifier


def test_the_server_keeps_the_hash_of_the_verifier():
    token = Token("s" * 16, "v" * 22)
    assert token.digest == sha256(b"v" * 22).digest()


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        b"a" * 39,
        "a" * 39,
        f"{'a' * 16}.{'b' * 22}\n",
        f" {'a' * 16}.{'b' * 22}",
        f"{'a' * 16}.{'b' * 21}",
        f"{'a' * 17}.{'b' * 22}",
        f"{'a' * 16}.{'b' * 21}é",
        f"{'a' * 15}{{.{'b' * 22}",
        f"{'a' * 16}.{'b' * 22}.c",
        7,
    ],
)
def test_what_has_not_the_shape_of_a_token_is_none(text):
    assert Token.parse(text) is None


@given(st.text(max_size=60))
def test_no_text_is_too_odd_to_be_looked_at(text):
    token = Token.parse(text)
    assert token is None or str(token) == text


# Records


def record(**facts):
    usual = {
        "key": b"k" * 32, "previous": None, "previous_until": None, "made": NOW, "created": NOW,
        "active": NOW, "deadline": NOW + 10**8, "idle": 10**6, "user": None, "proved": None,
        "device": b"", "nonce": b"", "fields": {},
    }  # fmt: skip
    return Record(**(usual | facts))


@pytest.mark.parametrize(
    ("previous", "until", "digest", "standing"),
    [
        (None, None, b"k", Standing.CURRENT),
        (None, None, b"p", Standing.NOT_GOOD),
        (b"p", None, b"k", Standing.CURRENT),
        (b"p", None, b"p", Standing.UNCONFIRMED),
        (b"p", None, b"x", Standing.NOT_GOOD),
        (b"p", NOW + 1, b"p", Standing.IN_GRACE),
        (b"p", NOW, b"p", Standing.NOT_GOOD),
        (b"p", NOW - 1, b"k", Standing.CURRENT),
    ],
)
def test_what_a_verifier_is_to_a_session(previous, until, digest, standing):
    there = record(previous=previous and previous * 32, previous_until=until)
    assert there.standing(digest * 32, NOW) is standing


@pytest.mark.parametrize(
    ("standing", "previous", "until", "age", "due"),
    [
        (Standing.CURRENT, None, None, AGE, True),
        (Standing.CURRENT, None, None, AGE - 1, False),
        (Standing.CURRENT, b"p", None, AGE, False),  # its own successor is not seen yet
        (Standing.CURRENT, b"p", NOW, AGE, True),
        (Standing.CURRENT, b"p", NOW + 1, AGE, False),
        (Standing.UNCONFIRMED, b"p", None, GRACE, False),
        (Standing.UNCONFIRMED, b"p", None, GRACE + 1, True),
        (Standing.IN_GRACE, b"p", NOW + 1, AGE, False),
    ],
)
def test_when_a_renewal_is_due(standing, previous, until, age, due):
    there = record(previous=previous, previous_until=until, made=NOW - age)
    assert there.renewal_is_due(standing, NOW, AGE, GRACE) is due


def test_what_is_no_session_is_read_as_none():
    facts = {b"_k": b"k", b"_r": b"1", b"_c": b"1", b"_a": b"1", b"_x": b"1", b"_i": b"1"}
    assert Record.read(facts) is not None
    for name in facts:
        assert Record.read({k: v for k, v in facts.items() if k != name}) is None
    for name in (*list(facts)[1:], b"_at"):
        for word in (b"", b"x", b"-1", b"9" * 30, b"\xff"):
            assert Record.read(facts | {name: word}) is None
    for odd in ({b"_u": b"\xff"}, {b":\xff": b"1"}, {b"_kpx": b"x"}):
        assert Record.read(facts | odd) is None


# Fields


def session(**data):
    store = SessionStore(Memory())
    return store, store.load(store.create(data).token)


def test_a_session_is_a_mapping():
    _, one = session(a=1, b=[2])
    assert list(one) == ["a", "b"]
    assert one == {"a": 1, "b": [2]}
    assert one.pop("a") == 1
    assert one.get("a") is None
    assert one.setdefault("c", 3) == 3
    assert "c" in one
    assert 7 not in one
    assert [] not in one
    del one["b"]
    assert list(one) == ["c"]
    one.update(d=4)
    one.clear()
    assert len(one) == 0
    for act in (lambda: one["x"], lambda: one.pop("x"), lambda: one.__delitem__("x")):
        with pytest.raises(KeyError):
            act()


@pytest.mark.parametrize("name", [7, b"a", None, ("a",)])
def test_names_are_texts(name):
    _, one = session()
    with pytest.raises(TypeError, match="keys are texts"):
        one[name] = 1
    with pytest.raises(TypeError):
        one.incr(name)
    with pytest.raises(UnicodeEncodeError):
        one["\ud800"] = 1


def test_what_cannot_be_stored_is_named():
    store, one = session()
    one["handle"] = object()
    with pytest.raises(TypeError, match="field 'handle' cannot be stored"):
        store.save(one)


def test_steps_are_only_for_what_they_fit():
    _, one = session(text="x", flag=True)
    for name in ("text", "flag"):
        with pytest.raises(TypeError, match="no whole number"):
            one.incr(name)
        with pytest.raises(TypeError, match="no list"):
            one.append(name, 1)
    assert one.append("new", 1, 2) is None
    assert one["new"] == [1, 2]
    assert one.incr("n", -3) == -3


def test_looking_at_data_is_noticed_and_looking_at_a_session_is_not():
    looks = (
        lambda one: one.get("a"), lambda one: "a" in one, list, len, dict, lambda one: one.pop("a"),
        lambda one: one.setdefault("b", 1), lambda one: one.incr("n"), bool,
    )  # fmt: skip
    for look in looks:
        _, one = session(a=1)
        assert not one.accessed
        look(one)
        assert one.accessed
    store, one = session(a=1)
    _ = (one.modified, one.ended, one.user, one.token, one.created, repr(one))
    store.save(one)
    assert not one.accessed
    assert not store.new().accessed


def test_a_field_that_cannot_be_read_drops_alone_with_an_event():
    told = Told()
    store = SessionStore(Memory(), hooks=(told,))
    made = store.create({"good": 1, "bad": 2})
    store._sent._held[store.plans.key(made.selector)].fields[b":bad"] = b"\xff not JSON"
    one = store.load(made.token)
    assert dict(one) == {"good": 1}
    assert "bad" not in one
    assert [(e.field, e.session) for e in told if e.kind == "session_field_dropped"] == [
        ("bad", made.public_id)
    ]
    assert not one.modified
    with pytest.raises(KeyError):
        del one["bad"]
    one.incr("bad")
    store.save(one)
    assert dict(store.load(made.token)) == {"good": 1, "bad": 1}
    one = store.load(made.token)
    one["bad"] = 5
    del one["bad"]
    store.save(one)
    assert dict(store.load(made.token)) == {"good": 1}


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["set", "del", "incr", "append", "look", "save", "mutate", "clear"]),
            st.sampled_from("ab"),
            st.integers(-2, 2),
        ),
        max_size=20,
    )
)
def test_a_session_is_what_a_dict_would_be(story):
    store, one = session(a=1, b=[1])
    model = {"a": 1, "b": [1]}
    for what, name, number in story:
        if what == "set":
            one[name] = model[name] = number
        elif what == "del":
            assert one.pop(name, None) == model.pop(name, None)
        elif what == "incr" and type(model.get(name, 0)) is int:
            model[name] = model.get(name, 0) + number
            assert one.incr(name, number) == model[name]
        elif what == "append" and isinstance(model.get(name, []), list):
            model[name] = [*model.get(name, []), number]
            one.append(name, number)
        elif what == "mutate" and isinstance(model.get(name), list):
            model[name].append(number)
            one[name].append(number)
        elif what == "look":
            assert one.get(name) == model.get(name)
        elif what == "clear":
            one.clear()
            model.clear()
        elif what == "save":
            store.save(one)
            assert not one.modified
            one = store.load(one.token)
    store.save(one)
    assert dict(store.load(one.token)) == model


# Sessions and settings


@pytest.mark.parametrize("seconds", [0, -1, math.nan, math.inf])
def test_an_idle_limit_is_a_time(seconds):
    _, one = session()
    with pytest.raises(ValueError, match="flush"):
        one.idle = seconds


@pytest.mark.parametrize("user", ["", None, 7, b"u"])
def test_a_users_id_is_a_text(user):
    store, one = session()
    with pytest.raises(TypeError, match="a user's id is a text"):
        store.login(one, user)
    with pytest.raises(UnicodeEncodeError):
        store.login(one, "\ud800")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"idle": 0}, "idle"), ({"lifetime": -1}, "lifetime"), ({"touch_after": "1"}, "touch"),
        ({"grace": math.inf}, "grace"), ({"stale_after": True}, "stale"),
        ({"ack_timeout": math.nan}, "ack_timeout"), ({"renew_after": 0}, "renew_after"),
        ({"renew_after": 60, "grace": 60}, "longer than grace"), ({"deadline": 0}, "deadline"),
        ({"prefix": ""}, "prefix"), ({"prefix": "a{b}"}, "hash tag"), ({"prefix": 7}, "prefix"),
        ({"max_bytes": 0}, "max_bytes"), ({"max_bytes": 1.5}, "max_bytes"),
        ({"ack_replicas": -1}, "ack_replicas"), ({"limit": 0}, "limit"),
        ({"when_full": "drop"}, "when_full"), ({"on_unavailable": "500"}, "on_unavailable"),
    ],
)  # fmt: skip
def test_settings_that_cannot_work_are_refused(options, said):
    with pytest.raises(ConfigurationError, match=said):
        SessionSettings(**options)
    with pytest.raises(ConfigurationError, match=said):
        SessionStore.from_url("memory://", **options)


def test_a_store_says_what_it_takes():
    with pytest.raises(ConfigurationError, match="unknown options: idel"):
        SessionStore(Memory(), idel=1)
    with pytest.raises(ConfigurationError, match=r"use SessionStore\.from_url"):
        SessionStore("redis://127.0.0.1")
    with pytest.raises(ConfigurationError, match="takes no max_connections"):
        SessionStore.from_url("memory://", max_connections=1)
    with (
        Cluster.from_url("redis://127.0.0.1:1") as client,
        pytest.raises(ConfigurationError, match="takes a AsyncCluster"),
    ):
        AsyncSessionStore(client)


def test_memory_with_a_name_is_shared_and_without_is_not():
    one, other = (SessionStore.from_url("memory://units") for _ in range(2))
    token = one.create({"a": 1}).token
    assert other.load(token)["a"] == 1
    assert SessionStore.from_url("memory://").load(token) is None


def test_null_takes_everything_and_keeps_nothing():
    store = SessionStore.from_url("null://")
    made = store.create({"a": 1}, user="u")
    made["a"] = 2
    store.save(made)
    store.rotate(made)
    store.login(made, "v")
    assert store.load(made.token) is None
    assert store.sessions_of("u") == []
    assert store.revoke_all("u") == 0
    assert not store.delete(made).set_token


def test_nothing_that_is_shown_holds_a_token(caplog):
    told = Told()
    caplog.set_level(logging.DEBUG)
    store = SessionStore(Memory(), hooks=(told,), max_bytes=60, limit=1)
    made = store.create({"a": 1}, user="u")
    tokens = [made.token_held]
    late = store.load(made.token)
    shown = [repr(made), str(made), repr(store), repr(made.token_held), f"{made!r}"]
    store.rotate(made)
    tokens.append(made.token_held)
    store.load(str(tokens[0]))
    late["a"] = 2
    large = store.load(made.token)
    large["b"] = "x" * 99
    for act in (
        lambda: store.save(late),
        lambda: store.save(large),
        lambda: store.create({}, user="u"),
    ):
        with pytest.raises((SessionGoneError, SessionTooLargeError, SessionLimitError)) as caught:
            act()
        shown += [str(caught.value), repr(caught.value)]
    store.delete(made)
    store.load("nonsense")
    assert told
    shown += [repr(event) for event in told] + [record.getMessage() for record in caplog.records]
    shown += [repr(info) for info in store.scan()]
    for token in tokens:
        assert public_id(token.selector) in " ".join(shown)
        for secret in (token.selector, token.verifier, str(token)):
            assert not any(secret in text for text in shown)


def failing(store, *words):
    """Let a memory's store find that calls are not answered: an operation's, or a key's."""
    ask = store._sent.ask

    def asked(calls):
        away = SessionUnavailableError("away")
        return [away if {one.op, one.key} & set(words) else ask([one])[0] for one in calls]

    store._sent.ask = asked


def test_everybody_else_is_ended_though_some_cannot_be_reached():
    store = SessionStore(Memory())
    made = [store.create({"a": 1}, user=user) for user in ("u", "u", "v", None)]
    failing(store, store.plans.key(made[0].selector))
    with pytest.raises(PartialError, match="but some") as caught:
        store.revoke_everybody()
    assert set(caught.value.outcomes) == {made[0].public_id}
    del store._sent.ask
    assert [store.load(one.token) is None for one in made] == [False, True, True, True]
    assert [one.public_id for one in store.sessions_of("u")] == [made[0].public_id]
    assert store.revoke_everybody() == 1


def test_a_partial_end_names_the_session_and_where_it_is():
    store = SessionStore(Memory())
    made = [store.create({}, user="u") for _ in range(2)]
    failing(store, store.plans.key(made[0].selector))
    with pytest.raises(PartialError, match="1 of 2 sessions could not be ended") as caught:
        store.revoke_all("u")
    assert set(caught.value.outcomes) == {made[0].public_id}


@pytest.mark.parametrize("op", ["load", "save", "create", "reserve", "settle", "unlink", "revoke"])
def test_what_is_not_answered_is_raised_and_nobody_keeps_a_half_login(op):
    store = SessionStore(Memory())
    made = store.create({"a": 1}, user="u")
    name = made.public_id
    failing(store, op)
    acts = {
        "load": lambda: store.load(made.token), "save": lambda: store.rotate(made),
        "create": lambda: store.create({}), "reserve": lambda: store.create({}, user="u"),
        "settle": lambda: store.create({}, user="u"), "unlink": lambda: store.delete(made),
        "revoke": lambda: store.revoke_all("u"),
    }  # fmt: skip
    with pytest.raises(SessionUnavailableError):
        acts[op]()
    del store._sent.ask
    assert [one.public_id for one in store.scan()] == [name]
    if op == "unlink":
        assert store.save(made).ended  # asked again, it ends
        assert store.count() == 0


def test_each_event_is_logged_with_the_public_id_alone(caplog):
    caplog.set_level(logging.DEBUG)
    store = SessionStore(Memory(), hooks=())
    made = store.create({"a": 1})
    selector, verifier = made.token_held
    store.load(f"{selector}.{'A' * 22}")
    store.load("nonsense")
    store.delete(made)
    assert len(caplog.records) >= 3
    for record_ in caplog.records:
        assert selector not in record_.getMessage()
        assert verifier not in record_.getMessage()


def test_settings_are_frozen_and_a_codec_seals_nothing_without_keys():
    settings = SessionSettings()
    with pytest.raises(AttributeError):
        settings.idle = 5
    codec = Codec(TaggedJSON())
    assert codec.seal("s", "n", b"x") == codec.unseal("s", "n", b"x") == b"x"


def test_infos_and_outcomes_can_be_pickled():
    store, one = session(a=1)
    store.login(one, "u", device="d")
    [info] = store.sessions_of("u")
    assert pickle.loads(pickle.dumps(info)) == info
    assert isinstance(one, Session)

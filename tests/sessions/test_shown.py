"""What is shown, logged and raised: never a token, always what to do."""

from __future__ import annotations

import logging
import pickle

import pytest

from clustercache import SessionStore
from clustercache.exceptions import (
    PartialError,
    SessionGoneError,
    SessionLimitError,
    SessionTooLargeError,
    SessionUnavailableError,
)
from clustercache.sessions import Session, SessionSettings, TaggedJSON
from clustercache.sessions.codec import Codec
from clustercache.sessions.memory import Memory
from clustercache.sessions.token import public_id
from tests.sessions.stores import Told


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
    store = SessionStore.from_url("memory://")
    one = store.create({"a": 1})
    store.login(one, "u", device="d")
    [info] = store.sessions_of("u")
    assert pickle.loads(pickle.dumps(info)) == info
    assert isinstance(one, Session)

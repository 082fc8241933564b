"""The tree of errors: redis-py's classes catch them all, and none of them tells a secret."""

from __future__ import annotations

import inspect
import pickle
from types import SimpleNamespace

import pytest
import redis

from clustercache import exceptions
from clustercache._core.address import Address
from clustercache._core.commands import Safety
from clustercache._core.decisions import Attempt, Call, Event, Trouble, Verb
from clustercache._core.wire import ServerError
from clustercache._failures import failure
from clustercache._limits import Limits
from clustercache._request import Failed
from clustercache.config import RetryPolicy
from clustercache.exceptions import (
    ClusterCacheError,
    ConfigurationError,
    DeadlineExceededError,
    OutcomeUnknownError,
    PartialError,
)

CLASSES = [
    value
    for _, value in inspect.getmembers(exceptions, inspect.isclass)
    if issubclass(value, ClusterCacheError)
]
KEY, VALUE = "user:7:session", "hunter2"
NODE = Address("10.0.0.1", 7000)


def test_every_class_is_public_and_drawn_in_the_tree():
    assert {cls.__name__ for cls in CLASSES} == set(exceptions.__all__)
    for cls in CLASSES:
        assert cls.__name__ in exceptions.__doc__
        assert cls.__doc__


@pytest.mark.parametrize("cls", CLASSES)
def test_except_redis_error_catches_it(cls):
    assert issubclass(cls, redis.RedisError)


@pytest.mark.parametrize(
    ("cls", "bases"),
    [
        ("ConfigurationError", (ValueError,)),
        ("InvalidArgumentError", (redis.DataError,)),
        ("UnsupportedCommandError", (exceptions.InvalidArgumentError,)),
        ("CrossSlotError", (redis.exceptions.RedisClusterException, redis.DataError)),
        ("DeadlineExceededError", (redis.TimeoutError,)),
        ("OutcomeUnknownError", (DeadlineExceededError, redis.ConnectionError)),
        ("PoolTimeoutError", (redis.TimeoutError,)),
        ("ShardUnavailableError", (redis.ConnectionError,)),
        ("NoClusterError", (redis.ConnectionError,)),
        ("UntrustedError", (redis.ConnectionError,)),
        ("ClosedError", (redis.ConnectionError,)),
        ("PlanError", (exceptions.AdminError, ValueError)),
    ],
)
def test_what_catches_redis_pys_error_catches_ours(cls, bases):
    for base in bases:
        assert issubclass(getattr(exceptions, cls), base)


def test_a_full_pool_is_no_connection_error():
    assert not issubclass(exceptions.PoolTimeoutError, redis.ConnectionError)


def test_an_error_names_command_slot_node_and_attempts():
    error = ClusterCacheError(
        "went wrong", command="GET", slot=0, node="h:1", attempts=["h:1: x", "i:2: y"]
    )
    assert str(error) == "went wrong [GET, slot 0, h:1] (attempts: h:1: x; i:2: y)"
    assert (error.command, error.slot, error.node) == ("GET", 0, "h:1")
    assert error.attempts == ("h:1: x", "i:2: y")
    assert error.applied == "no"


def test_an_error_says_only_what_is_known():
    assert str(ClusterCacheError("went wrong")) == "went wrong"
    assert str(ClusterCacheError("went wrong", command="PING")) == "went wrong [PING]"


def test_a_partial_error_keeps_outcomes_out_of_its_message():
    error = PartialError("1 of 2 parts failed", {KEY: ValueError(VALUE)}, command="MSET")
    assert list(error.outcomes) == [KEY]
    assert KEY not in str(error) + repr(error)
    assert VALUE not in str(error) + repr(error)


def test_an_error_survives_the_way_from_a_worker_process():
    error = PartialError("1 of 2 parts failed", {KEY: 1}, command="MSET", slot=7)
    copy = pickle.loads(pickle.dumps(error))
    assert str(copy) == str(error)
    assert copy.outcomes == error.outcomes
    assert copy.slot == 7


def failed(verb, *troubles, error=None):
    """What a SET that met these troubles, oldest first, ends in."""
    limits = Limits(0.5, RetryPolicy())
    request = SimpleNamespace(
        command=SimpleNamespace(limits=limits),
        call=Call(Safety.SAME, limits.retry.resend),
        facts=lambda node: {"command": "SET", "slot": 42, "node": str(node)},
    )
    *history, last = [Event(trouble, NODE) for trouble in troubles]
    attempts = [Attempt(event, 0.125) for event in history]
    return failure(verb, Failed(last, error), request, attempts, 0.25)


@pytest.mark.parametrize(
    ("verb", "cls"),
    [
        (Verb.RAISE_DEADLINE, DeadlineExceededError),
        (Verb.RAISE_UNKNOWN, OutcomeUnknownError),
    ],
)
def test_a_failed_call_names_all_but_key_and_value(verb, cls):
    error = failed(verb, Trouble.UNREADY, Trouble.EXPIRED_UNANSWERED)
    assert type(error) is cls
    assert error.command == "SET"
    assert 0 <= error.slot < 16384
    assert error.node == str(NODE)
    assert error.attempts == (
        f"{NODE}: unready after 0.125 s",
        f"{NODE}: expired unanswered after 0.250 s",
    )
    for shown in (str(error), repr(error), str(vars(error))):
        assert KEY not in shown
        assert VALUE not in shown


@pytest.mark.parametrize(
    ("troubles", "applied"),
    [
        ([Trouble.UNREADY, Trouble.EXPIRED], "no"),
        ([Trouble.EXPIRED_UNANSWERED], "maybe"),
        ([Trouble.NO_REPLY, Trouble.EXPIRED], "maybe"),
    ],
)
def test_applied_is_no_only_where_that_is_certain(troubles, applied):
    assert failed(Verb.RAISE_DEADLINE, *troubles).applied == applied


def test_the_deadlines_error_says_what_to_do():
    assert "raise the deadline" in str(failed(Verb.RAISE_DEADLINE, Trouble.EXPIRED))
    assert "look before you repeat" in str(failed(Verb.RAISE_UNKNOWN, Trouble.NO_REPLY))


@pytest.mark.parametrize(
    ("text", "cls"),
    [
        ("WRONGTYPE Operation against a key", redis.ResponseError),
        ("NOPERM no permissions", redis.exceptions.NoPermissionError),
        ("WRONGPASS invalid username-password pair", redis.AuthenticationError),
        ("NOSCRIPT No matching script", redis.exceptions.NoScriptError),
    ],
)
def test_what_a_server_answers_keeps_redis_pys_class_and_gets_a_note(text, cls):
    error = failed(Verb.RAISE_REPLY, Trouble.ERROR, error=ServerError(text))
    assert type(error) is cls
    [note] = error.__notes__
    assert "SET" in note
    assert str(NODE) in note
    assert KEY not in note
    assert VALUE not in note


def test_bad_configuration_is_a_value_error_too():
    with pytest.raises(ValueError, match="unknown URL scheme"):
        raise ConfigurationError("unknown URL scheme")

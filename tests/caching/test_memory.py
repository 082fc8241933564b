"""What `Memory` does besides what servers do: its clock, its bounds, its threads, its names."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from clustercache.caching.calls import PLAIN, Call
from clustercache.caching.memory import Memory, Null, memory_at
from clustercache.caching.scripts import SCRIPTS
from clustercache.exceptions import ConfigurationError
from tests.caching import far_calls as far


class Clock:
    def __init__(self):
        self.now = 1_700_000_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def ask(clock):
    memory = Memory(clock)
    return lambda call: memory.ask([call])[0]


def test_a_key_ends_with_its_last_millisecond(ask, clock):
    ask(far.put(far.OLD, 1000))
    clock.now += 0.999
    assert ask(far.ttl()) == 1
    assert ask(far.get()) == far.OLD
    clock.now += 0.001
    assert ask(far.get()) is None
    assert ask(far.ttl()) == -2


def test_what_has_ended_is_not_unlinked(ask, clock):
    ask(far.put(far.OLD, 1000))
    clock.now += 1
    assert ask(far.unlink()) == 0


def test_a_holder_that_died_costs_one_lease_time(ask, clock):
    ask(far.put(far.OLD))
    was = far.seen(far.OLD)
    assert ask(far.take(far.ONE, 5000, was=was)) == [1]
    clock.now += 4.999
    assert ask(far.take(far.TWO, 5000, was=was)) == [0, 1]
    clock.now += 0.001
    assert ask(far.take(far.TWO, 5000, was=was)) == [1]
    assert ask(far.fill(far.ONE, far.NEW)) == 0


def test_renewals_keep_a_lease_on_nothing(ask, clock):
    ask(far.take(far.ONE, 5000))
    for _ in range(3):
        clock.now += 4
        assert ask(far.renew(far.ONE, 5000)) == 1
    clock.now += 5
    assert ask(far.renew(far.ONE, 5000)) == 0
    assert ask(far.fill(far.ONE, far.NEW)) == 0


def test_a_ttl_that_is_over_is_an_error_in_its_place(ask):
    with pytest.raises(Exception, match="invalid expire time") as caught:
        raise ask(far.put(far.OLD, 0))
    assert type(caught.value).__name__ == "ResponseError"
    assert ask(far.get()) is None


def test_the_outcomes_are_in_order_errors_included():
    largest = far.integer(far.LARGEST)
    outcomes = Memory().ask([far.put(largest), far.incr(1), far.get()])
    assert outcomes[::2] == [True, largest]
    assert outcomes[1] == far.Failing("overflow")


def test_the_least_recently_used_key_makes_room():
    memory = Memory(maxsize=2)
    for key in "ab":
        memory.ask([Call("set", key, (far.OLD, None))])
    memory.ask([Call("get", "a"), Call("set", "c", (far.OLD, None))])
    there = memory.ask([Call("get", key) for key in "abc"])
    assert there == [far.OLD, None, far.OLD]


def test_threads_do_not_lose_counts():
    memory = Memory()
    memory.ask([far.put(far.integer(0))])

    def count(_):
        for _ in range(200):
            memory.ask([far.incr(1)])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(count, range(4)))
    assert memory.ask([far.get()]) == [far.integer(800)]


def test_null_takes_everything_and_keeps_nothing():
    null = Null()
    answers = {
        "get": ((), None),
        "set": ((far.OLD, None), True),
        "unlink": ((), 0),
        "ttl": ((), -2),
        "take": ((far.ONE, 5000, far.seen(far.OLD), 0), [1]),
        "fill": ((far.ONE, far.OLD, ""), 1),
        "renew": ((far.ONE, 5000), 1),
        "release": ((far.ONE,), 1),
        "swap": ((far.seen(far.OLD), far.NEW, ""), 1),
        "token": ((far.ONE, ""), far.ONE),
        "incr": ((far.ONE, 1), None),
    }
    assert answers.keys() == SCRIPTS.keys() | PLAIN.keys()
    for _ in range(2):
        replies = null.ask([Call(op, "k", args) for op, (args, _) in answers.items()])
        assert replies == [expected for _, expected in answers.values()]


def test_a_named_memory_is_shared_and_one_without_a_name_is_not():
    assert memory_at("memory://far-shop") is memory_at("memory://far-shop")
    assert memory_at("memory://far-shop") is not memory_at("memory://far-other")
    assert memory_at("memory://") is not memory_at("memory://")
    assert type(memory_at("null://")) is Null


@pytest.mark.parametrize("url", ["redis://localhost", ["memory://"], b"memory://", None])
def test_another_url_is_no_memory(url):
    assert memory_at(url) is None


@pytest.mark.parametrize("url", ["memory://", "null://", "memory://far-shop"])
def test_what_has_no_client_takes_no_options_of_one(url):
    with pytest.raises(ConfigurationError, match="no client, so that it takes no deadline, tls"):
        memory_at(url, {"tls": True, "deadline": 1})

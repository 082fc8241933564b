"""Blocking commands: apart from other calls, followed through the cluster's changes, and ended."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis

from clustercache import Cluster
from clustercache.exceptions import (
    ClosedError,
    CrossSlotError,
    InvalidArgumentError,
    NoClusterError,
    OutcomeUnknownError,
    PoolTimeoutError,
    UnsupportedCommandError,
)
from clustercache.testing import FakeCluster, array, close_before_reply, delay, error, null, silence
from tests.asyncs import both, sync_only  # noqa: F401 - for both clients

KEY = "bar"
FORCED = "UNBLOCKED force unblock from blocking operation, instance state changed"
POPPED = array(KEY.encode(), b"x")


@pytest.fixture
def fake():
    with FakeCluster(primaries=2, replicas=1) as cluster:
        yield cluster


@pytest.fixture
def owner(fake):
    return fake.owner(KEY)


@pytest.fixture
def pool():
    with ThreadPoolExecutor(4) as executor:
        yield executor


def wait_until(condition, timeout=5.0):
    limit = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < limit, "the condition did not come true"
        threading.Event().wait(0.005)


def blocked(client, pool, owner, call=lambda r: r.blpop(KEY), *, name="BLPOP"):
    """Begin a call in another thread, and return once the node has it."""
    before = len(owner.received(name))
    future = pool.submit(call, client)
    wait_until(lambda: len(owner.received(name)) > before or future.done())
    return future


def test_a_blocked_call_takes_no_place_from_the_others(fake, owner, pool):
    with Cluster.from_url(fake.url, max_connections=1) as client:
        client.set(KEY, "1")
        owner.on("BLPOP", silence())
        future = blocked(client, pool, owner)
        began = time.monotonic()
        assert client.get(KEY) == b"1"
        assert time.monotonic() - began < 0.5
        client.close()
        assert isinstance(future.exception(5), ClosedError)


def test_its_connection_is_used_again(fake, owner):
    owner.on("BLPOP", POPPED)
    with Cluster.from_url(fake.url) as client:
        assert [client.blpop(KEY, 1) for _ in range(3)] == [(KEY.encode(), b"x")] * 3
    assert len({command.connection_id for command in owner.received("BLPOP")}) == 1


@sync_only
@pytest.mark.skipif(not hasattr(socket, "TCP_KEEPIDLE"), reason="this system has its own times")
def test_a_host_that_is_gone_is_found_by_the_kernel(fake, owner):
    owner.on("BLPOP", null())
    with Cluster.from_url(fake.url) as client:
        client.blpop(KEY, 1)
        (apart,) = (p.apart() for p in client._map.pools.values() if p.apart().idle)
        (connection,) = apart.idle
        with socket.socket(fileno=os.dup(connection.fileno())) as sock:
            told = [
                sock.getsockopt(socket.IPPROTO_TCP, option)
                for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
            ]
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert told == [5, 5, 2]


def test_places_of_their_own_are_bounded_too(fake, owner, pool):
    with Cluster.from_url(fake.url, max_connections=1, deadline=0.2) as client:
        owner.on("BLPOP", silence())
        future = blocked(client, pool, owner)
        began = time.monotonic()
        with pytest.raises(PoolTimeoutError):
            client.blpop(KEY)
        assert time.monotonic() - began < 2.0
        assert not future.done()


def test_the_timeout_is_sent_as_it_was_given(fake, owner):
    owner.on("BLPOP", null())
    with Cluster.from_url(fake.url, deadline=0.5) as client:
        assert client.blpop([KEY], 7) is None
    assert owner.received("BLPOP") == [[b"BLPOP", KEY.encode(), b"7"]]


def test_a_deadline_shortens_the_timeout(fake, owner):
    owner.on("BLPOP", null())
    with Cluster.from_url(fake.url) as client, client.deadline(1.0):
        client.blpop([KEY])
        client.blpop([KEY], 30)
        client.blpop([KEY], 0.25)
    told = [float(command[-1]) for command in owner.received("BLPOP")]
    assert told == [pytest.approx(0.85, abs=0.05), pytest.approx(0.85, abs=0.05), 0.25]


def test_a_retry_policy_is_no_deadline(fake, owner):
    owner.on("BLPOP", null())
    with Cluster.from_url(fake.url, deadline=0.5) as client, client.retry(client.config.retry):
        client.blpop([KEY], 7)
    assert owner.received("BLPOP")[0][-1] == b"7"


def test_an_unblocked_call_goes_to_the_new_primary(fake, owner, pool):
    with Cluster.from_url(fake.url) as client:
        client.set(KEY, "1")
        owner.on("BLPOP", error(FORCED))
        (heir,) = owner.replicas
        heir.on("BLPOP", POPPED)
        fake.promote(heir)
        assert client.blpop(KEY, 5) == (KEY.encode(), b"x")
        (command,) = heir.received("BLPOP")
        assert float(command[-1]) <= 5


def test_a_call_that_an_operator_unblocked_fails(fake, owner):
    owner.on("BLPOP", error("UNBLOCKED client unblocked via CLIENT UNBLOCK"))
    with Cluster.from_url(fake.url) as client, pytest.raises(redis.ResponseError, match="UNBLOCK"):
        client.blpop(KEY)


def test_a_slot_that_moves_takes_the_call_with_it_and_its_time_goes_on(fake, owner):
    other = next(node for node in fake.primaries if node is not owner)
    slot = client_slot()
    owner.on("BLPOP", delay(0.5, error(f"MOVED {slot} {other.address}")))
    other.on("BLPOP", null())
    with Cluster.from_url(fake.url, socket_timeout=0.1) as client:
        client.set(KEY, "1")
        fake.move(KEY, other)
        assert client.blpop(KEY, 2) is None
    (command,) = other.received("BLPOP")
    assert float(command[-1]) == pytest.approx(1.5, abs=0.3)


def client_slot():
    return Cluster.from_url("redis://a").keyslot(KEY)


def test_a_half_moved_slot_asks_with_asking(fake, owner):
    other = next(node for node in fake.primaries if node is not owner)
    owner.on("BLPOP", error(f"ASK {client_slot()} {other.address}"))
    other.on("BLPOP", null())
    with Cluster.from_url(fake.url) as client:
        assert client.blpop(KEY, 2) is None
    names = [command.name for command in other.commands]
    assert names[names.index("BLPOP") - 1] == "ASKING"


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("BLPOP", lambda r: r.blpop(KEY, 5)),
        ("BRPOP", lambda r: r.brpop(KEY, 5)),
        ("BLMOVE", lambda r: r.blmove(KEY, "{bar}2", 5)),
        ("BLMPOP", lambda r: r.blmpop(5, 1, KEY, direction="LEFT")),
        ("BZPOPMIN", lambda r: r.bzpopmin(KEY, 5)),
        ("BZMPOP", lambda r: r.bzmpop(5, 1, [KEY], min=True)),
        ("BRPOPLPUSH", lambda r: r.brpoplpush(KEY, "{bar}2", 5)),
        ("XREADGROUP", lambda r: r.xreadgroup("g", "c", {KEY: ">"}, block=5000)),
    ],
)
def test_a_pop_whose_reply_is_lost_may_have_happened(fake, owner, name, call):
    owner.on(name, close_before_reply())
    with Cluster.from_url(fake.url) as client, pytest.raises(OutcomeUnknownError) as caught:
        call(client)
    assert caught.value.applied == "maybe"
    assert len(owner.received(name)) == 1


def test_a_read_whose_reply_is_lost_is_repeated(fake, owner):
    owner.on("XREAD", [close_before_reply(), null()])
    with Cluster.from_url(fake.url) as client:
        client.xread({KEY: "0"}, block=5000)
    first, second = owner.received("XREAD")
    assert 4000 < int(second[2]) <= int(first[2]) == 5000


def test_closing_ends_a_read_too(fake, owner, pool):
    owner.on("XREAD", silence())
    client = Cluster.from_url(fake.url)
    future = blocked(client, pool, owner, lambda r: r.xread({KEY: "0"}, block=0), name="XREAD")
    client.close()
    assert isinstance(future.exception(5), ClosedError)


def test_closing_says_that_something_may_have_been_taken(fake, owner, pool):
    owner.on("BLPOP", silence())
    client = Cluster.from_url(fake.url)
    future = blocked(client, pool, owner)
    client.close()
    raised = future.exception(5)
    assert (type(raised), raised.applied, raised.command) == (ClosedError, "maybe", "BLPOP")


@sync_only
def test_an_interrupt_ends_it_and_closes_the_connection(fake, owner):
    owner.on("BLPOP", silence())
    with Cluster.from_url(fake.url, max_connections=1) as client:
        with pytest.raises(KeyboardInterrupt):
            interrupted(lambda: client.blpop(KEY))
        owner.on("BLPOP", null())
        assert client.blpop(KEY, 1) is None
    first, second = owner.received("BLPOP")
    assert first.connection_id != second.connection_id


def interrupted(call):
    def interrupt(number, frame):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    try:
        call()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_a_node_that_keeps_everyone_waiting_is_asked_for_a_sign(fake, owner, pool):
    owner.on("BLPOP", silence())
    with Cluster.from_url(fake.url, socket_timeout=0.05) as client:
        futures = [blocked(client, pool, owner) for _ in range(3)]
        pings = len(owner.received("PING"))
        began = time.monotonic()
        wait_until(lambda: len(owner.received("PING")) >= pings + 4)
        assert time.monotonic() - began > 0.3  # one for all, each 0.15 s
        assert not client.stats()["nodes"][owner.address]["suspected"]
        client.close()
        assert all(isinstance(future.exception(5), ClosedError) for future in futures)


def test_a_silent_node_is_found_out_and_its_successor_ends_the_wait(fake, owner, pool):
    with Cluster.from_url(fake.url, socket_timeout=0.05) as client:
        owner.on("BLPOP", silence())
        future = blocked(client, pool, owner)
        owner.pause()
        wait_until(lambda: client.stats()["nodes"][owner.address]["suspected"])
        fake.promote(owner.replicas[0])
        assert isinstance(future.exception(5), OutcomeUnknownError)
        owner.resume()


def test_a_node_that_was_only_busy_keeps_its_callers(fake, owner, pool):
    with Cluster.from_url(fake.url, socket_timeout=0.05) as client:
        owner.on("BLPOP", delay(1.0, POPPED))
        future = blocked(client, pool, owner)
        owner.pause()
        wait_until(lambda: client.stats()["nodes"][owner.address]["suspected"])
        owner.resume()
        wait_until(lambda: not client.stats()["nodes"][owner.address]["suspected"])
        assert future.result(5) == (KEY.encode(), b"x")


def test_a_call_that_its_node_forgot_is_found_out(fake, owner):
    owner.on("BLPOP", silence())
    began = time.monotonic()
    with (
        Cluster.from_url(fake.url, socket_timeout=0.1) as client,
        pytest.raises(OutcomeUnknownError),
    ):
        client.blpop(KEY, 0.3)
    assert 0.4 < time.monotonic() - began < 2.0


def test_a_read_that_its_node_forgot_is_repeated(fake, owner):
    owner.on("XREAD", [silence(), null()])
    with Cluster.from_url(fake.url, socket_timeout=0.1) as client:
        client.xread({KEY: "0"}, block=300)
    assert len(owner.received("XREAD")) == 2


def test_it_does_not_wait_for_ever_for_a_cluster_that_it_never_saw(fake):
    for node in fake.nodes:
        node.on("HELLO", silence())
    with Cluster.from_url(fake.url, deadline=0.2) as client, pytest.raises(NoClusterError):
        client.blpop(KEY)


def test_keys_of_several_slots_are_refused(fake):
    with Cluster.from_url(fake.url) as client, pytest.raises(CrossSlotError):
        client.blpop(["bar", "foo"], 1)


def test_a_pipeline_takes_none(fake):
    with Cluster.from_url(fake.url) as client, client.pipeline() as pipe:
        with pytest.raises(UnsupportedCommandError, match="on the client itself"):
            pipe.blpop(KEY, 1)
        pipe.xread({KEY: "0"})


def test_a_node_cannot_be_chosen(fake):
    with Cluster.from_url(fake.url) as client, pytest.raises(InvalidArgumentError):
        client.execute_command("BLPOP", KEY, 1, target_nodes="random")

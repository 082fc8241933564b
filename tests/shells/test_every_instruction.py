"""An exception, or a signal handler that uses the client, at each place where one may come.

CPython runs signal handlers after calls, at the beginning of functions and at backward jumps. A
tracer puts one there, one place after the other; the client must work, and count right, behind it.
"""

from __future__ import annotations

import dis
import gc
import os
import random
import sys
import threading
from contextlib import suppress
from functools import cache, partial

import pytest

from clustercache import Cluster, ReadFrom
from clustercache._sync.helper import Helper
from clustercache._sync.pool import Pool
from clustercache.exceptions import DeadlineExceededError
from clustercache.testing import FakeCluster, silence

KEY, OTHER = "bar", "foo"
POLICIES = [(ReadFrom.PRIMARY, 0), (ReadFrom.PREFER_REPLICA, 1), (ReadFrom.PREFER_REPLICA, 0)]
"""With how many replicas: without any, reads take places at a gate."""
_INTERRUPTIBLE = {"CALL", "CALL_FUNCTION_EX", "RESUME", "JUMP_BACKWARD"}
STEP = 23
"""Every so many places; the first is another one each time."""

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")


@cache
def places(code):
    """The offsets in `code` at which a signal handler may run: just behind these instructions."""
    found, before = set(), ""
    for instruction in dis.get_instructions(code):
        if before in _INTERRUPTIBLE:
            found.add(instruction.offset)
        before = instruction.opname
    return found


class Interruption:
    """Calls `handler` at the `number`-th place that is passed inside the client's shell."""

    def __init__(self, number, handler, *, below=False):
        self._left = number
        self._below = below
        self._handler = handler
        self.came = False

    def __enter__(self):
        sys.settrace(self._enter)
        return self

    def __exit__(self, *_):
        sys.settrace(None)

    def _enter(self, frame, event, arg):
        code = frame.f_code
        of_shell = "/clustercache/_sync/" in code.co_filename
        if not of_shell and not (self._below and code.co_filename == threading.__file__):
            return None
        if frame.f_code.co_name == "__del__":
            return None  # what it raises goes nowhere
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return self._step

    def _step(self, frame, event, arg):
        if event == "opcode" and frame.f_lasti in places(frame.f_code):
            self._left -= 1
            if self._left == 0:
                sys.settrace(None)
                self.came = True
                self._handler()
        return self._step


def interrupt():
    raise KeyboardInterrupt


def learns(fake, client):
    client.get(KEY)


def knows(fake, client):
    client.get(KEY)


def splits(fake, client):
    client.mget(KEY, OTHER)


def is_redirected(fake, client):
    other = next(node for node in fake.primaries if node is not fake.owner(KEY))
    fake.move(KEY, other)
    client.get(KEY)


# A socket that is lost on its way into a variable is closed by its own finalizer, which warns.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.timeout(240)
@pytest.mark.parametrize("work", [learns, knows, splits, is_redirected])
@pytest.mark.parametrize(("policy", "replicas"), POLICIES)
def test_an_interrupt_anywhere_leaves_the_client_whole(work, policy, replicas):
    number, came = -random.randrange(STEP), True
    while came:
        number += STEP
        with FakeCluster(primaries=2, replicas=replicas) as fake:
            client = Cluster.from_url(fake.url, max_connections=1, deadline=2.0, read_from=policy)
            if work is not learns:
                client.mset({KEY: 1, OTHER: 2})
                client.get(KEY)
            with suppress(KeyboardInterrupt), Interruption(number, interrupt) as interruption:
                work(fake, client)
            came = interruption.came
            gc.collect()
            client.mget(KEY, OTHER)
            assert not any(node["in_flight"] for node in client.stats()["nodes"].values()), number
            client.close()
    assert number > 10, "no place was tried"


@pytest.mark.timeout(240)
@pytest.mark.parametrize("work", [learns, knows, splits])
@pytest.mark.parametrize(("policy", "replicas"), POLICIES)
def test_a_signal_handler_anywhere_may_use_the_client(work, policy, replicas):
    number, came = -random.randrange(STEP), True
    with FakeCluster(primaries=2, replicas=replicas) as fake:
        while came:
            number += STEP
            client = Cluster.from_url(fake.url, max_connections=4, deadline=2.0, read_from=policy)
            if work is not learns:
                client.mset({KEY: 1, OTHER: 2})
            watchdog = threading.Timer(10, os._exit, [3])  # a deadlock has no other end
            watchdog.start()
            with Interruption(number, lambda client=client: client.get(KEY)) as interruption:
                work(fake, client)
            watchdog.cancel()
            watchdog.join()
            came = interruption.came
            client.close()
    assert number > 10, "no place was tried"


@pytest.mark.timeout(240)
def test_a_signal_handler_may_use_the_client_that_waits_for_a_suspected_node():
    number, came = -random.randrange(STEP), True
    while came:
        number += STEP
        with (
            FakeCluster(primaries=2) as fake,
            Cluster.from_url(fake.url, deadline=0.5, socket_timeout=0.05) as client,
        ):
            client.set(KEY, "1")
            fake.owner(KEY).pause()
            with pytest.raises(DeadlineExceededError):
                client.get(KEY)
            assert client.stats()["nodes"][fake.owner(KEY).address]["suspected"]
            watchdog = threading.Timer(10, os._exit, [3])
            watchdog.start()
            handler = partial(expires, client, 0.02)
            with Interruption(number, handler, below=True) as interruption:
                expires(client, 0.05)
            watchdog.cancel()
            watchdog.join()
            came = interruption.came
            fake.owner(KEY).resume()


def expires(client, seconds):
    with client.deadline(seconds), suppress(DeadlineExceededError):
        client.get(KEY)


def test_an_interrupted_suspicion_does_not_keep_a_shard_down(monkeypatch):
    with (
        FakeCluster(primaries=2) as fake,
        Cluster.from_url(fake.url, deadline=2.0, socket_timeout=0.1) as client,
    ):
        client.set(KEY, "1")
        fake.owner(KEY).on("GET", [silence(), b"1"])
        with monkeypatch.context() as patch:
            patch.setattr(Pool, "reroute", lambda _: interrupt())
            with pytest.raises(KeyboardInterrupt):
                client.get(KEY)
        assert client.get(KEY) == b"1"


def test_a_helper_that_was_never_started_is_not_joined(monkeypatch):
    with FakeCluster(primaries=2) as fake:
        client = Cluster.from_url(fake.url, deadline=2.0, socket_timeout=0.1)
        client.set(KEY, "1")
        fake.owner(KEY).on("GET", [silence(), b"1"])
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", lambda _: interrupt())
            with pytest.raises(KeyboardInterrupt):
                client.get(KEY)
        pid = os.fork()
        if pid == 0:
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert client.get(KEY) == b"1"
        client.close()


def test_a_helper_that_cannot_be_started_now_is_started_later(monkeypatch, caplog):
    with (
        FakeCluster(primaries=2) as fake,
        Cluster.from_url(fake.url, deadline=0.4, socket_timeout=0.1) as client,
    ):
        client.set(KEY, "1")
        fake.owner(KEY).on("GET", [silence(), b"1"])
        with monkeypatch.context() as patch:
            patch.setattr(Helper, "_run", None)
            patch.setattr(threading.Thread, "start", refuse)
            with pytest.raises(DeadlineExceededError):
                client.get(KEY)
        assert "helper_not_started" in caplog.text
        assert client.get(KEY) == b"1"


def refuse(_):
    raise RuntimeError("can't start new thread")


def test_a_connection_given_back_twice_is_an_error():
    with FakeCluster(primaries=1) as fake, Cluster.from_url(fake.url) as client:
        client.set(KEY, "1")
        (pool,) = client._map.pools.values()
        connection = pool.lease(1e9)
        pool.release(connection, 0.0)
        with pytest.raises(RuntimeError, match="twice"):
            pool.release(connection, 0.0)
        assert len(pool.idle) == 1

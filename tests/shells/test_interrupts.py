"""Whatever comes between send and the end of a reply closes the connection; forks share none."""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from clustercache import Cluster
from clustercache.exceptions import DeadlineExceededError, OutcomeUnknownError
from clustercache.testing import FakeCluster, close_before_reply, delay, null, partial, silence

KEY = "bar"

# From Python 3.12 on a fork warns while any thread lives: the fake cluster's do.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")


@pytest.fixture
def fake():
    with FakeCluster(primaries=2, replicas=1) as cluster:
        yield cluster


@pytest.fixture
def owner(fake):
    return fake.owner(KEY)


@contextmanager
def timer(seconds, handler, interval=0.0):
    """Call `handler` in the main thread after so many seconds, again and again with `interval`."""
    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, seconds, interval)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def interrupt(number, frame):
    raise KeyboardInterrupt


@pytest.mark.parametrize("action", [silence(), partial(b"$5\r\nla")], ids=["before", "amid"])
@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("GET", lambda r: r.get(KEY)),
        ("GET", lambda r: limited(r, lambda: r.get(KEY))),
        ("MGET", lambda r: r.mget([KEY, "foo"])),
    ],
    ids=["direct", "executor", "split"],
)
def test_an_interrupt_closes_the_connection_and_frees_its_place(fake, owner, action, name, call):
    with Cluster.from_url(fake.url, max_connections=1) as client:
        client.mset({KEY: "x", "foo": "y"})
        used = {connection.id for connection in owner.connections}
        owner.on(name, action)
        with pytest.raises(KeyboardInterrupt), timer(0.1, interrupt):
            call(client)
        owner.off(name)
        assert client.mget([KEY, "foo"]) == [b"x", b"y"]
        assert client.get(KEY) == b"x"
        last = owner.received("GET")[-1]
        assert last.connection_id not in used
        assert client.stats()["nodes"][owner.address]["in_flight"] == 0


def limited(client, call):
    with client.deadline(5.0):
        return call()


def test_an_interrupt_while_waiting_for_a_shard_leaves_the_client_well(fake, owner):
    with Cluster.from_url(fake.url, socket_timeout=0.05) as client:
        client.set(KEY, "x")
        owner.pause()
        for _ in range(3):
            with pytest.raises(KeyboardInterrupt), timer(0.15, interrupt):
                client.get(KEY)
        owner.resume()
        assert client.get(KEY) == b"x"


@pytest.mark.parametrize("patience", [0.1, 1.0])
def test_a_ticking_timer_does_not_extend_the_deadline(fake, owner, patience):
    ticks = []
    with Cluster.from_url(fake.url, deadline=0.5, socket_timeout=patience) as client:
        client.get(KEY)
        owner.on("GET", silence())
        began = time.monotonic()
        with (
            pytest.raises(DeadlineExceededError),
            timer(0.02, lambda number, frame: ticks.append(1), 0.02),
        ):
            client.get(KEY)
        assert time.monotonic() - began < 0.9
    assert len(ticks) > 5


# What an interrupt in the middle of connect() leaves open is closed by the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_timer_that_raises_like_a_worker_timeout_never_leaves_a_reply_behind(fake, owner):
    """gevent, gunicorn and celery stop a request with an exception of their own, at any time."""

    class Stopped(BaseException):
        pass

    def stop(number, frame):
        raise Stopped

    owner.on("GET", lambda command, connection: delay(0.002, command[1]))
    with Cluster.from_url(fake.url, max_connections=1) as client:
        client.exists(KEY)
        stopped = 0
        for number in range(200):
            key = f"{{bar}}{number}"
            try:
                with timer(0.0005 + number % 20 * 0.0002, stop):
                    assert client.get(key) == key.encode()
            except Stopped:
                stopped += 1
            assert client.stats()["nodes"][owner.address]["pool"] <= 1
        assert stopped > 10
        assert client.get(KEY) == KEY.encode()


# ------------------------------------------------------------------------------------------ forks


def in_child(work):
    """Run `work` in a forked child; fail with what it raised."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:  # pragma: no cover - another process
        code = 1
        try:
            signal.alarm(20)
            work()
            code = 0
        except BaseException as error:  # noqa: BLE001
            os.write(writer, repr(error).encode()[:4000])
        finally:
            os._exit(code)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        message = pipe.read().decode()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, message


def connection_ids(node, start=0):
    return {command.connection_id for command in node.commands[start:]}


def test_a_child_never_uses_its_parents_sockets(fake, owner):
    with Cluster.from_url(fake.url) as client:
        client.mset({KEY: "x", "foo": "y"})
        of_parent = {node: connection_ids(node) for node in fake.primaries}
        starts = {node: len(node.commands) for node in fake.primaries}

        def work():
            assert client.get(KEY) == b"x"
            assert client.mget([KEY, "foo"]) == [b"x", b"y"]
            client.close()

        in_child(work)
        for node in fake.primaries:
            of_child = connection_ids(node, starts[node])
            assert of_child
            assert not of_child & of_parent[node]
            # The child's farewell did not end the parent's connections.
            assert of_parent[node] & {connection.id for connection in node.connections}
        starts = {node: len(node.commands) for node in fake.primaries}
        assert client.mget([KEY, "foo"]) == [b"x", b"y"]
        for node in fake.primaries:
            assert connection_ids(node, starts[node]) <= of_parent[node]


def test_many_forks_under_load_never_mix_replies(fake):
    for node in fake.primaries:
        node.on("GET", lambda command, connection: command[1])
    over = threading.Event()
    with Cluster.from_url(fake.url, max_connections=2, deadline=10.0) as client:
        client.get(KEY)

        def load(thread):
            for number in range(10**6):
                if over.is_set():
                    return number
                key = f"parent-{thread}-{number}"
                assert client.get(key) == key.encode()
            return None

        def work():
            for number in range(10):
                key = f"child-{os.getpid()}-{number}"
                assert client.get(key) == key.encode()

        with ThreadPoolExecutor(3) as executor:
            calls = [executor.submit(load, thread) for thread in range(3)]
            try:
                for _ in range(10):
                    in_child(work)
            finally:
                over.set()
            assert all(call.result() > 0 for call in calls)


def test_a_fork_joins_the_helper_thread_and_the_parent_goes_on(fake, owner):
    with Cluster.from_url(fake.url, socket_timeout=0.05, deadline=5.0) as client:
        client.set(KEY, "x")
        owner.pause()
        with ThreadPoolExecutor(1) as executor:
            call = executor.submit(client.get, KEY)
            while not client.stats()["nodes"][owner.address]["suspected"]:
                threading.Event().wait(0.005)

            def work():
                names = [thread.name for thread in threading.enumerate()]
                assert "clustercache" not in names, names
                assert client.set("foo", "from the child")

            in_child(work)
            owner.resume()
            assert call.result() == b"x"
        assert client.get("foo") == b"from the child"


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_multiprocessing_children_open_their_own_connections(fake, method):
    context = multiprocessing.get_context(method)
    if method == "spawn":
        result = context.Pool(1)
        with result as pool:
            assert pool.apply(_set_and_get, (fake.url,)) == b"v"
            pool.close()
            pool.join()
        return
    with Cluster.from_url(fake.url) as client:
        client.set(KEY, "v")
        process = context.Process(target=client.set, args=("foo", "child"))
        process.start()
        process.join(20)
        assert process.exitcode == 0
        assert client.get("foo") == b"child"


def _set_and_get(url):
    with Cluster.from_url(url) as client:
        client.set(KEY, "v")
        return client.get(KEY)


def test_a_closed_client_stays_closed_in_a_child(fake):
    client = Cluster.from_url(fake.url)
    client.get(KEY)
    client.close()

    def work():
        with pytest.raises(Exception, match="closed"):
            client.get(KEY)

    in_child(work)


def test_a_fork_wakes_no_helper_of_a_client_that_is_gone(fake, owner):
    def helpers():
        return [one for one in threading.enumerate() if one.name == "clustercache"]

    client = Cluster.from_url(fake.url, socket_timeout=0.05, deadline=0.3)
    client.set(KEY, "1")
    owner.pause()
    with pytest.raises(DeadlineExceededError):
        client.get(KEY)
    del client
    gc.collect()
    owner.wait_for(lambda: not helpers())
    in_child(lambda: None)
    assert not helpers()
    owner.resume()


def test_a_child_has_connections_of_its_own_for_calls_that_block(fake, owner):
    owner.on("BLPOP", null())
    with Cluster.from_url(fake.url) as client:
        client.blpop(KEY, 1)
        in_child(lambda: client.blpop(KEY, 1))
        client.blpop(KEY, 1)
    first, second, third = (command.connection_id for command in owner.received("BLPOP"))
    assert first == third != second


# ----------------------------------------------------------------------------------- nothing leaks


def test_nothing_is_left_behind(fake, owner):
    """A ResourceWarning is an error here, as in every test; sockets, threads and files count."""

    def descriptors():
        gc.collect()
        return len(list(Path("/proc/self/fd").iterdir()))

    def life():
        with Cluster.from_url(fake.url, socket_timeout=0.05) as client:
            client.set(KEY, 1)
            client.mget([KEY, "foo"])
            owner.on("INCR", close_before_reply())
            with pytest.raises(OutcomeUnknownError):
                client.execute_command("INCR", KEY)
            owner.on("GET", delay(0.1, b"late"))
            assert client.get(KEY) == b"late"
            owner.off("GET")
            fake.move(KEY, fake.owner("foo"))
            assert client.get(KEY) == b"1"
            fake.move(KEY, owner)
            in_child(lambda: client.get(KEY))

    def closed():
        return not any(node.connections for node in fake.nodes)

    life()
    fake.nodes[0].wait_for(closed)
    before = descriptors()
    for _ in range(3):
        life()
    fake.nodes[0].wait_for(closed)
    threading.Event().wait(0.05)  # until the fake's thread has closed its ends, too
    assert descriptors() <= before
    assert not [one for one in threading.enumerate() if one.name == "clustercache"]

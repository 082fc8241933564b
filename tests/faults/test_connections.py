"""No caller ever reads another caller's reply, whatever cuts a call short: rules 1 to 4."""

from __future__ import annotations

import multiprocessing
import os
import random
import select
import signal
import subprocess
import sys
import threading
import traceback
import warnings
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, Self

import pytest

from clustercache import Cluster
from clustercache._core.slots import key_slot
from clustercache._sync.pool import Pool
from clustercache.admin.link import parse_info
from clustercache.exceptions import DeadlineExceededError
from tests.faults.calls import tags_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from clustercache.localcluster import LocalCluster, Node

pytestmark = pytest.mark.faults
ROUNDS = 1000
FORKS = 100
ECHO = "return ARGV[1]"
"""Goes to a key's slot and answers with what it was sent, whether the key exists or not."""


class Crew:
    """Threads that do something until they are told to stop; their first error is raised."""

    def __init__(self, *works: Callable[[], Any], failed: Callable[[], Any] = lambda: None) -> None:
        self.failed = failed
        self.errors: list[BaseException] = []
        self.rounds = [0] * len(works)
        self.stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(number, work))
            for number, work in enumerate(works)
        ]

    def _run(self, number: int, work: Callable[[], Any]) -> None:
        try:
            while not self.stop.is_set():
                work()
                self.rounds[number] += 1
        except threading.BrokenBarrierError:
            return  # the main thread ends the rounds
        except BaseException as error:  # noqa: BLE001 - raised by `__exit__`
            self.errors.append(error)
            self.stop.set()
            self.failed()

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        for thread in self._threads:
            thread.join(20)
        assert not any(thread.is_alive() for thread in self._threads), "a thread hangs"
        if self.errors:
            raise self.errors[0]


# Redirects ------------------------------------------------------------------------------------


def reassign(slot: int, source: Node, target: Node) -> None:
    """Move a slot without keys; the target takes a new epoch, so that all will believe it."""
    target.call("CLUSTER", "SETSLOT", slot, "IMPORTING", source.node_id)
    target.call("CLUSTER", "SETSLOT", slot, "NODE", target.node_id)
    source.call("CLUSTER", "SETSLOT", slot, "NODE", target.node_id)
    # Until the source has heard of it, it would take the same epoch when the slot goes back.
    epoch = _epoch(target, "cluster_my_epoch")
    limit = monotonic() + 10
    while _epoch(source, "cluster_current_epoch") < epoch:
        assert monotonic() < limit, f"{source} never hears of epoch {epoch}"


def _epoch(node: Node, which: str) -> int:
    return int(parse_info(node.call("CLUSTER", "INFO"))[which])


def redirects(client: Cluster) -> int:
    return sum(node["redirects"] for node in client.stats()["nodes"].values())


@pytest.mark.parametrize("code", ["MOVED", "ASK"])
def test_two_threads_and_a_redirect_on_one_connection_get_their_own_replies(
    code: str, cluster: LocalCluster, report: Any
) -> None:
    for node in cluster.primaries:
        node.call("FLUSHALL")  # only a slot without keys can be moved by saying so
    source, target, _ = cluster.primaries
    wanderer, first = tags_of(cluster, source, 2)
    (second,) = tags_of(cluster, target, 1)
    slot = key_slot(wanderer)
    if code == "ASK":
        target.call("CLUSTER", "SETSLOT", slot, "IMPORTING", source.node_id)
        source.call("CLUSTER", "SETSLOT", slot, "MIGRATING", target.node_id)
    begin, end = threading.Barrier(3), threading.Barrier(3)
    with Cluster.from_url(cluster.url, max_connections=1) as client:

        def work(name: str, tags: list[str]) -> Callable[[], None]:
            def one_round() -> None:
                begin.wait(20)
                for tag in tags:
                    token = f"{name}-{random.random()}".encode()
                    assert client.eval(ECHO, 1, f"absent:{{{tag}}}", token) == token
                end.wait(20)

            return one_round

        works = (work("a", [wanderer, second, first]), work("b", [second, wanderer, first]))
        redirected = rounds = 0
        with Crew(*works, failed=end.abort) as crew:
            try:
                while redirected < ROUNDS and not (crew.errors or end.broken):
                    rounds += 1
                    assert rounds <= 2 * ROUNDS, f"only {redirected} rounds saw a redirect"
                    if code == "MOVED":
                        reassign(slot, source, target)
                        source, target = target, source
                    before = redirects(client)
                    with suppress(threading.BrokenBarrierError):
                        begin.wait(20)
                        end.wait(20)
                    redirected += redirects(client) > before
            finally:
                begin.abort()
                end.abort()
        report("rounds", rounds)
        report("redirects", redirects(client))
        sizes = [node["pool"] for node in client.stats()["nodes"].values()]
        assert max(sizes) == 1
    if code == "ASK":
        for node in (target, source):
            node.call("CLUSTER", "SETSLOT", slot, "STABLE")
    cluster.wait_ready()


# Timeouts -------------------------------------------------------------------------------------

LARGE = 2_000_000


def test_a_timeout_in_the_middle_of_a_reply_never_leaves_its_rest_to_the_next(
    cluster: LocalCluster, report: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut = threading.local()
    discard = Pool.discard

    def counting(pool: Pool, connection: Any) -> None:
        cut.count = getattr(cut, "count", 0) + connection._reader.has_data()
        discard(pool, connection)

    monkeypatch.setattr(Pool, "discard", counting)
    here, there, _ = cluster.primaries
    tags = list(zip(tags_of(cluster, here, 4), tags_of(cluster, there, 4), strict=True))
    cuts = [0] * len(tags)
    with Cluster.from_url(cluster.url) as client:

        def work(number: int) -> Callable[[], None]:
            pattern = f"{number}|".encode() * (LARGE // 2)
            large = [f"large:{{{tag}}}" for tag in tags[number]]
            small = [f"small:{{{tag}}}" for tag in tags[number]]
            client.mset(dict.fromkeys(large, pattern))
            client.mset({name: f"{name}!" for name in small})
            start = monotonic()
            assert client.get(large[0]) == pattern
            usual = monotonic() - start
            dice = random.Random(number)

            def one_round() -> None:
                with client.deadline(usual * dice.uniform(0.1, 2.0)):
                    try:
                        if dice.random() < 0.5:
                            assert client.get(large[0]) == pattern
                        else:
                            assert client.mget(large) == [pattern, pattern]
                    except DeadlineExceededError:
                        pass
                for name in dice.sample(small, 2):
                    assert client.get(name) == f"{name}!".encode()
                cuts[number] = getattr(cut, "count", 0)

            return one_round

        works = [work(number) for number in range(len(tags))]
        limit = monotonic() + 60
        with Crew(*works) as crew:
            while sum(cuts) < ROUNDS and not crew.stop.wait(0.05):
                assert monotonic() < limit, f"only {sum(cuts)} replies were cut in a minute"
        report("replies_cut_short", sum(cuts))
        report("rounds", sum(crew.rounds))
        client.delete(*(f"large:{{{tag}}}" for pair in tags for tag in pair))


# Forks ----------------------------------------------------------------------------------------


def ids_at(node: Node, name: str) -> set[int]:
    """Return the ids of a node's connections that have this name, as it lists them."""
    lines = [
        dict(pair.partition("=")[::2] for pair in line.split())
        for line in node.call("CLIENT", "LIST").splitlines()
    ]
    return {int(line["id"]) for line in lines if line["name"] == name}


def in_child(client: Cluster, tags: list[str], nodes: list[Node], number: int) -> list[int]:
    """Use an inherited client; return the ids of the connections that it worked on."""
    for tag in tags:
        key, token = f"child:{{{tag}}}", f"{os.getpid()}-{number}".encode()
        assert client.set(key, token) is True
        assert client.get(key) == token
    assert client.mget([f"parent:{{{tag}}}" for tag in tags]) == [tag.encode() for tag in tags]
    ids = []
    for node in nodes:
        found = client.execute_command("CLIENT", "ID", target_nodes=str(node.address))
        ids.append(int(next(iter(found.values())) if isinstance(found, dict) else found))
        listed = client.execute_command("CLIENT", "LIST", target_nodes=str(node.address))
        assert str(ids[-1]) in str(listed)
    return ids


@contextmanager
def forking_with_threads() -> Iterator[None]:
    """Allow what Python 3.12 warns of: these tests have threads of their own, on purpose."""
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", r"This process \(pid=\d+\) is multi-threaded", DeprecationWarning
        )
        yield


def by_os_fork(work: Callable[[], list[int]]) -> str:
    """Return what a child says: the ids that it used, or its traceback."""
    read_end, write_end = os.pipe()
    with forking_with_threads():
        pid = os.fork()
    if pid == 0:
        try:
            said = " ".join(map(str, work()))
        except BaseException:  # noqa: BLE001 - told to the parent
            said = traceback.format_exc()
        os.write(write_end, said.encode()[:4096])
        os._exit(0)
    os.close(write_end)
    try:
        if not select.select([read_end], [], [], 20)[0]:
            os.kill(pid, signal.SIGKILL)
            return "the child hangs"
        return os.read(read_end, 4096).decode()
    finally:
        os.close(read_end)
        os.waitpid(pid, 0)


def _tell(work: Callable[[], list[int]], pipe: Any) -> None:
    try:
        pipe.send(" ".join(map(str, work())))
    except BaseException:  # noqa: BLE001 - told to the parent
        pipe.send(traceback.format_exc())


def by_multiprocessing(work: Callable[[], list[int]]) -> str:
    """Return what a child says: the ids that it used, or its traceback."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(target=_tell, args=(work, theirs))
    with forking_with_threads():
        child.start()
    theirs.close()
    try:
        return ours.recv() if ours.poll(20) else "the child hangs"
    finally:
        ours.close()
        child.join(5)
        if child.exitcode is None:
            child.kill()
            child.join()
        assert child.exitcode == 0
        child.close()


@pytest.mark.parametrize("fork", [by_os_fork, by_multiprocessing])
def test_a_fork_under_load_disturbs_neither_parent_nor_child(
    fork: Callable[[Callable[[], list[int]]], str], cluster: LocalCluster, report: Any
) -> None:
    nodes = list(cluster.primaries)
    tags = [tag for node in nodes for tag in tags_of(cluster, node, 1)]
    name = f"parent-{os.getpid()}-{fork.__name__}"
    with Cluster.from_url(cluster.url, client_name=name) as client:

        def work(number: int) -> Callable[[], None]:
            def one_round() -> None:
                for tag in tags:
                    token = f"{number}-{random.random()}".encode()
                    assert client.eval(ECHO, 1, f"absent:{{{tag}}}", token) == token
                    assert client.get(f"parent:{{{tag}}}") == tag.encode()
                found = client.mget([f"parent:{{{tag}}}" for tag in tags])
                assert found == [tag.encode() for tag in tags]

            return one_round

        client.mset({f"parent:{{{tag}}}": tag for tag in tags})
        with Crew(*(work(number) for number in range(3))) as crew:
            while min(crew.rounds) < 5 and not crew.stop.wait(0.01):
                pass
            for number in range(FORKS):
                before = [ids_at(node, name) for node in nodes]
                done = list(crew.rounds)
                said = fork(lambda number=number: in_child(client, tags, nodes, number))
                assert not crew.errors
                assert said.replace(" ", "").isdigit(), f"child {number}: {said}"
                for own, parents in zip(map(int, said.split()), before, strict=True):
                    assert own not in parents, "a child worked on its parent's connection"
                for node, parents in zip(nodes, before, strict=True):
                    assert parents <= ids_at(node, name), "a child ended its parent's connection"
                while crew.rounds == done and not crew.stop.wait(0.001):
                    pass
        report("rounds_in_parent", sum(crew.rounds))


FORK_WITH_HELPER = """
import os, signal, sys, threading
threads = []
os.register_at_fork(before=lambda: threads.append(len(os.listdir("/proc/self/task"))))
from clustercache import Cluster            # its own hook comes later, so it runs before ours
from clustercache.exceptions import DeadlineExceededError

url, cause, pid, sick, well = sys.argv[1:]
with Cluster.from_url(url, socket_timeout=0.1) as client:
    assert client.set(sick, 1) and client.set(well, 2)
    if cause == "suspicion":
        os.kill(int(pid), signal.SIGSTOP)
        try:
            with client.deadline(0.3):
                client.get(sick)
            raise SystemExit("a stopped server answered")
        except DeadlineExceededError:
            pass
    else:
        client._map.helper.refresh()
    helpers = [thread for thread in threading.enumerate() if thread.name == "clustercache"]
    assert len(helpers) == 1, threading.enumerate()
    child = os.fork()
    if child == 0:
        os._exit(0 if client.get(well) == b"2" and len(os.listdir("/proc/self/task")) == 1 else 1)
    assert threads == [1], f"forked with {threads} threads"
    assert os.waitpid(child, 0)[1] == 0, "the child failed"
    if cause == "suspicion":
        os.kill(int(pid), signal.SIGCONT)
    assert client.get(sick) == b"1" and client.get(well) == b"2"
"""


@pytest.mark.parametrize("cause", ["suspicion", "refresh"])
def test_the_helper_thread_is_not_there_when_its_process_forks(
    cause: str, cluster: LocalCluster
) -> None:
    sick, well, _ = cluster.primaries
    keys = [f"k:{{{tags_of(cluster, node, 1)[0]}}}" for node in (sick, well)]
    pid = str(sick.pid)
    root = str(Path(__file__).parents[2])
    try:
        ran = subprocess.run(
            [sys.executable, "-W", "error", "-c", FORK_WITH_HELPER, cluster.url, cause, pid, *keys],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
            env={**os.environ, "PYTHONPATH": root},
        )
    finally:
        os.kill(int(pid), signal.SIGCONT)
    assert ran.returncode == 0, ran.stderr
    assert "Warning" not in ran.stderr
    cluster.wait_ready()

"""Near caches of several processes under faults: no hit is older than the documented bound.

A writer counts up each key and notes when each value was confirmed. A hit is judged by when the
value after it was confirmed: at the most the bound before the hit began.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

import pytest
import redis

from clustercache import Cluster
from clustercache._core.slots import key_slot
from clustercache.caching.near import NearCache
from clustercache.localcluster import LocalCluster
from tests.clusters import need_server
from tests.nearby import await_true, keys_on, nearby

pytestmark = pytest.mark.faults
ROOT = Path(__file__).parents[2]
SILENCE = 1.0
"""The default of `max_silence`."""
SLACK = 0.25
"""Seconds that a busy machine may take between a look at the clock and the answer."""
KEYS = 4
"""Of each primary."""


class Writer:
    """Counts up keys, and remembers when each value was asked for and confirmed."""

    def __init__(self, url, keys):
        self.client = Cluster.from_url(url, deadline=30.0)
        self.keys = keys
        self.asked = {key: [] for key in keys}
        self.confirmed = {key: [] for key in keys}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.problems = []

    def write(self, key):
        number = len(self.asked[key])
        self.asked[key].append(monotonic())
        self.client.set(key, number)
        self.confirmed[key].append(monotonic())

    def _run(self):
        while not self._stop.is_set():
            for key in self.keys:
                try:
                    self.write(key)
                except redis.RedisError as error:
                    self.problems.append(error)
                    self.confirmed[key].append(float("inf"))
                self._stop.wait(0.002)

    def __enter__(self):
        for key in self.keys:
            self.write(key)
        return self

    def start(self):
        self._thread.start()

    def stop(self):
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def __exit__(self, *_):
        self.stop()
        self.client.close()

    def ends(self, key):
        """When each of a key's values was surely no longer the newest."""
        confirmed = list(self.confirmed[key])
        ends = [float("inf")] * (len(self.asked[key]) + 1)
        for index in range(len(confirmed) - 1, 0, -1):
            ends[index - 1] = min(ends[index], confirmed[index])
        return ends


class Reader:
    """A process of near_reader."""

    def __init__(self, url, seconds, keys):
        words = [sys.executable, "-m", "tests.faults.near_reader", url, str(seconds)]
        self.process = subprocess.Popen(
            [*words, *(key.decode() for key in keys)], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout.readline() == "ready\n"
        self._lines = []
        self._thread = threading.Thread(target=lambda: self._lines.extend(self.process.stdout))
        self._thread.start()

    def reads(self):
        assert self.process.wait(60) == 0
        self._thread.join()
        self.process.stdout.close()
        for line in self._lines:
            began, ended, key, value, near = line.split()
            yield float(began), float(ended), key.encode(), value, near == "1"

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._thread.join()
        self.process.stdout.close()


@contextmanager
def readers(url, seconds, keys, count=2):
    made = [Reader(url, seconds, keys) for _ in range(count)]
    try:
        yield made
    finally:
        for one in made:
            one.close()


def judge(writer, processes, bound, report):
    """Check that no hit was older than the bound, and that there were hits."""
    seen = [(*read[:3], int(read[3]), read[4]) for p in processes for read in p.reads()
            if read[3] != "-"]  # fmt: skip
    writer.stop()
    ends = {key: writer.ends(key) for key in writer.keys}
    # A primary that gives an old value when a newer one was confirmed has lost that in a failover.
    revived = {}
    for began, ended, key, value, near in seen:
        if not near and began > ends[key][value]:
            revived.setdefault((key, value), []).append(ended)
    ages, hits = [0.0], 0
    for began, _, key, value, near in seen:
        hits += near
        if near and began > ends[key][value]:
            again = [moment for moment in revived.get((key, value), ()) if moment <= began]
            ages.append(began - max([ends[key][value], *again]))
    report("reads", len(seen))
    report("hits", hits)
    report("values_revived_by_failovers", len(revived))
    report("oldest_hit_seconds", max(ages))
    report("hits_older_than_10_ms", sum(age > 0.01 for age in ages))
    assert hits > 100, "the near cache served nothing: the drill shows nothing"
    assert max(ages) <= bound, f"a hit was {max(ages):.3f} s old (bound {bound:.3f} s)"


def all_keys(lc):
    return [key for node in lc.primaries for key in keys_on(lc, node, KEYS, "fault")]


def calm(seconds):
    time.sleep(seconds)  # the fault's own time


def kill(lc):
    lc.kill(lc.primaries[0])
    calm(4.0)


def stop(lc):
    victim = lc.primaries[0]
    lc.stop(victim)
    calm(4.0)
    lc.resume(victim)


def cut(lc):
    for turn in range(40):
        node = lc.primaries[turn % 3]
        node.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        calm(0.05)


def flush(lc):
    for turn in range(40):
        lc.primaries[turn % 3].call("FLUSHALL")
        calm(0.05)


def move(lc):
    a, b, c = lc.primaries
    slots = [key_slot(key) for key in keys_on(lc, a, KEYS, "fault")]
    for turn in range(10):
        here, there = (a, b) if turn % 2 == 0 else (b, a)
        for slot in slots:
            there.call("CLUSTER", "SETSLOT", slot, "IMPORTING", here.node_id)
            here.call("CLUSTER", "SETSLOT", slot, "MIGRATING", there.node_id)
            while keys := here.call("CLUSTER", "GETKEYSINSLOT", slot, 10):
                here.call("MIGRATE", there.host, there.port, "", 0, 5000, "KEYS", *keys)
            for node in (there, here, c):
                node.call("CLUSTER", "SETSLOT", slot, "NODE", there.node_id)
        calm(0.05)


def overflow(lc):
    for turn in range(20):
        for node in lc.primaries:
            node.call("CONFIG", "SET", "tracking-table-max-keys", 1 + turn % 3)
        calm(0.05)


@pytest.mark.parametrize("server", ["valkey", "redis-7.0", "redis-6.2"])
@pytest.mark.parametrize("fault", [kill, stop, cut, flush, move, overflow])
def test_no_hit_is_older_than_the_bound(server, fault, report):
    with LocalCluster(server=need_server(server).path) as lc:
        keys = all_keys(lc)
        with Writer(lc.url, keys) as writer, readers(lc.url, 7.0, keys) as processes:
            writer.start()
            calm(0.5)
            fault(lc)
            judge(writer, processes, SILENCE + SLACK, report)


def test_a_process_that_was_stopped_serves_nothing_old(report):
    with LocalCluster() as lc:
        keys = all_keys(lc)
        with Writer(lc.url, keys) as writer, readers(lc.url, 9.0, keys, 1) as (process,):
            writer.start()
            calm(1.0)
            os.kill(process.process.pid, signal.SIGSTOP)
            calm(5.0)
            os.kill(process.process.pid, signal.SIGCONT)
            judge(writer, [process], SILENCE + SLACK, report)


def test_a_primary_that_is_cut_off_serves_nothing_near_for_long(report):
    with LocalCluster(node_timeout=1.0) as lc, nearby(lc.url) as here:
        victim, *others = lc.primaries
        (key,) = keys_on(lc, victim)
        here.client.set(key, "v")
        here.warm(key)
        for node in (*others, *lc.replicas):
            lc.stop(node)
        # The node answers all the while, so that it is believed until it knows that it is alone.
        took = here.await_gone(key, 10.0)
        report("cut_off_seconds", took)
        for node in (*others, *lc.replicas):
            lc.resume(node)
        assert 0.5 < took < 1.0 * 2 + SILENCE + 0.5


def test_a_dead_link_is_not_believed_longer_than_the_largest_silence(report):
    with LocalCluster() as lc, nearby(lc.url, near=NearCache(max_silence=0.6)) as here:
        victim = lc.primaries[0]
        (key,) = keys_on(lc, victim)
        (well,) = keys_on(lc, lc.primaries[1])
        for one in (key, well):
            here.client.set(one, "v")
        here.warm(key, well)
        began = monotonic()
        lc.stop(victim)
        took = here.await_gone(key, 5.0)
        report("dead_link_seconds", took)
        assert monotonic() - began < 0.6 + SLACK
        assert here.has(well), "a healthy shard's entries went, too"
        lc.resume(victim)
        await_true(lambda: here.fetch(key) == b"v" and here.has(key), 20.0)

"""Processes with near caches, a writer, and what is judged of them: see `near_reader`."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from time import monotonic

import redis

from clustercache import Cache, Cluster
from tests.faults.near_shells import NAMESPACE, WRITE, log_of, name_of, number_in
from tests.histories import History, Seen, judge
from tests.nearby import keys_on

ROOT = Path(__file__).parents[2]
KEYS = 4
"""Of each primary, besides what each reader writes itself."""
KINDS = ("threads", "threads", "threads", "asyncio")
CACHES = ("cache", "cache", "cache", "cache in asyncio")
LIMIT = 40.0
"""Seconds that readers may take once they have been told to stop."""


def calm(seconds):
    time.sleep(seconds)  # a fault's own time


class Process:
    """A near_reader, and what it said."""

    def __init__(self, number, own, *words):
        self.number, self.own = number, own
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.near_reader", *words],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.lines, self._marks = [], {"ready": threading.Event(), "done": threading.Event()}
        self._thread = threading.Thread(target=self._hear)
        self._thread.start()

    def _hear(self):
        for line in self.process.stdout:
            word, *words = line.split()
            if word in self._marks:
                self._marks[word].set()
            else:
                self.lines.append((word, words))
        for mark in self._marks.values():
            mark.set()

    def await_(self, mark):
        assert self._marks[mark].wait(LIMIT), f"a reader is not {mark}"
        assert self.process.poll() is None, "a reader has died"

    def say(self, word):
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()

    def await_end(self):
        assert self.process.wait(LIMIT) == 0
        self._thread.join()

    def said(self, word):
        return [words for what, words in self.lines if what == word]

    def reads(self):
        for began, ended, key, value, near in self.said("read"):
            number = None if value == "None" else int(value)
            yield Seen(float(began), float(ended), key.encode(), number, near == "1", self.number)

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._thread.join()
        self.process.stdin.close()
        self.process.stdout.close()


class Drill:
    """Four processes read what others write, a fault happens, and then all is judged.

    Args:
        lc: The servers.
        count: How often each process reads at the least.
        kinds: What kind of program each is.
        rule: What is taken out of their near caches' rules, or "-".
    """

    def __init__(self, lc, *, count=25_000, kinds=KINDS, rule="-"):
        self.lc, self.history, self._own_writes = lc, History(), History()
        self.shared = [key for node in lc.primaries for key in keys_on(lc, node, KEYS, NAMESPACE)]
        self.own = [b"%b:own:%d" % (NAMESPACE.encode(), number) for number in range(len(kinds))]
        self.keys = [*self.shared, *self.own]
        self._begin = count, kinds, rule
        self._client = Cluster.from_url(lc.url, deadline=30.0)
        self._script = self._client.register_script(WRITE, repeatable=True)
        self._cache = Cache(self._client, namespace=NAMESPACE, deadline=30.0)
        self._by_cache = kinds == CACHES
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work)
        self._last = {}
        self.writes = 0

    def __enter__(self):
        with ExitStack() as stack:
            stack.callback(self._client.close)
            stack.callback(self._cache.close)
            for key in self.keys:
                self._write(key)
            count, kinds, rule = self._begin
            names = [key.decode() for key in self.keys]
            self.processes = [
                Process(n, own, self.lc.url, str(n), kind, str(count), rule, own.decode(), *names)
                for n, (kind, own) in enumerate(zip(kinds, self.own, strict=True))
            ]
            for process in self.processes:
                stack.callback(process.close)
            for process in self.processes:
                process.await_("ready")
            self._thread.start()
            stack.callback(self._stop)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_):
        self._stack.close()

    # The writer -------------------------------------------------------------------------------

    def _work(self):
        while not self._stopping.is_set():
            for key in self.shared:
                self._write(key)
                self._stopping.wait(0.002)

    def _write(self, key):
        number = self._last[key] = self._last.get(key, -1) + 1
        asked = monotonic()
        try:
            sure = self._put(key, number)
        except redis.RedisError:
            sure = False
        self.history.add(key, number, asked, monotonic(), confirmed=sure)
        self.writes += 1

    def _put(self, key, number):
        if self._by_cache:
            return self._cache.set(name_of(key), number)
        self._script([key, log_of(key)], [number])
        return True

    def _get(self, key):
        if self._by_cache:
            return self._cache.get(name_of(key))
        return number_in(self._client.get(key))

    def _stop(self):
        self._stopping.set()
        self._thread.join()

    # The judge --------------------------------------------------------------------------------

    def end(self):
        """Stop all, and take down what the readers saw and wrote."""
        for process in self.processes:
            process.say("stop")
        for process in self.processes:
            process.await_("done")
        self._stop()
        self.reads = [seen for process in self.processes for seen in process.reads()]
        for process in self.processes:
            self._own_writes.add(process.own, 0, -1.0, 0.0)
            for asked, returned, value, sure in process.said("wrote"):
                for history in (self.history, self._own_writes):
                    moments = float(asked), float(returned)
                    history.add(process.own, int(value), *moments, confirmed=sure == "1")
                self.writes += 1

    def strike_out_what_was_lost(self):
        """Strike out what is not in the current primaries' history; return how much it is."""
        lost = 0
        for key in self.keys:
            log = {int(value) for value in self._client.zrange(log_of(key), 0, -1)}
            gone = {
                one.value for one in self.history.written[key]
                if one.confirmed and one.value not in log
            }  # fmt: skip
            for history in (self.history, self._own_writes):
                history.lose(key, gone)
            lost += len(gone)
        return lost

    def judge(self, bound, report):
        """Check that no hit was older than the bound, in seconds."""
        report("writes", self.writes)
        judge(self.history, self.reads, bound, report)
        # A value that only this process writes: what it has written is there at once.
        own = {(process.own, process.number) for process in self.processes}
        mine = [one for one in self.reads if (one.key, one.reader) in own and one.value is not None]
        judge(self._own_writes, mine, 0.0)

    def settle(self, bound):
        """Check that after quiescence all near caches agree with the primaries."""
        calm(bound)
        for process in self.processes:
            process.say("settle")
        for process in self.processes:
            process.await_end()
        truth = {key.decode(): str(self._get(key)) for key in self.keys}
        for process in self.processes:
            held, near = dict(process.said("held")), dict(process.said("near"))
            wrong = {key: value for key, value in held.items() if value != truth[key]}
            assert not wrong, f"a near cache does not agree with the primaries: {wrong}"
            assert near == truth, "a near cache did not find the way back"

"""Processes that call one cached function at once, and what came of it."""

from __future__ import annotations

import subprocess
import sys
import threading
from contextlib import contextmanager
from time import monotonic
from uuid import uuid4

import redis

from tests.nearby import await_true


class Process:
    """One of them, and the lines that it wrote."""

    def __init__(self, *words):
        command = [sys.executable, "-m", "tests.faults.cache_worker", *map(str, words)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.lines, self.times = [], []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.times.append(monotonic())
            self.lines.append(line.split())

    def has_said(self, word):
        return [word] in self.lines

    def go(self):
        self.process.stdin.write("go\n")
        self.process.stdin.flush()

    def kill(self):
        self.process.kill()
        self.end()

    def end(self, seconds=60):
        try:
            return self.process.wait(seconds)
        finally:
            self.process.kill()
            self.process.wait()
            self._reader.join(10)
            self.process.stdin.close()
            self.process.stdout.close()

    @property
    def results(self):
        return [line[1] for line in self.lines if line[0] == "result"]

    @property
    def slowest(self):
        return max(float(line[2]) for line in self.lines if line[0] == "result")


class Crowd:
    """All of them."""

    def __init__(self, url, count, *, kind, near, callers, lease=5.0, work=0.3):
        self.namespace, self._url = f"t{uuid4().hex}", url
        words = (url, self.namespace, kind, near, callers, lease, work)
        self.processes = [Process(*words) for _ in range(count)]

    def await_all(self, word, seconds=60.0):
        await_true(lambda: all(one.has_said(word) for one in self.processes), seconds, word)

    def await_one(self, word, seconds=30.0):
        await_true(lambda: any(one.has_said(word) for one in self.processes), seconds, word)
        return next(one for one in self.processes if one.has_said(word))

    def go(self):
        for one in self.processes:
            one.go()

    @property
    def computes(self):
        """How often the function was called, in all of them."""
        with redis.RedisCluster.from_url(self._url) as client:
            return int(client.get(f"{self.namespace}-computes") or 0)


@contextmanager
def crowd(url, count, **options):
    """Start processes; none is left behind."""
    made = Crowd(url, count, **options)
    try:
        made.await_all("ready")
        yield made
    finally:
        for one in made.processes:
            one.kill()

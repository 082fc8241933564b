"""What the drills leave out of account: the machine that stood still, and nothing else."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from time import monotonic

import pytest

from tests.faults.standstill import Standstill, Watch, merged

pytestmark = pytest.mark.faults
PAUSE = threading.Event()
"""Never set: it is waited for where time itself is what is tested."""


@pytest.fixture
def watch():
    """A watch that is at work on every processor."""
    made = Watch().start()
    tasks = Path(f"/proc/{made._process.pid}/task")
    limit = monotonic() + 20
    while len(list(tasks.iterdir())) <= len(os.sched_getaffinity(0)):
        assert monotonic() < limit, "it never began"
        PAUSE.wait(0.01)
    PAUSE.wait(0.1)
    yield made
    made.stop()


@pytest.mark.parametrize("_", range(10))  # the watchers of several processors wake at once
def test_a_standstill_is_noticed_and_left_out_of_account(watch, _):
    begin = monotonic()
    os.kill(watch._process.pid, signal.SIGSTOP)
    PAUSE.wait(0.2)
    os.kill(watch._process.pid, signal.SIGCONT)
    end = monotonic()
    PAUSE.wait(0.1)
    watch.stop()
    assert 0.15 < watch.within(begin, end) <= end - begin


def test_what_stops_only_this_process_is_no_standstill(watch):
    begin = monotonic()
    while monotonic() < begin + 0.3:
        7**200_000  # noqa: B018 - no thread of this process runs meanwhile
    end = monotonic()
    watch.stop()
    assert watch.within(begin, end) < 0.15


def test_standstills_of_several_processors_are_counted_once():
    spans = [Standstill(1.0, 2.0), Standstill(1.5, 1.7), Standstill(1.9, 3.0), Standstill(5.0, 6.0)]
    watch = Watch()
    watch.found = merged(spans)
    assert watch.found == [Standstill(1.0, 3.0), Standstill(5.0, 6.0)]
    assert watch.within(0.0, 10.0) == pytest.approx(3.0)
    assert watch.within(2.5, 5.5) == pytest.approx(1.0)
    assert watch.within(3.0, 5.0) == 0.0

"""Work in a few threads that hold up neither a fork nor the interpreter's end."""

from __future__ import annotations

import gc
import logging
import os
import subprocess
import sys
import threading
import warnings
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from time import monotonic

import pytest

from clustercache.caching.background import Background
from tests.forks import in_child
from tests.nearby import await_true

PATIENCE = 10.0
ROOT = Path(__file__).parents[2]


@pytest.fixture
def made():
    """Return a maker of backgrounds that are closed at the end, and leave no thread."""
    before, opened = set(threading.enumerate()), []

    def make(*args, **kwargs):
        opened.append(Background(*args, **kwargs))
        return opened[-1]

    yield make
    for one in opened:
        one.close()
    await_true(lambda: set(threading.enumerate()) <= before, what="a thread was left")


class Gate:
    """Work that waits until it is let through."""

    def __init__(self):
        self.open, self.entered, self.most = threading.Event(), 0, 0
        self._inside, self._lock = 0, threading.Lock()

    def __call__(self):
        with self._lock:
            self.entered += 1
            self._inside += 1
            self.most = max(self.most, self._inside)
        assert self.open.wait(PATIENCE)
        with self._lock:
            self._inside -= 1


def test_no_thread_starts_before_there_is_work(made):
    before = threading.active_count()
    made()
    assert threading.active_count() == before


def test_work_runs_in_a_thread_with_a_copy_of_its_givers_context(made):
    variable, seen = ContextVar("variable", default="default"), []

    def work():
        seen.append((variable.get(), threading.current_thread().daemon))
        variable.set("of the work")

    variable.set("of the giver")
    background = made()
    assert background.submit("k", work)
    await_true(lambda: seen)
    assert seen == [("of the giver", True)]
    assert variable.get() == "of the giver"


def test_a_key_is_under_way_once_at_a_time(made):
    background, gate = made(), Gate()
    assert background.submit("k", gate)
    assert not background.submit("k", gate)
    assert background.submit("other", gate)
    gate.open.set()
    await_true(lambda: background.submit("k", gate))


def test_it_is_bounded_and_refuses_what_is_too_much(made):
    background, gate = made(workers=2, queue=3), Gate()
    assert [background.submit(number, gate) for number in range(6)] == [True] * 5 + [False]
    assert background.start(gate) is None
    await_true(lambda: gate.entered == 2)
    gate.open.set()
    await_true(lambda: gate.entered == 5)
    assert gate.most == 2
    await_true(lambda: background.submit(5, gate))


def test_idle_threads_are_used_again(made):
    background, threads = made(workers=4), []
    for number in range(10):
        future = background.start(threading.get_ident)
        threads.append(future.result(PATIENCE))
        await_true(lambda: background._idle == 1)
        assert background.submit(number, int)
        await_true(lambda: background._idle == 1 and not background._keys)
    assert len(set(threads)) == 1


def test_idle_threads_end(made, monkeypatch):
    monkeypatch.setattr("clustercache.caching.background._IDLE", 0.01)
    background = made()
    assert background.start(int).result(PATIENCE) == 0
    await_true(lambda: not background._threads)
    assert background.start(int).result(PATIENCE) == 0


@pytest.mark.parametrize("error", [LookupError, SystemExit])
def test_an_error_is_logged_by_its_kind_and_swallowed(made, caplog, error):
    def work():
        raise error("secret")

    background = made(workers=1)
    assert background.submit("key", work)
    assert background.start(int).result(PATIENCE) == 0
    (record,) = caplog.records
    assert record.name == "clustercache.cache"
    assert record.getMessage() == f"background_failed error={error.__name__}"


def test_who_waits_gets_the_result_or_the_error(made):
    def fails():
        raise LookupError("no such thing")

    background, gate = made(), Gate()
    assert background.start(lambda: 5).result(PATIENCE) == 5
    with pytest.raises(LookupError, match="no such thing"):
        background.start(fails).result(PATIENCE)
    slow = background.start(gate)
    with pytest.raises(TimeoutError):
        slow.result(0.01)
    gate.open.set()
    assert slow.result(PATIENCE) is None


def test_what_its_waiter_cancelled_in_time_does_not_run(made):
    background, gate, ran = made(workers=1), Gate(), []
    background.submit("k", gate)
    future = background.start(lambda: ran.append(True))
    assert future.cancel()
    gate.open.set()
    assert background.start(int).result(PATIENCE) == 0
    assert not ran


def test_work_runs_inside_of_what_is_around_it(made):
    events = []

    @contextmanager
    def around():
        events.append("enter")
        try:
            yield
        finally:
            events.append("exit")

    background = made(workers=1, around=around)
    background.submit("k", lambda: events.append("work"))
    assert background.start(lambda: events.append("awaited")).result(PATIENCE) is None
    assert events == ["enter", "work", "exit", "enter", "awaited", "exit"]


def test_what_is_around_may_fail(made, caplog):
    def around():
        raise LookupError

    background = made(around=around)
    with pytest.raises(LookupError):
        background.start(int).result(PATIENCE)
    assert background.submit("k", int)
    await_true(lambda: [r.getMessage() for r in caplog.records] == [
        "background_failed error=LookupError"])  # fmt: skip


def test_a_thread_that_cannot_be_had_is_a_refusal(made, monkeypatch, caplog):
    def start(_):
        raise RuntimeError("can't start new thread")

    background = made()
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", start)
        assert not background.submit("k", int)
        assert background.start(int) is None
    assert {record.levelno for record in caplog.records} == {logging.WARNING}
    assert background.submit("k", int)


def test_closing_waits_for_what_is_under_way_and_forgets_what_waits(made):
    background, gate, ran = made(workers=1), Gate(), []
    background.submit("k", gate)
    await_true(lambda: gate.entered)
    waiting = background.start(lambda: ran.append(True))
    closing = threading.Thread(target=background.close)
    closing.start()
    await_true(lambda: background._closed)
    gate.open.set()
    closing.join(PATIENCE)
    assert waiting.cancelled()
    assert (background._threads, ran) == (set(), [])
    assert not background.submit("other", int)
    assert background.start(int) is None
    background.close()


def test_closing_does_not_wait_for_ever(made, monkeypatch):
    monkeypatch.setattr("clustercache.caching.background._CLOSING", 0.02)
    background, gate = made(), Gate()
    background.submit("k", gate)
    await_true(lambda: gate.entered)
    background.close()
    gate.open.set()


def test_work_may_close_it(made):
    background = made()
    assert background.start(background.close).result(PATIENCE) is None
    assert not background.submit("k", int)


def test_one_that_nobody_has_any_more_goes_with_its_threads(made, monkeypatch):
    monkeypatch.setattr("clustercache.caching.background._IDLE", 0.01)
    before = set(threading.enumerate())
    assert Background().start(int).result(PATIENCE) == 0
    await_true(lambda: set(threading.enumerate()) <= before)
    gc.collect()


def test_a_fork_meets_no_idle_thread_and_both_sides_go_on(made):
    background = made(workers=3)
    gate = Gate()
    for number in range(3):
        background.submit(number, gate)
    await_true(lambda: gate.entered == 3)
    gate.open.set()
    await_true(lambda: not background._busy)
    idle = list(background._threads)
    assert len(idle) == 3

    def child():
        assert not background._threads
        assert background.start(os.getpid).result(PATIENCE) == os.getpid()
        background.close()

    with warnings.catch_warnings():
        warnings.simplefilter("error")  # from Python 3.12 on it warns while another thread lives
        in_child(child)
    assert not [thread for thread in idle if thread.is_alive()]
    assert background.start(os.getpid).result(PATIENCE) == os.getpid()


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_fork_waits_for_no_work_and_what_waits_is_done_once(made):
    background, gate, ran = made(workers=1), Gate(), []
    background.submit("k", gate)
    await_true(lambda: gate.entered)
    assert background.submit("waits", lambda: ran.append(os.getpid()))

    def child():
        assert background.submit("k", int)
        assert background.submit("waits", int)
        assert background.start(int).result(PATIENCE) == 0
        assert not ran

    began = monotonic()
    in_child(child)
    assert monotonic() - began < PATIENCE
    gate.open.set()
    await_true(lambda: ran == [os.getpid()])


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_work_that_forks_ends_in_both_processes(made):
    background = made()

    def work():
        in_child(lambda: background.start(int).result(PATIENCE))
        return "parent"

    assert background.start(work).result(2 * PATIENCE) == "parent"


def test_a_closed_one_stays_closed_in_a_child(made):
    background = made()
    background.close()

    def child():
        assert not background.submit("k", int)

    in_child(child)


HANGS = """
import threading
from clustercache.caching.background import Background
from clustercache.caching.renewals import RENEWALS

entered = threading.Event()

def hangs():
    entered.set()
    threading.Event().wait()

background = Background()
assert background.submit("k", hangs)
assert background.start(hangs) is not None
RENEWALS.keeping(0.03, hangs).__enter__()
assert entered.wait(10)
print("done")
"""


def test_work_that_hangs_does_not_hold_up_the_interpreters_end():
    ended = subprocess.run(
        [sys.executable, "-c", HANGS],
        capture_output=True, text=True, timeout=20, cwd=ROOT, check=False,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "done\n", "")

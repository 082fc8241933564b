"""Leases that are renewed while their holders work."""

from __future__ import annotations

import threading
import warnings
from time import monotonic

import pytest
from redis.exceptions import ConnectionError as NoConnectionError

from clustercache.caching import renewals as module
from clustercache.caching.renewals import RENEWALS, Renewals
from tests.forks import in_child
from tests.nearby import await_true

LEASE = 0.06
PATIENCE = 10.0


@pytest.fixture
def renewals():
    """Return renewals that leave no thread behind."""
    before, one = set(threading.enumerate()), Renewals()
    yield one
    assert not one.kept
    one.before_fork()
    one._workers.close()
    await_true(lambda: set(threading.enumerate()) <= before, what="a thread was left")


class Renew:
    """Counts, and answers in turn; the last answer stays."""

    def __init__(self, *answers):
        self.answers, self.times = list(answers) or [True], []

    def __call__(self):
        self.times.append(monotonic())
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    @property
    def count(self):
        return len(self.times)


def test_a_lease_is_renewed_every_third_until_its_block_ends(renewals):
    renew, began = Renew(), monotonic()
    keeping = renewals.keeping(LEASE, renew)
    with keeping:
        await_true(lambda: renew.count >= 4)
    assert renew.times[3] - began > LEASE
    renewals._workers.close()
    count = renew.count
    keeping.once()  # as if it had been due when its block ended
    assert (renewals.kept, renew.count) == (set(), count)


def test_short_work_renews_nothing(renewals):
    renew = Renew()
    for _ in range(1000):
        with renewals.keeping(PATIENCE, renew):
            pass
    assert (renew.count, renewals.kept) == (0, set())
    assert renewals._thread.is_alive()


def test_no_thread_starts_before_there_is_a_lease(renewals):
    renewals.keeping(LEASE, never)
    assert renewals._thread is None


def never():
    raise AssertionError("it was not to be called")


def test_a_shorter_lease_wakes_the_thread_that_waits_for_a_longer_one(renewals):
    long, short = Renew(), Renew()
    with renewals.keeping(60.0, long), renewals.keeping(LEASE, short):
        await_true(lambda: short.count >= 2)
    assert long.count == 0


def test_a_lost_lease_is_renewed_no_more(renewals):
    lost, held = Renew(False), Renew()
    with renewals.keeping(LEASE, lost), renewals.keeping(LEASE, held):
        await_true(lambda: held.count >= 4)
        assert lost.count == 1


@pytest.mark.parametrize("error", [NoConnectionError("away"), LookupError("a bug")])
def test_after_an_error_it_is_tried_again(renewals, error):
    renew = Renew(error, True)
    with renewals.keeping(LEASE, renew):
        await_true(lambda: renew.count >= 3)


def test_a_block_that_fails_ends_its_renewals(renewals):
    def fails():
        with renewals.keeping(LEASE, Renew()):
            raise LookupError

    with pytest.raises(LookupError):
        fails()
    assert not renewals.kept


def test_a_slow_renewal_delays_no_other_and_is_under_way_once(renewals):
    release, entered = threading.Event(), []

    def slow():
        entered.append(True)
        return release.wait(PATIENCE)

    renew = Renew()
    with renewals.keeping(LEASE, slow), renewals.keeping(LEASE, renew):
        await_true(lambda: entered)
        count = renew.count
        await_true(lambda: renew.count >= count + 5)
        assert len(entered) == 1
        release.set()
        await_true(lambda: len(entered) > 1)


def test_leaving_waits_for_no_renewal(renewals):
    release, entered = threading.Event(), threading.Event()

    def slow():
        entered.set()
        return release.wait(PATIENCE)

    with renewals.keeping(LEASE, slow):
        assert entered.wait(PATIENCE)
        left = monotonic()
    assert monotonic() - left < PATIENCE / 2
    release.set()


def test_the_thread_ends_when_it_is_idle_and_comes_back(renewals, monkeypatch):
    monkeypatch.setattr(module, "_IDLE", 0.01)
    for _ in range(2):
        renew = Renew()
        with renewals.keeping(LEASE, renew):
            await_true(lambda renew=renew: renew.count)
        await_true(lambda: renewals._thread is None)


def test_many_leases_of_many_threads_are_all_renewed(renewals):
    renews = [Renew() for _ in range(100)]

    def hold(mine):
        with renewals.keeping(LEASE, mine):
            await_true(lambda: mine.count >= 2)

    threads = [threading.Thread(target=hold, args=(renew,)) for renew in renews]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert all(renew.count >= 2 for renew in renews)


def test_without_a_thread_work_goes_on_and_the_lease_ends(renewals, monkeypatch, caplog):
    def start(_):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", start)
        with renewals.keeping(LEASE, never):
            pass
    assert [record.getMessage() for record in caplog.records] == [
        "renewals_not_started error=RuntimeError"
    ]
    renew = Renew()
    with renewals.keeping(LEASE, renew):
        await_true(lambda: renew.count)


def test_a_fork_meets_no_thread_and_only_the_parent_renews():
    renew = Renew()

    def child():
        names = {thread.name for thread in threading.enumerate()}
        assert not {name for name in names if name.startswith("clustercache-")}, names
        assert not RENEWALS.kept
        mine = Renew()
        with RENEWALS.keeping(LEASE, mine):
            await_true(lambda: mine.count)

    with RENEWALS.keeping(60.0, renew):
        thread = RENEWALS._thread
        with RENEWALS.keeping(60.0, Renew()), warnings.catch_warnings():
            # From Python 3.12 on a fork warns while another thread lives.
            warnings.simplefilter("error")
            in_child(child)
        assert not thread.is_alive()
        assert RENEWALS._thread.is_alive()
        mine = Renew()
        with RENEWALS.keeping(LEASE, mine):
            await_true(lambda: mine.count)
    assert renew.count == 0


def test_a_block_that_forks_ends_in_both_processes():
    with RENEWALS.keeping(LEASE, Renew()) as _:
        in_child(lambda: None)
    keeping = RENEWALS.keeping(60.0, Renew())
    keeping.__enter__()
    in_child(lambda: keeping.__exit__(None, None, None))
    assert keeping in RENEWALS.kept
    keeping.__exit__(None, None, None)
    assert not RENEWALS.kept

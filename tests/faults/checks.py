"""What must hold of the calls under a fault, whichever client made them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clustercache.exceptions import OutcomeUnknownError
from tests.faults.calls import BEFORE, BaseLoad, Caller, Done

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

GRACE = 0.5
"""Seconds after its deadline at which a call must be back, with all callers on two cores."""


def slowest(workers: Iterable[Caller], begin: float, end: float) -> float:
    """Return the longest call, in seconds, of those that started from `begin` to `end`."""
    return max(c.seconds for w in workers for c in w.calls if begin <= c.start < end)


def rate(load: BaseLoad, begin: float, end: float) -> float:
    """Return the healthy shards' calls per second that ended from `begin` to `end`."""
    ended = sum(begin <= c.end < end for w in load.healthy for c in w.calls)
    return ended / (end - begin - load.watch.within(begin, end))


def bound(load: BaseLoad, fault: float, least: float) -> float:
    """Return the larger of `least` and three times the slowest call of the time before."""
    return max(least, 3 * slowest(load.workers, fault - BEFORE, fault - 0.2))


def check_errors(load: BaseLoad, outstanding: Callable[[Done], bool]) -> list[Done]:
    """Check that only NEVER commands failed, as rule 17 says, and none too late; return those.

    Args:
        load: What ran.
        outstanding: Whether a call's reply was outstanding at the moment of a fault.
    """
    calls = [c for w in load.workers for c in w.calls]
    late = [c for c in calls if c.seconds > load.client.config.deadline + GRACE]
    assert not late, f"{len(late)} calls took longer than their deadline, the first: {late[0]}"
    failed = [c for c in calls if c.error is not None]
    wrong = [c for c in failed if c.kind != "NEVER" or type(c.error) is not OutcomeUnknownError]
    assert not wrong, f"{len(wrong)} calls failed, the first: {wrong[0]}"
    assert all(c.error.applied == "maybe" for c in failed)
    early = [c for c in failed if not outstanding(c)]
    assert not early, f"{len(early)} NEVER commands failed that were not outstanding: {early[0]}"
    assert not any(c.error for w in load.healthy for c in w.calls), "on a shard that was well"
    return failed


def count_absent(workers: Iterable[Caller], logs: Mapping[str, Mapping[bytes, bytes]]) -> int:
    """Check that nothing was applied twice; return how many acknowledged commands are absent.

    Args:
        workers: Who made the calls.
        logs: What each of their logs holds now.
    """
    absent = 0
    for worker in workers:
        found = {name.decode(): int(n) for name, n in logs[worker.log].items()}
        mine = {c.identity: c for c in worker.calls if c.kind == "NEVER"}
        twice = [name for name in mine if found.get(name, 0) > 1]
        assert not twice, f"{len(twice)} commands were applied twice, the first: {mine[twice[0]]}"
        absent += sum(name not in found for name, call in mine.items() if call.error is None)
    return absent


def check_healthy(load: BaseLoad, fault: float, end: float) -> float:
    """Check that healthy shards never waited for the sick one; return their slowest call."""
    worst = check_prompt(load, fault, end)
    usual, meanwhile = rate(load, fault - BEFORE, fault), rate(load, fault, end)
    assert meanwhile > 0.95 * usual, f"healthy shards fell from {usual:.0f} to {meanwhile:.0f}/s"
    return worst


def check_prompt(load: BaseLoad, fault: float, end: float) -> float:
    """Check that healthy shards answered as soon as before; return their slowest call."""
    usual = slowest(load.workers, fault - BEFORE, fault - 0.2)
    for worker in load.healthy:
        worst = slowest([worker], fault, end)
        limit = max(0.1 * worker.round_trips, 3 * usual)
        assert worst <= limit, f"a healthy shard's call took {worst:.3f} s (bound {limit:.3f} s)"
    return slowest(load.healthy, fault, end)


def check_recovery(load: BaseLoad, fault: float, promotion: float) -> float:
    """Check how soon after the promotion the shard served again; return the seconds."""
    limit = bound(load, fault, 0.2)
    took = load.first_success_after(promotion)
    assert took <= limit, f"first success {took:.3f} s after the promotion (bound {limit:.3f} s)"
    return took


def check_hit(load: BaseLoad, hit: Any, report: Callable[[str, Any], None]) -> None:
    """Check which calls failed when a primary was hit, and how soon the others went on."""
    # A worker whose reply was on its way sends one call more before it meets the silence.
    first = hit.after + 0.1 + load.pause
    unknown = check_errors(load, lambda call: call.start < first)
    assert len(unknown) <= len(load.sick), "more than one outstanding reply per worker"
    report("calls", sum(len(worker.calls) for worker in load.workers))
    report("unknown_outcomes", len(unknown))
    report("promotion_seconds", hit.promotion - hit.after)
    report("recovery_seconds", check_recovery(load, hit.before, hit.promotion))

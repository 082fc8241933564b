"""The soak's report finds each thing that may not be."""

from __future__ import annotations

from dataclasses import replace

import pytest

from clustercache.exceptions import OutcomeUnknownError
from tests.faults.calls import Done
from tests.soak.callers import SoakTask
from tests.soak.report import BLOCKS, GROWTH, Memory, Report, Round, excused

GOOD = Round(
    fault="failover",
    promotion=0.5,
    calls=1000,
    seconds=10.0,
    unknown=0,
    stray=[],
    twice=[],
    absent=0,
    lag=0.004,
    memory=Memory(50.0, 100_000),
)
LOST = Done("NEVER", 10.0, 11.0, OutcomeUnknownError("lost", applied="maybe"), "s1-3")


def test_good_rounds_are_good() -> None:
    killed = replace(GOOD, fault="kill", unknown=3, absent=2)
    report = Report([GOOD, killed, GOOD, killed])
    assert not list(report.wrongs())
    lines = list(report.table())
    assert [line.split()[1] for line in lines] == ["fault", "failover", "kill", "failover", "kill"]
    assert {len(line.split()) for line in lines} == {10}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (replace(GOOD, stray=[LOST]), "round 3 (failover): 1 calls failed"),
        (replace(GOOD, twice=["s1-3"]), "round 3 (failover): 1 applied twice, the first: s1-3"),
        (replace(GOOD, fault="kill", twice=["s1-3"]), "round 3 (kill): 1 applied twice"),
        (replace(GOOD, absent=1), "round 3 (failover): 1 acknowledged operations are not there"),
        (replace(GOOD, memory=Memory(50.1 + GROWTH, 100_000)), "memory grew from 50.0"),
        (replace(GOOD, memory=Memory(50.0, 100_001 + BLOCKS)), "blocks grew from 100000"),
    ],
)
def test_each_wrong_is_told(wrong: Round, said: str) -> None:
    (told,) = Report([GOOD, GOOD, wrong]).wrongs()
    assert said in told


@pytest.mark.parametrize(
    ("call", "answer"),
    [
        (LOST, True),
        (LOST._replace(start=12.5, end=13.0), False),
        (LOST._replace(start=8.0, end=9.0), False),
        (LOST._replace(kind="SAME"), False),
        (LOST._replace(error=TimeoutError()), False),
    ],
)
def test_only_an_outstanding_never_command_is_excused(call: Done, answer: bool) -> None:
    assert excused(call, 10.5, 12.0) is answer


def test_a_round_is_compared_with_its_log_and_forgotten() -> None:
    task = SoakTask(None, "t", "s1")
    task.acknowledged[0] = [3, 7, 11]
    assert task.check(0, {b"s1-3": b"1", b"s1-7": b"2"}) == (["s1-7"], 1)
    assert task.check(0, {}) == ([], 0)

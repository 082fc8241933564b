"""Who is asked for the topology, one after the other, and when enough have answered."""

from __future__ import annotations

import pytest

from clustercache._core.asking import Asking, Terms
from clustercache._core.sources import Said
from tests.core.topologies import address, shard, view

A, B, C, D = map(address, "abcd")


def nobody(answer):
    return None


def primary(answer):
    return answer.primary


def round_of(*addresses, lead=nobody, enough=2, **terms):
    return Asking(addresses, Terms(1.0, 10.0, enough, **terms), lead)


def asked(asking, now=0.0):
    """Who is asked while nobody answers."""
    return [turn[0] for turn in iter(lambda: asking.next(now), None)]


def test_the_best_are_asked_first_and_nobody_twice():
    assert asked(round_of(B, A, B, C, A)) == [B, A, C]


def test_who_is_to_be_avoided_is_not_asked_whoever_names_them():
    asking = round_of(A, B, C, lead=primary, avoid={B, D}, enough=9)
    assert asking.next(0.0) == (A, 1.0)
    asking.answered(Said(A, D))
    assert asked(asking) == [C]


def test_whom_an_answer_names_as_knowing_better_is_next_and_only_once():
    asking = round_of(A, B, C, lead=primary, enough=9)
    asking.next(0.0)
    asking.answered(Said(A, C))
    assert asking.next(0.0) == (C, 1.0)
    asking.answered(Said(C, C))
    assert asked(asking) == [B]


def test_when_enough_have_answered_nobody_else_is_asked():
    asking = round_of(A, B, C)
    for _ in range(2):
        known_as, _seconds = asking.next(0.0)
        asking.answered(Said(known_as, A))
    assert asking.next(0.0) is None
    assert asking.answers == [Said(A, A), Said(B, A)]


def test_a_failure_is_kept_and_is_no_answer():
    asking, silent = round_of(A, B, enough=1), ValueError("silent")
    asking.next(0.0)
    asking.failed(A, silent)
    assert asking.next(0.0) == (B, 1.0)
    assert (asking.answers, asking.failures) == ([], {A: silent})


@pytest.mark.parametrize(
    ("now", "turn"), [(0.0, (A, 1.0)), (9.5, (A, 0.5)), (10.0, None), (99.0, None)]
)
def test_nobody_is_waited_for_past_the_deadline(now, turn):
    assert round_of(A, B).next(now) == turn


@pytest.mark.parametrize(
    ("answer", "counts"),
    [
        (view("a", (0, 9, shard("a"))), True),
        (view("a", (0, 9, shard("d", "a"))), True),
        (view("a", (0, 9, shard("d"))), False),
        (view("a"), False),
        (Said(A, A), True),
    ],
)
def test_a_view_that_shares_no_node_with_ours_is_kept_and_does_not_count(answer, counts):
    asking = round_of(A, B, enough=1, known=frozenset({"id-a", "id-b"}))
    asking.next(0.0)
    asking.answered(answer)
    assert asking.next(0.0) == (None if counts else (B, 1.0))
    assert asking.answers == [answer]


def test_where_no_node_is_known_every_view_counts():
    asking = round_of(A, B, enough=1)
    asking.next(0.0)
    asking.answered(view("a", (0, 9, shard("d"))))
    assert asking.next(0.0) is None

"""The judge of near caches: what it calls old, and what it does not."""

from __future__ import annotations

import math

import pytest

from tests.histories import History, Seen, TooOld, judge

KEY = b"k"


def history(*written):
    made = History()
    for value, asked, returned in written:
        made.add(KEY, value, asked, returned)
    return made


def seen(value, began, *, near=True):
    return Seen(began, began + 0.1, KEY, value, near)


def test_a_value_ends_when_the_next_one_is_confirmed():
    three = history((1, 0, 1), (2, 5, 6), (3, 8, 9))
    assert three.age(seen(1, 5.9)) == 0.0
    assert three.age(seen(1, 7.0)) == pytest.approx(1.0)
    assert three.age(seen(2, 10.0)) == pytest.approx(1.0)
    assert three.age(seen(3, 100.0)) == 0.0


def test_what_overlaps_may_have_happened_in_either_order():
    both = history((1, 0, 3), (2, 1, 2))
    assert both.age(seen(1, 50)) == both.age(seen(2, 50)) == 0.0


def test_what_was_never_written_or_not_yet_is_infinitely_old():
    one = history((1, 5, 6))
    assert one.age(seen(2, 7)) == one.age(seen(None, 7)) == one.age(seen(1, 4)) == math.inf


def test_an_absence_is_a_value_that_comes_again():
    emptied = history((1, 0, 1), (None, 2, 3), (2, 4, 5), (None, 8, 9))
    assert emptied.age(seen(None, 7)) == pytest.approx(2.0)
    assert emptied.age(seen(None, 9)) == 0.0
    assert emptied.age(seen(1, 7)) == pytest.approx(4.0)


def test_a_write_that_nobody_confirmed_ends_nothing():
    unsure = history((1, 0, 1))
    unsure.add(KEY, 2, 2, 3, confirmed=False)
    assert unsure.age(seen(1, 50)) == unsure.age(seen(2, 50)) == 0.0


def test_what_a_failover_lost_ends_nothing_and_ends_with_the_next():
    lossy = history((1, 0, 1), (2, 2, 3), (3, 6, 7))
    assert lossy.age(seen(1, 5)) == pytest.approx(2.0)
    lossy.lose(KEY, {2})
    assert lossy.age(seen(1, 5)) == lossy.age(seen(2, 5)) == 0.0
    assert lossy.age(seen(2, 9)) == pytest.approx(2.0)


def test_only_hits_are_judged_and_there_have_to_be_some():
    two = history((1, 0, 1), (2, 2, 3))
    judge(two, [seen(1, 9, near=False), seen(2, 9)], 1.0)
    with pytest.raises(TooOld, match=r"6\.000 s old"):
        judge(two, [seen(2, 9), seen(1, 9)], 1.0)
    with pytest.raises(AssertionError, match="served nothing"):
        judge(two, [seen(1, 9, near=False)], 1.0)

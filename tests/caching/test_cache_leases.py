"""Who waits for a lease: what ends it, and who computes then."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.caching.stages import Counted


def slow(pk):
    time.sleep(0.4)
    return [pk]


@pytest.mark.parametrize("place", ["cluster", "near"], indirect=True)
def test_of_those_who_wait_for_one_that_died_one_computes(stage, plain):
    made = Counted(slow)
    functions = [stage.cached(made, stage.open(), name="f", lease=1.0, wait=20) for _ in range(4)]
    for function in functions:
        function(2)
    until = int(time.time() * 1000) + 1000
    # They hear of the end a little before the time that they were told, as the reply took time.
    plain.set(stage.raw(functions[0], 1), b"\xccL" + b"x" * 16 + b"%013d" % until, px=950)
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda function: function(1), functions)) == [[1]] * 4
    assert made.calls.count((1,)) == 1


@pytest.mark.parametrize("place", ["near"], indirect=True)  # who polls may take two for one
def test_who_waited_for_one_that_stored_nothing_does_not_wait_for_the_next(stage):
    made = Counted(slow)
    options = {"name": "f", "lease": 30, "wait": 30, "cache_if": lambda _: False}
    functions = [stage.cached(made, stage.open(), **options) for _ in range(6)]
    began = time.monotonic()
    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(lambda function: function(1), functions)) == [[1]] * 6
    assert time.monotonic() - began < 6 * 0.4
    assert made.count == 6

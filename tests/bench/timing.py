"""The clocks of a timed stretch."""

from __future__ import annotations

import time
from typing import NamedTuple


class Timing(NamedTuple):
    """One timed stretch: seconds, and whether the last reply in it was the right one."""

    wall: float
    cpu: float
    right: bool


def clocks():
    """Return the time now: on the wall, and of all this process's threads."""
    return time.perf_counter(), time.process_time()


def since(began, right):
    """Return the `Timing` of a stretch that began at these `clocks`."""
    ended = clocks()
    return Timing(ended[0] - began[0], ended[1] - began[1], right)

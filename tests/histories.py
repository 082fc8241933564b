"""Who wrote what and when, and whether what was served was too old: the judge of near caches.

A value ends when one that was written after it is confirmed; a hit's age is how long before the hit
that was. Calls that overlap may have happened in either order, and so end nothing of each other.
What a failover lost is no part of the current primary's history: it ends nothing.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from itertools import accumulate
from operator import itemgetter
from typing import NamedTuple


class TooOld(AssertionError):  # noqa: N818 - what the judge says
    """A hit was older than the bound."""


class Written(NamedTuple):
    """A value (None: no such key), when it was asked for, and when the call returned."""

    value: int | None
    asked: float
    returned: float
    confirmed: bool


class Seen(NamedTuple):
    """A read: from when to when, what it said, whether the near cache did, and who read."""

    began: float
    ended: float
    key: bytes
    value: int | None
    near: bool = True
    reader: int = 0


class History:
    """What became of some keys, in monotonic seconds."""

    def __init__(self):
        self.written = {}
        self._ends = {}

    def add(self, key, value, asked, returned, *, confirmed=True):
        self.written.setdefault(key, []).append(Written(value, asked, returned, confirmed))
        self._ends.pop(key, None)

    def lose(self, key, values):
        """Strike out what a failover lost: it was confirmed, and yet it never was."""
        mine = self.written.get(key, [])
        mine[:] = [
            one._replace(confirmed=one.confirmed and one.value not in values) for one in mine
        ]
        self._ends.pop(key, None)

    def age(self, seen):
        """How many seconds before a read its value had ended; infinite if it never was."""
        ends = self._ends.get(seen.key)
        if ends is None:
            ends = self._ends[seen.key] = _ends(self.written[seen.key])
        mine = [end for asked, end in ends.get(seen.value, ()) if asked <= seen.ended]
        return max(seen.began - max(mine, default=-math.inf), 0.0)


def _ends(written):
    confirmed = sorted((one.asked, one.returned) for one in written if one.confirmed)
    asked = [moment for moment, _ in confirmed]
    soonest = list(accumulate((end for _, end in reversed(confirmed)), min, initial=math.inf))[::-1]
    ends = {}
    for one in written:
        end = soonest[bisect_left(asked, one.returned)]
        ends.setdefault(one.value, []).append((one.asked, end))
    return ends


def judge(history, reads, bound, report=None):
    """Check that no hit was older than the bound, and that there were hits.

    Args:
        history: What was written.
        reads: What was seen.
        bound: In seconds.
        report: Takes figures by name.
    """
    hits = [seen for seen in reads if seen.near]
    assert hits, "the near cache served nothing: this shows nothing"
    aged = [(history.age(seen), seen) for seen in hits]
    oldest, seen = max(aged, key=itemgetter(0))
    if report is not None:
        report("reads", len(reads))
        report("hits", len(hits))
        report("oldest_hit_seconds", oldest)
        report("hits_older_than_10_ms", sum(age > 0.01 for age, _ in aged))
    if oldest > bound:
        msg = f"a hit was {oldest:.3f} s old (bound {bound:.3f} s): {seen}"
        raise TooOld(msg)

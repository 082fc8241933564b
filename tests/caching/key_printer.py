"""Print the keys of some calls; run by processes of other hash seeds and other Pythons.

It runs where nothing is installed: neither redis nor pytest.
"""

from __future__ import annotations

import multiprocessing
import sys
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, Flag, IntFlag, StrEnum
from pathlib import Path, PurePosixPath, PureWindowsPath
from uuid import UUID
from zoneinfo import ZoneInfo

from clustercache.caching.keys import Keys


class Colour(Enum):
    RED = "r"


class Word(StrEnum):
    ONE = "1"


class Right(Flag):
    READ = 1
    WRITE = 2


class Bits(IntFlag):
    LOW = 1


class Record:
    def __cache_key__(self):
        return {"pk", "tenant", 1, None}

    def load(self):
        return self


def product(pk, *args, lang="en", **kwargs):
    return pk, args, lang, kwargs


VALUES = [
    None, True, 0, -1, 10**6000, 0.0, -0.0, 0.1, 1e300, float("nan"), -float("inf"), 1j, "", "Zoë",
    "\udce4", b"\0\xff", bytearray(b"x"), (), (1, ("2",)), [1, [b"2"]], set("clustercache"),
    frozenset([frozenset("ab"), "ab", 1, 1.5, None]), {"x": {"y", "z"}, 1: None, (1, 2): [3]},
    range(1, 9, 2), datetime(2026, 10, 25, 2, 30, 0, 7), datetime(1, 1, 1, tzinfo=UTC),  # noqa: DTZ001
    datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=ZoneInfo("Europe/Paris")), date(9999, 12, 31),
    time(23, 59, 59, 999999, timezone(timedelta(hours=-3, seconds=7), "X")), timedelta(-1, 2, 3),
    Decimal("1E+10"), Decimal("-0.00"), Decimal("sNaN12"), UUID(int=1 << 100), Path("a/b"),
    PurePosixPath("/"), PureWindowsPath("c:/x"), Colour.RED, Word.ONE, Right.READ | Right.WRITE,
    Right(0), Bits.LOW | Bits(8), Record(), Record, int, Path,
]  # fmt: skip


def lines():
    """Return the far key of each call."""
    keys = Keys(product, name="product", version=3)
    # A class keeps its name only where its module does, and this one is run in two ways.
    named = (Enum, Flag, Record, type)
    values = [value for value in VALUES if not isinstance(value, named)]
    yield from (keys(value) for value in values)
    yield keys(
        1, *values, lang="fr", **{word: word for word in ["some", "words", "of", "no", "order"]}
    )
    yield Keys(product, name="product", key="product:{pk}")(5)


def own():
    """Return keys with names of this module in them."""
    method = Keys(Record.load)
    keys = Keys(product)
    return [method(Record()), *(keys(value) for value in VALUES if value is not Path)]


if __name__ == "__main__":
    if "spawn" in sys.argv:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            print(pool.apply(own) == own())  # noqa: T201
    elif "own" in sys.argv:
        print(*own(), sep="\n")  # noqa: T201
    else:
        print(*lines(), sep="\n")  # noqa: T201

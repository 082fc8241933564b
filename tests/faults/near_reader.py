"""A process that reads through a near cache and tells what it saw, for a judge outside.

    python -m tests.faults.near_reader URL SECONDS KEY ...

prints a line for each read, ``began ended key value near`` (monotonic seconds, of which all
processes of a machine have the same), and ``ready`` once all keys are near.
"""

from __future__ import annotations

import random
import sys
import time
from time import monotonic

import redis

from clustercache.caching.near import MISSING
from tests.nearby import nearby


def main(url: str, seconds: str, *names: str) -> None:
    """Read keys at random until the time is over."""
    keys = [name.encode() for name in names]
    draw = random.Random(1)
    with nearby(url) as here:
        here.warm(*keys)
        print("ready", flush=True)  # noqa: T201 - the judge reads this
        end = monotonic() + float(seconds)
        while monotonic() < end:
            key = draw.choice(keys)
            began = monotonic()
            value = here.near.get(key)
            near = value is not MISSING
            if not near:
                try:
                    value = here.fetch(key)
                except redis.RedisError:
                    continue
            ended = monotonic()
            print(began, ended, key.decode(), (value or b"-").decode(), int(near))  # noqa: T201
            time.sleep(0.0005)


if __name__ == "__main__":
    main(*sys.argv[1:])

"""One process of a shop whose prices are cached, with a near cache. The demo has several.

python -m clustercache.cli.demo.price_server URL

It looks prices up all the time, until it is told to stop. It is told by lines of JSON, answers
each with a line, and ends when its input does.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from contextlib import suppress
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

from clustercache import Cache, NearCache
from clustercache.cli.demo.price_load import PriceLoad

if TYPE_CHECKING:
    from collections.abc import Callable

FIND_SECONDS, OFFERS_SECONDS = 0.004, 0.4
NEAR_SIZE = 100
_LOOK = 0.0002
_PATIENCE = 3.0
_LOOKS_AFTER = 20


class PriceServer:
    """What is cached, and what the demo does to it.

    Args:
        cache: Where prices and offers are kept.
    """

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self._computed = 0
        self.price = cache.cached(ttl=60, name="price", tags=("prices",))(self._find)
        self._offers = cache.cached(ttl=60, name="offers")(self._make_offers)
        self.load = PriceLoad(self.price)

    @staticmethod
    def _find(pk: int) -> tuple[int, float]:
        """Return what tells one price from another, and when it was found."""
        sleep(FIND_SECONDS)
        return pk, monotonic()

    def _make_offers(self) -> str:
        self._computed += 1  # by one thread at a time, or it is wrong anyway
        sleep(OFFERS_SECONDS)
        return f"offers of {os.getpid()} at {monotonic()}"

    # What the demo asks for -------------------------------------------------------------------

    def stop(self) -> dict[str, Any]:
        """Stop the load, and tell what came of it."""
        return self.load.stop()

    def crowd(self, callers: int, at: float) -> dict[str, Any]:
        """Let many callers want the offers at one moment."""
        answers: list[tuple[str, float]] = []

        def call() -> None:
            sleep(max(at - monotonic(), 0.0))
            answer = self._offers()
            answers.append((answer, monotonic() - at))

        threads = [threading.Thread(target=call, daemon=True) for _ in range(callers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return {
            "computed": self._computed,
            "answers": sorted({answer for answer, _ in answers}),
            "failed": callers - len(answers),
            "slowest": max((seconds for _, seconds in answers), default=0.0),
        }

    def write(self, key: str, value: int) -> dict[str, Any]:
        """Write a value, and tell when that began."""
        began = monotonic()
        stored = self._cache.set(key, value, ttl=60)
        return {"began": began, "done": stored}

    def invalidate(self) -> dict[str, Any]:
        """Invalidate all prices, and tell when that began."""
        began = monotonic()
        self._cache.invalidate_tags("prices")
        return {"began": began, "done": True}

    def watch(self, key: str) -> dict[str, Any]:
        """Look at a value, or at a price, until it is another; tell when that look began.

        An answer that says whether the old one was near goes before.
        """
        read: Callable[[], Any] = (lambda: self._cache.get(key)) if key else lambda: self.price(0)
        near, old = self._is_near(read), read()
        _answer({"near": near})  # from now on it may change
        until = monotonic() + _PATIENCE
        while (began := monotonic()) < until:
            if read() != old:
                back = sum(read() == old for _ in range(_LOOKS_AFTER))
                return {"seen": began, "went_back": back}
            sleep(_LOOK)
        return {"seen": None, "went_back": 0}

    def _is_near(self, read: Callable[[], Any]) -> bool:
        """Read until that costs no I/O; tell whether it came to that."""
        until = monotonic() + _PATIENCE
        while monotonic() < until:
            hits = self._cache.stats().total.near_hits
            read()
            if self._cache.stats().total.near_hits > hits:
                return True
            sleep(_LOOK)
        return False


def _answer(answer: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Do as told, until there is nobody who tells."""
    near = NearCache(NEAR_SIZE)
    with (
        suppress(BrokenPipeError),  # the demo has ended
        Cache.from_url(sys.argv[1], namespace="demo", near=near) as cache,
    ):
        server = PriceServer(cache)
        server.load.start()
        for line in sys.stdin:
            request = json.loads(line)
            _answer(getattr(server, request.pop("do"))(**request))


if __name__ == "__main__":
    main()

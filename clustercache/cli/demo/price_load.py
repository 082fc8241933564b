"""Threads that look up prices, popular ones more often, and note what became of it."""

from __future__ import annotations

import random
import threading
from itertools import accumulate
from time import monotonic
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clustercache.caching.decorating import CachedFunction

    Price = CachedFunction[[int], tuple[int, float]]

PRODUCTS = 300
THREADS = 2
_PAUSE = 0.004
_EVERY = 0.1  # seconds between two samples


class PriceLoad:
    """The load of one process, in daemon threads.

    Args:
        price: A cached function, whose result begins with its argument.
    """

    def __init__(self, price: Price) -> None:
        self._price = price
        self._weights = list(accumulate(1 / (rank + 1) for rank in range(PRODUCTS)))
        self._samples: list[tuple[float, int, int, int, int]] = []
        self._errors: list[str] = []
        self._wrong = 0
        self._slowest = 0.0
        self._stop_asked = threading.Event()
        works = [self._work] * THREADS + [self._sample]
        self._threads = [threading.Thread(target=work, daemon=True) for work in works]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> dict[str, Any]:
        """End, and return what was noted."""
        self._stop_asked.set()
        for thread in self._threads:
            thread.join()
        return {
            "samples": self._samples,
            "failed": len(self._errors),
            "errors": self._errors[:5],
            "wrong": self._wrong,
            "slowest": self._slowest,
        }

    def _work(self) -> None:
        rng = random.Random()  # noqa: S311 - chooses products
        products = range(PRODUCTS)
        while not self._stop_asked.wait(_PAUSE):
            (pk,) = rng.choices(products, cum_weights=self._weights)
            start = monotonic()
            try:
                found = self._price(pk)
            except Exception as error:  # noqa: BLE001 - counted, and shown
                self._errors.append(f"{type(error).__name__}: {error}")
            else:
                self._wrong += found[0] != pk
            self._slowest = max(self._slowest, monotonic() - start)

    def _sample(self) -> None:
        """Note the moment, all calls that were answered, and those from near, far and no cache."""
        while not self._stop_asked.wait(_EVERY):
            stats = self._price.cache_stats()
            calls = stats.hits + stats.misses + stats.skipped
            far = stats.hits - stats.near_hits
            self._samples.append((monotonic(), calls, stats.near_hits, far, stats.skipped))

"""Where a near cache's entries are: as many as there may be, and those that matter most."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import cachetools

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from clustercache._core.vouching import Entry

POLICIES: Final = {
    "lru": cachetools.LRUCache,
    "lfu": cachetools.LFUCache,
    "fifo": cachetools.FIFOCache,
    "rr": cachetools.RRCache,
}
"""The policies by which entries go."""


def weight(name: Hashable) -> int:
    """Return the bytes of the texts in a name: a call's arguments are in its name as they are."""
    if isinstance(name, (str, bytes)):
        return len(name)
    return sum(map(weight, name)) if isinstance(name, tuple) else 0


def bounded(
    policy: Any, maxsize: int, max_bytes: int | None, evicted: Callable[[Entry], None]
) -> Any:
    """Return where entries are kept: a policy of cachetools', within both bounds.

    Args:
        policy: One of `POLICIES`.
        maxsize: How many there may be.
        max_bytes: What they may weigh together; None sets no limit.
        evicted: Is told of each that goes.
    """

    class Entries(policy):  # type: ignore[misc, unused-ignore]
        def __setitem__(self, name: Hashable, entry: Entry) -> None:
            while len(self) >= maxsize:
                self.popitem()
            super().__setitem__(name, entry)

        def popitem(self) -> tuple[Hashable, Entry]:
            name, entry = super().popitem()
            evicted(entry)
            return name, entry

        def all(self) -> list[Entry]:
            # Not `values`: for the policies, that is a use of each.
            return [cachetools.Cache.__getitem__(self, name) for name in self]

    if max_bytes is None:
        return Entries(maxsize)
    return Entries(max_bytes, getsizeof=lambda entry: entry.size)

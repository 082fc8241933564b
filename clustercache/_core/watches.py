"""Who wants to be woken when a key is void, and who is to be woken now.

The state that voids keys is used under a lock, and wakes nobody itself: it notes who is to be
woken, and its owner takes the note along when it lets go of the lock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from clustercache._core.slots import key_slot

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    Wake = Callable[[], object]


class Watches:
    """Keys that are watched, each by any number."""

    __slots__ = ("_due", "_wakes")

    def __init__(self) -> None:
        """Begin with none."""
        self._wakes: dict[bytes, list[Wake]] = {}
        self._due: list[Wake] = []

    def add(self, key: bytes, wake: Wake) -> None:
        """Have `wake` called whenever a key is void."""
        self._wakes.setdefault(key, []).append(wake)

    def remove(self, key: bytes, wake: Wake) -> None:
        """Take back one `add` of the same two; nothing happens where there was none."""
        wakes = self._wakes.get(key, [])
        if wake in wakes:
            wakes.remove(wake)
            if not wakes:
                del self._wakes[key]

    def ring(self, key: bytes) -> None:
        """Note who watches a key."""
        if self._wakes:
            self._due += self._wakes.get(key, ())

    def ring_slots(self, slots: Collection[int]) -> None:
        """Note who watches keys of some slots."""
        if self._wakes:
            some = frozenset(slots)
            for key, wakes in self._wakes.items():
                if key_slot(key) in some:
                    self._due += wakes

    def ring_all(self) -> None:
        """Note all, for nobody knows any more which keys are void."""
        for wakes in self._wakes.values():
            self._due += wakes

    def take(self) -> list[Wake]:
        """Return who is to be woken, once."""
        due = self._due
        if due:
            self._due = []
        return due

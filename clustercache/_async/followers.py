"""Who looks at a map whenever it changes, and ends with it."""

from __future__ import annotations

from typing import Protocol


class Follower(Protocol):
    """Has connections of its own, which follow the map. Everything is called on its loop."""

    def look(self) -> None:
        """Hear that the map has changed; do nothing to it now."""

    def end(self) -> None:
        """Close everything: the client is closed."""

    def abandon(self) -> None:
        """Close the sockets alone: the loop is closed, or another process's."""


class Followers:
    """All that follow one map."""

    __slots__ = ("_all",)

    def __init__(self) -> None:
        """Begin with nobody."""
        self._all: dict[Follower, None] = {}

    def add(self, follower: Follower) -> None:
        """Tell a follower of everything from now on."""
        self._all[follower] = None

    def discard(self, follower: Follower) -> None:
        """Tell it of nothing any more."""
        self._all.pop(follower, None)

    def __contains__(self, follower: Follower) -> bool:
        """Tell whether it is told of things."""
        return follower in self._all

    def look(self) -> None:
        """Tell all that the map has changed."""
        for one in list(self._all):
            one.look()

    def end(self) -> None:
        """End all of them."""
        for one in self._take_all():
            one.end()

    def abandon(self) -> None:
        """Close the sockets of all of them."""
        for one in self._take_all():
            one.abandon()

    def _take_all(self) -> list[Follower]:
        found = list(self._all)
        self._all.clear()
        return found

"""One call in progress, whose end is told to hooks. Both shells use it.

It is put around a client's own calls once, where there are hooks: a client without any has none of
this in its way, not even a question whether there are any.
"""

from __future__ import annotations

from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Any, Self

from clustercache._core.slots import key_slot
from clustercache._direct import DIRECT
from clustercache._request import NO_SLOT, Command
from clustercache.exceptions import ClusterCacheError
from clustercache.instrumentation import CommandDone

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from clustercache._limits import LimitScope
    from clustercache.instrumentation.hooks import Observer


def describe(args: Sequence[Any], limits: LimitScope) -> tuple[str, int | None]:
    """Return a call's name, and the slot of its keys if it is one; never more of its arguments."""
    with suppress(LookupError, TypeError, AttributeError, UnicodeError):
        place, _, longest = DIRECT[args[0]]
        if len(args) <= longest:
            return args[0], key_slot(args[place])
    name, slots = "", [NO_SLOT]
    with suppress(Exception):  # what was refused has told why
        command = Command(args, limits.in_force(), 0.0, decode=True)
        name = command.spec.name
        slots = [slot for slot, _, _ in command.parts()]
    return name, slots[0] if len(slots) == 1 and slots[0] != NO_SLOT else None


def nobody(_slot: int) -> Any:
    """Return None: the owner of no slot is known, or of any interest."""
    return None


class Told:
    """One call in progress; its end is told."""

    __slots__ = ("_began", "_observer", "_outer", "_owner_of", "command", "error", "size", "slot")

    def __init__(self, observer: Observer, owner_of: Callable[[int], Any] = nobody) -> None:
        """Tell this observer.

        Args:
            observer: The client's.
            owner_of: Gives what reaches a slot's owner now, or None.
        """
        self._observer = observer
        self._owner_of = owner_of
        self.command = ""
        self.slot: int | None = None
        self.size = 1
        self.error: BaseException | None = None

    def __enter__(self) -> Self:
        """Begin a trail; a signal handler's call may come in the middle of another."""
        self._outer = self._observer.trail.begin()
        self._began = monotonic()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Tell how it ended."""
        seconds = monotonic() - self._began
        observer = self._observer
        error = error or self.error
        event = CommandDone(
            command=self.command or getattr(error, "command", ""),
            slot=self.slot,
            node=self._node(error),
            seconds=seconds,
            attempts=observer.trail.attempts,
            error=type(error).__name__ if error is not None else None,
            size=self.size,
        )
        observer.trail.end(self._outer)
        observer.tell(event)

    def _node(self, error: BaseException | None) -> str:
        """Return the node that was asked last, or "" where several were asked at once."""
        if isinstance(error, ClusterCacheError):
            return error.node
        nodes = self._observer.trail.nodes
        if self.slot is not None:
            pool = self._owner_of(self.slot)
            owner = str(pool.address) if pool is not None else ""
            return str(nodes[-1]) if nodes else owner
        return str(nodes[0]) if len(nodes) == 1 else ""

    def came(self, results: Sequence[Any]) -> None:
        """Note a pipeline's first error, also where none is raised."""
        self.error = next((one for one in results if isinstance(one, Exception)), None)

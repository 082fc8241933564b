"""What a near cache hands out: values that are safe from their callers, or `MISSING`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from clustercache._core.vouching import Entry


class Missing:
    """The type of `MISSING`, which is false."""

    __slots__ = ()

    def __repr__(self) -> str:
        """Show the name."""
        return "MISSING"

    def __bool__(self) -> bool:
        """Say no."""
        return False


MISSING: Final = Missing()
"""What stands for a value that is not there, where None is a value."""


class Anew:
    """A value that is decoded anew for each caller, who may change it."""

    __slots__ = ("data", "decode")

    def __init__(self, data: bytes, decode: Callable[[bytes], Any]) -> None:
        self.data = data
        self.decode = decode


class Hit(Protocol):
    """What is served: safe from its caller.

    Attributes:
        value: The value.
        cost: What it cost to make it, in microseconds, as it was told when it was kept.
        expires: When its time on the server ends, in monotonic seconds.
    """

    @property
    def value(self) -> Any: ...  # noqa: D102
    @property
    def cost(self) -> int: ...  # noqa: D102
    @property
    def expires(self) -> float: ...  # noqa: D102


class Copy:
    """A `Hit` whose value is its caller's own."""

    __slots__ = ("cost", "expires", "value")

    def __init__(self, entry: Entry, value: Any) -> None:
        self.value = value
        self.cost = entry.cost
        self.expires = entry.expires

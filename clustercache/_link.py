"""What a subscriber asks of the connection to one node, and when a quiet one is asked for life.

Both shells use it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from clustercache._events import NotSent

if TYPE_CHECKING:
    from clustercache._core.session import Session
    from clustercache.config import ClusterConfig


class Link(Protocol):
    """One node's connection: nobody waits for it to be made, nor for what is written."""

    session: Session
    """What is subscribed on it."""
    born: float
    """When it was begun, in monotonic seconds."""

    @property
    def dialling(self) -> bool:
        """Whether the connection is still being made."""

    def write(self, data: bytes) -> None:
        """Write now, or once the connection is made."""

    def close(self) -> None:
        """Close without a word."""


class Pulse:
    """When something came last, and whether a PING is out."""

    __slots__ = ("_config", "_last", "_pinged")

    def __init__(self, config: ClusterConfig, now: float) -> None:
        """Begin when the connection is begun (monotonic seconds)."""
        self._config = config
        self._last = now
        self._pinged: float | None = None

    def heard(self, now: float) -> None:
        """Note that something came, or that the connection was made."""
        self._last, self._pinged = now, None

    def due(self, *, settled: bool) -> float:
        """Return when to look again, in monotonic seconds.

        Args:
            settled: Whether the handshake is answered.
        """
        if not settled:
            return self._last + self._config.socket_connect_timeout
        since = self._last if self._pinged is None else self._pinged
        return since + self._config.socket_timeout

    def wants_ping(self, now: float, *, settled: bool) -> bool:
        """Tell whether a PING is to be sent, and take it as sent.

        Ask when what has come was read: time that nobody read is no time that the node was silent.

        Raises:
            NotSent: There was no sign of life in time (`silent`).
        """
        if now < self.due(settled=settled):
            return False
        if not settled:
            msg = "no answer to the handshake"
            raise NotSent(msg, silent=True)
        if self._pinged is not None:
            msg = "no answer to a PING"
            raise NotSent(msg, silent=True)
        self._pinged = now
        return True

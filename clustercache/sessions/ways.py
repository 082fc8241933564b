"""What both ways to a cluster have in common: what a trouble means, and whom not to ask again.

The asking itself is in `store` and `aio`, which differ by their awaits.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from redis import exceptions as redis_errors
from redis.exceptions import AuthenticationError, ClusterDownError, RedisError, ResponseError

from clustercache._commands import REPEATABLE
from clustercache.exceptions import (
    ClosedError,
    ClusterCacheError,
    OutcomeUnknownError,
    SessionUnavailableError,
    UntrustedError,
)
from clustercache.instrumentation import SessionUnavailable
from clustercache.sessions.calls import OLDER, Call, Loaded

if TYPE_CHECKING:
    from collections.abc import Callable

    from clustercache.instrumentation import Event
    from clustercache.sessions.settings import SessionSettings

_AWAY: Final = (redis_errors.ConnectionError, redis_errors.TimeoutError, ClusterDownError)
_NOT_AWAY: Final = (AuthenticationError, ClosedError, OutcomeUnknownError, UntrustedError)
"""Of those, what no waiting mends, or what says more than that somebody is away."""

LOT: Final = 1000
"""Keys that are looked at together."""

AGAIN: Final = {REPEATABLE: True}
NOTHING: Final = Loaded({}, -2)


class Ways:
    """One store's way to its client.

    Attributes:
        client: Who is asked.
    """

    def __init__(
        self, client: Any, settings: SessionSettings, tell: Callable[[Event], None]
    ) -> None:
        """Ask nothing yet.

        Args:
            client: A `Cluster` or an `AsyncCluster`.
            settings: The store's.
            tell: Called with each event.
        """
        self.client = client
        self._settings = settings
        self._tell = tell
        self._older: Any = None
        self._failed: dict[int, object] = {}
        """By slot, the suspicion under which replicas could not be asked either."""

    def _for(self, call: Call) -> Any:
        """Return the client that a plain call goes to: an older store may be elsewhere."""
        reader = self._settings.migrate
        if call.op not in OLDER or reader is None or reader.source is None:
            return self.client
        if self._older is None:
            kind, source = type(self.client), reader.source
            self._older = source if isinstance(source, kind) else kind.from_url(source)
        return self._older

    @property
    def made(self) -> list[Any]:
        """The clients that were made here, and are to be closed here."""
        reader = self._settings.migrate
        own = self._older is not None and reader is not None and self._older is not reader.source
        return [self._older] if own else []

    def _seconds(self) -> float:
        """Return how long an operation may take."""
        in_force: float = self.client._limits.in_force().deadline  # noqa: SLF001 - ours too
        own = self._settings.deadline
        return in_force if own is None else min(own, in_force)

    def _for_primary(self) -> float:
        """Return how long a load asks the primary; a replica has at least as long."""
        return min(self._seconds() / 2, self._settings.stale_after)

    def _told(self, error: RedisError, call: Call) -> RedisError:
        """Return an error for what came, told as an event where the shard is away."""
        if isinstance(error, SessionUnavailableError):
            self._tell(SessionUnavailable(error=type(error).__name__))
            return error
        if not self.is_away(error):
            return error
        self._tell(SessionUnavailable(error=type(error).__name__))
        facts: dict[str, Any] = {"command": call.op.upper()}
        if isinstance(error, ClusterCacheError):
            facts = {
                "command": error.command,
                "slot": error.slot,
                "node": error.node,
                "attempts": error.attempts,
                "applied": error.applied,
            }
        msg = "the session's shard cannot be asked, so nothing is known of the session: try again"
        unavailable = SessionUnavailableError(msg, **facts)
        unavailable.__cause__ = error
        return unavailable

    @staticmethod
    def is_away(error: RedisError) -> bool:
        """Tell whether it means that a shard cannot be asked."""
        return isinstance(error, _AWAY) and not isinstance(error, _NOT_AWAY)

    # Who is away ------------------------------------------------------------------------------

    def _primary_is_doubted(self, key: str) -> bool:
        """Tell whether to go to a replica at once.

        Raises:
            SessionUnavailableError: That was in vain, under this very suspicion.
        """
        suspicion = self.client.doubts(key)
        if suspicion is None:
            return False
        if self._failed.get(self.client.keyslot(key)) is suspicion:
            msg = (
                "neither the primary of the session's shard nor a replica answers: it is asked"
                " again as soon as one does"
            )
            raise SessionUnavailableError(msg, command="LOAD", slot=self.client.keyslot(key))
        return True

    def _in_vain(self, key: str) -> None:
        """Take note that no replica could be asked."""
        suspicion = self.client.doubts(key)
        if suspicion is not None:
            self._failed[self.client.keyslot(key)] = suspicion

    # Replies ----------------------------------------------------------------------------------

    @staticmethod
    def _loaded(stored: Any, ttl: Any) -> Any:
        """Return a load's reply; what is no hash is no session."""
        for one in (stored, ttl):
            if isinstance(one, ResponseError) and str(one).startswith("WRONGTYPE"):
                return NOTHING
            if isinstance(one, Exception):
                raise one
        return Loaded(stored, ttl)


def unless_unknown(error: RedisError, unknown: OutcomeUnknownError | None) -> RedisError:
    """Return what a save ends in: where it may have been applied before, that is to be told."""
    if unknown is None or isinstance(error, OutcomeUnknownError):
        return error
    unknown.__cause__ = error
    return unknown


def rest(losses: int, end: float) -> float:
    """Return the seconds to wait before what was lost so often is sent again: the first at once."""
    wished = 0.0 if losses < 2 else min(0.01 * 2.0**losses, 0.25)
    return max(min(wished, end - monotonic()), 0.0)


def left_until(end: float, unknown: OutcomeUnknownError | None) -> float:
    """Return the seconds left.

    Raises:
        OutcomeUnknownError: None, and the call was sent before.
    """
    left = end - monotonic()
    if left <= 0 and unknown is not None:
        raise unknown
    return max(left, 0.001)

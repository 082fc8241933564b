"""What both ways to a cluster have in common: what a trouble means, and whom not to ask again.

What is done when stands here, in generators; `store` and `aio` only do it.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import nullcontext
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias
from weakref import WeakKeyDictionary

from redis import exceptions as redis_errors
from redis.exceptions import (
    AuthenticationError,
    ClusterDownError,
    NoScriptError,
    RedisError,
    ResponseError,
)

from clustercache._commands import REPEATABLE
from clustercache._core.read_from import ReadFrom
from clustercache.exceptions import (
    ClosedError,
    ClusterCacheError,
    OutcomeUnknownError,
    SessionUnavailableError,
    UntrustedError,
)
from clustercache.instrumentation import SessionUnavailable
from clustercache.sessions.calls import OLDER, PLAIN, Call, Loaded
from clustercache.sessions.scripts import SCRIPTS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from clustercache.instrumentation import Event
    from clustercache.sessions.settings import SessionSettings

_AWAY: Final = (redis_errors.ConnectionError, redis_errors.TimeoutError, ClusterDownError)
_NOT_AWAY: Final = (AuthenticationError, ClosedError, OutcomeUnknownError, UntrustedError)
"""Of those, what no waiting mends, or what says more than that somebody is away."""

_PAUSE: Final = 1.0
"""Seconds between two loads that ask a shard of which nobody answered."""

LOT: Final = 1000
"""Keys that are looked at together."""

AGAIN: Final[Mapping[str, Any]] = {REPEATABLE: True}
NO_OPTIONS: Final[Mapping[str, Any]] = {}
NOTHING: Final = Loaded({}, -2)


class Batch(NamedTuple):
    """Commands for one pipeline; what comes back is their outcomes, errors in their places."""

    client: Any
    commands: Sequence[tuple[Any, ...]]
    seconds: float | None


class One(NamedTuple):
    """One command; what comes back is its reply.

    Attributes:
        client: Who sends it.
        words: The command.
        seconds: Its deadline; None for the client's.
        options: Of `execute_command`.
        lasting: The key whose shard's replicas are waited for, so that the reply is an
            `Acknowledged`; None to wait for none.
        replicas: Whether a replica may answer.
    """

    client: Any
    words: tuple[Any, ...]
    seconds: float | None
    options: Mapping[str, Any] = NO_OPTIONS
    lasting: str | None = None
    replicas: bool = False


class Pause(NamedTuple):
    """Some seconds of rest."""

    seconds: float


Doings: TypeAlias = Generator[Batch | One | Pause, Any, Any]


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
        self._failed: WeakKeyDictionary[object, float] = WeakKeyDictionary()
        """Suspicions of a primary under which no replica answered either, and when that was."""

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

    # What is done at the client ---------------------------------------------------------------

    def doings(self, calls: Sequence[Call], began: float) -> Doings:
        """Yield what is to be done, and return the calls' outcomes: replies, or errors.

        Args:
            calls: One of any kind, or several that are no scripts.
            began: When the asking began, in monotonic seconds.
        """
        if calls[0].op in PLAIN and not calls[0].lasting:
            return (yield from self._batched(calls))
        (call,) = calls
        try:
            if call.op == "load":
                return [(yield from self._load(call.key, began))]
            return [(yield from self._until_known(call, began))]
        except RedisError as error:
            return [self._told(error, call)]

    def _batched(self, calls: Sequence[Call]) -> Doings:
        client, commands = self._for(calls[0]), [call.words for call in calls]
        try:
            outcomes = yield Batch(client, commands, self._seconds())
        except RedisError as error:
            outcomes = [error] * len(calls)
        return [
            self._told(one, call) if isinstance(one, RedisError) else one
            for call, one in zip(calls, outcomes, strict=True)
        ]

    def _load(self, key: str, began: float) -> Doings:
        """Ask the primary, and a replica where that is away."""
        end = began + self._seconds()
        error: RedisError | None = None
        left = self._left_for_replicas(key)
        if left is not None:
            end = min(end, monotonic() + left)
        else:
            both = [("HGETALL", key), ("PTTL", key)]
            try:
                replies = yield Batch(self.client, both, left_until(began + self._for_primary()))
                return self._loaded(*replies)
            except RedisError as caught:
                error = caught
                if not self.is_away(error):
                    raise
        turn = monotonic()
        try:
            stored = yield One(self.client, ("HGETALL", key), left_until(end), replicas=True)
        except RedisError as caught:
            self._in_vain(key, turn)
            raise caught from error
        self._answered(key)
        return Loaded(stored, None)

    def _until_known(self, call: Call, began: float) -> Doings:
        """Send a script, or an UNLINK; a save whose reply was lost goes again, and says so."""
        end = began + self._seconds()
        unknown: OutcomeUnknownError | None = None
        losses = 0
        while True:
            left: float | None = left_until(end, unknown)
            if unknown is None and self._settings.deadline is None:
                left = None  # the client's own deadline is no other, and sets nothing aside
            try:
                return (yield from self._once(call, left))
            except OutcomeUnknownError as error:
                if call.op not in SCRIPTS or call.repeatable:
                    raise
                unknown, call, losses = error, call.again(), losses + 1
            except RedisError as error:
                raise unless_unknown(error, unknown) from error
            yield Pause(rest(losses, end))

    def _once(self, call: Call, seconds: float | None) -> Doings:
        options = AGAIN if call.op in SCRIPTS and call.repeatable else NO_OPTIONS
        key = call.key if call.lasting else None
        try:
            return (yield One(self.client, call.words, seconds, options, key))
        except NoScriptError:
            return (yield One(self.client, call.in_full, seconds, options, key))

    @staticmethod
    def limits(doing: Batch | One) -> AbstractContextManager[None]:
        """Return the block of limits that something is done in."""
        reads = ReadFrom.PREFER_REPLICA if isinstance(doing, One) and doing.replicas else None
        if doing.seconds is None and reads is None:
            return nullcontext()
        block: AbstractContextManager[None] = doing.client._limits.block(  # noqa: SLF001 - ours too
            deadline=doing.seconds, read_from=reads
        )
        return block

    def durable(self, key: str) -> Any:
        """Return what waits for replicas, if a key's shard has any and they are to be waited for.

        The topology has to be known.
        """
        wanted = self._settings.ack_replicas
        if not wanted or self.client.get_node_from_key(key, replica=True) is None:
            return None
        return self.client.durable(wanted, self._settings.ack_timeout)

    # Who is away ------------------------------------------------------------------------------

    def _left_for_replicas(self, key: str) -> float | None:
        """Return the seconds to ask a replica at once; None to ask the primary first.

        Raises:
            SessionUnavailableError: That was in vain, under this very suspicion.
        """
        suspicion = self.client.doubts(key)
        if suspicion is None:
            return None
        failed = self._failed.get(suspicion)
        if failed is None:
            return inf
        if monotonic() - failed < _PAUSE:
            msg = (
                "neither the primary of the session's shard nor a replica answers: one load a"
                " second asks again, and all once there was an answer"
            )
            raise SessionUnavailableError(msg, command="LOAD", slot=self.client.keyslot(key))
        self._failed[suspicion] = monotonic()  # this one asks; no other waits with it
        return self._settings.stale_after

    def _in_vain(self, key: str, began: float) -> None:
        """Take note that no replica answered, for the whole shard; unless there was no time to."""
        suspicion = self.client.doubts(key)
        # A call with a short deadline of its own tells nothing of the shard.
        usual = min(self._settings.stale_after, self._settings.deadline or inf)
        if suspicion is not None and monotonic() - began >= usual / 4:
            self._failed[suspicion] = monotonic()

    def _answered(self, key: str) -> None:
        """Take note that a replica answers."""
        suspicion = self.client.doubts(key)
        if suspicion is not None:
            self._failed.pop(suspicion, None)

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


def left_until(end: float, unknown: OutcomeUnknownError | None = None) -> float:
    """Return the seconds left.

    Raises:
        OutcomeUnknownError: None, and the call was sent before.
    """
    left = end - monotonic()
    if left <= 0 and unknown is not None:
        raise unknown
    return max(left, 0.001)

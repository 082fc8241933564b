"""Every error of this package, under redis-py's own classes.

    redis.RedisError
    └── ClusterCacheError                       below: command, slot, node, attempts
        ├── ConfigurationError (+ ValueError)   a URL, an option, or the database is wrong
        ├── InvalidArgumentError (+ redis.DataError)    a call is wrong; nothing was sent
        │   ├── UnsupportedCommandError         names the right API
        │   └── CrossSlotError (+ redis.exceptions.ClusterCrossSlotError, RedisClusterException)
        ├── ReplyDecodeError (+ redis.InvalidResponse, ValueError)  a reply is not text
        ├── ReplyTooLargeError (+ redis.ConnectionError)    it is larger than max_reply_bytes
        ├── PartialError                        a split call succeeded for some keys (`outcomes`)
        ├── DeadlineExceededError (+ redis.TimeoutError)
        │   └── OutcomeUnknownError (+ redis.ConnectionError)   it may have been applied: look first
        ├── NotReplicatedError                  too few replicas have a durable write
        ├── OvertakenError                      a later command of the batch on its key was executed
        ├── PoolTimeoutError (+ redis.TimeoutError)     no connection came free in time
        ├── ShardUnavailableError (+ redis.ConnectionError)     too many calls wait for a sick shard
        ├── NoClusterError (+ redis.ConnectionError)    no seed gave a topology
        ├── UntrustedError (+ redis.ConnectionError)    TLS cannot be had with these settings
        ├── ClosedError (+ redis.ConnectionError)       the client was closed
        ├── SessionError                        below: what became of a session
        │   ├── SessionUnavailableError (+ redis.ConnectionError)   its shard cannot be asked
        │   ├── SessionGoneError                it was ended or rotated meanwhile; nothing written
        │   ├── SessionTooLargeError (+ ValueError)     larger than max_bytes; nothing was sent
        │   ├── SessionLimitError               the user has as many sessions as allowed
        │   ├── SessionRevokedError             all were logged out while this one logged in
        │   └── SessionNotLoadedError           it was looked at before `await session.load()`
        └── AdminError                          building or checking a cluster failed
            └── PlanError (+ ValueError)        the nodes given cannot make that cluster

What a server answers with keeps redis-py's class (`ResponseError`, `AuthenticationError`, ...),
so ``except redis.RedisError`` catches everything. Each error says `applied`: "no", when the
command was certainly not executed, "maybe", when that cannot be known.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import redis.exceptions as base

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = [
    "AdminError",
    "ClosedError",
    "ClusterCacheError",
    "ConfigurationError",
    "CrossSlotError",
    "DeadlineExceededError",
    "InvalidArgumentError",
    "NoClusterError",
    "NotReplicatedError",
    "OutcomeUnknownError",
    "OvertakenError",
    "PartialError",
    "PlanError",
    "PoolTimeoutError",
    "ReplyDecodeError",
    "ReplyTooLargeError",
    "SessionError",
    "SessionGoneError",
    "SessionLimitError",
    "SessionNotLoadedError",
    "SessionRevokedError",
    "SessionTooLargeError",
    "SessionUnavailableError",
    "ShardUnavailableError",
    "UnsupportedCommandError",
    "UntrustedError",
]

_SHOWN = 3
"""Attempts at either end of a long list that a message shows; `attempts` has them all."""

Applied = Literal["no", "maybe"]


class ClusterCacheError(base.RedisError):
    """Base of this package's errors.

    Attributes:
        command: The command's name, or "".
        slot: The slot it was for, or None.
        node: "host:port" of the node last asked, or "".
        attempts: One line for each attempt: node, what came of it, seconds.
        applied: "no" or "maybe".
    """

    def __init__(
        self,
        message: str,
        *,
        command: str = "",
        slot: int | None = None,
        node: str = "",
        attempts: Sequence[str] = (),
        applied: Applied = "no",
    ) -> None:
        self.command = command
        self.slot = slot
        self.node = node
        self.attempts = tuple(attempts)
        self.applied: Applied = applied
        super().__init__(message + self._where())

    def _where(self) -> str:
        facts = [self.command]
        if self.slot is not None:
            facts.append(f"slot {self.slot}")
        facts.append(self.node)
        where = ", ".join(fact for fact in facts if fact)
        shown, more = self.attempts, len(self.attempts) - 2 * _SHOWN
        if more > 1:
            shown = (*shown[:_SHOWN], f"{more} more", *shown[-_SHOWN:])
        tried = "; ".join(shown)
        return (f" [{where}]" if where else "") + (f" (attempts: {tried})" if tried else "")


class ConfigurationError(ClusterCacheError, ValueError):
    """A URL or an option is wrong. Nothing was opened."""


class InvalidArgumentError(ClusterCacheError, base.DataError):
    """The arguments of a call are wrong. Nothing was sent."""


class UnsupportedCommandError(InvalidArgumentError):
    """It would change the state of a shared connection; the message names the right API."""


class CrossSlotError(InvalidArgumentError, base.ClusterCrossSlotError, base.RedisClusterException):
    """The keys live in several slots and the command cannot be split; use a {hash tag}."""


class DeadlineExceededError(ClusterCacheError, base.TimeoutError):
    """The call's deadline passed with all its redirects, retries and waits."""


class OutcomeUnknownError(DeadlineExceededError, base.ConnectionError):
    """The command was sent and its reply was lost, and sending it twice could apply it twice."""


class NotReplicatedError(ClusterCacheError):
    """A durable write was executed, and fewer replicas than wanted have it: it may yet be lost.

    Attributes:
        acknowledged: How many replicas have it.
        wanted: How many were wanted.
    """

    def __init__(self, message: str, acknowledged: int = 0, wanted: int = 0, **facts: Any) -> None:
        super().__init__(message, **facts)
        # Unpickled without: they come back with the other attributes.
        self.acknowledged = acknowledged
        self.wanted = wanted


class OvertakenError(ClusterCacheError):
    """A command of a pipeline was refused, and a later one on the same key was executed.

    To send it again would have inverted the two, so it was not.
    """


class PoolTimeoutError(ClusterCacheError, base.TimeoutError):
    """No connection or room on it came free in time: raise max_connections or max_in_flight."""


class ShardUnavailableError(ClusterCacheError, base.ConnectionError):
    """As many calls as `max_waiting` allows wait for this shard already; this one did not wait."""


class NoClusterError(ClusterCacheError, base.ConnectionError):
    """None of the seeds gave a topology."""


class UntrustedError(ClusterCacheError, base.ConnectionError):
    """TLS failed for a reason that no waiting mends, such as a certificate that is not trusted."""


class ClosedError(ClusterCacheError, base.ConnectionError):
    """The client was closed before or during the call."""


class ReplyDecodeError(ClusterCacheError, base.InvalidResponse, ValueError):
    """A reply is not text in the client's encoding; its bytes are not part of the error."""


class ReplyTooLargeError(ClusterCacheError, base.ConnectionError):
    """A reply is larger than `max_reply_bytes`: it was not read to its end."""


class PartialError(ClusterCacheError):
    """A call that was split by slot succeeded for some keys and failed for others.

    Attributes:
        outcomes: For each key, in the order given, its result or the exception. The keys are not
            part of the message.
    """

    def __init__(
        self, message: str, outcomes: Mapping[Any, Any] | None = None, **facts: Any
    ) -> None:
        super().__init__(message, **facts)
        # Unpickled without: the outcomes come back with the other attributes.
        self.outcomes: Mapping[Any, Any] = outcomes or {}


class SessionError(ClusterCacheError):
    """A session could not be read or written as asked. Names it by its public id at most."""


class SessionUnavailableError(SessionError, base.ConnectionError):
    """The shard of a session cannot be asked, so that nobody knows whether it exists: try again.

    Attributes:
        retry_after: Seconds after which it is worth it.
    """

    retry_after = 1


class SessionGoneError(SessionError):
    """The session was ended, or its token replaced, since it was loaded. Nothing was written."""


class SessionTooLargeError(SessionError, ValueError):
    """The session is larger than `max_bytes`. Nothing was sent: keep large things elsewhere."""


class SessionLimitError(SessionError):
    """The user has as many sessions as `limit` allows, and `when_full` is "refuse"."""


class SessionRevokedError(SessionError):
    """All sessions of the user were ended while this one was logging in: log in again."""


class SessionNotLoadedError(SessionError):
    """With `load="lazy"`, a session is looked at after `await session.load()`."""


class AdminError(ClusterCacheError):
    """Building, changing or checking a cluster failed; the message says what was left done."""


class PlanError(AdminError, ValueError):
    """The nodes given cannot make the cluster asked for. Nothing was changed."""

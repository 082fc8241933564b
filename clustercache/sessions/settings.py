"""What a store can be told."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from math import isfinite
from typing import TYPE_CHECKING, Any, Literal

from clustercache._values.serializers import TaggedJSON
from clustercache.exceptions import ConfigurationError

if TYPE_CHECKING:
    from clustercache._values.serializers import Serializer
    from clustercache.instrumentation import Hook
    from clustercache.sessions.keyring import KeyRing
    from clustercache.sessions.migration import SessionReader

OnUnavailable = Literal["raise", "read_only", "anonymous"]
WhenFull = Literal["refuse", "evict"]


@dataclass(frozen=True, kw_only=True)
class SessionSettings:
    """How sessions live; times in seconds.

    Args:
        prefix: Begins all keys. Without a hash tag, so that sessions spread over the slots.
        idle: A session ends when it was not used for so long.
        lifetime: It ends so long after its creation, or its last login, however much it is used.
        touch_after: Use is written down at most so often: the idle limit is exact to this.
        renew_after: The token is renewed when it is so old; None for never.
        grace: For so long a token that was renewed is good beside its successor.
        max_bytes: Of one session, encoded. A larger one is refused before anything is sent.
        limit: Sessions that a user may have at a time; None for any number.
        when_full: What a login past the limit does: "refuse" it, or "evict" the oldest session.
        stale_after: A primary that does not answer for so long, or for half the deadline, is asked
            no more: a replica is.
        deadline: For each round trip of a load, a save or a list, with all retries; None: the
            client's.
        ack_replicas: Login, logout and rotation wait until so many replicas have them; 0: for none.
        ack_timeout: They wait no longer than this, and are done all the same.
        on_unavailable: Frameworks, when a session cannot be read: "raise" (503 unless the
            application handles it), "read_only" or "anonymous" (go on with an empty one that
            cannot be saved; the first of them only where nothing is read from it).
        serializer: Turns values into bytes. None of ours runs code from what it reads.
        keys: Encrypts each field; see `KeyRing`.
        migrate: Reads sessions that another store left; see `clustercache.sessions.migration`.
        hooks: Called with each event, as a client's.
    """

    prefix: str = "session"
    idle: float = 1800.0
    lifetime: float = 86400.0
    touch_after: float = 60.0
    renew_after: float | None = 900.0
    grace: float = 60.0
    max_bytes: int = 64 * 1024
    limit: int | None = None
    when_full: WhenFull = "refuse"
    stale_after: float = 1.25
    deadline: float | None = None
    ack_replicas: int = 1
    ack_timeout: float = 0.1
    on_unavailable: OnUnavailable = "raise"
    serializer: Serializer = field(default_factory=TaggedJSON)
    keys: KeyRing | None = None
    migrate: SessionReader | None = None
    hooks: tuple[Hook, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what cannot work, before anything is opened."""
        for name in ("idle", "lifetime", "touch_after", "grace", "stale_after", "ack_timeout"):
            _positive(name, getattr(self, name))
        for name in ("renew_after", "deadline"):
            if getattr(self, name) is not None:
                _positive(name, getattr(self, name))
        _prefix(self.prefix)
        if self.renew_after is not None and self.renew_after <= self.grace:
            msg = "renew_after must be longer than grace: else tokens that are in use would end"
            raise ConfigurationError(msg)
        _whole("max_bytes", self.max_bytes, 1)
        _whole("ack_replicas", self.ack_replicas, 0)
        if self.limit is not None:
            _whole("limit", self.limit, 1)
        _one_of("when_full", self.when_full, ("refuse", "evict"))
        _one_of("on_unavailable", self.on_unavailable, ("raise", "read_only", "anonymous"))
        object.__setattr__(self, "hooks", tuple(self.hooks))


NAMES = frozenset(one.name for one in fields(SessionSettings))
"""What a store's options may be, beside the client's."""


def _positive(name: str, value: Any) -> None:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not (number and isfinite(value) and value > 0):
        msg = f"{name} must be a number of seconds above 0, got {value!r}"
        raise ConfigurationError(msg)


def _prefix(value: Any) -> None:
    if not (isinstance(value, str) and value) or "{" in value:
        msg = f"prefix must be a text without a hash tag, got {value!r}"
        raise ConfigurationError(msg)


def _whole(name: str, value: Any, least: int) -> None:
    if type(value) is not int or value < least:
        msg = f"{name} must be a whole number of at least {least}, got {value!r}"
        raise ConfigurationError(msg)


def _one_of(name: str, value: Any, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        msg = f"{name} must be one of {', '.join(allowed)}, got {value!r}"
        raise ConfigurationError(msg)

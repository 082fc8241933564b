"""The records: one frozen class for each thing that happens, and nothing of what users store.

Nodes are "host:port" as the cluster tells them, times are seconds, and what has no node or slot
says "" or None. `str(event)` is the line that is logged: its kind, then its facts.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import ClassVar


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Anything that happened.

    Attributes:
        kind: Its name in logs, as "node_suspected".
    """

    kind: ClassVar[str] = "event"

    def facts(self) -> dict[str, object]:
        """Return its fields by name, without those that say nothing."""
        named = ((field.name, getattr(self, field.name)) for field in fields(self))
        return {name: value for name, value in named if value not in (None, "", ())}

    def __str__(self) -> str:
        return " ".join([self.kind, *(f"{n}={_shown(v)}" for n, v in self.facts().items())])


def _shown(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6f}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
    return f'"{text}"' if " " in text else text


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandDone(Event):
    """A call came back, with a result or an error. Told only where there are hooks.

    Attributes:
        command: The command's name; "PIPELINE" for all calls of one `execute`.
        slot: The slot of its keys; None without keys, or where they live in several.
        node: Who was asked last; "" where it was several nodes, or none.
        seconds: From the call to its end, with all redirects, retries and waits.
        attempts: How often it was tried; that of the part tried most, where it was split.
        error: The exception's class name, or None.
        size: How many calls a pipeline had; 1 for a command.
    """

    kind: ClassVar[str] = "command_done"
    command: str
    slot: int | None = None
    node: str = ""
    seconds: float
    attempts: int = 1
    error: str | None = None
    size: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Redirected(Event):
    """A node sent us to another one.

    Attributes:
        command: The command's name.
        by: "moved" or "ask".
        slot: The slot that it is about.
        node: Who sent us.
        to: Where to.
        attempt: The number of the attempt that ended so, from 1.
    """

    kind: ClassVar[str] = "redirected"
    command: str
    by: str
    slot: int | None
    node: str
    to: str
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Retried(Event):
    """An attempt failed, and the command is sent again.

    Attributes:
        command: The command's name.
        reason: What went wrong: "tryagain", "unready", "unreachable", "no_reply", ...
        slot: The slot of its keys, or None.
        node: Who was asked.
        pause: Seconds to wait first.
        attempt: The number of the attempt that failed, from 1.
    """

    kind: ClassVar[str] = "retried"
    command: str
    reason: str
    slot: int | None
    node: str
    pause: float
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshDone(Event):
    """Nodes were asked for their view of the cluster.

    Attributes:
        answered: How many gave one.
        failed: Those that did not.
        seconds: How long it took.
    """

    kind: ClassVar[str] = "refresh_done"
    answered: int
    failed: tuple[str, ...] = ()
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TopologyChanged(Event):
    """Another map of the cluster is in force.

    Attributes:
        nodes: How many nodes it has.
        shards: How many primaries with slots.
        provisional: Whether it follows a redirect that no view has confirmed yet.
    """

    kind: ClassVar[str] = "topology_changed"
    nodes: int
    shards: int
    provisional: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSuspected(Event):
    """A primary does not answer: calls for its slots wait."""

    kind: ClassVar[str] = "node_suspected"
    node: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeBack(Event):
    """A suspected primary answers again."""

    kind: ClassVar[str] = "node_back"
    node: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeReplaced(Event):
    """A suspected primary owns no slots any more: its successor does."""

    kind: ClassVar[str] = "node_replaced"
    node: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolWaited(Event):
    """A caller had to wait for a connection: max_connections of them were in use.

    Attributes:
        node: Whose pool it is.
        seconds: How long it waited.
    """

    kind: ClassVar[str] = "pool_waited"
    node: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PubSubGap(Event):
    """A subscription was interrupted, so that messages may be missing; or it is back.

    Told when the subscriber gets to read of it.

    Attributes:
        reason: What the gap's message says; "subscribed again" at its end.
    """

    kind: ClassVar[str] = "pubsub_gap"
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionEvent(Event):
    """Anything that happened to a session.

    Attributes:
        session: Its public id, from which neither its token nor its key can be told.
    """

    kind: ClassVar[str] = "session_event"
    session: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionCreated(SessionEvent):
    """A session was stored for the first time."""

    kind: ClassVar[str] = "session_created"


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRotated(SessionEvent):
    """A session got a new verifier.

    Attributes:
        reason: "login", "rotate", or "renew" for the periodic one.
    """

    kind: ClassVar[str] = "session_rotated"
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionDeleted(SessionEvent):
    """A session was ended.

    Attributes:
        reason: "logout", "revoked", "limit", or "race" for a login that came too late.
    """

    kind: ClassVar[str] = "session_deleted"
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionUnknown(SessionEvent):
    """A token came that opens no session: ended, made up, or with a verifier that is not good.

    Attributes:
        reason: "malformed", "absent", "verifier" or "unreadable".
    """

    kind: ClassVar[str] = "session_unknown"
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionStale(SessionEvent):
    """A session was read from a replica, for its primary did not answer."""

    kind: ClassVar[str] = "session_stale"


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionUnavailable(SessionEvent):
    """A session could not be read or written, for its shard could not be asked.

    Attributes:
        error: The class name of what the client said.
    """

    kind: ClassVar[str] = "session_unavailable"
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRefused(SessionEvent):
    """A save was refused, for the session was ended or rotated meanwhile."""

    kind: ClassVar[str] = "session_refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionFieldDropped(SessionEvent):
    """A field of a session could not be read, and is taken for absent.

    Attributes:
        field: Its name.
        reason: What was wrong with it; nothing of its value.
    """

    kind: ClassVar[str] = "session_field_dropped"
    field: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheFailed(Event):
    """A cache did without a server: nothing was read, or nothing was stored.

    Attributes:
        command: "read", "fill" for what was computed, or "set".
        error: The class name of what the client said.
    """

    kind: ClassVar[str] = "cache_failed"
    command: str
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheComputed(Event):
    """A cached function was called, for what it returns was not there.

    Attributes:
        function: Its name.
        seconds: How long it took.
        error: The class name of what it raised, or None.
    """

    kind: ClassVar[str] = "cache_computed"
    function: str
    seconds: float
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StaleServed(Event):
    """A value was served that is not fresh any more.

    Attributes:
        function: The name of the one whose value it is.
    """

    kind: ClassVar[str] = "stale_served"
    function: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheInvalidated(Event):
    """Cached values were invalidated, and the servers confirmed it.

    Attributes:
        what: "keys", "tags", "function" or "namespace".
        count: How many keys were there, those of the values or those that stand for a tag, a
            function or a namespace.
    """

    kind: ClassVar[str] = "cache_invalidated"
    what: str
    count: int

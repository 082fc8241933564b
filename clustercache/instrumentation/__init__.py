"""What a client does, told as it happens: frozen records, and hooks that are called with them.

    def hook(event: Event) -> None: ...
    client = Cluster.from_url(url, hooks=[hook])

Without hooks nothing of this is in the way of a call. No record holds a key, a value, a channel or
a credential.
"""

from __future__ import annotations

from clustercache.instrumentation.events import (
    CacheComputed,
    CacheFailed,
    CacheInvalidated,
    CommandDone,
    Event,
    NodeBack,
    NodeReplaced,
    NodeSuspected,
    PoolWaited,
    PubSubGap,
    Redirected,
    RefreshDone,
    Retried,
    SessionCreated,
    SessionDeleted,
    SessionEvent,
    SessionFieldDropped,
    SessionRefused,
    SessionRotated,
    SessionStale,
    SessionUnavailable,
    SessionUnknown,
    StaleServed,
    TopologyChanged,
)
from clustercache.instrumentation.hooks import Hook

__all__ = [
    "CacheComputed",
    "CacheFailed",
    "CacheInvalidated",
    "CommandDone",
    "Event",
    "Hook",
    "NodeBack",
    "NodeReplaced",
    "NodeSuspected",
    "PoolWaited",
    "PubSubGap",
    "Redirected",
    "RefreshDone",
    "Retried",
    "SessionCreated",
    "SessionDeleted",
    "SessionEvent",
    "SessionFieldDropped",
    "SessionRefused",
    "SessionRotated",
    "SessionStale",
    "SessionUnavailable",
    "SessionUnknown",
    "StaleServed",
    "TopologyChanged",
]

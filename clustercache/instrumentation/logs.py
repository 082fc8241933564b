"""One place that turns events into log lines: "node_suspected node=127.0.0.1:7001".

The loggers are children of "clustercache", which has a NullHandler: a program that configures no
logging sees nothing. Each record also carries the event's facts as attributes
("clustercache.node"), for formatters that write JSON.
"""

from __future__ import annotations

import logging
from typing import Final

from clustercache.instrumentation import events

_LEVELS: Final[dict[type[events.Event], tuple[str, int]]] = {
    events.CommandDone: ("command", logging.DEBUG),
    events.Redirected: ("command", logging.DEBUG),
    events.Retried: ("command", logging.DEBUG),
    events.PoolWaited: ("pool", logging.DEBUG),
    events.RefreshDone: ("topology", logging.DEBUG),
    events.TopologyChanged: ("topology", logging.INFO),
    events.NodeSuspected: ("node", logging.WARNING),
    events.NodeBack: ("node", logging.WARNING),
    events.NodeReplaced: ("node", logging.WARNING),
    events.PubSubGap: ("pubsub", logging.WARNING),
    events.SessionCreated: ("session", logging.INFO),
    events.SessionRotated: ("session", logging.INFO),
    events.SessionDeleted: ("session", logging.INFO),
    events.SessionUnknown: ("session", logging.INFO),
    events.SessionRefused: ("session", logging.INFO),
    events.SessionStale: ("session", logging.WARNING),
    events.SessionUnavailable: ("session", logging.WARNING),
    events.SessionFieldDropped: ("session", logging.WARNING),
    events.CacheFailed: ("cache", logging.WARNING),
    events.CacheComputed: ("cache", logging.DEBUG),
    events.CacheInvalidated: ("cache", logging.DEBUG),
    events.StaleServed: ("cache", logging.DEBUG),
}
_TARGETS = {
    kind: (logging.getLogger(f"clustercache.{name}"), level)
    for kind, (name, level) in _LEVELS.items()
}
_OTHERS = (logging.getLogger("clustercache"), logging.DEBUG)
_commands = logging.getLogger("clustercache.command")


def log(event: events.Event) -> None:
    """Write the event's line, if its logger wants it."""
    logger, level = _TARGETS.get(type(event), _OTHERS)
    if isinstance(event, events.RefreshDone) and event.failed:
        level = logging.INFO
    if logger.isEnabledFor(level):
        extra = {f"clustercache.{name}": value for name, value in event.facts().items()}
        logger.log(level, "%s", event, extra=extra)


def commands_are_logged() -> bool:
    """Tell whether redirects and retries are worth a record although nobody is hooked on."""
    return _commands.isEnabledFor(logging.DEBUG)

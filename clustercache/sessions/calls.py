"""What a store asks of the servers: each call is about one key, and knows its commands.

Pure: it makes the words, and reads nothing but replies.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from clustercache._direct import SCRIPT_OF_ONE_KEY
from clustercache.sessions.record import FACTS
from clustercache.sessions.scripts import SCRIPTS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_AGAIN: Final = 2
"""Where the save script is told that it was sent before."""


class Call(NamedTuple):
    """One operation on one key.

    Attributes:
        op: A script's name, or one of `PLAIN`, or "load".
        key: What it is about.
        args: The script's ARGV, or the command's words after the key.
        lasting: Whether replicas are waited for; the reply is an `Acknowledged` then.
    """

    op: str
    key: str
    args: tuple[Any, ...] = ()
    lasting: bool = False

    def again(self) -> Call:
        """Return a save that says that it was sent before."""
        return self._replace(args=(*self.args[:_AGAIN], b"1", *self.args[_AGAIN + 1 :]))

    @property
    def words(self) -> tuple[Any, ...]:
        """The command, for what is no load."""
        if self.op in SCRIPTS:
            return (SCRIPT_OF_ONE_KEY, SCRIPTS[self.op].sha, 1, self.key, *self.args)
        return PLAIN[self.op](self)

    @property
    def in_full(self) -> tuple[Any, ...]:
        """The command of a script, for a server that does not know it."""
        return ("EVAL", SCRIPTS[self.op].source, 1, self.key, *self.args)

    @property
    def repeatable(self) -> bool:
        """Whether a script may be sent twice, just as it is."""
        return SCRIPTS[self.op].repeatable


class Loaded(NamedTuple):
    """The reply to a load.

    Attributes:
        stored: The hash; empty where there is none.
        ttl: What is left of its time in milliseconds; None where a replica told.
    """

    stored: Mapping[bytes, bytes]
    ttl: int | None

    @property
    def stale(self) -> bool:
        """Whether a replica told."""
        return self.ttl is None


class Acknowledged(NamedTuple):
    """The reply to a lasting call, and how many replicas have what it wrote."""

    reply: Any
    replicas: int


PLAIN: Final[dict[str, Callable[[Call], tuple[Any, ...]]]] = {
    "unlink": lambda call: ("UNLINK", call.key),
    "exists": lambda call: ("EXISTS", call.key),
    "facts": lambda call: ("HMGET", call.key, *FACTS),
    "drop": lambda call: ("ZREM", call.key, *call.args),
    "old": lambda call: ("GET", call.key),
    "retire": lambda call: ("UNLINK", call.key),
}
"""What is no script: UNLINK's and EXISTS' count, HMGET's values, ZREM's count, GET's value."""

OLDER: Final = frozenset({"old", "retire"})
"""What an older store is asked."""

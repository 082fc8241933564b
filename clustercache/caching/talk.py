"""What is said on a tracking connection besides reads: how it begins, and the heartbeat.

A node is asked how it is *before* the PING: the PONG certifies all answers and pushes before it.
"""

from __future__ import annotations

import logging
import re
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple

from clustercache._core import wire
from clustercache._core.vouching import Health
from clustercache._core.wire import ServerError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from clustercache._core.address import Address

    Questions = tuple[tuple[str, ...], ...]

_log = logging.getLogger("clustercache.credentials")

CLUSTER: Questions = (("CLUSTER", "INFO"), ("CLUSTER", "SLOTS"), ("PING",))
"""What a cluster's node is asked."""
ALONE: Questions = (("ROLE",), ("PING",))
"""What a server is asked that is no cluster's."""
_EPOCH = re.compile(rb"cluster_my_epoch:(\d+)")


class Unwilling(NamedTuple):
    """Why a node cannot be tracked."""

    command: str
    error: ServerError


def health_of(questions: Questions, replies: Sequence[Any], sent: float) -> Health | Unwilling:
    """Return what a node's answers say.

    Args:
        questions: What it was asked.
        replies: Its answers.
        sent: When it was asked, in monotonic seconds.
    """
    for question, reply in zip(questions, replies, strict=True):
        if type(reply) is ServerError:
            return Unwilling(" ".join(question), reply)
    if questions is ALONE:
        return Health(sent, serving=replies[0][0] == b"master")
    info, slots, _ = replies
    epoch = _EPOCH.search(info)
    return Health(sent, b"cluster_state:ok" in info, slots, epoch and int(epoch[1]))


class Beat:
    """One heartbeat that is under way.

    Attributes:
        sent: When, in monotonic seconds.
    """

    __slots__ = ("_questions", "_replies", "_then", "sent")

    def __init__(
        self, questions: Questions, then: Callable[[Health | Unwilling | None], None]
    ) -> None:
        """Send it now.

        Args:
            questions: What is asked.
            then: Gets what it says; None where the connection was lost before.
        """
        self._questions = questions
        self._replies: list[Any] = []
        self._then = then
        self.sent = monotonic()

    @property
    def data(self) -> bytes:
        """What is sent."""
        return wire.pack_many(self._questions)

    @property
    def count(self) -> int:
        """How many replies there will be."""
        return len(self._questions)

    def take(self, reply: Any) -> None:
        """Take the next of the replies."""
        self._replies.append(reply)
        if len(self._replies) == self.count:
            self._then(health_of(self._questions, self._replies, self.sent))

    def lost(self) -> None:
        """Take note that no more replies will come."""
        self._then(None)


class Greeting:
    """How a tracking connection begins: handshake, CLIENT TRACKING, and the first heartbeat.

    Attributes:
        settled: Whether all of it was answered, or refused.
    """

    __slots__ = ("_beat", "_required", "_then", "settled")

    def __init__(
        self, questions: Questions, then: Callable[[Health | Unwilling | None], None]
    ) -> None:
        """Take what is asked in the first heartbeat, and who gets what it says."""
        self._beat = Beat(questions, self._end)
        self._required: list[str | None] = []
        self._then = then
        self.settled = False

    def shake_hands(self, steps: Sequence[tuple[tuple[Any, ...], bool]]) -> bytes:
        """Return what is sent, from a handshake of (command, must it succeed) pairs."""
        whole = [*steps, (("CLIENT", "TRACKING", "ON", "OPTIN"), True)]
        self._required = [str(command[0]) if must else None for command, must in whole]
        return wire.pack_many([command for command, _ in whole]) + self._beat.data

    @property
    def count(self) -> int:
        """How many replies there will be."""
        return len(self._required) + self._beat.count

    def take(self, reply: Any) -> None:
        """Take the next of the replies."""
        if not self._required:
            self._beat.take(reply)
            return
        command = self._required.pop(0)
        if command is not None and type(reply) is ServerError and not self.settled:
            self._end(Unwilling(command, reply))

    def _end(self, health: Health | Unwilling | None) -> None:
        if not self.settled:
            self.settled = True
            self._then(health)

    def lost(self) -> None:
        """Take note that no more replies will come."""
        self._end(None)


class Login:
    """New credentials that are on their way to a node."""

    __slots__ = ("_node",)

    def __init__(self, node: Address) -> None:
        """Remember which node."""
        self._node = node

    def take(self, reply: Any) -> None:
        """Take the reply; who is refused keeps the credentials that he has."""
        if type(reply) is ServerError:
            _log.warning("credentials_refused node=%s code=%s", self._node, reply.code)

    def lost(self) -> None:
        """Take note that no reply will come: the next connection asks for credentials itself."""

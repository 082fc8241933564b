"""One timer per connection: it looks at the oldest command that has no reply.

Commands that were written in the same hundredth of a second share a mark. The timer is set for the
moment at which the oldest mark matters, and not moved by what happens meanwhile, so that a loaded
connection sets about one timer in each socket_timeout.
"""

from __future__ import annotations

from collections import deque
from itertools import islice
from time import monotonic
from typing import TYPE_CHECKING

from clustercache._async.slots import Replies, settle
from clustercache._core.decisions import Trouble

if TYPE_CHECKING:
    import asyncio

    from clustercache._async.connection import Connection
    from clustercache.config import ClusterConfig

_GRAIN = 0.01
"""Seconds of writing that share a mark."""


class Watch:
    """Tells of silence, and ends what is past the client's own deadline.

    Calls with a deadline of their own have a timer of their own: they wait for `Replies`.
    """

    __slots__ = ("_connection", "_deadline", "_loop", "_marks", "_patience", "_timer", "wrote")

    def __init__(
        self, connection: Connection, config: ClusterConfig, loop: asyncio.AbstractEventLoop
    ) -> None:
        """Set no timer yet."""
        self._connection = connection
        self._deadline = config.deadline + _GRAIN
        self._patience = config.patience
        self._loop = loop
        self.wrote = 0.0
        """When something was written last."""
        self._timer: asyncio.TimerHandle | None = None
        # (when, how many replies had been asked for before), the oldest first.
        self._marks: deque[tuple[float, int]] = deque()

    def written(self, asked: int) -> None:
        """Note that something is being written.

        Args:
            asked: How many replies the connection was asked for before.
        """
        self.wrote = now = monotonic()
        if not self._marks or now - self._marks[-1][0] >= _GRAIN:
            self._marks.append((now, asked))
        if self._timer is None:
            first = min(self._patience, self._deadline)
            self._timer = self._loop.call_later(first, self._look)

    def stop(self) -> None:
        """Set no timer any more."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None

    def _look(self) -> None:
        self._timer = None
        self._forget_what_came()
        now, connection = monotonic(), self._connection
        since = [mark[0] for mark in islice(self._marks, 1)]
        if connection.blocked_since is not None:
            since.append(connection.blocked_since)
        if not since:
            return
        due = max(connection.heard, min(since)) + self._patience
        self._expire_unwritten(now)
        if now >= due:
            due = now + self._patience
            connection.tell_silence()
        blocked = connection.blocked_since
        if self._expire(now) or (blocked is not None and now - blocked >= self._deadline):
            connection.lose()
        if not connection.closed:
            if connection.kept_since is not None:
                since.append(connection.kept_since)
            due = min(due, min(since) + self._deadline)
            self._timer = self._loop.call_later(max(due - now, _GRAIN), self._look)

    def _forget_what_came(self) -> None:
        marks, connection = self._marks, self._connection
        came = connection.asked - len(connection.sent)
        while marks and self._end_of_first() <= came:
            marks.popleft()

    def _end_of_first(self) -> int:
        return self._marks[1][1] if len(self._marks) > 1 else self._connection.asked

    def _expire_unwritten(self, now: float) -> None:
        """End what waited too long for a node that reads, but slowly: it will not be written."""
        connection = self._connection
        since = connection.kept_since
        if since is not None and since + self._deadline <= now:
            connection.kept_since = None
            for place in connection.queued:
                if type(place) is not Replies:
                    settle(place, Trouble.EXPIRED, connection.address)

    def _expire(self, now: float) -> bool:
        """End what is too old; tell whether the connection is of no more use to anybody."""
        marks, connection = self._marks, self._connection
        if not marks or marks[0][0] + self._deadline > now:
            return False
        while marks and marks[0][0] + self._deadline <= now:
            count = self._end_of_first() - (connection.asked - len(connection.sent))
            for place in islice(connection.sent, max(count, 0)):
                if type(place) is not Replies:
                    settle(place, Trouble.EXPIRED_UNANSWERED, connection.address)
            marks.popleft()
        if not marks and connection.sent:
            # Nobody waits for these replies any more, and yet they keep others' from coming.
            marks.append((now, connection.asked - len(connection.sent)))
        silent = now - connection.heard >= self._deadline - _GRAIN
        # A call may have a longer deadline of its own.
        return silent and all(p.done() for p in connection.sent if type(p) is Replies)

"""What is said on the tracking connection to one primary, and who reads it.

Whoever waits for an answer reads for all: a thread that reads a key takes what comes meanwhile, and
the attendant (see `attendant`) is not even woken. Where nobody waits, the attendant reads. Event
loops that wait look when something has come; then the attendant leaves it to them for a while, and
reads itself as soon as they do not. Replies and pushes are taken in the order in which they came,
under one lock; only who holds it closes the connection, and others shut it down.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from clustercache._core.vouching import Source
from clustercache._core.wire import Push
from clustercache._events import NoReply, NotSent, Silent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clustercache._core.tracking import Coherence
    from clustercache._sync.link import Link
    from clustercache.caching.near import NearCache
    from clustercache.caching.reading import Reading, Share
    from clustercache.caching.talk import Greeting

_LOSSES = (NotSent, NoReply, Silent, OSError, UnicodeError)
_MOST = 20_000
"""Replies that may be outstanding; reads beyond them are left to the client."""
_LEFT_TO_LOOPS = 0.005
"""Seconds for which the attendant leaves what comes to event loops, if they are quick."""


class Polls(Protocol):
    """Who waits for what comes while nobody else does."""

    def watch(self, descriptor: int) -> None:
        """Begin to wait for a descriptor; it is forgotten when it is closed."""

    def mute(self, descriptor: int) -> None:
        """Stop waiting for it, for somebody reads it."""

    def unmute(self, descriptor: int) -> None:
        """Wait for it again."""


class Ends(Protocol):
    """Who asked, and takes the replies."""

    def take(self, reply: Any, /) -> None:
        """Take the next of the replies."""

    def lost(self) -> None:
        """Take note that no more replies will come."""


class Line:
    """A connection, what is expected on it, and whose turn it is to read.

    Attributes:
        loops: The event loops that look whether something has come.
        source: What the near cache knows of it.
    """

    def __init__(self, near: NearCache, polls: Polls) -> None:
        """Begin without a connection.

        Args:
            near: Who is told of invalidations.
            polls: Who waits while nobody else does.
        """
        self.source = Source()
        self.loops: set[object] = set()
        self._near = near
        self._polls = polls
        self._link: Link[Greeting] | None = None
        self._expected: deque[Ends] = deque()
        self._reading = threading.Lock()
        self._writing = threading.RLock()
        self._watched: int | None = None
        self._looked = self._seen = 0
        self._muted_until: float | None = None

    @property
    def descriptor(self) -> int | None:
        """What is polled, if anything is."""
        return self._watched

    def send(self, readings: Sequence[Reading]) -> None:
        """Ask for keys; where that cannot be done they are lost at once."""
        with self._writing:
            link = self._link
            if link is not None and self.source.ready and len(self._expected) <= _MOST:
                expected = [reading for reading in readings for _ in range(reading.count)]
                self._say(link, expected, b"".join([reading.question for reading in readings]))
                return
        for reading in readings:
            reading.lost()

    def _say(self, link: Link[Greeting], expected: Sequence[Ends], data: bytes) -> None:
        try:
            self._expected.extend(expected)
            link.write(data)
        except BaseException as error:
            link.wake()  # whoever reads it will see, and tell all who wait
            if not isinstance(error, _LOSSES):
                raise

    # For threads that wait --------------------------------------------------------------------

    def lead(self) -> bool:
        """Become who reads the connection, unless somebody is; `finish` ends it."""
        if not self._reading.acquire(blocking=False):
            return False
        if self._watched is not None:
            self._polls.mute(self._watched)
        return True

    def ask(self, reading: Reading, deadline: float) -> None:
        """Read one key; `deadline` is in monotonic seconds."""
        leading = self.lead()
        try:
            with self._writing:
                link = self._link
                if link is None or not self.source.ready or len(self._expected) > _MOST:
                    reading.lost()
                else:
                    self._say(link, (reading, reading), reading.question)
        finally:
            self.finish(reading, deadline, leading=leading)

    def finish(self, asked: Reading | Share, deadline: float, *, leading: bool) -> None:
        """Wait for the answers, and read them unless another thread does.

        Args:
            asked: What was asked.
            deadline: Until when, in monotonic seconds.
            leading: What `lead` said.
        """
        while leading or not asked.done:
            if not leading:
                left = deadline - monotonic()
                if left <= 0 or not self._reading.acquire(timeout=left):
                    return
                if self._watched is not None:
                    self._polls.mute(self._watched)
            leading = False
            try:
                self._read_until(asked, deadline)
            finally:
                if self._watched is not None:
                    self._polls.unmute(self._watched)
                self._reading.release()

    def _read_until(self, asked: Reading | Share, deadline: float) -> None:
        while not asked.done:
            left, link = deadline - monotonic(), self._link
            if left <= 0 or link is None or not link.wait(left):
                return  # the attendant will know whether the node is well
            self._pump(ready=True)

    def _pump(self, *, ready: bool = False) -> None:
        """Take what has come; for who has the right to read."""
        link = self._link
        if link is None:
            return
        try:
            for reply in link.read(ready=ready):
                if type(reply) is Push:
                    self._hear(reply)
                elif self._expected:
                    self._expected.popleft().take(reply)
                else:
                    _refuse()
                if self._link is not link:
                    return
        except _LOSSES as error:
            self._lose(str(error))
        except BaseException:
            self._lose("interrupted, so that it may be out of step")
            raise

    def _hear(self, push: Any) -> None:
        if push[0] == b"invalidate":
            self._near.tell(partial(_invalidate, source=self.source, keys=push[1]))

    def _lose(self, reason: str) -> None:
        """Close the connection; for who has the right to read."""
        raise NotImplementedError

    # For event loops --------------------------------------------------------------------------

    def lend(self) -> tuple[Any, int | None]:
        """Return the connection and a copy of its descriptor, if it can be read without waiting."""
        with self._writing:  # it is not closed meanwhile
            link, watched = self._link, self._watched
            if link is None or watched is None or link.waits:
                return None, None
            return link, os.dup(watched)

    def is_on(self, link: Any) -> bool:
        """Tell whether it still is the same connection."""
        return self._link is link

    def look(self) -> bool:
        """Read what has come, without waiting; tell whether it was possible."""
        self._looked += 1
        return self._read_now()

    def will_look(self) -> None:
        """Say that an event loop waits, and will look."""
        self._looked += 1

    # For the attendant ------------------------------------------------------------------------

    def ready(self) -> None:
        """Read what has come, unless somebody does."""
        if self.loops and self._seen != self._looked and self._watched is not None:
            self._seen = self._looked
            self._muted_until = monotonic() + _LEFT_TO_LOOPS
            self._polls.mute(self._watched)
        else:
            self._read_now()

    def _read_now(self) -> bool:
        if not self._reading.acquire(blocking=False):
            return False
        try:
            self._pump()
        finally:
            self._reading.release()
        return True

    def _listen_again(self, now: float) -> None:
        """Take what comes back from event loops; for who has the right to read."""
        if self._muted_until is not None and now >= self._muted_until:
            self._muted_until = None
            if self._watched is not None:
                self._polls.unmute(self._watched)


def _refuse() -> NoReturn:
    msg = "a reply to nothing that was asked"
    raise NoReply(msg)


def _invalidate(state: Coherence, *, source: Source, keys: list[bytes] | None) -> None:
    if keys is None:
        state.flushed(source)
    else:
        state.void(keys)

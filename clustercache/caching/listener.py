"""The tracking connection to one primary.

Whoever waits for an answer reads for all: a thread that reads a key takes what comes meanwhile, and
the attendant (see `attendant`) is not even woken. Where nobody waits, the attendant reads. Replies
and pushes are taken in the order in which they came, under one lock; only who holds it closes the
connection, and others shut it down.
"""

from __future__ import annotations

import dataclasses
import logging
import math
import threading
from collections import deque
from functools import partial
from itertools import repeat
from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol

from clustercache._core.vouching import Source
from clustercache._core.wire import Push
from clustercache._events import NoReply, NotSent, Silent
from clustercache._limits import jitter
from clustercache._sync.link import Link
from clustercache.caching.talk import ALONE, CLUSTER, Beat, Greeting, Unwilling

if TYPE_CHECKING:
    import ssl

    from clustercache._core.address import Address
    from clustercache._core.tracking import Coherence
    from clustercache._core.vouching import Health
    from clustercache.caching.near import NearCache
    from clustercache.caching.reading import Share
    from clustercache.config import ClusterConfig

_log = logging.getLogger("clustercache.near")
_LOSSES = (NotSent, NoReply, Silent, OSError, UnicodeError)
_MOST = 20_000
"""Replies that may be outstanding; reads beyond them are left to the client."""
_BEATS = 3
"""Heartbeats in the time for which a source is believed."""
_DIALLING = 0.005
"""Seconds until a connection that is being made is looked at again."""
_PAUSES = (0.05, 0.5)
"""The first and the longest pause between attempts to connect, in seconds."""
_PASSING = frozenset({"LOADING", "MASTERDOWN", "CLUSTERDOWN", "BUSY", "TRYAGAIN"})
"""Refusals that end by themselves."""
_REFUSED = 10.0
"""Seconds until a node that cannot be tracked is asked again."""


class Polls(Protocol):
    """Who waits for what comes while nobody else does."""

    def watch(self, descriptor: int) -> None:
        """Begin to wait for a descriptor; it is forgotten when it is closed."""

    def mute(self, descriptor: int) -> None:
        """Stop waiting for it, for somebody reads it."""

    def unmute(self, descriptor: int) -> None:
        """Wait for it again."""


class _Ends(Protocol):
    def take(self, reply: Any, /) -> None: ...
    def lost(self) -> None: ...


class Listener:
    """One primary's tracking connection, made again whenever it is lost.

    Attributes:
        source: What the near cache knows of it.
    """

    def __init__(
        self,
        way: tuple[Address, ClusterConfig, ssl.SSLContext | None],
        near: NearCache,
        polls: Polls,
        *,
        single: bool,
    ) -> None:
        """Open nothing yet.

        Args:
            way: What the connection is made of.
            near: Who is told.
            polls: Who waits for it.
            single: Whether it is no cluster's node.
        """
        target, config, tls = way
        self._way = (target, dataclasses.replace(config, protocol=3), tls)
        self._near = near
        self._polls = polls
        self._questions = ALONE if single else CLUSTER
        self.source = Source()
        self._link: Link[Greeting] | None = None
        self._expected: deque[_Ends] = deque()
        self._reading = threading.Lock()
        self._writing = threading.RLock()
        self._watched: int | None = None
        self._beat: Beat | None = None
        self._beat_at = 0.0
        self._failures = 0
        self._retry = 0.0
        self._warned = False

    # For who reads keys -----------------------------------------------------------------------

    def lead(self) -> bool:
        """Become who reads the connection, unless somebody is; `finish` ends it."""
        if not self._reading.acquire(blocking=False):
            return False
        self._mute()
        return True

    def send(self, share: Share) -> None:
        """Ask for keys; where that cannot be done they are lost at once."""
        with self._writing:
            link = self._link
            if link is None or not self.source.ready or len(self._expected) > _MOST:
                share.lost()
            else:
                self._say(link, share, share.data)

    def _say(self, link: Link[Greeting], one: Share | Beat, data: bytes) -> None:
        try:
            self._expected.extend(repeat(one, one.count))
            link.write(data)
        except BaseException as error:
            link.wake()  # whoever reads it will see, and tell all who wait
            if not isinstance(error, _LOSSES):
                raise

    def finish(self, share: Share, deadline: float, *, leading: bool) -> None:
        """Wait for the answers, and read them unless another thread does.

        Args:
            share: What was asked.
            deadline: Until when, in monotonic seconds.
            leading: What `lead` said.
        """
        while leading or not share.done:
            if not leading:
                left = deadline - monotonic()
                if left <= 0 or not self._reading.acquire(timeout=left):
                    return
                self._mute()
            leading = False
            try:
                self._read_until(share, deadline)
            finally:
                self._unmute()
                self._reading.release()

    def _read_until(self, share: Share, deadline: float) -> None:
        while not share.done:
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
                self._take(reply)
                if self._link is not link:
                    return
        except _LOSSES as error:
            self._lose(str(error))
        except BaseException:
            self._lose("interrupted, so that it may be out of step")
            raise

    def _take(self, reply: Any) -> None:
        if type(reply) is not Push:
            if not self._expected:
                msg = "a reply to nothing that was asked"
                raise NoReply(msg)
            self._expected.popleft().take(reply)
        elif reply[0] == b"invalidate":
            self._near.tell(partial(_invalidate, source=self.source, keys=reply[1]))

    def _mute(self) -> None:
        if self._watched is not None:
            self._polls.mute(self._watched)

    def _unmute(self) -> None:
        if self._watched is not None:
            self._polls.unmute(self._watched)

    # For the attendant ------------------------------------------------------------------------

    @property
    def descriptor(self) -> int | None:
        """What is polled, if anything is."""
        return self._watched

    def ready(self) -> None:
        """Read what has come, unless somebody does."""
        if self._reading.acquire(blocking=False):
            try:
                self._pump()
            finally:
                self._reading.release()

    def turn(self, now: float) -> float:
        """Do what is due; return when to look again, both in monotonic seconds."""
        if not self._reading.acquire(blocking=False):
            link = self._link
            if link is not None and self._is_overdue(now):
                link.wake()
            self._beat_if_due(now)
            return self._due(now)
        try:
            self._keep_up(now)
        finally:
            self._reading.release()
        return self._due(now)

    def close(self) -> None:
        """Close the connection; what waits for it is told."""
        with self._reading:
            self._lose("closed")
            self._retry = math.inf

    def abandon(self) -> None:
        """Close the socket, in a child that shares it; whoever held a lock is not here."""
        if self._link is not None:
            self._link.close()

    def _due(self, now: float) -> float:
        if self._link is None:
            return self._retry
        if self._watched is None:
            return now + _DIALLING
        beat = self._beat
        due = self._beat_at if beat is None else beat.sent + self._near.max_silence
        return max(due, now + _DIALLING)

    def _keep_up(self, now: float) -> None:
        try:
            if self._link is None and now >= self._retry:
                self._connect()
            link = self._link
            if link is not None and link.dialling:
                self._dial(link)
            if link is not None and self._is_overdue(now):
                self._lose("no answer in time to a PING, or to the handshake")
        except Exception as error:  # noqa: BLE001 - a provider of credentials may raise anything
            self._lose(str(error))
        self._beat_if_due(now)

    def _connect(self) -> None:
        greeting = Greeting(self._questions, self._settled)
        with self._writing:
            self._link = Link(*self._way, greeting)
            self._expected.extend(repeat(greeting, greeting.count))

    def _dial(self, link: Link[Greeting]) -> None:
        link.advance()
        descriptor = link.fileno()
        if descriptor is not None:
            self._watched = descriptor
            self._polls.watch(descriptor)

    def _is_overdue(self, now: float) -> bool:
        link, beat = self._link, self._beat
        if link is not None and not link.session.settled:
            return now - link.born > self._way[1].socket_connect_timeout
        return beat is not None and self._near.is_overdue(beat.sent, now)

    def _beat_if_due(self, now: float) -> None:
        with self._writing:
            link = self._link
            settled = link is not None and link.session.settled
            if link is None or not settled or self._beat is not None or now < self._beat_at:
                return
            self._beat_at = now + self._near.max_silence / _BEATS
            self._beat = Beat(self._questions, self._beaten)
            self._say(link, self._beat, self._beat.data)

    # What is heard ----------------------------------------------------------------------------

    def _settled(self, outcome: Health | Unwilling | None) -> None:
        if isinstance(outcome, Unwilling):
            self._give_up(outcome)
        elif outcome is not None:
            self._failures = 0
            self._beat_at = monotonic() + self._near.max_silence / _BEATS
            self._near.tell(partial(_tracked, source=self.source, health=outcome))

    def _beaten(self, outcome: Health | Unwilling | None) -> None:
        self._beat = None
        if isinstance(outcome, Unwilling):
            self._give_up(outcome)
        elif outcome is not None:
            self._near.tell(partial(_beaten, source=self.source, health=outcome))

    def _give_up(self, why: Unwilling) -> None:
        if why.error.code in _PASSING:
            self._lose(why.error.text)
            return
        if not self._warned:
            self._warned = True
            _log.warning("not_tracked node=%s command=%s reason=%s", self._way[0], *why)
        self._lose("refused")
        self._retry = monotonic() + _REFUSED

    def _lose(self, reason: str) -> None:
        """Close the connection; for who has the right to read."""
        with self._writing:
            link, self._link = self._link, None
            expected, self._expected = self._expected, deque()
            self._watched = self._beat = None
            self._near.tell(partial(_lost, source=self.source))
            if link is not None:
                link.close()
        first, longest = _PAUSES
        self._retry = monotonic() + min(first * 2**self._failures, longest) * jitter()
        self._failures = min(self._failures + 1, 8)
        _log.debug("tracking_lost node=%s reason=%s", self._way[0], reason)
        for one in dict.fromkeys(expected):
            one.lost()


def _invalidate(state: Coherence, *, source: Source, keys: list[bytes] | None) -> None:
    if keys is None:
        state.flushed(source)
    else:
        state.void(keys)


def _tracked(state: Coherence, *, source: Source, health: Health) -> None:
    state.tracked(source, health)


def _beaten(state: Coherence, *, source: Source, health: Health) -> None:
    state.beat(source, health)


def _lost(state: Coherence, *, source: Source) -> None:
    state.lost(source)

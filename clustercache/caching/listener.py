"""The tracking connection to one primary: made, kept up by heartbeats, and made again."""

from __future__ import annotations

import dataclasses
import logging
import math
from collections import deque
from functools import partial
from itertools import repeat
from time import monotonic
from typing import TYPE_CHECKING, Any

from clustercache._core import wire
from clustercache._limits import jitter
from clustercache._sync.link import Link
from clustercache.caching.line import Line
from clustercache.caching.talk import ALONE, CLUSTER, Beat, Greeting, Login, Unwilling

if TYPE_CHECKING:
    import ssl

    from clustercache._core.address import Address
    from clustercache._core.tracking import Coherence
    from clustercache._core.vouching import Health, Source
    from clustercache.caching.line import Ends, Polls
    from clustercache.caching.near import NearCache
    from clustercache.config import ClusterConfig

_log = logging.getLogger("clustercache.near")
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


class Listener(Line):
    """One primary's tracking connection, made again whenever it is lost."""

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
        super().__init__(near, polls)
        target, config, tls = way
        self._way = (target, dataclasses.replace(config, protocol=3), tls)
        self._questions = ALONE if single else CLUSTER
        self._beat: Beat | None = None
        self._beat_at = 0.0
        self._failures = 0
        self._retry = 0.0
        self._warned = False

    # For the attendant ------------------------------------------------------------------------

    def turn(self, now: float) -> float:
        """Do what is due; return when to look again, both in monotonic seconds."""
        if not self._reading.acquire(blocking=False):
            link = self._link
            if link is not None and self._is_overdue(now):
                link.wake()
            self._beat_if_due(now)
            return self._due(now)
        try:
            self._listen_again(now)
            self._keep_up(now)
        finally:
            self._reading.release()
        return self._due(now)

    def authenticate(self, login: tuple[Any, ...]) -> None:
        """Send new credentials, behind the handshake if that is under way."""
        with self._writing:
            if self._link is not None:
                self._say(self._link, [Login(self._way[0])], wire.pack(login))

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
        return max(min(due, self._muted_until or due), now + _DIALLING)

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
            self._say(link, [self._beat] * self._beat.count, self._beat.data)

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
        if isinstance(outcome, Unwilling) and outcome.error.code == "NOAUTH":
            self._lose("the login is over")  # there may be new credentials
        elif isinstance(outcome, Unwilling):
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
            expected: deque[Ends] = self._expected
            self._expected = deque()
            self._watched = self._beat = self._muted_until = None
            self._near.tell(partial(_lost, source=self.source))
            if link is not None:
                link.wake()  # loops have copies of the descriptor
                link.close()
        first, longest = _PAUSES
        self._retry = monotonic() + min(first * 2**self._failures, longest) * jitter()
        self._failures = min(self._failures + 1, 8)
        _log.debug("tracking_lost node=%s reason=%s", self._way[0], reason)
        for one in dict.fromkeys(expected):
            one.lost()


def _tracked(state: Coherence, *, source: Source, health: Health) -> None:
    state.tracked(source, health)


def _beaten(state: Coherence, *, source: Source, health: Health) -> None:
    state.beat(source, health)


def _lost(state: Coherence, *, source: Source) -> None:
    state.lost(source)

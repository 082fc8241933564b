"""Subscriptions on one loop: its callbacks read ahead, as far as the buffer goes, and keep up.

There is no task here. The loop reads what comes, and a timer does what is due: a promotion or a
moved slot is followed, and a lost connection made again, also while nobody asks for messages.

What nobody took yet is bounded. Past the bound nothing is read and nothing repaired until all of
it was taken: the node keeps what follows, and disconnects who stays away for too long
(`client-output-buffer-limit`), which is told as a gap then.
"""

from __future__ import annotations

import os
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Final

from clustercache import _subscriber
from clustercache._async.link import Link
from clustercache._core.messages import LOST
from clustercache._subscriber import BaseSubscriber
from clustercache.exceptions import ClosedError

if TYPE_CHECKING:
    import asyncio

    from clustercache._async.cluster_map import ClusterMap
    from clustercache._core.address import Address
    from clustercache._core.messages import Event
    from clustercache._core.subscriptions import Subscriptions

_MOST_BYTES: Final = 1 << 18
"""Bytes read since the buffer was empty, from which on nothing more is."""
_MOST_EVENTS: Final = 4096
"""Events in the buffer, likewise: gaps have no bytes."""
_AGAIN: Final = 0.5
"""Seconds until what failed unexpectedly is done again."""
_AT_ONCE: Final = 0.001


class Subscriber(BaseSubscriber["ClusterMap", Link]):
    """The connections of one user's subscriptions.

    Attributes:
        paused: Whether the buffer is full, so that nothing is read.
    """

    def __init__(self, cluster_map: ClusterMap, state: Subscriptions | None = None) -> None:
        """Open nothing yet.

        Args:
            cluster_map: The map of the loop on which all of it happens.
            state: What is wanted already, if anything.
        """
        super().__init__(cluster_map, state)
        self.paused = False
        self._held = 0
        self._loop = cluster_map.loop
        self._waiting: set[asyncio.Future[bool]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._process = os.getpid()

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """Where all of it happens."""
        return self._loop

    @property
    def over(self) -> bool:
        """Whether its map is closed: the client is, or the loop, or this is a forked child."""
        return self._map.closed

    def follows(self, cluster_map: ClusterMap) -> bool:
        """Tell whether this is the map that it looks at."""
        return self._map is cluster_map

    # For the user's tasks ---------------------------------------------------------------------

    def next(self) -> Event | None:
        """Return what came first of what was read so far.

        Raises:
            redis.RedisError: A server refused something for good.
        """
        self.complain()
        events = self.state.events
        if not events:
            return None
        event = events.popleft()
        if not events:
            self._held = 0
            if self.paused:
                self._go_on()
        return event

    async def wait(self, limit: float | None) -> bool:
        """Wait until something may have changed, and tell whether that came before `limit`.

        Args:
            limit: In monotonic seconds; None waits for ever.

        Raises:
            ClosedError: The client was closed.
        """
        if self.over:
            msg = "the client is closed: make a new one"
            raise ClosedError(msg)
        self._map.followers.add(self)
        waiter: asyncio.Future[bool] = self._loop.create_future()
        timer = None
        if limit is not None:
            left = max(limit - monotonic(), 0.0)
            timer = self._loop.call_later(left, _end, waiter, False)  # noqa: FBT003
        self._waiting.add(waiter)
        try:
            return await waiter
        finally:
            self._waiting.discard(waiter)
            if timer is not None:
                timer.cancel()

    def _wake(self) -> None:
        for waiter in self._waiting:
            _end(waiter, True)  # noqa: FBT003
        self._waiting.clear()

    def poll(self) -> None:
        """Do what is due, and read what is there already.

        Raises:
            ClosedError: The client was closed.
        """
        self.keep_up()
        if not self.paused:
            for link in list(self._links.values()):
                self.readable(link)

    def reset(self) -> None:
        """Close all connections, and want nothing any more."""
        super().reset()
        self._map.followers.discard(self)
        self._stop()

    def let_go(self) -> None:
        """Do so from anywhere: its owner is gone."""
        if self in self._map.followers:
            try:
                self._loop.call_soon_threadsafe(self.reset)
            except RuntimeError:  # the loop is closed
                self.abandon()

    # Keeping up -------------------------------------------------------------------------------

    def look(self) -> None:
        """Hear that the map has changed."""
        if not self.paused and self.active:
            self._set_timer(_AT_ONCE)

    def keep_up(self) -> None:
        """Do what is due, and see to it that the next is done when it is.

        Raises:
            ClosedError: The client was closed.
        """
        try:
            self._follow()
            self._map.followers.add(self)
            if not self.paused:
                now = monotonic()
                for node, link in list(self._links.items()):
                    self._guard(node, partial(self._check, link, now))
        finally:
            self._plan()
            self._wake()

    def _tick(self) -> None:
        self._timer = None
        try:
            self.keep_up()
        except ClosedError:
            pass  # who waits is told
        except Exception as error:  # noqa: BLE001 - of a credential provider, say: the user's
            self._troubles.append(error)
            self._remind(monotonic() + _AGAIN)
            self._plan()
            self._wake()

    def _plan(self) -> None:
        """Set the timer for what is due next."""
        if self.paused or self.over or not self.active:
            return
        moments = [one.pulse.due(settled=one.session.settled) for one in self._links.values()]
        if self._due is not None and self._map.topology is not None:
            moments.append(self._due)
        if self.state.spread:
            moments.append(self._looked + _subscriber.LOOK_ROUND)
        if moments:
            self._set_timer(max(min(moments) - monotonic(), _AT_ONCE))

    def _set_timer(self, seconds: float) -> None:
        # One that comes too early looks when the next is due; none is put off.
        if self._timer is not None:
            if self._timer.when() <= self._loop.time() + seconds:
                return
            self._timer.cancel()
        self._timer = self._loop.call_later(seconds, self._tick)

    # Connections ------------------------------------------------------------------------------

    def _connect(self, node: Address) -> Link:
        way = self._map.discovery.way_to(node)
        return Link(node, way, self.state.open(node), self._loop, self)

    def readable(self, link: Link) -> None:
        """Read what has come from a node."""
        if self._links.get(link.node) is not link:
            return
        settled = link.session.settled
        try:
            self._guard(link.node, partial(self._read, link))
        finally:
            events = self.state.events
            if events and (self._held >= _MOST_BYTES or len(events) >= _MOST_EVENTS):
                self._pause()
            elif self._due is not None and self._due <= monotonic():
                self.look()
            elif not settled:
                self._plan()  # a settled one is given less time
            self._wake()

    def _read(self, link: Link) -> None:
        size, replies = link.read()
        self._held = self._held + size if self.state.events else size
        self._take(link.node, link, replies)
        if link.session.idle:
            self._close(link.node, LOST)

    def _check(self, link: Link, now: float) -> None:
        # A loop that was busy meanwhile has not read what came.
        self._read(link)
        if self._links.get(link.node) is link:
            link.check(now)

    def failed(self, link: Link, error: Exception) -> None:
        """Hear that a connection could not be made, or is lost."""
        if self._links.get(link.node) is link:
            self._lose(link.node, error)
            self.look()

    def _pause(self) -> None:
        self.paused = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for link in self._links.values():
            link.pause()

    def _go_on(self) -> None:
        self.paused = False
        for link in self._links.values():
            link.resume()
        self.look()

    # The end ----------------------------------------------------------------------------------

    def end(self) -> None:
        """Close all connections; who waits for messages is told that the client is closed."""
        self.disconnect()
        self._stop()

    def _stop(self) -> None:
        self.paused, self._held = False, 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._wake()

    def abandon(self) -> None:
        """Close this process's end only: the loop is closed, or another process's."""
        links, self._links = self._links, {}
        for link in links.values():
            link.abandon()
        self._timer = None
        if os.getpid() != self._process:
            self.state.forked()
        for node in list(self.state.sessions):
            self.state.lost(node, LOST)
        self._begin_anew()


def _end(waiter: asyncio.Future[bool], came: bool) -> None:  # noqa: FBT001 - of call_later
    if not waiter.done():
        waiter.set_result(came)

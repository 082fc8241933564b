"""Turns: each brings the connections nearer to what is wanted, waits for a moment, and reads.

There is no thread here: whoever wants messages takes turns. A turn waits for 50 ms at the most and
then looks at the map again, so that a promotion or a moved slot is followed while nothing comes.
State and sockets are touched under one lock, which nobody holds while he waits.
"""

from __future__ import annotations

import os
import select
import threading
import weakref
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING

from clustercache._core.messages import LOST
from clustercache._subscriber import BaseSubscriber
from clustercache._sync.link import Link

if TYPE_CHECKING:
    from collections.abc import Iterable

    from clustercache._core.address import Address
    from clustercache._core.messages import Event
    from clustercache._core.session import Session
    from clustercache._sync.cluster_map import ClusterMap

TURN = 0.05
"""Seconds until the map is looked at again."""
_DIALLING = 0.005
"""Seconds until a connection that is being made is looked at again."""


class Subscriber(BaseSubscriber["ClusterMap", "Link[Session]"]):
    """The connections of one user's subscriptions."""

    def __init__(self, cluster_map: ClusterMap) -> None:
        """Open nothing yet."""
        super().__init__(cluster_map)
        self.lock = threading.RLock()
        self._turned = 0.0
        _subscribers.add(self)

    # For the user's thread --------------------------------------------------------------------

    def next(self) -> Event | None:
        """Return what came first of what was read so far.

        Raises:
            redis.RedisError: A server refused something for good.
            ClosedError: The client was closed.
        """
        with self.lock:
            self.complain()
            if self.state.events and monotonic() - self._turned > TURN:
                self._keep_up()  # a slow reader takes no turns, and follows the map all the same
            return self.state.events.popleft() if self.state.events else None

    def turn(self, seconds: float) -> None:
        """Do what is due, wait for `seconds` at the most, and read.

        Raises:
            ClosedError: The client was closed.
        """
        with self.lock:
            self._keep_up()
            poll = select.poll()
            for link in self._links.values():
                descriptor = link.fileno()
                if descriptor is not None:
                    poll.register(descriptor, select.POLLIN)
            if any(link.dialling for link in self._links.values()):
                seconds = min(seconds, _DIALLING)
        if seconds > 0:
            poll.poll(max(seconds * 1000, 1))
        with self.lock:
            # Another thread may have read in the meantime, or closed: each link looks again.
            for node, link in list(self._links.items()):
                self._guard(node, partial(self._read, node, link))

    def ping(self, message: bytes | None) -> None:
        """Ask one node for a sign of life that the user gets to see."""
        with self.lock:
            super().ping(message)
            self._advance()

    def disconnect(self) -> None:
        """Close all connections; the next turn opens them again."""
        with self.lock:
            super().disconnect()

    def reset(self) -> None:
        """Close all connections, and want nothing any more."""
        with self.lock:
            super().reset()

    def after_fork(self) -> None:
        """Start anew in a child: own lock, own sockets; the parent's are only closed."""
        self.lock = threading.RLock()
        links, self._links = self._links, {}
        for link in links.values():
            link.close()
        self.state.forked()
        self._begin_anew()

    # Connections ------------------------------------------------------------------------------

    def _keep_up(self) -> None:
        """Send what is due, and go on with connections that are being made."""
        self._turned = monotonic()
        self._follow()
        self._advance()

    def _advance(self) -> None:
        for node, link in list(self._links.items()):
            self._guard(node, link.advance)

    def _connect(self, node: Address) -> Link[Session]:
        return Link(*self._map.discovery.way_to(node), self.state.open(node))

    def _read(self, node: Address, link: Link[Session]) -> None:
        if self._links.get(node) is not link:
            return
        self._take(node, link, link.read())
        if link.session.idle:
            self._close(node, LOST)
        else:
            link.check(monotonic())


_subscribers: weakref.WeakSet[Subscriber] = weakref.WeakSet()


def disconnect_all(cluster_map: ClusterMap) -> None:
    """Close the subscriptions' connections of a client that was closed."""
    for subscriber in _of(cluster_map):
        subscriber.disconnect()


def _of(cluster_map: ClusterMap) -> Iterable[Subscriber]:
    return [one for one in list(_subscribers) if one._map is cluster_map]  # noqa: SLF001 - its own


def _after_fork_in_child() -> None:
    for subscriber in list(_subscribers):
        subscriber.after_fork()


os.register_at_fork(after_in_child=_after_fork_in_child)

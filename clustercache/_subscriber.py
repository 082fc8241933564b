"""What a subscriber does with its connections: whom it asks what, whom it leaves, and when.

Both shells use it, so that no shell can have a policy of its own; how a connection is made, read
and waited for is theirs. Nothing here waits.
"""

from __future__ import annotations

import logging
import random
from abc import ABC, abstractmethod
from time import monotonic
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from clustercache import _link
from clustercache._commands import to_error
from clustercache._core import decisions
from clustercache._core.decisions import Verb
from clustercache._core.messages import LOST, SILENT, Kind
from clustercache._core.session import What
from clustercache._core.slots import key_slot
from clustercache._core.subscriptions import Subscriptions, primaries
from clustercache._events import NoReply, NotSent, Refused, Silent
from clustercache._limits import jitter
from clustercache.exceptions import ClosedError, ClusterCacheError

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Mapping

    from clustercache._core.address import Address
    from clustercache._core.session import Received
    from clustercache._core.subscriptions import Action, Refusal
    from clustercache._core.topology import Topology
    from clustercache._core.wire import ServerError
    from clustercache.config import ClusterConfig

_log = logging.getLogger("clustercache.pubsub")
_STRAY = 0.25
"""Seconds until a slot without an owner is asked about again."""
LOOK_ROUND = 5.0
"""Seconds until a new primary is looked for, where nothing else would tell of it."""
_SETTLED = 1.0
"""Seconds that a connection must have lived for the next one to be made without a pause."""
_BACKOFF = (0.05, 0.5)
"""The first and the longest pause between attempts to connect, in seconds."""
LOSSES = (NotSent, NoReply, Silent, OSError)
"""What the loss of a connection is told by."""


class _Helper(Protocol):
    def refresh(self, *hints: Address) -> None:
        """Ask for a refresh of the map."""


class Outlook(Protocol):
    """A shell's map, as far as a subscriber looks at it."""

    closed: bool

    @property
    def config(self) -> ClusterConfig:
        """The client's configuration."""

    @property
    def topology(self) -> Topology | None:
        """The snapshot in force."""

    @property
    def pools(self) -> Mapping[Address, Any]:
        """What reaches each node."""

    @property
    def suspicions(self) -> Container[Address]:
        """The nodes that are suspected."""

    @property
    def helper(self) -> _Helper:
        """Who refreshes the map."""

    def patch(self, slot: int, address: Address) -> None:
        """Follow a MOVED provisionally."""

    def suspect(self, pool: Any) -> bool:
        """Begin to doubt a primary."""


OutlookT = TypeVar("OutlookT", bound=Outlook)
LinkT = TypeVar("LinkT", bound=_link.Link)


class BaseSubscriber(ABC, Generic[OutlookT, LinkT]):
    """The connections of one user's subscriptions."""

    def __init__(self, cluster_map: OutlookT, state: Subscriptions | None = None) -> None:
        """Open nothing yet.

        Args:
            cluster_map: What is looked at.
            state: What is wanted already, if anything.
        """
        self.state = state or Subscriptions()
        self._map = cluster_map
        self._links: dict[Address, LinkT] = {}
        self._failures: dict[Address, tuple[int, float]] = {}
        self._troubles: list[Exception] = []
        self._seen: Topology | None = None
        self._due: float | None = 0.0
        self._looked = 0.0

    @abstractmethod
    def _connect(self, node: Address) -> LinkT:
        """Begin a connection to a node.

        Raises:
            OSError, UnicodeError: It cannot be done.
        """

    # For the user -----------------------------------------------------------------------------

    @property
    def active(self) -> bool:
        """Whether something may come."""
        return bool(self.state.active or self._links or self._troubles)

    def change(self) -> None:
        """Take note that what is wanted has changed."""
        self._due = 0.0

    def complain(self) -> None:
        """Raise what a server refused for good, if there is such."""
        if self._troubles:
            raise self._troubles.pop(0)

    def ping(self, message: bytes | None) -> None:
        """Ask one node for a sign of life that the user gets to see."""
        self._follow()
        node = next(iter(self._links), None)
        if node is None and self._seen is not None:
            node = next(iter(self._order(self._seen)), None)
        if node is not None and node not in self._links:
            self._open(node)
        link = self._links.get(node) if node is not None else None
        if node is not None and link is not None:
            self._guard(node, lambda: link.write(link.session.ping(message, told=True)))

    def disconnect(self) -> None:
        """Close all connections; they are opened again when the map is looked at."""
        for node in list(self._links):
            self._close(node, LOST)

    def reset(self) -> None:
        """Close all connections, and want nothing any more."""
        self.disconnect()
        self.state = Subscriptions()
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._failures, self._troubles, self._due = {}, [], 0.0

    # Desired and actual -----------------------------------------------------------------------

    def _follow(self) -> None:
        """Send what the map, the user or the nodes have made due."""
        if self._map.closed:
            self.disconnect()
            msg = "the client is closed: make a new one"
            raise ClosedError(msg)
        now = monotonic()
        known = self._map.topology
        due = self._due is not None and now >= self._due
        if known is not None and (due or known is not self._seen):
            self._reconcile(known, now)
        if not self.state.spread:
            self._looked = now
        elif now - self._looked > LOOK_ROUND:
            self._looked = now - LOOK_ROUND / 2 * jitter()  # many clients, not all at once
            self._map.helper.refresh()

    def _reconcile(self, known: Topology, now: float) -> None:
        self._seen, self._due = known, None
        avoid = {node for node, (count, _) in self._failures.items() if count}
        order = self._order(known)
        actions = self.state.reconcile(known, order=order, avoid=avoid, now=now)
        if self.state.due is not None:
            self._remind(self.state.due)
        if self.state.stray:
            self._map.helper.refresh()
            self._remind(now + _STRAY)
        for action in actions:
            self._obey(action, now)

    def _order(self, known: Topology) -> list[Address]:
        """Return the primaries: well before suspected, connected before others, else shuffled."""
        nodes = list(primaries(known))
        random.shuffle(nodes)
        suspected = self._map.suspicions
        return sorted(nodes, key=lambda node: (node in suspected, node not in self._links))

    def _obey(self, action: Action, now: float) -> None:
        node = action.node
        if node not in self._links:
            _, retry = self._failures.get(node, (0, 0.0))
            if retry > now:
                self._remind(retry)
                return
            self._open(node)
        link = self._links.get(node)
        if link is not None:
            ask = link.session.subscribe if action.joins else link.session.unsubscribe
            self._guard(node, lambda: link.write(ask(action.subscriptions)))

    def _remind(self, moment: float) -> None:
        self._due = moment if self._due is None else min(self._due, moment)

    # Connections ------------------------------------------------------------------------------

    def _open(self, node: Address) -> None:
        try:
            self._links[node] = self._connect(node)
        except (OSError, UnicodeError):
            self.state.lost(node, LOST)
            self._note_failure(node)
            self._doubt(node)
        except BaseException:
            self.state.lost(node, LOST)
            raise

    def _guard(self, node: Address, action: Callable[[], None]) -> None:
        """Do something with a node's connection; it is in step, or closed."""
        try:
            action()
        except (*LOSSES, Refused) as error:
            self._lose(node, error)
        except BaseException:
            self._close(node, LOST)
            raise

    def _lose(self, node: Address, error: Exception) -> None:
        """Close a connection that failed; the node is suspected where nobody was there."""
        link = self._links.get(node)
        if link is None:
            return
        if isinstance(error, Refused):
            self._note_refusal(node, error.error)
        silent = isinstance(error, Silent) or (isinstance(error, NotSent) and error.silent)
        served = link.session.settled and not link.dialling
        if silent or not served or monotonic() - link.born < _SETTLED:
            self._note_failure(node)
        _log.info("subscriptions_lost node=%s reason=%s", node, error)
        absent = link.dialling and isinstance(error, (NotSent, OSError))
        self._close(node, SILENT if silent else LOST)
        if silent or absent:
            self._doubt(node)
        else:
            self._map.helper.refresh()

    def _note_refusal(self, node: Address, error: ServerError) -> None:
        if decisions.classify(error, node).trouble in decisions.FINAL:
            self._troubles.append(_refused("HELLO or AUTH", error, node))

    def _close(self, node: Address, reason: str) -> None:
        link = self._links.pop(node, None)
        if link is not None:
            link.close()
        self.state.lost(node, reason)
        self.change()

    def _note_failure(self, node: Address) -> None:
        count, _ = self._failures.get(node, (0, 0.0))
        first, longest = _BACKOFF
        pause = min(longest, first * 2 ** min(count, 8)) * (0.5 + jitter() / 2)
        self._failures[node] = count + 1, monotonic() + pause
        self.change()

    def _doubt(self, node: Address) -> None:
        """Let the helper watch a node that is not there, and find its successor."""
        pool = self._map.pools.get(node)
        if pool is None or not self._map.suspect(pool):
            self._map.helper.refresh()

    # What comes -------------------------------------------------------------------------------

    def _take(self, node: Address, link: LinkT, replies: Iterable[Any]) -> None:
        """Take in what has come from a node.

        Raises:
            Refused: The handshake was.
        """
        for reply in replies:
            came = self.state.received(node, reply)
            if came.what is What.UNWELCOME:
                raise Refused(came.data)
            if came.what is What.REFUSED:
                self._refused(node, came)
            elif came.what is What.EVICTED:
                self._map.helper.refresh()
                self.change()
        if link.session.settled and not link.dialling:
            self._failures.pop(node, None)

    def _refused(self, node: Address, came: Received) -> None:
        """Do what follows from a subscribing that was refused."""
        backoff = self._map.config.retry.backoff
        now = monotonic()
        refusal = self.state.refused(node, came, backoff=backoff, now=now, jitter=jitter())
        event, decision = refusal.event, refusal.decision
        self.change()
        if decision.verb is not Verb.SEND:
            self._troubles.append(_why(refusal, node))
            return
        if decision.patch and event.slot is not None and event.to is not None:
            self._map.patch(event.slot, event.to)
        if decision.refresh:
            self._map.helper.refresh(*([event.to] if event.to else []))
        if decision.reconnect and event.to is not None and event.to != node:
            self._close(event.to, LOST)


def _why(refusal: Refusal, node: Address) -> Exception:
    subscription = refusal.subscription
    assert subscription is not None  # noqa: S101 - of a subscribing
    slot = key_slot(subscription.name) if subscription.kind is Kind.SHARD else None
    return _refused(subscription.kind.joins.upper(), refusal.error, node, slot)


def _refused(command: str, error: ServerError, node: Address, slot: int | None = None) -> Exception:
    raised = to_error(error)
    where = ClusterCacheError("refused by the server", command=command, node=str(node), slot=slot)
    raised.add_note(str(where))
    return raised

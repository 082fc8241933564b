"""Asking for the topology: nodes, or sentinels, until enough of them have answered.

What a server is, a member of a cluster or not, is found out from the first one that answers.
"""

from __future__ import annotations

import math
from time import monotonic
from typing import TYPE_CHECKING, Any

from clustercache._core import wire
from clustercache._core.sources import CLUSTER, ROLES
from clustercache._inquiry import FAILURES, Inquiry
from clustercache._sync.announcements import Subscription
from clustercache._sync.connection import Connection
from clustercache._sync.probe import LifeProbe, ViewProbe

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from clustercache._core.address import Address
    from clustercache._core.asking import Asking
    from clustercache._core.sources import Answer, Source
    from clustercache._core.topology import Topology


class Discovery(Inquiry):
    """Asks, on connections of its own."""

    def view_probe(self, address: Address) -> ViewProbe:
        """Return a probe that asks a witness."""
        source = self.source or CLUSTER
        return ViewProbe(*self.way_to_ask(address), source=source, known_as=address)

    def subscription(self, address: Address) -> Subscription:
        """Return what hears one sentinel's announcements."""
        config, service = self.sentinel, self._config.service_name
        assert config is not None and service is not None  # noqa: S101, PT018 - there are sentinels
        return Subscription(self.target(address), config, self._tls, service)

    def life_probe(self, address: Address) -> LifeProbe:
        """Return a probe that asks a node whether it serves."""
        return LifeProbe(*self.way_to(address))

    def learn(self, asking: Asking, stopping: Callable[[], bool]) -> None:
        """Ask in turn, until enough have answered or the time is over.

        Args:
            asking: Says who is next, and keeps the answers.
            stopping: Tells that nobody wants to know any more.
        """
        while not stopping() and (turn := asking.next(monotonic())) is not None:
            address, seconds = turn
            try:
                asking.answered(self._ask(address, seconds))
            except FAILURES as error:
                asking.failed(address, error)

    def _ask(self, address: Address, timeout: float) -> Answer:
        target, config, tls = self.way_to_ask(address)
        connection = Connection(target, config, tls=tls, timeout=timeout)
        try:
            replies = _replies(connection, self.source or CLUSTER, timeout)
            also = self.other_question(replies)
            roles = _replies(connection, ROLES, timeout) if also else None
        finally:
            connection.close()
        return self.settle(address, replies, roles)

    def agreed(
        self, answers: Sequence[Answer], known: Topology | None, deadline: float = math.inf
    ) -> Topology | None:
        """Return the topology that follows from the answers, if any does.

        A primary that sentinels name is asked itself before it is believed.

        Args:
            answers: What was answered, oldest first.
            known: The snapshot in force.
            deadline: Until when, in monotonic seconds, that primary may take.
        """
        found = self.agree(answers, known)
        named = self.to_confirm(found, known) if found else None
        if named is None or self._is_primary(named, deadline):
            return found
        return None

    def _is_primary(self, address: Address, deadline: float) -> bool:
        timeout = min(self._config.socket_connect_timeout, max(deadline - monotonic(), 0.001))
        try:
            target, config, tls = self.way_to(address)
            connection = Connection(target, config, tls=tls, timeout=timeout)
            try:
                return self.confirmed(address, _replies(connection, ROLES, timeout))
            finally:
                connection.close()
        except FAILURES as error:
            return self.confirmed(address, error)


def _replies(connection: Connection, source: Source, timeout: float) -> list[Any]:
    replies: list[Any] = []
    deadline = monotonic() + timeout
    connection.send(wire.pack_many(source.question), deadline)
    connection.read_many(len(source.question), deadline, replies)
    return replies

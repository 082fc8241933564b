"""Asking for the topology: nodes, or sentinels, until enough of them have answered.

What a server is, a member of a cluster or not, is found out from the first one that answers.
"""

from __future__ import annotations

import dataclasses
import logging
import math
from collections import deque
from time import monotonic
from typing import TYPE_CHECKING, Any

from clustercache._core import refresh, sources, wire
from clustercache._core.sources import CLUSTER, ROLES, Said, SentinelSource
from clustercache._core.topology import View
from clustercache._core.wire import ServerError
from clustercache._sync.announcements import Subscription
from clustercache._sync.connection import Connection
from clustercache._sync.events import NoReply, NotSent, Refused, Silent
from clustercache._sync.probe import LifeProbe, ViewProbe, for_probes

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Container, Iterable, Sequence

    from clustercache._core.address import Address
    from clustercache._core.sources import Answer, Source
    from clustercache._core.topology import Shard, Topology
    from clustercache.config import ClusterConfig

_log = logging.getLogger("clustercache.topology")
_FAILURES = (NotSent, NoReply, Silent, Refused, ServerError, ValueError)


def for_sentinels(config: ClusterConfig) -> ClusterConfig:
    """Return the configuration of a connection to a sentinel: RESP2, which all of them speak."""
    return dataclasses.replace(
        for_probes(config),
        username=config.sentinel_username,
        password=config.sentinel_password,
        credential_provider=None,
        db=0,
        protocol=2,
    )


class Discovery:
    """Knows whom to ask what, and how to reach them."""

    def __init__(self, config: ClusterConfig, tls: ssl.SSLContext | None) -> None:
        """Open nothing yet."""
        self._config = config
        self._tls = tls
        self._data = for_probes(config)
        self._source: Source | None = None
        """None until the first server has answered."""
        self.sentinel: ClusterConfig | None = None
        """How to connect to sentinels, where there are any."""
        self.doubt: dict[Address, Exception] = {}
        """Why the primary that sentinels named last could not be asked."""
        self._peers: tuple[Address, ...] = ()
        if config.service_name is not None:
            self._source = SentinelSource(config.service_name)
            self.sentinel = for_sentinels(config)

    def target(self, address: Address) -> Address:
        """Return where to connect to for a node that is known at `address`."""
        remap = self._config.address_remap
        if remap is None or address in self._config.seeds:
            return address
        return type(address)(*remap((address.host, address.port)))

    def way_to(self, address: Address) -> tuple[Address, ClusterConfig, ssl.SSLContext | None]:
        """Return what a connection is made of whose replies the package reads itself."""
        return self.target(address), self._data, self._tls

    # Whom to ask ------------------------------------------------------------------------------

    @property
    def sentinels(self) -> list[Address]:
        """The sentinels that were given, and those that they told of."""
        return list(dict.fromkeys((*self._config.seeds, *self._peers)))

    def whom(
        self, known: Topology | None, hints: Sequence[Address], order: Sequence[Address]
    ) -> list[Address]:
        """Return whom a refresh asks, best first; see `refresh.whom_to_ask`."""
        if self.sentinel is not None:
            return self.sentinels
        return refresh.whom_to_ask(known, hints, self._config.seeds, order)

    def witnesses(self, shard: Shard) -> list[Address]:
        """Return who will know the successor of a shard's primary first."""
        if self.sentinel is not None:
            return self.sentinels
        return [node.address for node in shard.replicas]

    def view_probe(self, address: Address) -> ViewProbe:
        """Return a probe that asks a witness."""
        config = self.sentinel or self._data
        source = self._source or CLUSTER
        target = self.target(address)
        return ViewProbe(target, config, self._tls, source=source, known_as=address)

    def subscription(self, address: Address) -> Subscription:
        """Return what hears one sentinel's announcements."""
        config, service = self.sentinel, self._config.service_name
        assert config is not None and service is not None  # noqa: S101, PT018 - there are sentinels
        return Subscription(self.target(address), config, self._tls, service)

    def life_probe(self, address: Address) -> LifeProbe:
        """Return a probe that asks a node whether it serves."""
        return LifeProbe(self.target(address), self._data, self._tls)

    # Asking -----------------------------------------------------------------------------------

    def learn(
        self,
        addresses: Iterable[Address],
        *,
        avoid: Container[Address] = (),
        timeout: float,
        deadline: float,
        known: frozenset[str] = frozenset(),
        stopping: Callable[[], bool] = lambda: False,
    ) -> tuple[list[Answer], dict[Address, Exception]]:
        """Ask in turn until enough have answered: a majority of the sentinels, or a few nodes.

        Args:
            addresses: Whom to ask, best first.
            avoid: Whom not to ask, whoever names them.
            timeout: Seconds for each.
            deadline: Until when, in monotonic seconds, anybody is asked at all.
            known: Ids of our nodes: a view that shares none is kept and does not count.
            stopping: Tells that nobody wants to know any more.

        Returns:
            The answers, oldest first, and what each that gave none said instead.
        """
        enough = len(self._config.seeds) // 2 + 1 if self.sentinel else refresh.ASKED
        answers: list[Answer] = []
        failures: dict[Address, Exception] = {}
        waiting = deque(addresses)
        asked: set[Address] = set()
        while waiting and sum(_counts(answer, known) for answer in answers) < enough:
            left = deadline - monotonic()
            if left <= 0 or stopping():
                break
            address = waiting.popleft()
            if address in asked or address in avoid:
                continue
            asked.add(address)
            try:
                answers.append(self._ask(address, min(timeout, left)))
            except _FAILURES as error:
                failures[address] = error
                continue
            leader = self._source.lead(answers[-1]) if self._source else None
            if leader is not None:
                waiting.appendleft(leader)
        return answers, failures

    def _ask(self, address: Address, timeout: float) -> Answer:
        config = self.sentinel or self._data
        connection = Connection(self.target(address), config, tls=self._tls, timeout=timeout)
        try:
            source = self._source or CLUSTER
            replies = _replies(connection, source, timeout)
            if self._source is None and sources.may_be_no_cluster(replies[0]):
                roles = _replies(connection, ROLES, timeout)
                if not sources.in_cluster(roles):
                    source, replies = ROLES, roles
            answer = source.read(replies, address)
        finally:
            connection.close()
        self._source = source
        return answer

    def agree(
        self, answers: Sequence[Answer], known: Topology | None, deadline: float = math.inf
    ) -> Topology | None:
        """Return the topology that follows from the answers, if any does.

        A primary that sentinels name is asked itself before it is believed.

        Args:
            answers: What was answered, oldest first.
            known: The snapshot in force.
            deadline: Until when, in monotonic seconds, that primary may take.
        """
        if self._source is None:
            return None
        found = self._source.agree(answers, known, frozenset(self._config.seeds))
        if self.sentinel is None or found is None:
            return found
        told = [peer for one in answers if isinstance(one, Said) for peer in one.peers]
        self._peers = tuple(dict.fromkeys(told)) or self._peers
        named = sources.primary_of(found)
        if named is None or named == sources.primary_of(known) or self._is_primary(named, deadline):
            return found
        return None

    def _is_primary(self, address: Address, deadline: float) -> bool:
        timeout = min(self._config.socket_connect_timeout, max(deadline - monotonic(), 0.001))
        self.doubt = {}
        try:
            connection = Connection(
                self.target(address), self._data, tls=self._tls, timeout=timeout
            )
            try:
                said = ROLES.read(_replies(connection, ROLES, timeout), address)
            finally:
                connection.close()
            if said.primary == address:
                return True
            self.doubt[address] = ValueError(f"a replica of {said.primary}, not a primary yet")
        except _FAILURES as error:
            self.doubt[address] = error
        _log.info("primary_unconfirmed node=%s reason=%s", address, self.doubt[address])
        return False


def _counts(answer: Answer, known: frozenset[str]) -> bool:
    """Tell whether an answer may speak of our cluster."""
    return not known or not isinstance(answer, View) or bool(answer.ids & known)


def _replies(connection: Connection, source: Source, timeout: float) -> list[Any]:
    replies: list[Any] = []
    deadline = monotonic() + timeout
    connection.send(wire.pack_many(source.question), deadline)
    connection.read_many(len(source.question), deadline, replies)
    return replies

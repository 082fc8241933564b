"""Whom to ask for the topology, and what follows from the answers; the shells do the asking."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from clustercache._core import refresh, sources
from clustercache._core.sources import CLUSTER, ROLES, Said, SentinelSource
from clustercache._core.wire import ServerError
from clustercache._events import NoReply, NotSent, Refused, Silent
from clustercache._handshake import for_probes, for_sentinels

if TYPE_CHECKING:
    import ssl
    from collections.abc import Sequence

    from clustercache._core.address import Address
    from clustercache._core.sources import Answer, Source
    from clustercache._core.topology import Shard, Topology
    from clustercache.config import ClusterConfig

_log = logging.getLogger("clustercache.topology")
FAILURES = (NotSent, NoReply, Silent, Refused, ServerError, ValueError)
"""What asking a node may end in instead of an answer."""
HEAR_AGAIN = 1.0
"""Seconds until a sentinel that cannot be heard is tried again."""
SIGN_OF_LIFE = 10.0
"""Seconds between two PINGs to a sentinel that is listened to."""
DEAF = 2.0
"""Seconds between two questions while no sentinel can be heard."""


class Inquiry:
    """Knows whom to ask what, and how to reach them.

    Attributes:
        sentinel: How to connect to sentinels, where there are any.
        doubt: Why the primary that sentinels named last could not be asked.
        source: What is asked; None until the first server has answered.
    """

    def __init__(self, config: ClusterConfig, tls: ssl.SSLContext | None) -> None:
        """Open nothing yet."""
        self._config = config
        self._tls = tls
        self._data = for_probes(config)
        self.source: Source | None = None
        self.sentinel: ClusterConfig | None = None
        self.doubt: dict[Address, Exception] = {}
        self._peers: tuple[Address, ...] = ()
        if config.service_name is not None:
            self.source = SentinelSource(config.service_name)
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

    def way_to_ask(self, address: Address) -> tuple[Address, ClusterConfig, ssl.SSLContext | None]:
        """Return what a connection is made of to who is asked for the topology."""
        return self.target(address), self.sentinel or self._data, self._tls

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

    @property
    def enough(self) -> int:
        """How many answers are: a majority of the sentinels, or a few nodes."""
        return len(self._config.seeds) // 2 + 1 if self.sentinel else refresh.ASKED

    # What follows -----------------------------------------------------------------------------

    def lead(self, answer: Answer) -> Address | None:
        """Return whom an answer names as knowing better, or None."""
        return self.source.lead(answer) if self.source else None

    def other_question(self, replies: Sequence[Any]) -> bool:
        """Tell from the replies of the first server asked whether ROLES is to be asked, too."""
        return self.source is None and sources.may_be_no_cluster(replies[0])

    def settle(
        self, address: Address, replies: Sequence[Any], roles: Sequence[Any] | None
    ) -> Answer:
        """Return what a node's replies say; what it is decides what all others are asked.

        Args:
            address: Who answered.
            replies: To the question of the source.
            roles: To the question of ROLES, if it was asked, too.
        """
        source = self.source or CLUSTER
        if roles is not None and not sources.in_cluster(roles):
            source, replies = ROLES, roles
        answer = source.read(replies, address)
        self.source = source
        return answer

    def agree(self, answers: Sequence[Answer], known: Topology | None) -> Topology | None:
        """Return the topology that follows from the answers, oldest first, if any does."""
        if self.source is None:
            return None
        found = self.source.agree(answers, known, frozenset(self._config.seeds))
        if self.sentinel is not None and found is not None:
            told = [peer for one in answers if isinstance(one, Said) for peer in one.peers]
            self._peers = tuple(dict.fromkeys(told)) or self._peers
        return found

    def to_confirm(self, found: Topology, known: Topology | None) -> Address | None:
        """Return the primary that has to say so itself before it is believed, if there is one."""
        if self.sentinel is None:
            return None
        named = sources.primary_of(found)
        return None if named == sources.primary_of(known) else named

    def confirmed(self, address: Address, outcome: Sequence[Any] | Exception) -> bool:
        """Tell from what asking ROLES brought whether a node is a primary; else note the doubt.

        Args:
            address: Who was asked.
            outcome: The replies, or one of FAILURES.
        """
        self.doubt = {}
        try:
            if isinstance(outcome, Exception):
                raise outcome
            said = ROLES.read(outcome, address)
            if said.primary == address:
                return True
            self.doubt[address] = ValueError(f"a replica of {said.primary}, not a primary yet")
        except FAILURES as error:
            self.doubt[address] = error
        _log.info("primary_unconfirmed node=%s reason=%s", address, self.doubt[address])
        return False

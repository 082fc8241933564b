"""Asking for the topology: nodes, or sentinels, until enough of them have answered.

What a server is, a member of a cluster or not, is found out from the first one that answers.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from time import monotonic
from typing import TYPE_CHECKING, Any

from clustercache._async.connection import Connection
from clustercache._core.sources import CLUSTER, ROLES
from clustercache._inquiry import FAILURES, Inquiry, counts

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Sequence

    from clustercache._core.address import Address
    from clustercache._core.sources import Answer, Question
    from clustercache._core.topology import Topology


class Discovery(Inquiry):
    """Asks, on connections of its own; all loops of a client share what it found out."""

    async def learn(
        self,
        addresses: Iterable[Address],
        *,
        avoid: Container[Address] = (),
        patience: float,
        deadline: float,
        known: frozenset[str] = frozenset(),
    ) -> tuple[list[Answer], dict[Address, Exception]]:
        """Ask in turn until enough have answered: a majority of the sentinels, or a few nodes.

        Args:
            addresses: Whom to ask, best first.
            avoid: Whom not to ask, whoever names them.
            patience: Seconds for each.
            deadline: Until when, in monotonic seconds, anybody is asked at all.
            known: Ids of our nodes: a view that shares none is kept and does not count.

        Returns:
            The answers, oldest first, and what each that gave none said instead.
        """
        answers: list[Answer] = []
        failures: dict[Address, Exception] = {}
        waiting = deque(addresses)
        asked: set[Address] = set()
        while waiting and sum(counts(answer, known) for answer in answers) < self.enough:
            left = deadline - monotonic()
            if left <= 0:
                break
            address = waiting.popleft()
            if address in asked or address in avoid:
                continue
            asked.add(address)
            try:
                answers.append(await self._ask(address, min(patience, left)))
            except FAILURES as error:
                failures[address] = error
                continue
            leader = self.lead(answers[-1])
            if leader is not None:
                waiting.appendleft(leader)
        return answers, failures

    async def _ask(self, address: Address, seconds: float) -> Answer:
        connection = await self._connection(address, seconds, sentinel=True)
        try:
            replies = await connection.call(*self.question, seconds=seconds)
            also = self.other_question(replies)
            roles = await connection.call(*ROLES.question, seconds=seconds) if also else None
        finally:
            connection.close()
        return self.settle(address, replies, roles)

    @property
    def question(self) -> Question:
        """What is asked."""
        return (self.source or CLUSTER).question

    async def _connection(self, address: Address, seconds: float, *, sentinel: bool) -> Connection:
        way = self.way_to_ask(address) if sentinel else self.way_to(address)
        return await Connection.open(*way, asyncio.get_running_loop(), seconds=seconds)

    async def agreed(
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
        if named is None:
            return found
        seconds = min(self._config.socket_connect_timeout, max(deadline - monotonic(), 0.001))
        return found if self.confirmed(named, await self._roles(named, seconds)) else None

    async def _roles(self, address: Address, seconds: float) -> list[Any] | Exception:
        try:
            connection = await self._connection(address, seconds, sentinel=False)
            try:
                return await connection.call(*ROLES.question, seconds=seconds)
            finally:
                connection.close()
        except FAILURES as error:
            return error

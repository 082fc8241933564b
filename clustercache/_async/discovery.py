"""Asking for the topology: nodes, or sentinels, until enough of them have answered.

What a server is, a member of a cluster or not, is found out from the first one that answers.
"""

from __future__ import annotations

import asyncio
import math
from time import monotonic
from typing import TYPE_CHECKING, Any

from clustercache._async.connection import Connection
from clustercache._core.sources import CLUSTER, ROLES
from clustercache._inquiry import FAILURES, Inquiry

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clustercache._core.address import Address
    from clustercache._core.asking import Asking
    from clustercache._core.sources import Answer, Question
    from clustercache._core.topology import Topology


class Discovery(Inquiry):
    """Asks, on connections of its own; all loops of a client share what it found out."""

    async def learn(self, asking: Asking) -> None:
        """Ask in turn, until enough have answered or the time is over.

        Args:
            asking: Says who is next, and keeps the answers.
        """
        while (turn := asking.next(monotonic())) is not None:
            address, seconds = turn
            try:
                asking.answered(await self._ask(address, seconds))
            except FAILURES as error:
                asking.failed(address, error)

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

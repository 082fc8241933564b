"""What a caller changes for a block of calls: deadline, what is sent again, who answers reads."""

from __future__ import annotations

import random
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from clustercache._core.commands import Safety
from clustercache._core.read_from import ReadFrom
from clustercache.config import check_seconds

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clustercache.config import ClusterConfig, RetryPolicy


jitter = random.random
"""From 0 to 1; Python seeds it anew in a forked child."""


class Limits(NamedTuple):
    """In force for each call of a block: seconds, and the policies for retries and for reads.

    `chosen` tells a deadline that the caller asked for from the configuration's.
    """

    deadline: float
    retry: RetryPolicy
    chosen: bool = False
    read_from: ReadFrom = ReadFrom.PRIMARY

    def repeating(self) -> Limits:
        """Return the limits of a call that may be repeated as a plain SET may."""
        resend = self.retry.resend
        if Safety.SAME not in resend:
            return self
        return self._replace(retry=replace(self.retry, resend=resend | {Safety.NEVER}))


class LimitScope:
    """One client's limits: those of its configuration, unless a block says otherwise.

    A block belongs to its thread or task, for it is kept in a context variable.
    """

    __slots__ = ("_config", "_default", "current")

    def __init__(self, config: ClusterConfig) -> None:
        """Take the defaults from the configuration."""
        self._config = config
        reads = config.reads(config.read_from)
        self._default = Limits(config.deadline, config.retry, read_from=reads)
        self.current: ContextVar[Limits | None] = ContextVar("clustercache_limits", default=None)

    def in_force(self) -> Limits:
        """Return the limits of the block that the caller is in, or the defaults."""
        return self.current.get() or self._default

    @contextmanager
    def block(
        self,
        *,
        deadline: float | None = None,
        retry: RetryPolicy | None = None,
        read_from: ReadFrom | None = None,
    ) -> Iterator[None]:
        """Apply other limits to each call inside; what is None stays as it is around."""
        if deadline is not None:
            check_seconds("deadline", deadline)
        around = self.in_force()
        chosen = around.chosen or deadline is not None
        reads = around.read_from if read_from is None else self._config.reads(read_from)
        limits = Limits(deadline or around.deadline, retry or around.retry, chosen, reads)
        token = self.current.set(limits)
        try:
            yield
        finally:
            self.current.reset(token)

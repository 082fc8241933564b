"""When the map is learnt anew, from whom, and how often at most.

A redirect or a dead node asks for a refresh; nobody who has a healthy slot waits for it. Requests
made while one is under way, or during the cool-down behind it, are kept and served by the next.
The cool-down grows with the cluster and is jittered, so that many clients do not ask at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clustercache._core.address import Address
    from clustercache._core.topology import Topology

COOL_DOWN = 0.1
"""Seconds between two refreshes of a small cluster."""

ASKED = 3
"""Nodes asked in one refresh."""

_SMALL = 50
PROBE_LEAST, PROBE_MOST = 0.05, 0.1
"""Seconds between two probes of a shard that is suspected."""


class RefreshPolicy:
    """Single-flight and rate-limited; the caller brings the clock and the randomness.

    Not thread-safe: its owner calls it under one lock.
    """

    __slots__ = ("_hints", "_not_before", "_wanted")

    def __init__(self) -> None:
        self._wanted = False
        self._not_before = 0.0
        self._hints: dict[Address, None] = {}

    @property
    def wanted(self) -> bool:
        """Whether a refresh is asked for and has not begun."""
        return self._wanted

    def want(self, *hints: Address) -> None:
        """Ask for a refresh; `hints` are nodes that should know best."""
        self._wanted = True
        self._hints.update(dict.fromkeys(hints))

    def due_in(self, now: float) -> float | None:
        """Return the seconds until the refresh may begin, or None where none is wanted."""
        return max(self._not_before - now, 0.0) if self._wanted else None

    def begin(self, now: float, nodes: int, jitter: float) -> tuple[Address, ...]:
        """Start a refresh: return the hints, and begin the cool-down.

        Args:
            now: The clock, in seconds.
            nodes: How many nodes the cluster has.
            jitter: From 0 to 1.
        """
        self._wanted = False
        hints, self._hints = tuple(self._hints), {}
        self._not_before = now + COOL_DOWN * max(1.0, nodes / _SMALL) * (0.5 + jitter)
        return hints


def whom_to_ask(
    topology: Topology | None,
    hints: Sequence[Address],
    seeds: Sequence[Address],
    order: Sequence[Address],
) -> list[Address]:
    """Return the addresses to ask, best first: hints, then some known nodes, then the seeds.

    Args:
        topology: The snapshot in force.
        hints: Nodes that should know best: a redirect's target, a dead primary's own replicas.
        seeds: The configured addresses; the last resort, and always on the list.
        order: All known addresses in an order that the caller's randomness chose.
    """
    healthy = {a for a, n in topology.nodes.items() if n.healthy} if topology else set()
    known = [a for a in order if a in healthy] + [a for a in order if a not in healthy]
    return list(dict.fromkeys((*hints, *known[: 2 * ASKED], *seeds)))


def probe_pause(jitter: float) -> float:
    """Return the seconds until a suspected shard is probed again; `jitter` is from 0 to 1."""
    return PROBE_LEAST + (PROBE_MOST - PROBE_LEAST) * jitter

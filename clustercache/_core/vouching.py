"""What the near cache's coherence is about: sources that vouch, tokens of reads, and entries."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from clustercache._core.slots import key_slot

if TYPE_CHECKING:
    from collections.abc import Hashable

    Depends = tuple[tuple[Hashable, Any], ...]

_REMEMBERED = 16
"""Ends of epochs that a source remembers."""


class Source:
    """One tracking connection to one primary, and its successors to the same.

    Attributes:
        epoch: Moves when what it vouched for is void.
        ends: Until when what was read in an earlier epoch is known to have been true: the last of
            them, in monotonic seconds.
        pong: When the last PING was sent that was answered, in monotonic seconds.
        ready: Whether it is tracked, and its node serves.
        slots: What its node said of the slots' owners.
        config_epoch: What its node said of its own config epoch.
    """

    __slots__ = ("config_epoch", "ends", "epoch", "pong", "ready", "slots")

    def __init__(self) -> None:
        self.epoch = 0
        self.ends: dict[int, float] = {}
        self.pong = -math.inf
        self.ready = False
        self.slots: Any = None
        self.config_epoch: Any = None

    def end_epoch(self) -> None:
        """Vouch no more for what was read until now."""
        if self.ready:  # otherwise nothing was read in it
            self.ends[self.epoch] = self.pong
            if len(self.ends) > _REMEMBERED:
                del self.ends[next(iter(self.ends))]
        self.epoch += 1

    def certify(self, health: Health) -> None:
        """Believe what its node answered, from when it was asked."""
        self.slots, self.config_epoch = health.slots, health.config_epoch
        self.pong, self.ready = health.sent, health.serving


class Health(NamedTuple):
    """What a node answered to CLUSTER INFO, CLUSTER SLOTS and PING, in this order.

    Attributes:
        sent: When they were SENT, in monotonic seconds: the answers may have lain about.
        serving: Whether the node serves its slots (`cluster_state:ok`).
        slots: Who owns which slot: CLUSTER SLOTS as it was parsed.
        config_epoch: The node's own. It moves whenever the node gets a slot, so that one that left
            and came back between two heartbeats is noticed, too.
    """

    sent: float
    serving: bool
    slots: Any = None
    config_epoch: Any = None


class Token:
    """The right to keep what a read brings, shared by reads of one key at the same time."""

    __slots__ = ("began", "epoch", "flushes", "key", "slot", "slot_epoch", "source",
                 "source_epoch", "users")  # fmt: skip

    def __init__(self, key: bytes, source: Source, now: float, slot: int | None) -> None:
        self.key = key
        self.slot = key_slot(key) if slot is None else slot
        self.source = source
        self.source_epoch = source.epoch
        self.slot_epoch = 0
        self.epoch = 0
        self.flushes = 0
        self.began = now
        self.users = 0


class Entry:
    """What is kept of one key under one name, and the epochs that it was read under.

    Attributes:
        began: When its read was begun; true it was then, if not before.
        expires: When its time on the server ends.
        until: When it is served no more, whatever is heard.
        depends: Names, and what has to be kept under each for this entry to be served.
        cost: What it cost to make the value, in microseconds.
        size: What it weighs.
    """

    __slots__ = (
        "began",
        "cost",
        "depends",
        "expires",
        "flushes",
        "key",
        "name",
        "size",
        "slot",
        "slot_epoch",
        "source",
        "source_epoch",
        "until",
        "value",
    )

    def __init__(self, token: Token, name: Hashable, value: Any) -> None:
        self.name = name
        self.value = value
        self.depends: Depends = ()
        self.cost = 0
        self.size = 1
        self.until = self.expires = math.inf
        self.key = token.key
        self.began = token.began
        self.flushes = token.flushes
        self.slot = token.slot
        self.source = token.source
        self.source_epoch = token.source_epoch
        self.slot_epoch = token.slot_epoch

"""When a replica became a primary."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

from clustercache.admin.waiting import wait_until

if TYPE_CHECKING:
    from clustercache.localcluster import Node

_LOOK = 0.002
_TIMEOUT = 25.0


def promotion(heir: Node) -> float:
    """Wait until a replica says that it is a primary, and return when it did.

    Looks more often than `LocalCluster.wait_failover`, for the client needs only milliseconds.
    """

    def reason() -> str | None:
        is_primary = heir.call("ROLE", timeout=1.0)[0] == "master"
        return None if is_primary else f"{heir.address} is still a replica"

    wait_until(reason, _TIMEOUT, f"promotion of {heir.address}", interval=_LOOK)
    return monotonic()

"""Faults of a primary, as a thread does them while others work: killed, stopped, restarted."""

from __future__ import annotations

import re
import time
from datetime import datetime
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple

from tests.faults.calls import WARM_UP, await_calls, tags_of

if TYPE_CHECKING:
    from clustercache.localcluster import LocalCluster, Node
    from tests.faults.calls import BaseLoad, Done

AFTER = 2.0
"""Seconds of load after the promotion."""
PROMOTED = 60.0
"""Seconds until the servers must have promoted the replica."""
_WON = re.compile(r"^\d+:\w (\d+ \w+ \d+ [\d:.]+) .*Failover election won", re.MULTILINE)


class Hit(NamedTuple):
    """Moments of a drill: just before and after the fault, the promotion, and the load's end."""

    before: float
    after: float
    promotion: float
    end: float


def on_victim(lc: LocalCluster, count: int) -> tuple[Node, list[str], list[str]]:
    """Return the primary to be hit, `count` tags on it, and as many on the others."""
    victim, *others = lc.primaries
    sick = tags_of(lc, victim, count)
    healthy = [tag for node in others for tag in tags_of(lc, node, count // len(others))]
    return victim, sick, healthy


def promoted_at(node: Node) -> float:
    """Return when `node` was promoted, by its own log, in monotonic seconds."""
    stamps = _WON.findall((node.directory / "server.log").read_text())
    wall = datetime.strptime(stamps[-1], "%d %b %Y %H:%M:%S.%f")  # noqa: DTZ007 - as it is logged
    return wall.timestamp() - time.time() + monotonic()


def strike(lc: LocalCluster, victim: Node, fault: str, load: BaseLoad) -> Hit:
    """Hit a primary under load, and wait until another one served for a while."""
    (replica,) = lc.replicas_of(victim)
    load.warm_up()
    before = monotonic()
    (lc.kill if fault == "kill" else lc.stop)(victim)
    after = monotonic()
    # `wait_failover` asks all nodes a hundred times a second: that slows down what is measured.
    while replica.call("ROLE")[0] != "master":
        assert monotonic() < after + PROMOTED, f"{replica} is not promoted"
        load.run_for(0.05)
    load.run_for(AFTER)
    return Hit(before, after, promoted_at(replica), monotonic())


def undo(lc: LocalCluster, victim: Node, fault: str) -> None:
    """Bring back what was hit, and wait until all is well."""
    if fault == "stop":
        lc.resume(victim)
    else:
        lc.restart(victim)
    lc.wait_ready()


class Ended(NamedTuple):
    """When a server was told to end, and when it ran again."""

    begin: float
    end: float

    def met(self, call: Done) -> bool:
        """Tell whether a call was under way meanwhile."""
        return call.start <= self.end and call.end >= self.begin


def restart_all(lc: LocalCluster, load: BaseLoad) -> list[Ended]:
    """Restart each node; a primary hands over to its replica first."""
    load.run_for(WARM_UP)
    ended = []
    for node in lc.nodes:
        if node.role == "primary":
            lc.failover(lc.replicas_of(node)[0])
        begin = monotonic()
        lc.restart(node, wait=False)
        ended.append(Ended(begin, monotonic()))
        lc.wait_ready()
        await_calls(load.workers, 20)
    return ended

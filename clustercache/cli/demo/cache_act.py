"""The third act: a cache of several processes, each with its near cache.

Its processes look prices up from the beginning of the second act on, so that they live through
its failover; what they saw of that is told at the end of this one.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any

from clustercache import NearCache
from clustercache.cli import output
from clustercache.cli.demo.cache_verdict import Changes, Crowd, judge
from clustercache.cli.demo.price_server import NEAR_SIZE, OFFERS_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

    from clustercache.cli.demo.cache_verdict import CacheVerdict
    from clustercache.cli.demo.price_servers import PriceServers
    from clustercache.cli.demo.watch import Moments

PROCESSES = 4
_CALLERS = 200
_WRITES, _INVALIDATIONS = 25, 5
_READY = 0.3  # seconds until all threads of the crowd stand ready
_LATER = 3.0  # seconds after a promotion in which all processes have found the new primary
_TOLD = 5


class CacheAct:
    """Tells what a cache is to many processes.

    Args:
        screen: Where to.
        heading: Begins a scene.
        indent: Spaces before each line.
    """

    def __init__(self, screen: Console, heading: Callable[[str, str], None], indent: int) -> None:
        self._screen = screen
        self._heading = heading
        self._margin = " " * indent

    def play(self, servers: PriceServers, moments: Moments) -> CacheVerdict:
        """Play the act with processes that have lived through a failover."""
        crowd = self._crowd(servers)
        _sleep_until(moments.promoted + _LATER)
        loads = servers.ask_all(do="stop")
        writes, tags = self._changes(servers)
        times = moments.killed, moments.promoted
        return judge(loads, *times, crowd=crowd, writes=writes, tags=tags)

    def _crowd(self, servers: PriceServers) -> Crowd:
        slow = f"offers(), which takes {output.duration(OFFERS_SECONDS)}"
        self._heading("A slow function is cached", f"{len(servers)} processes call {slow}")
        each = _CALLERS // len(servers)
        with output.status(self._screen, f"{_CALLERS} callers at once"):
            told = servers.ask_all(do="crowd", callers=each, at=monotonic() + _READY)
        crowd = Crowd.of(each * len(servers), told)
        self._tell(
            f"{crowd.callers} callers at once: computed {crowd.computed} time"
            f"{'s' * (crowd.computed != 1)}, all answered in {output.duration(crowd.slowest)}"
        )
        return crowd

    def _changes(self, servers: PriceServers) -> tuple[Changes, Changes]:
        remark = f"the {len(servers.others)} others have the old value near"
        self._heading("A process changes what is cached", remark)
        bound = NearCache(NEAR_SIZE).max_silence
        with output.status(self._screen, "changing"):
            told = [self._write(servers, value) for value in range(_WRITES)]
            writes = Changes.of([each for one in told for each in one], bound)
            told = [self._seen(servers, "", do="invalidate") for _ in range(_INVALIDATIONS)]
            tags = Changes.of([each for one in told for each in one], bound)
        for what, changes in (("writes", writes), ("invalidations by tag", tags)):
            self._tell(
                f"{changes.seen // len(servers.others)} {what}: the others saw them within"
                f" {output.duration(changes.longest)}, typically {output.duration(changes.typical)}"
            )
        return writes, tags

    def _write(self, servers: PriceServers, value: int) -> list[tuple[float, bool, dict[str, Any]]]:
        key = f"notice:{value % _TOLD}"  # on more than one shard
        if value < _TOLD:
            servers.ask(0, do="write", key=key, value=-1)
        return self._seen(servers, key, do="write", key=key, value=value)

    @staticmethod
    def _seen(
        servers: PriceServers, watched: str, **change: Any
    ) -> list[tuple[float, bool, dict[str, Any]]]:
        """Let one process change something; return when, and what each of the others saw."""
        for number in servers.others:
            servers.tell(number, do="watch", key=watched)
        near = [servers.hear(number)["near"] for number in servers.others]
        began = servers.ask(0, **change)["began"]
        seen = [servers.hear(number) for number in servers.others]
        return [(began, *each) for each in zip(near, seen, strict=True)]

    def _tell(self, text: str) -> None:
        self._screen.print(f"{self._margin}{text}")


def _sleep_until(moment: float) -> None:
    from threading import Event

    Event().wait(max(moment - monotonic(), 0.0))

"""The second act: web servers that share the users' sessions, and a primary that dies."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

from clustercache.cli import output
from clustercache.cli.demo.crowd import Crowd
from clustercache.cli.demo.promotion import promotion
from clustercache.cli.demo.shop_servers import ShopServers
from clustercache.cli.demo.shopper import WRITE
from clustercache.cli.demo.verdict import judge
from clustercache.cli.demo.watch import Gauge, Moments, Watch

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from clustercache._core.address import Address
    from clustercache.cli.demo.verdict import Verdict
    from clustercache.localcluster import LocalCluster, Node

_SERVERS = 3
_USERS = 200
_RATE = 150.0
_BEFORE, _AFTER = 1.5, 2.0


class ServerLoad:
    """The visits that one web server answered."""

    def __init__(self, crowd: Crowd, pid: int) -> None:
        self._crowd = crowd
        self._worker = str(pid)
        self._seen = 0
        self._reads = self._writes = self._errors = 0

    @property
    def counts(self) -> tuple[int, int, int]:
        """Reads (those without a session among them) and writes that succeeded, and errors."""
        visits = self._crowd.visits
        for visit in visits[self._seen :]:
            self._seen += 1
            if visit.worker == self._worker:
                self._errors += visit.failed
                self._writes += visit.kind == WRITE and not visit.failed
                self._reads += visit.kind != WRITE and not visit.failed
        return self._reads, self._writes, self._errors

    def outage(self, since: float) -> tuple[float, float] | None:
        """Return None: no web server has one."""


class ServerGauge(Gauge):
    """One web server, with the requests that wait for it."""

    def __init__(self, crowd: Crowd, address: Address, pid: int) -> None:
        super().__init__(ServerLoad(crowd, pid), str(address), str(pid))
        self._crowd = crowd
        self._address = address

    def remark(self, now: float) -> Text:  # noqa: ARG002 - as a shard's
        """Return how many requests wait."""
        return output.coloured(str(self._crowd.waiting(self._address)), "")


class ShopAct:
    """Tells what users of a web shop see while a primary dies.

    Args:
        screen: Where to.
        heading: Begins a scene.
        indent: Spaces before each line.

    Attributes:
        moments: When what happened.
    """

    def __init__(self, screen: Console, heading: Callable[[str, str], None], indent: int) -> None:
        self.moments = Moments()
        self._screen = screen
        self._heading = heading
        self._indent = indent

    def play(self, cluster: LocalCluster, victim: Node) -> Verdict:
        """Play the act, in which `victim` is killed; the web servers end with it."""
        with output.status(self._screen, f"starting {_SERVERS} web servers"):
            servers = ShopServers(cluster.url, _SERVERS)
        with servers, Crowd(servers.addresses, _USERS, _RATE) as crowd:
            self._log_in(crowd)
            self._fault(cluster, victim, crowd, servers)
            crowd.look_back()
            return judge(crowd.shoppers)

    def _log_in(self, crowd: Crowd) -> None:
        remark = f"{_SERVERS} web servers, {_USERS} browsers: any server for any request"
        self._heading("A web shop opens", remark)
        start = monotonic()
        crowd.log_in()
        took = output.duration(monotonic() - start)
        self._screen.print(f"{' ' * self._indent}{_USERS} users logged in: {took}")

    def _fault(
        self, cluster: LocalCluster, victim: Node, crowd: Crowd, servers: ShopServers
    ) -> None:
        remark = f"{_RATE:.0f} requests a second, 3 of 10 write to the user's session"
        self._heading("The users go shopping, and a primary is killed", remark)
        gauges = [
            ServerGauge(crowd, address, pid)
            for address, pid in zip(servers.addresses, servers.pids, strict=True)
        ]
        watch = Watch(self._screen, gauges, self._indent, ("web server", "pid", "waiting"))
        (heir,) = cluster.replicas_of(victim)
        crowd.start()
        with watch.showing():
            watch.zero = monotonic() + _BEFORE
            watch.run_for(_BEFORE)
            watch.zero = self.moments.killed = monotonic()
            cluster.kill(victim)
            watch.tell(f"SIGKILL to {victim.address}, with a third of the sessions", watch.zero)
            self.moments.promoted = watch.until(lambda: promotion(heir))
            watch.tell(f"{heir.address} was promoted", self.moments.promoted)
            watch.run_for(_AFTER)
            watch.until(crowd.stop)


def verdict_table(verdict: Verdict, indent: int = 0) -> Table:
    """Return the figures as a table: what, how much, and what that means."""
    made = output.table("", "", "", right=("",))
    made.show_header = False
    made.columns[0].justify = made.columns[2].justify = "left"
    pages = verdict.requests - verdict.reads - verdict.writes
    lost = ": replication is asynchronous" if verdict.missing else " read back"
    load = f"{verdict.reads:,} read, {verdict.writes:,} wrote, {pages:,} needed no session"
    rows = [
        ("requests", f"{verdict.requests:,}", load, False),
        ("failed", f"{verdict.failed:,}", "", verdict.failed > 0),
        ("users logged out", f"{verdict.logged_out:,}", f"of {verdict.users}", verdict.logged_out),
        ("cookies changed or deleted", f"{verdict.cookies}", "", verdict.cookies),
        ("changes missing", f"{verdict.missing:,}", f"of {verdict.changes:,}{lost}", False),
        ("changes applied twice", f"{verdict.twice:,}", "", verdict.twice),
        ("longest wait", output.duration(verdict.slowest), "for a session of the dead primary's",
         False),
        ("longest wait without a session", output.duration(verdict.slowest_home), "", False),
    ]  # fmt: skip
    for label, value, remark, bad in rows:
        made.add_row(
            " " * indent + label,
            output.coloured(value, "red" if bad else "bold"),
            output.coloured(remark, "dim"),
        )
    return made

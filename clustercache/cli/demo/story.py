"""The demo, scene by scene."""

from __future__ import annotations

from dataclasses import replace
from time import monotonic
from typing import TYPE_CHECKING

from clustercache import Cluster
from clustercache._core.slots import key_slot
from clustercache.cli import output
from clustercache.cli.create import plan_table
from clustercache.cli.demo.cache_act import PROCESSES, CacheAct
from clustercache.cli.demo.cache_verdict import cache_table
from clustercache.cli.demo.load import ALL_CLASSES, REPEATABLE, ShardLoad, stop_all
from clustercache.cli.demo.price_servers import PriceServers
from clustercache.cli.demo.promotion import promotion
from clustercache.cli.demo.shop_act import ShopAct, verdict_table
from clustercache.cli.demo.summary import Summary, summarise, summary_table
from clustercache.cli.demo.watch import Gauge, Moments, Watch
from clustercache.cli.execute import hops_table
from clustercache.cli.follow import follow
from clustercache.config import from_url
from clustercache.localcluster import LocalCluster

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from clustercache.admin import Plan
    from clustercache.cli.demo.cache_verdict import CacheVerdict
    from clustercache.cli.demo.verdict import Verdict

_INDENT = 3
_KEYS = 3000
_THREADS = 3  # on each shard
_BEFORE, _AFTER, _LAST = 2.0, 2.0, 0.5
_CONFIG = {
    "cluster-enabled": "",
    "cluster-node-timeout": "ms of silence until a node is suspected",
    "cluster-require-full-coverage": "healthy shards go on while one is down",
    "repl-diskless-sync-delay": "seconds until a new replica is synced",
    "appendonly": "",
}


class Story:
    """Tells what happens while it happens.

    Args:
        screen: Where to; a quiet one tells nothing.
        all_classes: Whether the load has operations that the client must not repeat.
    """

    def __init__(self, screen: Console, *, all_classes: bool) -> None:
        self._screen = screen
        self._kinds = ALL_CLASSES if all_classes else REPEATABLE
        self._scene = 0

    def tell(self, server: str | None, node_timeout: float, begin: float) -> Summary:
        """Play all scenes; whatever ends them, the servers end."""
        with self._start(server, node_timeout) as cluster, Cluster.from_url(cluster.url) as client:
            plan = cluster.plan
            assert plan is not None  # noqa: S101 - it was made just now
            self._servers(cluster)
            self._plan(plan)
            self._keys(cluster, client)
            self._redirect(cluster, plan)
            shards = [ShardLoad(client, s.slots, _THREADS, self._kinds) for s in plan.shards]
            moments = self._fault(cluster, plan, shards)
            name = str(cluster.server).partition(" (")[0]
            took = monotonic() - begin
            summary = summarise(client, shards, shards[1], moments, server=name, seconds=took)
            self._end(summary)
            with PriceServers(cluster.url, PROCESSES) as prices:
                shop, moments = self._second_act(cluster, plan, begin)
                cache = self._third_act(prices, moments, begin)
        return replace(summary, shop=shop, cache=cache, seconds=monotonic() - begin)

    def _heading(self, text: str, remark: str = "") -> None:
        self._scene += 1
        line = output.coloured(f"\n{self._scene:<2} {text}", "bold")
        self._screen.print(line.append(f"   {remark}", "not bold dim"))

    def _start(self, server: str | None, node_timeout: float) -> LocalCluster:
        with output.status(self._screen, "starting six servers"):
            return LocalCluster(server=server, node_timeout=node_timeout)

    def _servers(self, cluster: LocalCluster) -> None:
        name = str(cluster.server).partition(" (")[0]
        self._heading("Six servers start", f"{name} on 127.0.0.1, each with its server.conf:")
        lines = (cluster.nodes[0].directory / "server.conf").read_text().splitlines()
        values = dict(line.split(" ", 1) for line in lines)
        for option, remark in _CONFIG.items():
            text = f"{' ' * _INDENT}{option} {values[option]}"
            line = output.coloured(text.ljust(38) if remark else text, "")
            self._screen.print(line.append(remark, "dim"))

    def _plan(self, plan: Plan) -> None:
        self._heading("They become a cluster", "16384 slots, shared evenly by three primaries")
        self._screen.print(plan_table(self._screen, plan, _INDENT))

    def _keys(self, cluster: LocalCluster, client: Cluster) -> None:
        start = monotonic()
        for first in range(0, _KEYS, 100):
            client.mset({f"session:{number}": "x" * 100 for number in range(first, first + 100)})
        took = output.duration(monotonic() - start)
        self._heading("Keys spread over the nodes", f"{_KEYS:,} keys by MSET, 100 at once: {took}")
        ascii_only = self._screen.options.ascii_only
        for node in cluster.primaries:
            keys = int(node.call("DBSIZE"))
            bar = ("#" if ascii_only else "━") * round(40 * keys / _KEYS)
            text = output.coloured(f"{' ' * _INDENT}{node.address}  {keys:5,}  ", "")
            self._screen.print(text.append(bar, "cyan"))

    def _redirect(self, cluster: LocalCluster, plan: Plan) -> None:
        key = "session:42"
        slot = key_slot(key)
        away = next(s for s in plan.shards if not s.slots.start <= slot <= s.slots.end)
        answer = follow(from_url(cluster.url), ("STRLEN", key), start=away.primary.address)
        self._heading("A redirect", f"STRLEN {key}, slot {slot}, asked without a map")
        self._screen.print(hops_table(answer.hops, _INDENT))

    def _fault(self, cluster: LocalCluster, plan: Plan, shards: list[ShardLoad]) -> Moments:
        commands = "GET, SET, HSET" + (", HINCRBY" if "NEVER" in self._kinds else "")
        remark = f"{_THREADS} threads on each shard: {commands}"
        self._heading("A primary is killed under load", remark)
        gauges = [
            Gauge(load, str(load.slots), str(shard.primary.address))
            for load, shard in zip(shards, plan.shards, strict=True)
        ]
        watch = Watch(self._screen, gauges, _INDENT)
        for shard in shards:
            for worker in shard.workers:
                worker.start()
        with watch.showing():
            moments = _play(cluster, watch, gauges[1])
        stop_all(shards)
        return moments

    def _end(self, summary: Summary) -> None:
        self._heading("What was measured", f"in {summary.seconds:.0f} s")
        self._screen.print(summary_table(summary, _INDENT))
        said = f"{summary.failed or 'No'} operation{'s' * (summary.failed > 1)} failed."
        self._say(said, summary.errors, ok=summary.ok)

    def _second_act(
        self, cluster: LocalCluster, plan: Plan, begin: float
    ) -> tuple[Verdict, Moments]:
        victim = cluster.node_for(plan.shards[2].slots.start)
        act = ShopAct(self._screen, self._heading, _INDENT)
        verdict = act.play(cluster, victim)
        self._heading("What the users saw", f"after {monotonic() - begin:.0f} s in all")
        self._screen.print(verdict_table(verdict, _INDENT))
        logged_out, failed = verdict.logged_out or "No", verdict.failed or "no"
        said = f"{logged_out} user was logged out, {failed} request failed."
        if verdict.logged_out > 1 or verdict.failed > 1:
            said = f"Users logged out: {verdict.logged_out}; requests failed: {verdict.failed}."
        self._say(said, verdict.errors, ok=verdict.ok)
        return verdict, act.moments

    def _third_act(self, prices: PriceServers, moments: Moments, begin: float) -> CacheVerdict:
        verdict = CacheAct(self._screen, self._heading, _INDENT).play(prices, moments)
        remark = f"since the shop opened; after {monotonic() - begin:.0f} s in all"
        self._heading("What the cache did", remark)
        self._screen.print(cache_table(verdict, _INDENT))
        once = verdict.crowd.computed == 1
        often = "once" if once else f"{verdict.crowd.computed} times"
        failed = f"{verdict.failed or 'no'} call{'s' * (verdict.failed > 1)} failed"
        said = f"Computed {often} for {verdict.crowd.callers} callers, {failed}."
        self._say(said, verdict.errors, ok=verdict.ok)
        return verdict

    def _say(self, verdict: str, errors: Sequence[str], *, ok: bool) -> None:
        margin = " " * _INDENT
        for error in errors:
            self._screen.print(margin + error, style="red", soft_wrap=True)
        self._screen.print(f"\n{margin}{verdict}", style="green" if ok else "red")


def _play(cluster: LocalCluster, watch: Watch, sick: Gauge) -> Moments:
    """Kill the primary of a shard, wait for the promotion, and bring the dead server back."""
    moments = Moments()
    victim = next(node for node in cluster.nodes if str(node.address) == sick.where)
    (heir,) = cluster.replicas_of(victim)
    watch.zero = monotonic() + _BEFORE
    watch.run_for(_BEFORE)
    watch.zero = sick.down_since = moments.killed = monotonic()
    cluster.kill(victim)
    sick.state = "down"
    watch.tell(f"SIGKILL to {victim.address}, the primary of slots {sick.name}", moments.killed)
    moments.promoted = watch.until(lambda: promotion(heir))
    sick.where = str(heir.address)
    watch.tell(f"{sick.where} was promoted", moments.promoted)
    sick.state = "promoted"
    watch.run_for(_AFTER)
    moments.restarted = monotonic()
    watch.tell(f"{victim.address} is started again")
    watch.until(lambda: cluster.restart(victim))
    moments.rejoined = monotonic()
    watch.tell(f"{victim.address} is back, as a {victim.role} of {sick.where}")
    watch.run_for(_LAST)
    return moments

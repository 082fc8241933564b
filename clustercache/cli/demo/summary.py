"""What was measured, and how it is told."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from clustercache.cli import output
from clustercache.exceptions import OutcomeUnknownError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from clustercache import Cluster
    from clustercache.cli.demo.cache_verdict import CacheVerdict
    from clustercache.cli.demo.load import ShardLoad
    from clustercache.cli.demo.verdict import Verdict
    from clustercache.cli.demo.watch import Moments


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """Measured figures only; times in seconds.

    Attributes:
        operations: All calls of the load.
        reads: Those that read and succeeded.
        writes: Those that wrote and succeeded.
        failed: Those that raised an error, unknown outcomes included.
        unknown: Those that ended in OutcomeUnknownError.
        counted: Acknowledged HINCRBY of a field that is used once; read back at the end.
        applied_twice: Fields among them that were not 1.
        acknowledged: Acknowledged writes with an identity of their own, read back at the end.
        missing: Those of them that the servers lost.
        longest_wait_healthy: The longest call on the shards whose primary lived, after the kill.
        promotion: From the kill to the promotion.
        first_success: From the promotion to the first success on the moved slots; 0 where the
            client was the first to see it.
        outage: How long nothing succeeded on the moved slots.
        rejoined: From the restart of the dead server until all agreed on it as a replica.
        redirects: Redirects that the client followed.
        seconds: The whole demo.
        shop: What the users of the second act saw.
        cache: What became of cached values meanwhile, and in the third act.
    """

    operations: int
    reads: int
    writes: int
    failed: int
    unknown: int
    counted: int
    applied_twice: int
    acknowledged: int
    missing: int
    longest_wait_healthy: float
    promotion: float
    first_success: float
    outage: float
    rejoined: float
    redirects: int
    threads: int
    server: str
    seconds: float
    errors: tuple[str, ...] = ()
    shop: Verdict | None = None
    cache: CacheVerdict | None = None

    @property
    def ok(self) -> bool:
        """Whether no operation failed, none was applied twice, and nobody noticed anything."""
        acts = all(act is None or act.ok for act in (self.shop, self.cache))
        return acts and not self.failed and not self.applied_twice

    def to_dict(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        acts = {"shop": self.shop, "cache": self.cache}
        told = {name: None if act is None else act.to_dict() for name, act in acts.items()}
        return {"ok": self.ok, **asdict(self), **told}


def summarise(
    client: Cluster,
    shards: Sequence[ShardLoad],
    sick: ShardLoad,
    moments: Moments,
    *,
    server: str,
    seconds: float,
) -> Summary:
    """Read back what was written, and return all figures."""
    calls = [call for shard in shards for call in shard.calls()]
    errors = [call.error for call in calls if call.error is not None]
    healthy = [call for shard in shards if shard is not sick for call in shard.calls()]
    outage = sick.outage(moments.killed) or (moments.killed, moments.killed)
    counts = [shard.counts for shard in shards]
    back = _read_back(client, shards)
    nodes = client.stats()["nodes"].values()
    return Summary(
        operations=len(calls),
        reads=sum(count[0] for count in counts),
        writes=sum(count[1] for count in counts),
        failed=len(errors),
        unknown=sum(isinstance(error, OutcomeUnknownError) for error in errors),
        **back,
        longest_wait_healthy=max(c.end - c.start for c in healthy if c.end > moments.killed),
        promotion=moments.promoted - moments.killed,
        first_success=max(outage[1] - moments.promoted, 0.0),
        outage=outage[1] - outage[0],
        rejoined=moments.rejoined - moments.restarted,
        redirects=sum(facts["redirects"] for facts in nodes),
        threads=sum(len(shard.workers) for shard in shards),
        server=server,
        seconds=seconds,
        errors=tuple(dict.fromkeys(f"{type(e).__name__}: {e}" for e in errors))[:5],
    )


def _read_back(client: Cluster, shards: Sequence[ShardLoad]) -> dict[str, Any]:
    counted = twice = acknowledged = missing = 0
    for worker in (worker for shard in shards for worker in shard.workers):
        for kind, key in (("COUNT", worker.seen), ("NEVER", worker.log)):
            mine = [call for call in worker.calls if call.kind == kind]
            fields: Any = client.hgetall(key)
            found = {name.decode(): int(n) for name, n in fields.items()}
            done = [call for call in mine if call.error is None]
            acknowledged += len(done)
            missing += sum(call.identity not in found for call in done)
            if kind == "NEVER":
                counted += len(mine)
                twice += sum(found.get(call.identity, 0) > 1 for call in mine)
    return {
        "counted": counted,
        "applied_twice": twice,
        "acknowledged": acknowledged,
        "missing": missing,
    }


def summary_table(summary: Summary, indent: int = 0) -> Table:
    """Return the figures as a table: what, how much, and what that means."""
    made = output.table("", "", "", right=("",))
    made.show_header = False
    made.columns[0].justify = made.columns[2].justify = "left"
    lost = ": replication is asynchronous" if summary.missing else " read back"
    load = f"{summary.reads:,} reads, {summary.writes:,} writes"
    rows = [
        ("operations", f"{summary.operations:,}", load),
        ("failed in the application", f"{summary.failed:,}", ""),
        ("outcome unknown", f"{summary.unknown:,}", ""),
        ("applied twice", *_twice(summary)),
        ("acknowledged writes missing", f"{summary.missing:,}",
         f"of {summary.acknowledged:,}{lost}"),
        ("longest wait on healthy shards", output.duration(summary.longest_wait_healthy), ""),
        ("killed to promoted", output.duration(summary.promotion), "the servers' part"),
        ("promoted to first success", _soon(summary.first_success), "the client's part"),
        ("dead server back as a replica", output.duration(summary.rejoined), "after its restart"),
    ]  # fmt: skip
    for label, value, remark in rows:
        bad = label.startswith(("failed", "applied", "outcome")) and value not in {"0", "-"}
        made.add_row(
            " " * indent + label,
            output.coloured(value, "red" if bad else "bold"),
            output.coloured(remark, "dim"),
        )
    return made


def _soon(seconds: float) -> str:
    # The promotion is looked for every 2 ms: a smaller figure would claim to know more.
    return "under 2 ms" if seconds < 0.002 else output.duration(seconds)


def _twice(summary: Summary) -> tuple[str, str]:
    if summary.counted:
        return f"{summary.applied_twice:,}", f"of {summary.counted:,} counted"
    return "-", "none to count: see --all-classes"

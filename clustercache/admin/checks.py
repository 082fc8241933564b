"""From all nodes' answers to findings. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from clustercache._core.slots import SLOT_COUNT
from clustercache.admin.facts import server_name
from clustercache.admin.nodes_text import SlotRange, amount
from clustercache.admin.plan import LEAST_PRIMARIES
from clustercache.admin.reports import CheckReport, Finding

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from clustercache.admin.collect import Collected

_COVERED_NODE_TIMEOUT = 5000  # ms; above, a promotion can take longer than the client's 10 s
_ORDER = ("error", "warning", "advice")


def check(collected: Collected, replicas: int | None = None) -> CheckReport:
    """Return what is wrong.

    Args:
        collected: All nodes' answers.
        replicas: How many working replicas each primary should have; None wants one.
    """
    owners = _owners(collected)
    working = [slot for slot, owner in enumerate(owners) if owner and owner in collected.answers]
    primaries = {owner for owner in owners if owner}
    findings = [
        *_reachability(collected),
        *_coverage(collected, owners),
        *_agreement(collected),
        *_open_slots(collected),
        *_epochs(collected, primaries),
        *_replicas(collected, primaries, 1 if replicas is None else replicas),
        *_hosts(collected, primaries),
        *_settings(collected),
    ]
    findings.sort(key=lambda finding: _ORDER.index(finding.severity))
    return CheckReport(
        findings=tuple(findings),
        nodes=len(collected.lines),
        reachable=len(collected.answers),
        primaries=len(primaries),
        covered=len(working),
    )


def ranges(slots: Iterable[int]) -> list[SlotRange]:
    """Return slot numbers, given in order, as ranges."""
    found: list[SlotRange] = []
    for slot in slots:
        if found and found[-1].end == slot - 1:
            found[-1] = SlotRange(found[-1].start, slot)
        else:
            found.append(SlotRange(slot, slot))
    return found


def _text(slots: Iterable[int]) -> str:
    parts = ranges(slots)
    more = f" and {amount(len(parts) - 8, 'more range')}" if len(parts) > 8 else ""
    return ", ".join(map(str, parts[:8])) + more


def _owners(collected: Collected) -> list[str]:
    """Return each slot's owner: of all that is claimed, the claim with the greatest epoch."""
    owners, epochs = [""] * SLOT_COUNT, [-1] * SLOT_COUNT
    claims = {
        (line.epoch, line.node_id, line.slots)
        for view in collected.views
        for line in view.lines
        if line.slots
    }
    for epoch, node_id, slots in claims:
        for part in slots:
            for slot in range(part.start, part.end + 1):
                if epoch > epochs[slot]:
                    owners[slot], epochs[slot] = node_id, epoch
    return owners


def _reachability(collected: Collected) -> Iterator[Finding]:
    for node_id, error in collected.errors.items():
        name = collected.name(node_id)
        line = collected.lines[node_id]
        known = "; the other nodes know it as failed" if line.has_failed else ""
        yield Finding("error", "unreachable", f"{name} does not answer: {error}{known}", (name,))
    for view in collected.views:
        state = view.state.get("cluster_state")
        if state != "ok":
            name = str(view.asked)
            yield Finding("error", "state", f"{name} says cluster_state:{state}", (name,))


def _coverage(collected: Collected, owners: list[str]) -> Iterator[Finding]:
    bare = [slot for slot, owner in enumerate(owners) if not owner]
    if bare:
        message = f"{amount(len(bare), 'slot')} without an owner: {_text(bare)}"
        yield Finding("error", "uncovered-slots", message)
    dead: dict[str, list[int]] = defaultdict(list)
    for slot, owner in enumerate(owners):
        if owner and owner not in collected.answers:
            dead[owner].append(slot)
    for owner, slots in dead.items():
        name = collected.name(owner)
        message = f"{name} does not answer and serves {amount(len(slots), 'slot')}: {_text(slots)}"
        yield Finding("error", "slots-down", message, (name,))


def _agreement(collected: Collected) -> Iterator[Finding]:
    groups: dict[object, list[str]] = defaultdict(list)
    ids = collected.answers.keys()
    for view in collected.views:
        groups[view.layout(ids)].append(str(view.asked))
    if len(groups) > 1:
        camps = sorted(groups.values(), key=len, reverse=True)
        told = " | ".join(", ".join(camp) for camp in camps)
        message = f"the nodes do not agree on slots and roles; {len(camps)} views: {told}"
        yield Finding(
            "error", "disagreement", message, tuple(name for camp in camps[1:] for name in camp)
        )


def _open_slots(collected: Collected) -> Iterator[Finding]:
    for node_id, answer in collected.answers.items():
        if answer.view is None or not answer.view.myself.is_primary:
            continue  # Valkey 9 tells replicas too
        name = collected.name(node_id)
        for verb, moves in (
            ("leaves {0} for {1}", answer.view.myself.migrating),
            ("comes to {0} from {1}", answer.view.myself.importing),
        ):
            by_other: dict[str, list[int]] = defaultdict(list)
            for slot, other in moves:
                by_other[other].append(slot)
            for other, slots in by_other.items():
                way = verb.format(name, collected.name(other))
                message = (
                    f"open: slot {_text(sorted(slots))} {way}: a resharding is under way, or one "
                    "was broken off"
                )
                yield Finding("warning", "open-slot", message, (name,))


def _epochs(collected: Collected, primaries: set[str]) -> Iterator[Finding]:
    holders: dict[int, list[str]] = defaultdict(list)
    for node_id in sorted(primaries):
        holders[collected.lines[node_id].epoch].append(collected.name(node_id))
    for epoch, names in holders.items():
        if len(names) > 1:
            message = f"{' and '.join(names)} have the same config epoch, {epoch}"
            yield Finding("error", "epoch-collision", message, tuple(names))


def _replicas(collected: Collected, primaries: set[str], wanted: int) -> Iterator[Finding]:
    working = Counter[str]()
    for node_id, answer in collected.answers.items():
        line = collected.lines[node_id]
        if not line.primary_id or answer.view is None:
            continue
        if answer.view.replication.get("master_link_status") == "up":
            working[line.primary_id] += 1
            continue
        name, primary = collected.name(node_id), collected.name(line.primary_id)
        message = f"replica {name}: its link to {primary} is down (masterauth? network?)"
        yield Finding("warning", "link-down", message, (name,))
    for node_id in sorted(primaries, key=collected.name):
        if working[node_id] < wanted:
            name = collected.name(node_id)
            has = amount(working[node_id], "working replica")
            message = f"primary {name} has {has}; {wanted} wanted"
            yield Finding("warning", "missing-replica", message, (name,))


def _hosts(collected: Collected, primaries: set[str]) -> Iterator[Finding]:
    if 0 < len(primaries) < LEAST_PRIMARIES:
        message = "two primaries or one have no majority when one fails: use three or more"
        yield Finding("warning", "few-primaries", message)
    host = {node_id: line.address.host for node_id, line in collected.lines.items()}
    if len(set(host.values())) == 1:
        yield Finding("advice", "one-host", "all nodes are on one host")
        return
    for node_id, line in collected.lines.items():
        if line.primary_id in host and host[line.primary_id] == host[node_id]:
            name, primary = collected.name(node_id), collected.name(line.primary_id)
            message = f"replica {name} is on the same host as its primary {primary}"
            yield Finding("advice", "same-host", message, (name,))
    for place, count in Counter(host[node_id] for node_id in primaries).most_common(1):
        if count * 2 >= len(primaries):
            message = f"{count} of {len(primaries)} primaries are on {place}"
            yield Finding("advice", "majority-on-one-host", message)


def _settings(collected: Collected) -> Iterator[Finding]:
    timeouts: dict[int, list[str]] = defaultdict(list)
    full = []
    for node_id, answer in collected.answers.items():
        name = collected.name(node_id)
        if "cluster-node-timeout" in answer.settings:
            timeouts[int(answer.settings["cluster-node-timeout"])].append(name)
        if answer.settings.get("cluster-require-full-coverage") == "yes":
            full.append(name)
    if len(timeouts) > 1:
        told = ", ".join(f"{ms} ms on {len(names)}" for ms, names in sorted(timeouts.items()))
        yield Finding("warning", "node-timeouts-differ", f"cluster-node-timeout differs: {told}")
    if timeouts and max(timeouts) > _COVERED_NODE_TIMEOUT:
        message = (
            f"cluster-node-timeout is {max(timeouts)} ms: promotions come after the client's "
            "default deadline of 10 s; set it to 5000 or less, or the deadline to 30 s or more"
        )
        yield Finding("advice", "node-timeout", message, tuple(timeouts[max(timeouts)]))
    if full:
        message = (
            "cluster-require-full-coverage is yes: all slots are refused while one has no "
            "primary; set it to no, so that healthy shards go on during a failover"
        )
        yield Finding("advice", "full-coverage", message, tuple(full))
    versions = {server_name(answer.info) for answer in collected.answers.values()}
    if len(versions) > 1:
        message = f"the nodes run different versions: {', '.join(sorted(versions))}"
        yield Finding("advice", "mixed-versions", message)

"""From all nodes' answers to `ClusterInfo`. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clustercache._core.slots import SLOT_COUNT
from clustercache.admin.facts import count_keys, server_name
from clustercache.admin.reports import ClusterInfo, NodeInfo

if TYPE_CHECKING:
    from clustercache.admin.collect import Answer, Collected


def overview(collected: Collected) -> ClusterInfo:
    """Return a line for each node, each primary followed by its replicas."""
    lines = collected.lines

    def place(node_id: str) -> tuple[int, str, bool, str]:
        line = lines[node_id]
        head = lines.get(line.primary_id, line)
        first = head.slots[0].start if head.slots else SLOT_COUNT
        return first, head.node_id, bool(line.primary_id), str(line.address)

    return ClusterInfo(tuple(_node(collected, node_id) for node_id in sorted(lines, key=place)))


def _node(collected: Collected, node_id: str) -> NodeInfo:
    line = collected.lines[node_id]
    answer = collected.answers.get(node_id)
    info = answer.info if answer else {}
    state = "ok" if answer else "failed" if line.has_failed else "unreachable"
    return NodeInfo(
        address=str(line.address),
        node_id=node_id,
        role="primary" if line.is_primary else "replica",
        state=state,
        reason=collected.errors.get(node_id, ""),
        primary=collected.name(line.primary_id) if line.primary_id else "",
        slots=line.slots,
        epoch=line.epoch,
        keys=count_keys(info) if answer else None,
        memory=_number(info, "used_memory"),
        link=info.get("master_link_status", "") if line.primary_id else "",
        lag=_number(info, "master_last_io_seconds_ago") if line.primary_id else None,
        behind=_behind(answer, collected.answers.get(line.primary_id)),
        version=server_name(info) if answer else "",
    )


def _number(info: dict[str, str], name: str) -> int | None:
    value = info.get(name, "")
    return int(value) if value.isdigit() else None


def _behind(replica: Answer | None, primary: Answer | None) -> int | None:
    if replica is None or primary is None:
        return None
    has = _number(replica.info, "slave_repl_offset")
    wants = _number(primary.info, "master_repl_offset")
    # The two were asked one after the other: the replica may even seem ahead.
    return None if has is None or wants is None else max(wants - has, 0)

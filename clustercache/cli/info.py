"""`clustercache info`: each node's role, slots, keys, memory and replication."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from clustercache.cli import output
from clustercache.cli.access import Access, cluster_options, json_option

if TYPE_CHECKING:
    from clustercache.admin import NodeInfo


@click.command()
@cluster_options
@json_option()
def info(*, access: Access, as_json: bool) -> None:
    """Show each primary, followed by its replicas."""
    from clustercache.admin import ClusterAdmin

    report = ClusterAdmin(access.config()).info()
    if as_json:
        output.print_json(report.to_dict())
        return
    screen = output.console()
    table = output.table(
        "node", "role", "state", "slots", "keys", "memory", "link", "server",
        right=("keys", "memory"),
    )  # fmt: skip
    for node in report.nodes:
        table.add_row(
            f"{node.address}" if node.role == "primary" else f"  {node.address}",
            output.styled(node.role),
            output.styled(node.state),
            output.spans(node.slots),
            "-" if node.keys is None else str(node.keys),
            output.size(node.memory),
            _link(node),
            node.version or "-",
        )
    screen.print(table)
    screen.print(f"\n{report.keys} keys, {output.size(report.memory)} in all nodes")
    for node in report.nodes:
        if node.reason:
            screen.print(f"{node.address}: {node.reason}", style="red")


def _link(node: NodeInfo) -> str:
    if node.role == "primary" or not node.link:
        return "-"
    behind = "" if node.behind is None else f", {node.behind} bytes behind"
    return node.link + behind

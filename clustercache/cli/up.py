"""`clustercache up`: a local cluster until Ctrl-C."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any

import click

from clustercache.cli import output
from clustercache.cli.access import json_option
from clustercache.cli.stopping import stoppable

if TYPE_CHECKING:
    from clustercache.localcluster import LocalCluster


@click.command()
@click.option("--primaries", type=click.IntRange(1), default=3, show_default=True)
@click.option("--replicas", type=click.IntRange(0), default=1, show_default=True, help="Of each.")
@click.option("--port", type=click.IntRange(1, 55535), help="First port [default: free ones].")
@click.option(
    "--directory",
    type=click.Path(file_okay=False),
    help="Keep data and layout here, and come back from it [default: a temporary one].",
)
@click.option("--server", help='Program, or a name as "valkey" or "redis-6.2".')
@click.option(
    "--node-timeout",
    type=click.FloatRange(0, min_open=True),
    default=2.0,
    show_default=True,
    help="Seconds of silence until nodes suspect a node.",
)
@json_option("one line of JSON when the cluster is ready")
def up(*, as_json: bool, **options: Any) -> None:
    """Start a cluster on this machine, until Ctrl-C or SIGTERM."""
    from clustercache.localcluster import LocalCluster

    screen = output.console(quiet=as_json)
    with contextlib.suppress(KeyboardInterrupt), stoppable():
        with output.status(screen, "starting the servers") as status:
            cluster = LocalCluster(**options, progress=lambda done: status.update(_step(done)))
        with cluster:
            _show(cluster, as_json=as_json)
            while cluster.nodes[0].pid != 0:  # raises once the servers' parent is gone
                time.sleep(1)


def _step(progress: object) -> str:
    return str(progress).partition("\n")[0]


def _show(cluster: LocalCluster, *, as_json: bool) -> None:
    nodes = describe(cluster)
    if as_json:
        told = {"url": cluster.url, "directory": str(cluster.directory), "nodes": nodes}
        output.print_json({**told, "server": cluster.server.name})
        return
    screen = output.console()
    table = output.table("node", "role", "slots", "primary", "pid", right=("pid",))
    for node in nodes:
        slots = output.spans("-".join(map(str, part)) for part in node["slots"])
        role = output.styled(node["role"])
        table.add_row(node["node"], role, slots, node["primary"] or "-", str(node["pid"]))
    screen.print(table)
    screen.print()
    screen.print(f"server  {cluster.server}", soft_wrap=True)
    screen.print(f"files   {cluster.directory}", soft_wrap=True)
    screen.print(f"url     {cluster.url}", soft_wrap=True)
    screen.print("\nCtrl-C ends the servers.", style="dim")


def describe(cluster: LocalCluster) -> list[dict[str, Any]]:
    """Return each running node's role, slots and primary."""
    lines = {node: node.view().myself for node in cluster.nodes}
    names = {line.node_id: str(node.address) for node, line in lines.items()}
    return [
        {
            "node": str(node.address),
            "role": "primary" if line.is_primary else "replica",
            "slots": [list(part) for part in line.slots],
            "primary": names.get(line.primary_id, ""),
            "pid": node.pid,
        }
        for node, line in lines.items()
    ]

"""`clustercache check`: what is wrong with a cluster."""

from __future__ import annotations

import click

from clustercache.cli import output
from clustercache.cli.access import Access, cluster_options, json_option


@click.command()
@click.option("--replicas", type=click.IntRange(0), help="Working replicas of each [default: 1].")
@cluster_options
@json_option()
def check(*, replicas: int | None, access: Access, as_json: bool) -> None:
    """Ask every node; exit with 1 when something is wrong.

    Slots without a working owner, nodes that do not answer or do not agree, slots left open,
    config epochs that collide, missing replicas; and advice, which alone is no failure.
    """
    from clustercache.admin import ClusterAdmin

    report = ClusterAdmin(access.config()).check(replicas)
    if as_json:
        output.print_json(report.to_dict())
    else:
        screen = output.console()
        table = output.table()
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        table.show_header = False
        for finding in report.findings:
            table.add_row(output.styled(finding.severity), finding.message)
        if report.findings:
            screen.print(table)
            screen.print()
        screen.print(
            f"{report.reachable} of {report.nodes} nodes answer, {report.primaries} primaries, "
            f"{report.covered} of {output.SLOT_COUNT} slots served: ",
            end="",
        )
        screen.print("ok" if report.ok else "not ok", style="green" if report.ok else "red")
    if not report.ok:
        raise SystemExit(1)

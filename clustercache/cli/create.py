"""`clustercache create`: a cluster of bare nodes."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

import click

from clustercache.cli import output
from clustercache.cli.access import Access, json_option, login_options

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from clustercache._core.address import Address
    from clustercache.admin import Plan, Progress


@click.command()
@click.argument("nodes", metavar="NODE...", nargs=-1, required=True)
@click.option(
    "--replicas", type=click.IntRange(0), default=1, show_default=True, help="Of each primary."
)
@click.option("--primaries", type=click.IntRange(1), help="[default: what the nodes give]")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option(
    "--timeout",
    type=click.FloatRange(0, min_open=True),
    default=60.0,
    show_default=True,
    help="Seconds to join, and again to agree and be in sync.",
)
@login_options
@json_option("JSON on stdout; all else goes to stderr")
def create(
    *,
    nodes: tuple[str, ...],
    replicas: int,
    primaries: int | None,
    yes: bool,
    timeout: float,
    access: Access,
    as_json: bool,
) -> None:
    """Make a cluster of empty nodes, or complete what an earlier run left half done.

    NODE is host:port, or a URL with credentials and TLS options that hold for all. The first nodes
    become primaries, taken from one host after the other.
    """
    from clustercache.admin import ClusterAdmin

    urls = [node for node in nodes if "://" in node]
    config = access.config(urls or f"redis://{nodes[0]}")
    screen = output.console(stderr=as_json)
    start = monotonic()

    def confirm(plan: Plan) -> bool:
        show_plan(screen, plan)
        return yes or click.confirm("\nMake this cluster?", err=as_json)

    plan = ClusterAdmin(config, timeout=timeout).create(
        [_address(node) for node in nodes],
        replicas,
        primaries=primaries,
        confirm=confirm,
        progress=lambda done: _show_step(screen, done),
    )
    if plan is None:
        raise click.ClickException("not confirmed; nothing was changed")
    seconds = monotonic() - start
    if as_json:
        output.print_json({"plan": plan.to_dict(), "seconds": seconds})
    else:
        screen.print(f"ready in {output.duration(seconds)}", style="green")


def _address(node: str) -> Address:
    from clustercache.config import parse_address, parse_url

    if "://" not in node:
        return parse_address(node)
    seeds: list[Address] = parse_url(node)["seeds"]
    return seeds[0]


def _show_step(screen: Console, done: Progress) -> None:
    if done.step != "plan":  # shown as a table, before the question
        screen.print(f"  {done.message}", style="dim")


def show_plan(screen: Console, plan: Plan) -> None:
    """Print the plan, and what the operator should know before saying yes."""
    screen.print(plan_table(screen, plan))
    for warning in plan.warnings:
        screen.print(f"warning: {warning}", style="yellow")
    if plan.resumes:
        screen.print("An earlier run was left half done: this completes it.")


def plan_table(screen: Console, plan: Plan, indent: int = 0) -> Table:
    """Return who gets which slots, and who copies whom."""
    table = output.table(
        "primary", "slots", "count", "", "replicas", right=("count",), indent=indent
    )
    for shard in plan.shards:
        table.add_row(
            " " * indent + str(shard.primary.address),
            str(shard.slots),
            str(shard.slots.size),
            output.slot_bar(screen, [shard.slots]),
            " ".join(str(replica.address) for replica in shard.replicas) or "-",
        )
    return table

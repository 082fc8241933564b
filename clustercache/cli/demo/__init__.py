"""`clustercache demo`: a cluster, a load, a dead primary, and what the application saw of it."""

from __future__ import annotations

from time import monotonic

import click

from clustercache.cli import output
from clustercache.cli.access import json_option
from clustercache.cli.stopping import stoppable


@click.command()
@click.option("--server", help='Program, or a name as "valkey" or "redis-6.2".')
@click.option(
    "--node-timeout",
    type=click.FloatRange(0.5, 5),
    default=2.0,
    show_default=True,
    help="Seconds of silence until nodes suspect a node.",
)
@click.option(
    "--all-classes",
    is_flag=True,
    help="Also run HINCRBY, which is not repeated when its reply is lost.",
)
@json_option("the summary as JSON, and nothing else")
def demo(*, server: str | None, node_timeout: float, all_classes: bool, as_json: bool) -> None:
    """Build a cluster, kill a primary under load, and watch.

    Six real servers on this machine, ended in any case. By default the load is GET, SET and HSET,
    which the client may send again. Then a web shop of three processes opens, with its users'
    sessions in the cluster, and another primary is killed; and four processes that share a cache
    live through that. Exit code 0 only when no operation failed, no user of the shop noticed
    anything but a wait, and the cache computed once what hundreds wanted at once.
    """
    from clustercache.cli.demo.story import Story

    begin = monotonic()
    story = Story(output.console(quiet=as_json), all_classes=all_classes)
    try:
        with stoppable():
            summary = story.tell(server, node_timeout, begin)
    except KeyboardInterrupt:
        raise click.ClickException("interrupted; the servers were ended") from None
    if as_json:
        output.print_json(summary.to_dict())
    if not summary.ok:
        raise SystemExit(1)

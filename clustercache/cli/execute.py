"""`clustercache exec`: one command, and the way that it took."""

from __future__ import annotations

from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Any

import click

from clustercache.cli import output
from clustercache.cli.access import Access, cluster_options, json_option

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from clustercache._core.commands import CommandSpec
    from clustercache.cli.follow import Hop
    from clustercache.config import ClusterConfig


@dataclass(frozen=True, slots=True)
class _Told:
    """What came of a command, by either way."""

    nodes: tuple[str, ...]
    redirects: int
    hops: tuple[Hop, ...]
    reply: Any
    seconds: float


@click.command(
    "exec", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False}
)
@click.option("-c", "by_hand", is_flag=True, help="Start without a map, at the URL's first node.")
@cluster_options
@json_option()
@click.argument("command", nargs=-1, required=True, metavar="COMMAND [ARG]...")
def execute(*, command: tuple[str, ...], by_hand: bool, access: Access, as_json: bool) -> None:
    """Run a command, and show its slot, node, redirects, reply and time.

    With -c, the redirects are those that a client without a map meets. Without it, the command
    takes the way of the library: it learns the map, and goes straight to the node.
    """
    from clustercache._core.commands import resolve
    from clustercache._core.wire import ServerError

    config = access.config()
    spec, args = resolve(command)
    if spec.refused:
        raise click.UsageError(f"{spec.name} is for a connection that stays open.")
    slots = _slots(spec, args)
    told = _by_hand(config, spec, args) if by_hand else _by_client(config, args)
    (_print_json if as_json else _print)(spec, slots, told)
    if isinstance(told.reply, ServerError):
        raise SystemExit(1)


def _slots(spec: CommandSpec, args: Sequence[Any]) -> list[int]:
    from clustercache._core.commands import keys_of
    from clustercache._core.slots import key_slot

    try:
        return list(dict.fromkeys(key_slot(key) for key in keys_of(spec, args)))
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def _by_hand(config: ClusterConfig, spec: CommandSpec, args: Sequence[Any]) -> _Told:
    from clustercache.cli.follow import follow

    answer = follow(config, (*spec.words, *args[1:]))
    node = str(answer.hops[-1].node)
    return _Told((node,), len(answer.hops) - 1, answer.hops, answer.reply, answer.seconds)


def _by_client(config: ClusterConfig, args: Sequence[Any]) -> _Told:
    from redis import ResponseError

    from clustercache import Cluster
    from clustercache._core.wire import ServerError

    class Raw(Cluster):
        """Gives replies as the servers word them."""

        def __init__(self, config: ClusterConfig) -> None:
            super().__init__(config)
            self._callbacks = {}

    start = monotonic()
    with Raw(config) as client:
        try:
            reply = client.execute_command(*args)
        except ResponseError as error:
            reply = ServerError(str(error))
        seconds = monotonic() - start
        nodes = client.stats()["nodes"]
    asked = tuple(name for name, facts in nodes.items() if facts["pool"])
    redirects = sum(facts["redirects"] for facts in nodes.values())
    return _Told(asked, redirects, (), reply, seconds)


def _print_json(spec: CommandSpec, slots: Sequence[int], told: _Told) -> None:
    from clustercache._core.wire import ServerError
    from clustercache.cli import replies

    failed = isinstance(told.reply, ServerError)
    value = {
        "command": spec.name,
        "slots": list(slots),
        "nodes": list(told.nodes),
        "redirects": told.redirects,
        "hops": [
            {"node": str(hop.node), "said": hop.said, "seconds": hop.seconds} for hop in told.hops
        ],
        "reply": None if failed else replies.as_json(told.reply),
        "error": told.reply.text if failed else None,
        "seconds": told.seconds,
    }
    output.print_json(value)


def _print(spec: CommandSpec, slots: Sequence[int], told: _Told) -> None:
    from clustercache._core.wire import ServerError
    from clustercache.cli import replies

    screen = output.console()
    screen.print(f"command    {spec.name}")
    screen.print(f"slot       {', '.join(map(str, slots)) or 'none: it has no key'}")
    screen.print(f"node       {', '.join(told.nodes)}")
    connecting = "connecting" if told.hops else "learning the map"
    screen.print(f"time       {output.duration(told.seconds)}, {connecting} included")
    screen.print(f"redirects  {told.redirects}\n")
    if told.hops:
        screen.print(hops_table(told.hops))
        screen.print()
    style = "red" if isinstance(told.reply, ServerError) else "bold"
    screen.print(replies.as_text(told.reply), style=style, soft_wrap=True)


def hops_table(hops: Sequence[Hop], indent: int = 0) -> Table:
    """Return each node that was asked, and what it said."""
    table = output.table("asked", "said", "time", right=("time",), indent=indent)
    for hop in hops:
        style = {"reply": "green", "error": "red"}.get(hop.said, "yellow")
        table.add_row(
            " " * indent + str(hop.node), f"{hop.said}", output.duration(hop.seconds), style=style
        )
    return table

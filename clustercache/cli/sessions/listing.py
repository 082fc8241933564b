"""`clustercache sessions list` and `count`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from clustercache.cli import output
from clustercache.cli.access import Access, cluster_options, json_option
from clustercache.cli.sessions.opening import opened, prefix_option, progress, user_option

if TYPE_CHECKING:
    from clustercache import SessionStore
    from clustercache.sessions import SessionInfo

_EVERY = 1000
COLUMNS = ("public id", "user", "device", "address", "created", "last seen", "expires")


@click.command("list")
@user_option("Only this user's sessions.")
@prefix_option
@cluster_options
@json_option()
def listed(*, user: str | None, prefix: str, access: Access, as_json: bool) -> None:
    """List sessions, the newest first; without --user, those of everybody.

    That looks at every key of the cluster. The rest of its work does not wait for it.
    """
    with opened(access, prefix) as (_, store):
        found = _all(store) if user is None else store.sessions_of(user)
    if as_json:
        output.print_json([as_dict(info) for info in found])
        return
    screen = output.console()
    if found:
        table = output.table(*COLUMNS)
        for info in found:
            table.add_row(*_cells(info))
        screen.print(table)
        screen.print()
    screen.print(f"{sessions_in_words(len(found))}; times are UTC")


@click.command()
@user_option("Only this user's sessions.")
@prefix_option
@cluster_options
@json_option()
def count(*, user: str | None, prefix: str, access: Access, as_json: bool) -> None:
    """Count sessions; without --user, those of everybody."""
    with opened(access, prefix) as (_, store), progress("counting the sessions"):
        number = store.count(user)
    if as_json:
        output.print_json({"count": number})
    else:
        click.echo(sessions_in_words(number))


def _all(store: SessionStore) -> list[SessionInfo]:
    # A key may be found twice while slots move.
    found: dict[str, SessionInfo] = {}
    with progress("reading the sessions") as tell:
        for info in store.scan():
            found[info.public_id] = info
            if len(found) % _EVERY == 0:
                tell(len(found))
    return sorted(found.values(), key=lambda info: info.created, reverse=True)


def as_dict(info: SessionInfo) -> dict[str, Any]:
    """Return what JSON can hold of a session."""
    return {
        "public_id": info.public_id,
        "user": info.user,
        "device": info.device,
        "address": info.address,
        "created": info.created.isoformat(),
        "last_seen": info.last_seen.isoformat(),
        "expires": info.expires.isoformat(),
    }


def _cells(info: SessionInfo) -> list[str]:
    texts = (info.public_id, info.user or "", info.device, info.address)
    times = (info.created, info.last_seen, info.expires)
    return [*(output.plain(text) or "-" for text in texts), *map(output.moment, times)]


def sessions_in_words(number: int) -> str:
    """Return "1 session", "2 sessions" and so on."""
    return f"{number:,} session{'' if number == 1 else 's'}"

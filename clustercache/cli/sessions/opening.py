"""The store that a command works on, and the search for one of its sessions."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from clustercache.cli import output

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from clustercache import Cluster, SessionStore
    from clustercache.cli.access import Access

_LOT = 1000


def prefix_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command `--prefix`, as `prefix`."""
    option = click.option(
        "--prefix", default="session", show_default=True, help="The store's, as in its settings."
    )
    return option(command)


def user_option(what: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return the `--user` option of a command, as `user`."""
    return click.option("--user", metavar="ID", help=what)


@contextmanager
def opened(access: Access, prefix: str) -> Iterator[tuple[Cluster, SessionStore]]:
    """Open the client and the store with this prefix for the time of a block."""
    from clustercache import Cluster, SessionStore
    from clustercache.cli.sessions.reading import AsStored

    config = replace(access.config(), decode_responses=False)
    with Cluster(config) as client:
        yield client, SessionStore(client, prefix=prefix, serializer=AsStored())


@contextmanager
def progress(what: str) -> Iterator[Callable[[int], None]]:
    """Show on a terminal that something goes on, and how far it is."""
    with output.status(output.console(stderr=True), f"{what} ...") as line:
        yield lambda done: line.update(f"{what} ... {done:,}")


class Place(NamedTuple):
    """Where a session is.

    Attributes:
        key: Of the session.
        selector: That the key ends in.
    """

    key: str
    selector: str


def find(client: Cluster, store: SessionStore, named: str, user: str | None) -> Place:
    """Return where the session with a public id is.

    Args:
        client: Asked.
        store: Whose.
        named: The public id.
        user: Whose sessions are looked through; None for all that there are.

    Raises:
        click.ClickException: It is not there.
    """
    from clustercache.sessions.token import public_id

    for selector in _selectors(client, store, user):
        if public_id(selector) == named:
            return Place(store.plans.key(selector), selector)
    whose = "" if user is None else f" of the user {output.plain(user)}"
    raise click.ClickException(f"no session{whose} has the public id {output.plain(named)}")


def _selectors(client: Cluster, store: SessionStore, user: str | None) -> Iterable[str]:
    if user is not None:
        members = client.execute_command("ZRANGE", store.plans.index.key(user), 0, -1)
        yield from (one.decode("utf-8", "replace") for one in members)
        return
    begin = len(store.plans.key(""))
    pattern = store._pattern("s")  # noqa: SLF001 - ours too
    with progress("looking through the sessions") as tell:
        for number, key in enumerate(client.scan_iter(pattern, count=_LOT), 1):
            yield key.decode("utf-8", "replace")[begin:]
            if number % _LOT == 0:
                tell(number)

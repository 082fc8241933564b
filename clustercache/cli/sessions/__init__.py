"""`clustercache sessions`: whose sessions there are, and the end of some of them."""

from __future__ import annotations

import click

from clustercache.cli.sessions.listing import count, listed
from clustercache.cli.sessions.revoking import revoke
from clustercache.cli.sessions.showing import show


@click.group()
def sessions() -> None:
    """List, show, count and end the sessions of a SessionStore.

    A session goes by its public id, which opens nothing. Tokens are neither shown nor stored.
    """


for command in (listed, show, revoke, count):
    sessions.add_command(command)

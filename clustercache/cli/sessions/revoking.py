"""`clustercache sessions revoke`: the end of one session, of a user's, or of all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from clustercache.cli import output
from clustercache.cli.access import Access, cluster_options, json_option
from clustercache.cli.sessions.listing import sessions_in_words
from clustercache.cli.sessions.opening import find, opened, prefix_option, progress, user_option

if TYPE_CHECKING:
    from collections.abc import Callable

    from clustercache import Cluster, SessionStore

    Confirm = Callable[[str], None]


@click.command()
@click.argument("public_id", required=False)
@user_option("All of this user's, those of logins under way too; with PUBLIC_ID, one of theirs.")
@click.option("--all", "of_user", is_flag=True, help="All that --user has: what it says alone.")
@click.option("--everybody", is_flag=True, help="All sessions of all users, and of nobody.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@prefix_option
@cluster_options
@json_option("JSON on stdout; all else goes to stderr")
def revoke(
    *,
    public_id: str | None,
    user: str | None,
    of_user: bool,
    everybody: bool,
    yes: bool,
    prefix: str,
    access: Access,
    as_json: bool,
) -> None:
    """End sessions, at once: PUBLIC_ID, or all of --user, or those of --everybody."""
    _check(public_id, user, of_user=of_user, everybody=everybody)

    def confirm(what: str) -> None:
        if not (yes or click.confirm(f"End {what}?", err=as_json)):
            raise click.ClickException("not confirmed; no session was ended")

    with opened(access, prefix) as (client, store):
        if public_id is not None:
            ended = _one(client, store, public_id, user, confirm)
        elif user is not None:
            ended = _of_user(store, user, confirm, count=not yes)
        else:
            ended = _everybody(store, confirm, count=not yes)
    if as_json:
        output.print_json({"ended": ended})
    else:
        click.echo(f"ended {sessions_in_words(ended)}")


def _check(public_id: str | None, user: str | None, *, of_user: bool, everybody: bool) -> None:
    if everybody and (public_id is not None or user is not None or of_user):
        raise click.UsageError("--everybody goes with no PUBLIC_ID, no --user and no --all.")
    if of_user and (user is None or public_id is not None):
        raise click.UsageError("--all goes with --user, and with no PUBLIC_ID.")
    if not (everybody or public_id is not None or user is not None):
        raise click.UsageError("which sessions? Give PUBLIC_ID, --user or --everybody.")


def _one(
    client: Cluster, store: SessionStore, public_id: str, user: str | None, confirm: Confirm
) -> int:
    place = find(client, store, public_id, user)
    found = client.execute_command("HGET", place.key, "_u")
    owner = user if found is None else found.decode("utf-8", "replace")
    whose = "of nobody" if owner is None else f"of {output.plain(owner)}"
    confirm(f"the session {public_id} {whose}")
    if owner is not None and store.revoke(owner, public_id):
        return 1
    # Nobody's, or one that its user's index does not have.
    return int(client.unlink(place.key))


def _of_user(store: SessionStore, user: str, confirm: Confirm, *, count: bool) -> int:
    if count:
        confirm(f"{sessions_in_words(store.count(user))} of {output.plain(user)}")
    return store.revoke_all(user)


def _everybody(store: SessionStore, confirm: Confirm, *, count: bool) -> int:
    if count:
        with progress("counting the sessions"):
            number = store.count()
        confirm(f"{sessions_in_words(number)}, of everybody")
    with progress("ending the sessions"):
        return store.revoke_everybody()

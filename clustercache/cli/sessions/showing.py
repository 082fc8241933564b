"""`clustercache sessions show`: one session, its values only if they are asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from clustercache.cli import output
from clustercache.cli.access import Access, cluster_options, json_option
from clustercache.cli.sessions.listing import as_dict
from clustercache.cli.sessions.opening import find, opened, prefix_option, user_option

if TYPE_CHECKING:
    from clustercache.cli.sessions.reading import Value
    from clustercache.sessions import SessionInfo
    from clustercache.sessions.record import Record


@click.command()
@click.argument("public_id")
@user_option("Look through this user's sessions only, which is quick.")
@click.option("--values", "with_values", is_flag=True, help="Show the fields' values, too.")
@prefix_option
@cluster_options
@json_option()
def show(
    *,
    public_id: str,
    user: str | None,
    with_values: bool,
    prefix: str,
    access: Access,
    as_json: bool,
) -> None:
    """Show a session, and the names and sizes of its fields."""
    from clustercache.cli.sessions.reading import read
    from clustercache.sessions.record import FACTS, Record

    with opened(access, prefix) as (client, store):
        place = find(client, store, public_id, user)
        stored = client.execute_command("HGETALL", place.key)
        record = Record.read(stored)
        facts = [stored.get(name.encode()) for name in FACTS]
        info = store.plans.index.info(place.selector, facts)
    if record is None or info is None:
        raise click.ClickException("it ended just now, or what its key holds is no session")
    fields = {name: read(value) for name, value in record.fields.items()}
    if as_json:
        output.print_json(_dict(info, record, fields, with_values=with_values))
    else:
        _print(info, record, fields, with_values=with_values)


def _dict(
    info: SessionInfo, record: Record, fields: dict[str, Value], *, with_values: bool
) -> dict[str, Any]:
    proved = _proved(record)
    told = {
        "idle": record.idle / 1000,
        "auth_time": None if proved is None else proved.isoformat(),
        "fields": {
            name: {"encoding": found.encoding, "size": found.size}
            | ({"value": found.value} if with_values else {})
            for name, found in fields.items()
        },
    }
    return as_dict(info) | told


def _print(
    info: SessionInfo, record: Record, fields: dict[str, Value], *, with_values: bool
) -> None:
    screen = output.console()
    proved = _proved(record)
    lines = {
        "session": info.public_id,
        "user": info.user,
        "device": info.device,
        "address": info.address,
        "created": output.moment(info.created),
        "logged in": None if proved is None else output.moment(proved),
        "last seen": output.moment(info.last_seen),
        "expires": f"{output.moment(info.expires)}, or after {record.idle / 1000:g} s without use",
    }
    for name, text in lines.items():
        screen.print(f"{name:<10} {output.plain(text or '') or '-'}", soft_wrap=True)
    screen.print(f"{'fields':<10} {len(fields)}; times are UTC")
    if not fields:
        return
    table = output.table("field", "bytes", *["value"] * with_values, right=("bytes",))
    for name, found in sorted(fields.items()):
        table.add_row(output.plain(name), str(found.size), *[_text(found)] * with_values)
    screen.print()
    screen.print(table)


def _text(found: Value) -> str:
    import json

    if found.encoding in {"encrypted", "unknown"}:
        return f"({found.encoding})"
    return output.plain(json.dumps(found.value, ensure_ascii=False))


def _proved(record: Record) -> Any:
    from clustercache.sessions.session import moment

    return None if record.proved is None else moment(record.proved)

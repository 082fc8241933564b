"""What every fake server answers by itself: enough for any client to connect."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from .replies import Reply, array, bulk, error, integer, null, reply, simple

if TYPE_CHECKING:
    from collections.abc import Callable

    from .connections import Command, Connection

Builtin: TypeAlias = "Callable[[Command, Connection], Reply]"

OK = simple("OK")


def unknown_command(command: Command) -> Reply:
    """Refuse a command in the words of the real servers."""
    name = command[0].decode("utf-8", "replace")
    start = "".join(f"'{word.decode('utf-8', 'replace')}' " for word in command[1:])
    text = f"ERR unknown command '{name}', with args beginning with: {start}"
    return error(text.replace("\r", " ").replace("\n", " "))


def wrong_arity(name: str) -> Reply:
    """Refuse a command that has too few or too many arguments."""
    return error(f"ERR wrong number of arguments for '{name.lower()}' command")


def hello(command: Command, connection: Connection, *, mode: str, role: str) -> Reply:
    """Answer HELLO, and from there on speak the version it asked for."""
    options = [word.upper() for word in command[2:]]
    if len(command) > 1:
        if command[1] not in {b"2", b"3"}:
            return error("NOPROTO unsupported protocol version")
        connection.protocol = int(command[1])
    if b"SETNAME" in options[:-1]:
        connection.client_name = command[3 + options.index(b"SETNAME")].decode()
    return reply(
        {
            "server": "redis",
            "version": "7.2.0",
            "proto": connection.protocol,
            "id": connection.id,
            "mode": mode,
            "role": role,
            "modules": [],
        }
    )


def client(command: Command, connection: Connection) -> Reply:
    """Answer the CLIENT subcommands that clients send when they connect."""
    subcommand = command[1].upper() if len(command) > 1 else b""
    if subcommand == b"SETNAME" and len(command) == 3:
        connection.client_name = command[2].decode("utf-8", "replace")
    if subcommand == b"GETNAME":
        return bulk(connection.client_name) if connection.client_name else null()
    if subcommand == b"ID":
        return integer(connection.id)
    return OK if subcommand else wrong_arity("client")


def ping(command: Command, connection: Connection) -> Reply:
    """Answer PING, with its argument where it has one."""
    del connection
    return bulk(command[1]) if len(command) > 1 else simple("PONG")


def echo(command: Command, connection: Connection) -> Reply:
    """Answer ECHO."""
    del connection
    return bulk(command[1]) if len(command) == 2 else wrong_arity("echo")


def readonly(command: Command, connection: Connection) -> Reply:
    """Answer READONLY and READWRITE."""
    connection.readonly = command.name == "READONLY"
    return OK


def asking(command: Command, connection: Connection) -> Reply:
    """Answer ASKING, which holds for the one command after it."""
    del command
    connection.asking = True
    return OK


def agree(command: Command, connection: Connection) -> Reply:
    """Answer what needs no thought."""
    del command, connection
    return OK


def no_commands(command: Command, connection: Connection) -> Reply:
    """Answer COMMAND: this server knows none worth listing."""
    del command, connection
    return array()


BUILTINS: dict[str, Builtin] = {
    "ASKING": asking,
    "AUTH": agree,
    "CLIENT": client,
    "COMMAND": no_commands,
    "ECHO": echo,
    "PING": ping,
    "READONLY": readonly,
    "READWRITE": readonly,
    "SELECT": agree,
}

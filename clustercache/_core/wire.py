"""RESP, packed and parsed by hiredis.

A server's error is a value here, never an exception: `ServerError` carries its code (the first
word) and its text, and the shells hand it to `decide()`. `INCOMPLETE` is the reader's answer to
half a reply; it is an object of its own because ``False`` is a RESP3 value and ``None`` is a null.
A RESP3 push is an instance of `Push`, and is never the reply to a command.

Source: the RESP specification, protocol versions 2 and 3.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import hiredis

if TYPE_CHECKING:
    from collections.abc import Sequence

INCOMPLETE: Final = object()
Push = hiredis.PushNotification
ProtocolError = hiredis.ProtocolError
pack = hiredis.pack_command

# Servers quote arguments: an unknown command's first ones, a stream's key, an ACL rule. Keys and
# values stay out of errors; what stays are names of commands.
_QUOTED = re.compile(r"(unknown command )?'([^']*)'( command)?|(Unknown node) \S+")
_DETAILS_OF_ARGUMENTS = ", with args beginning with"
UNDECODABLE: Final = "UNDECODABLE"
"""The code of the error that stands for a reply which is no text in the encoding."""


class ServerError(Exception):
    """An error reply: `code` is its first word, `text` the whole line without arguments."""

    __slots__ = ("code", "text")

    def __init__(self, text: str) -> None:
        self.text = _QUOTED.sub(_name_only, text.partition(_DETAILS_OF_ARGUMENTS)[0])
        self.code = self.text.partition(" ")[0]
        super().__init__(self.text)


def _name_only(found: re.Match[str]) -> str:
    unknown, quoted, known, node = found.groups()
    if unknown:
        return f"{unknown}'{quoted.partition(' ')[0]}'"
    return node or (found[0] if known else "'...'")


def undecodable() -> ServerError:
    """Return what stands for a reply that is no text in the encoding; its bytes are not kept."""
    return ServerError(f"{UNDECODABLE} the reply is not text in the client's encoding")


def new_reader(
    encoding: str | None = None,
    errors: str = "strict",
    *,
    broken: type[Exception] = ProtocolError,
) -> hiredis.Reader:
    """Return a reader whose `gets()` gives replies, `ServerError` values or `INCOMPLETE`.

    Args:
        encoding: Decode bulk strings with this codec; None leaves bytes.
        errors: The codec's error handler.
        broken: What `gets()` raises for something that is not RESP.
    """
    options: dict[str, Any] = {"encoding": encoding} if encoding else {}
    return hiredis.Reader(
        protocolError=broken,
        replyError=ServerError,
        notEnoughData=INCOMPLETE,
        errors=errors,
        **options,
    )


def pack_many(commands: Sequence[tuple[Any, ...]]) -> bytes:
    """Return several commands as one piece of wire data."""
    return b"".join([pack(command) for command in commands])


def unpack(data: bytes) -> list[bytes]:
    """Return the words of one packed command."""
    reader = hiredis.Reader()
    reader.feed(data)
    words: list[bytes] = reader.gets()
    return words


def handshake(
    *,
    protocol: int,
    username: str | None,
    password: str | None,
    client_name: str | None,
    db: int,
    library: tuple[str, str],
) -> list[tuple[tuple[Any, ...], bool]]:
    """Return what a new connection says first, as (command, must it succeed) pairs.

    Starting up needs no more rights than HELLO or AUTH: the name and the library's version are
    information for operators, and a server that refuses them is used all the same.

    Args:
        protocol: RESP version; 2 says no HELLO at all.
        username: ACL user; None with a password means the default user.
        password: Password, or None to send no authentication.
        client_name: Shown by CLIENT LIST.
        db: Database number; 0 sends no SELECT.
        library: (name, version) for CLIENT SETINFO (Redis 7.2, Valkey 7.2 and newer).
    """
    steps: list[tuple[tuple[Any, ...], bool]] = []
    credentials: tuple[Any, ...] = ()
    if password is not None or username:
        credentials = (username or "default", password or "")  # a user may need no password
    if protocol >= 3:
        steps.append((("HELLO", 3, *(("AUTH", *credentials) if credentials else ())), True))
    elif credentials:
        # AUTH with one argument is what a server without ACL rules (requirepass) understands.
        steps.append((("AUTH", *(credentials if username else credentials[1:])), True))
    if db:
        steps.append((("SELECT", db), True))
    if client_name:
        steps.append((("CLIENT", "SETNAME", client_name), False))
    steps.append((("CLIENT", "SETINFO", "LIB-NAME", library[0]), False))
    steps.append((("CLIENT", "SETINFO", "LIB-VER", library[1]), False))
    return steps

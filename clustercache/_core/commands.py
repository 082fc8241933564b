"""Questions about one call: which command, which keys, safe to send twice, will it block.

The answers come from the table in ``command_table`` and the call's own arguments, never from a
server. Rules that hold throughout:

- ``args[0]`` is the whole name. ``resolve()`` makes it so; the other functions rely on it.
- Keys and options are found by position, so a value that looks like an option is none:
  ``SET k NX`` has no option. An option this table does not know makes the call NEVER.
- A command this table does not know (a module's, a newer server's) is taken to write its first
  argument and to be unsafe to repeat; without arguments it has no key.
- Errors name the command, never an argument.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .command_spec import (
    CommandSpec,
    KeysError,
    KeySpec,
    Merge,
    Options,
    Route,
    Safety,
    Split,
    Timeout,
)
from .command_table import COMMANDS, unknown

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = [
    "COMMANDS",
    "CommandSpec",
    "KeySpec",
    "KeysError",
    "Merge",
    "Options",
    "Route",
    "Safety",
    "Split",
    "Timeout",
    "find",
    "is_blocking",
    "keys_of",
    "resolve",
    "safety_of",
    "timeout_of",
]


def find(name: str) -> CommandSpec | None:
    """Return a command's entry, or None for a command that is not in the table.

    Args:
        name: The name in any case; two words with a space between them.
    """
    return COMMANDS.get(name) or COMMANDS.get(" ".join(name.upper().split()))


def resolve(args: Sequence[Any]) -> tuple[CommandSpec, Sequence[Any]]:
    """Return the entry for a call, and the call with its whole name in ``args[0]``.

    ``("CONFIG", "GET", "x")`` and ``("config get", "x")`` mean the same call. A subcommand that
    is not in the table gets the container's entry, with the name alone in ``args[0]``; any other
    unknown command gets an entry made for it (see above).

    Args:
        args: The name, str or bytes, and the arguments, as given to ``execute_command``.

    Raises:
        TypeError: If the name is neither str nor bytes.
    """
    name = args[0]
    if type(name) is str:
        spec = COMMANDS.get(name)  # the usual case: a known name, in capitals
        if spec is not None and not spec.container:
            return spec, args
    text = _text(name)
    if text is None:
        raise TypeError(f"a command's name is str or bytes, not {type(name).__name__}")
    spec = find(text)
    if spec is None:
        words = text.split()
        args = (*words, *args[1:])
        spec = find(words[0])
        if spec is None:
            return unknown(words[0]), args
    return _subcommand(spec, args) if spec.container else (spec, args)


def keys_of(spec: CommandSpec, args: Sequence[Any]) -> list[Any]:
    """Return every key of a call, in the order of the arguments; an empty key is a key.

    Args:
        spec: The command's entry.
        args: The call, with the whole name in ``args[0]``.

    Raises:
        KeysError: If the call is malformed, so that its keys cannot be told.
    """
    at = spec.single_key
    if at and at < len(args):
        return [args[at]]
    keys: list[Any] = []
    for where in spec.key_specs:
        for begin in _begins(spec, where, args):
            keys += _keys_at(spec, where, args, begin)
    if len(keys) > 1 and spec.key_specs[0].placeholder and _text(keys[0]) == "":
        del keys[0]
    return keys


def safety_of(spec: CommandSpec, args: Sequence[Any]) -> Safety:
    """Return whether a call may be sent again after its reply was lost, its options included.

    Args:
        spec: The command's entry.
        args: The call, with the whole name in ``args[0]``.

    Raises:
        KeysError: If the call is so malformed that the place of its options cannot be told.
    """
    if spec.options is None or len(args) <= spec.options.start:
        return spec.safety
    given = [
        spec.safety_words.get(word) if word else Safety.NEVER
        for _, word in _options(spec, spec.options, args)
    ]
    return max((safety for safety in given if safety is not None), default=spec.safety)


def timeout_of(spec: CommandSpec, args: Sequence[Any]) -> tuple[int, float] | None:
    """Return where a blocking call's timeout is, and its unit; None for a call that cannot block.

    Args:
        spec: The command's entry.
        args: The call, with the whole name in ``args[0]``.

    Returns:
        The index into ``args``, and the unit in seconds: 1.0, or 0.001 for milliseconds.
    """
    timeout = spec.timeout
    if timeout is None:
        return None
    at = timeout.at % len(args) if timeout.at < 0 else timeout.at
    if timeout.word and spec.options is not None:
        words = _options(spec, spec.options, args)
        at = next((place + 1 for place, word in words if word == timeout.word), 0)
    return (at, timeout.unit) if 0 < at < len(args) else None


def is_blocking(spec: CommandSpec, args: Sequence[Any]) -> bool:
    """Return whether a call may keep its connection waiting for longer than any other call does.

    Args:
        spec: The command's entry.
        args: The call, with the whole name in ``args[0]``.
    """
    return timeout_of(spec, args) is not None


def _text(value: object) -> str | None:
    """Return a name or an option word as str, None for what can be neither."""
    if isinstance(value, str):
        return value
    if isinstance(value, (bytes, bytearray, memoryview)):
        return str(value, "latin-1")
    return None


def _subcommand(container: CommandSpec, args: Sequence[Any]) -> tuple[CommandSpec, Sequence[Any]]:
    word = _text(args[1]) if len(args) > 1 else None
    spec = COMMANDS.get(f"{container.name} {word.upper()}") if word else None
    return (container, args) if spec is None else (spec, (spec.name, *args[2:]))


def _options(spec: CommandSpec, options: Options, args: Sequence[Any]) -> Iterator[tuple[int, str]]:
    """Yield the place and the word of each option; the word is "" if the table lacks it."""
    at = options.start or _counted(spec, spec.key_specs[0], args, spec.key_specs[0].index)[1]
    while at < len(args):
        word = (_text(args[at]) or "").upper()
        takes = options.takes.get(word)
        if takes is None and options.open:
            return
        yield at, "" if takes is None else word
        at += 1 + (takes or 0)


def _begins(spec: CommandSpec, where: KeySpec, args: Sequence[Any]) -> list[int]:
    """Return the places where keys, or their number, begin."""
    if not where.keyword:
        absent = where.optional and not where.numkeys and where.index >= len(args)
        return [] if absent else [where.index]
    words = _options(spec, spec.options, args) if spec.options is not None else ()
    begins = [at + 1 for at, word in words if word == where.keyword]
    if not begins and not where.optional:
        raise KeysError(f"{spec.name} needs {where.keyword} before its keys")
    return begins


def _keys_at(spec: CommandSpec, where: KeySpec, args: Sequence[Any], begin: int) -> list[Any]:
    if where.numkeys:
        begin, end = _counted(spec, where, args, begin)
        return list(args[begin : end : where.step])
    end = begin + where.last + 1 if where.last >= 0 else len(args) + where.last + 1
    group = where.limit * where.step
    if end <= begin or end > len(args):
        raise KeysError(f"{spec.name} lacks a key")
    if where.last < 0 and (end - begin) % group:
        raise KeysError(f"{spec.name} takes its arguments in groups of {group}: one is missing")
    return list(args[begin : begin + (end - begin) // where.limit : where.step])


def _counted(spec: CommandSpec, where: KeySpec, args: Sequence[Any], at: int) -> tuple[int, int]:
    """Return where the keys that are counted at a place begin and end."""
    count = _number(args[at]) if at < len(args) else None
    if count is None or count < 0:
        raise KeysError(f"{spec.name} needs the number of its keys at position {at}")
    if count == 0 and not where.optional:
        raise KeysError(f"{spec.name} needs at least one key")
    end = at + 1 + count * where.step
    if end > len(args):
        raise KeysError(f"{spec.name} has fewer keys than the number at position {at} says")
    return at + 1, end


def _number(value: object) -> int | None:
    """Return the number of keys, None for what no server takes for a number."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    text = (_text(value) or "").removeprefix("-")
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        return None
    return int(str(_text(value)))

r"""Patterns of keys, as the server's KEYS and SCAN have them: ``* ? [abc] [^a-c]`` and ``\``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_SPECIAL: Final = re.compile(r"[\\*?\[\]]")
_TOKEN: Final = re.compile(
    r"\\(?P<quoted>.)|(?P<many>\*+)|(?P<one>\?)"
    r"|\[(?P<other>\^?)(?P<set>(?:\\.|[^\]\\])*)(?:\]|$)|(?P<plain>.)",
    re.DOTALL,
)
_MEMBER: Final = re.compile(r"(?P<first>\\.|.)(?:-(?P<last>\\.|.))?", re.DOTALL)


def escaped(text: str) -> str:
    """Return a pattern that matches this text alone."""
    return _SPECIAL.sub(r"\\\g<0>", text)


def matcher(pattern: str) -> Callable[[str], bool]:
    """Return what tells of a whole key whether the server would find it."""
    tokens = _TOKEN.finditer(_as_bytes(pattern))
    whole = re.compile("".join(map(_translated, tokens)), re.DOTALL)
    return lambda key: whole.fullmatch(_as_bytes(key)) is not None


def _as_bytes(text: str) -> str:
    """Return a text of a character for each byte, as a server has no others."""
    return text.encode().decode("latin-1")


def _translated(token: re.Match[str]) -> str:
    kind = token.lastgroup
    if kind == "many":
        return ".*"
    if kind == "one":
        return "."
    if kind == "set":
        return _set(token["set"], token["other"])
    return re.escape(token["quoted"] or token["plain"])


def _set(members: str, other: str) -> str:
    if not members:
        return "." if other else r"(?!)"
    return f"[{other}{''.join(map(_range, _MEMBER.finditer(members)))}]"


def _range(member: re.Match[str]) -> str:
    ends = sorted(end[-1] for end in member.groups() if end)
    return "-".join(map(re.escape, ends))

r"""Patterns of keys, as the server's KEYS and SCAN have them: ``* ? [abc] [^a-c]`` and ``\``."""

from __future__ import annotations

import re
from typing import Final

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


def matcher(pattern: str) -> re.Pattern[str]:
    """Return what matches a whole key as the server would."""
    return re.compile("".join(map(_translated, _TOKEN.finditer(pattern))) + r"\Z", re.DOTALL)


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

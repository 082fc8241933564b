"""Replies as text for people, in redis-cli's manner, and as JSON."""

from __future__ import annotations

from typing import Any

from clustercache._core.wire import ServerError

_STATUS = {b"OK", b"PONG", b"QUEUED"}


def as_text(reply: Any, indent: int = 0) -> str:
    """Return a reply as text of one or more lines; further lines are indented."""
    if isinstance(reply, bytes):
        return _quoted(reply)
    if isinstance(reply, ServerError):
        return f"(error) {reply.text}"
    if reply is None:
        return "(nil)"
    if isinstance(reply, bool):
        return "(true)" if reply else "(false)"
    if isinstance(reply, int):
        return f"(integer) {reply}"
    if isinstance(reply, float):
        return f"(double) {reply:g}"
    if isinstance(reply, (list, set, frozenset, tuple)):
        return _listed([as_text(item, indent + 4) for item in reply], indent)
    if isinstance(reply, dict):
        pairs = [f"{_plain(name)} => {as_text(item, indent + 4)}" for name, item in reply.items()]
        return _listed(pairs, indent)
    return str(reply)


def _listed(items: list[str], indent: int) -> str:
    if not items:
        return "(empty)"
    margin = "\n" + " " * indent
    return margin.join(f"{number}) {item}" for number, item in enumerate(items, 1))


def _quoted(value: bytes) -> str:
    text = value.decode("utf-8", "backslashreplace")
    if value in _STATUS or (
        "\n" in text and text.replace("\r\n", "").replace("\n", "").isprintable()
    ):
        return text.rstrip()  # INFO and its like are made to be read
    escaped = "".join(c if c.isprintable() and c not in '"\\' else _escape(c) for c in text)
    return f'"{escaped}"'


def _escape(character: str) -> str:
    if character in '"\\':
        return f"\\{character}"
    return character.encode("unicode_escape").decode()


def _plain(name: Any) -> str:
    return name if isinstance(name, str) else as_text(name)


def as_json(reply: Any) -> Any:
    """Return a reply as what JSON can hold; bytes that are no UTF-8 are escaped."""
    if isinstance(reply, bytes):
        return reply.decode("utf-8", "backslashreplace")
    if isinstance(reply, dict):
        return {_json_name(name): as_json(item) for name, item in reply.items()}
    if isinstance(reply, (list, set, frozenset, tuple)):
        return [as_json(item) for item in reply]
    return reply if reply is None or isinstance(reply, (bool, int, float, str)) else str(reply)


def _json_name(name: Any) -> str:
    plain = as_json(name)
    return plain if isinstance(plain, str) else str(plain)

"""Which keys a cache has at the servers.

    shop:product:5          a value, with its lease while it is computed
    shop#tag:user:7         the token of a tag
    shop#{a1}               the token of the whole namespace, for the slots that are near `a1`'s
    shop#{a1}m.product      the token of a function, likewise

A token is random bytes, and what was stored under it is good while it stays: to unlink the token
is to invalidate all of that. The namespace has a token for each 512 slots, so that a value and
the token that it depends on are on one shard, mostly, and no shard's death harms the others.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any, Final

from clustercache._core.slots import SLOT_COUNT, key_slot
from clustercache.caching.names import misuse

BUCKETS: Final = 32
_WIDTH: Final = SLOT_COUNT // BUCKETS
_PLAIN: Final = re.compile(r"[^#{}*?\[\]\\\s]+")


@cache
def _hash_tags() -> tuple[str, ...]:
    """Return the shortest number in hash tags for each bucket of slots."""
    found: dict[int, str] = {}
    number = 0
    while len(found) < BUCKETS:
        found.setdefault(key_slot(b"%d" % number) // _WIDTH, str(number))
        number += 1
    return tuple(found[bucket] for bucket in range(BUCKETS))


class Layout:
    r"""The keys of one namespace.

    Args:
        namespace: Begins all keys: text without spaces and without any of ``# { } * ? [ ] \\``.

    Raises:
        ConfigurationError: The namespace is no such text.
    """

    __slots__ = ("_owners", "_prefix", "namespace")

    def __init__(self, namespace: str) -> None:
        if _PLAIN.fullmatch(namespace) is None:
            raise misuse(f"namespace={namespace!r} has to be text without spaces and # {{}} *?[]\\")
        self.namespace = namespace
        self._prefix = f"{namespace}:"
        self._owners: dict[str, tuple[str, ...]] = {}

    def value(self, key: str) -> str:
        """Return the server's key of a value.

        Raises:
            TypeError: The key is no text, or empty.
        """
        _check(key, "a cache key")
        return self._prefix + key

    def tag(self, name: str) -> str:
        """Return the key of a tag's token.

        Raises:
            TypeError: The name is no text, or empty.
        """
        _check(name, "a tag")
        return f"{self.namespace}#tag:{name}"

    @staticmethod
    def bucket(value_key: str) -> int:
        """Return which of the tokens a value depends on, of its namespace and of its function."""
        return key_slot(value_key.encode()) // _WIDTH

    def owner(self, bucket: int, function: str = "") -> str:
        """Return the key of a token of a namespace, or of a function."""
        owners = self._owners.get(function)
        if owners is None:
            owners = self._owners[function] = tuple(self.owners(function))
        return owners[bucket]

    def owners(self, function: str = "") -> list[str]:
        """Return the keys of all tokens of a namespace, or of a function."""
        return [f"{self.namespace}#{{{tag}}}{function}" for tag in _hash_tags()]


def _check(text: Any, what: str) -> None:
    if not isinstance(text, str):
        raise TypeError(f"{what} has to be text, and this is a {type(text).__qualname__}")
    if not text:
        raise TypeError(f"{what} must not be empty")

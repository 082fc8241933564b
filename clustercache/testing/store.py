"""A few data types in memory: as much of Redis as a cluster test writes and reads.

Strings, hashes, lists and sets, with the replies and the errors of the real servers. A key's type
is the Python type of its value: bytes, dict, list or set.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from .handshake import OK, wrong_arity
from .replies import Plain, Reply, error, integer, null, reply, simple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

Value: TypeAlias = bytes | dict[bytes, bytes] | list[bytes] | set[bytes]
Args: TypeAlias = "Sequence[bytes]"
V = TypeVar("V", bound=Value)

_TYPE_NAMES = {bytes: "string", dict: "hash", list: "list", set: "set"}


class RefusedError(Exception):
    """The command cannot be carried out; the text is the server's error."""


class Store:
    """The data of one shard."""

    def __init__(self) -> None:
        self.data: dict[bytes, Value] = {}
        self.expires: dict[bytes, float] = {}

    def has(self, key: bytes) -> bool:
        """Tell whether a key exists, and has not expired."""
        if self.expires.get(key, float("inf")) <= time.monotonic():
            self.remove(key)
        return key in self.data

    def remove(self, key: bytes) -> bool:
        """Delete a key; tell whether it was there."""
        self.expires.pop(key, None)
        return self.data.pop(key, None) is not None

    def get(self, key: bytes, kind: type[V]) -> V | None:
        """Return a key's value, or None; refuse a value of another type."""
        if not self.has(key):
            return None
        value = self.data[key]
        if not isinstance(value, kind):
            raise RefusedError("WRONGTYPE Operation against a key holding the wrong kind of value")
        return value

    def open(self, key: bytes, kind: type[V]) -> V:
        """Return a key's collection, and make an empty one if it is missing."""
        value = self.get(key, kind)
        if value is None:
            value = kind()
            self.data[key] = value
        return value

    def drop_if_empty(self, key: bytes) -> None:
        """Remove a collection that has become empty, as the servers do."""
        if not self.data.get(key, True):
            self.remove(key)

    def move_to(self, other: Store, keys: Iterable[bytes]) -> None:
        """Hand keys over to another store, with their expiry."""
        for key in list(keys):
            if self.has(key):
                other.data[key] = self.data[key]
                if key in self.expires:
                    other.expires[key] = self.expires[key]
                self.remove(key)

    def run(self, words: Sequence[bytes]) -> Reply:
        """Carry out a command of the table."""
        name = words[0].decode("utf-8", "replace").upper()
        spec = TABLE[name]
        args = words[1:]
        fits = len(args) == spec.arity if spec.arity >= 0 else len(args) >= -spec.arity
        if not fits:
            return wrong_arity(name)
        try:
            return reply(spec.run(self, args))
        except RefusedError as exc:
            return error(str(exc))


@dataclass(frozen=True, slots=True)
class StoreCommand:
    """How a command is carried out.

    Attributes:
        run: The function of store and arguments.
        arity: The number of arguments, or the least number as a negative one.
        write: Whether it changes data.
        last: The position of the last key among the arguments: -1 for all, None for no key.
        step: The distance from key to key.
    """

    run: Callable[[Store, Args], Plain]
    arity: int
    write: bool = False
    last: int | None = 0
    step: int = 1

    def keys(self, args: Args) -> Args:
        """Return the keys among the arguments."""
        if self.last is None:
            return []
        return args[:: self.step] if self.last < 0 else args[: self.last + 1]


def _number(text: bytes) -> int:
    try:
        return int(text)
    except ValueError:
        raise RefusedError("ERR value is not an integer or out of range") from None


def _set(store: Store, args: Args) -> Plain:
    key, value = args[0], args[1]
    words = [word.upper() for word in args[2:]]
    old = store.get(key, bytes) if b"GET" in words else None
    exists = store.has(key)
    if (b"NX" in words and exists) or (b"XX" in words and not exists):
        return old
    store.data[key] = value
    if b"KEEPTTL" not in words:
        store.expires.pop(key, None)
    for unit, name in ((1.0, b"EX"), (0.001, b"PX")):
        if name in words[:-1]:
            seconds = _number(words[words.index(name) + 1]) * unit
            store.expires[key] = time.monotonic() + seconds
    return old if b"GET" in words else OK


def _mset(store: Store, args: Args) -> Plain:
    if len(args) % 2:
        return wrong_arity("MSET")
    for position in range(0, len(args), 2):
        _set(store, args[position : position + 2])
    return OK


def _mget(store: Store, args: Args) -> Plain:
    found = ((store.data[key] if store.has(key) else None) for key in args)
    return [value if isinstance(value, bytes) else None for value in found]


def _delete(store: Store, args: Args) -> Plain:
    return sum(store.has(key) and store.remove(key) for key in args)


def _getdel(store: Store, args: Args) -> Plain:
    value = store.get(args[0], bytes)
    store.remove(args[0])
    return value


def _add(store: Store, key: bytes, amount: int) -> int:
    total = _number(store.get(key, bytes) or b"0") + amount
    store.data[key] = b"%d" % total
    return total


def _append(store: Store, args: Args) -> Plain:
    value = (store.get(args[0], bytes) or b"") + args[1]
    store.data[args[0]] = value
    return len(value)


def _expire(store: Store, args: Args) -> Plain:
    if not store.has(args[0]):
        return 0
    store.expires[args[0]] = time.monotonic() + _number(args[1])
    return 1


def _ttl(store: Store, args: Args) -> Plain:
    if not store.has(args[0]):
        return -2
    if args[0] not in store.expires:
        return -1
    return round(store.expires[args[0]] - time.monotonic())


def _type(store: Store, args: Args) -> Plain:
    return simple(_TYPE_NAMES[type(store.data[args[0]])] if store.has(args[0]) else "none")


def _hset(store: Store, args: Args) -> Plain:
    if len(args) % 2 == 0:
        return wrong_arity("HSET")
    table = store.open(args[0], dict)
    before = len(table)
    table.update(zip(args[1::2], args[2::2], strict=True))
    return len(table) - before


def _hincrby(store: Store, args: Args) -> Plain:
    table = store.open(args[0], dict)
    total = _number(table.get(args[1], b"0")) + _number(args[2])
    table[args[1]] = b"%d" % total
    return total


def _hdel(store: Store, args: Args) -> Plain:
    table = store.get(args[0], dict) or {}
    count = sum(table.pop(field, None) is not None for field in args[1:])
    store.drop_if_empty(args[0])
    return count


def _push(store: Store, args: Args, *, left: bool) -> Plain:
    items = store.open(args[0], list)
    for item in args[1:]:
        items.insert(0 if left else len(items), item)
    return len(items)


def _pop(store: Store, args: Args, *, left: bool) -> Plain:
    items = store.get(args[0], list)
    if not items:
        return null()
    item: bytes = items.pop(0 if left else -1)
    store.drop_if_empty(args[0])
    return item


def _lrange(store: Store, args: Args) -> Plain:
    items = store.get(args[0], list) or []
    first, last = _number(args[1]), _number(args[2])
    return items[first : last + 1 if last != -1 else None]


def _sadd(store: Store, args: Args) -> Plain:
    members = store.open(args[0], set)
    before = len(members)
    members.update(args[1:])
    return len(members) - before


def _srem(store: Store, args: Args) -> Plain:
    members = store.get(args[0], set) or set()
    before = len(members)
    members.difference_update(args[1:])
    store.drop_if_empty(args[0])
    return before - len(members)


def _flush(store: Store, args: Args) -> Plain:
    del args
    store.data.clear()
    store.expires.clear()
    return OK


def _read(run: Callable[[Store, Args], Plain], arity: int, last: int | None = 0) -> StoreCommand:
    return StoreCommand(run, arity, last=last)


def _write(
    run: Callable[[Store, Args], Plain], arity: int, last: int | None = 0, step: int = 1
) -> StoreCommand:
    return StoreCommand(run, arity, write=True, last=last, step=step)


TABLE: dict[str, StoreCommand] = {
    "APPEND": _write(_append, 2),
    "DBSIZE": _read(lambda store, _: sum(map(store.has, list(store.data))), 0, None),
    "DECR": _write(lambda store, args: _add(store, args[0], -1), 1),
    "DECRBY": _write(lambda store, args: _add(store, args[0], -_number(args[1])), 2),
    "DEL": _write(_delete, -1, -1),
    "EXISTS": _read(lambda store, args: sum(map(store.has, args)), -1, -1),
    "EXPIRE": _write(_expire, -2),
    "FLUSHALL": _write(_flush, 0, None),
    "FLUSHDB": _write(_flush, 0, None),
    "GET": _read(lambda store, args: store.get(args[0], bytes), 1),
    "GETDEL": _write(_getdel, 1),
    "HDEL": _write(_hdel, -2),
    "HGET": _read(lambda store, args: (store.get(args[0], dict) or {}).get(args[1]), 2),
    "HGETALL": _read(lambda store, args: store.get(args[0], dict) or {}, 1),
    "HINCRBY": _write(_hincrby, 3),
    "HLEN": _read(lambda store, args: len(store.get(args[0], dict) or {}), 1),
    "HSET": _write(_hset, -3),
    "INCR": _write(lambda store, args: _add(store, args[0], 1), 1),
    "INCRBY": _write(lambda store, args: _add(store, args[0], _number(args[1])), 2),
    "LLEN": _read(lambda store, args: len(store.get(args[0], list) or []), 1),
    "LPOP": _write(lambda store, args: _pop(store, args, left=True), 1),
    "LPUSH": _write(lambda store, args: _push(store, args, left=True), -2),
    "LRANGE": _read(_lrange, 3),
    "MGET": _read(_mget, -1, -1),
    "MSET": _write(_mset, -2, -1, 2),
    "PERSIST": _write(
        lambda store, args: int(
            store.has(args[0]) and store.expires.pop(args[0], None) is not None
        ),
        1,
    ),
    "RPOP": _write(lambda store, args: _pop(store, args, left=False), 1),
    "RPUSH": _write(lambda store, args: _push(store, args, left=False), -2),
    "SADD": _write(_sadd, -2),
    "SCARD": _read(lambda store, args: len(store.get(args[0], set) or set()), 1),
    "SET": _write(_set, -2),
    "SETNX": _write(
        lambda store, args: integer(int(_set(store, [*args, b"NX"]) is OK)),
        2,
    ),
    "SISMEMBER": _read(lambda store, args: int(args[1] in (store.get(args[0], set) or set())), 2),
    "SMEMBERS": _read(lambda store, args: store.get(args[0], set) or set(), 1),
    "SREM": _write(_srem, -2),
    "STRLEN": _read(lambda store, args: len(store.get(args[0], bytes) or b""), 1),
    "TOUCH": _read(lambda store, args: sum(map(store.has, args)), -1, -1),
    "TTL": _read(_ttl, 1),
    "TYPE": _read(_type, 1),
    "UNLINK": _write(_delete, -1, -1),
}

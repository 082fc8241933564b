"""Pickles of an older store, read by an explicit list of classes and nothing else.

A restricted `find_class` is not enough. A few bytes can ask the unpickler for gigabytes (a memo
index), for a stack overflow or for hours (the hash of tuples that nest, or that share their
items), or for a change of an allowed class itself (BUILD on the class, not on an instance). So a
pickle is first played on a stack that holds no values, only the size of each, and refused for
any of that.
"""

from __future__ import annotations

import io
import pickle
import pickletools
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

from clustercache._values.undecodable import Undecodable
from clustercache.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

COMMON_CLASSES: Final = (
    ("datetime", "date"),
    ("datetime", "datetime"),
    ("datetime", "time"),
    ("datetime", "timedelta"),
    ("datetime", "timezone"),
    ("decimal", "Decimal"),
    ("uuid", "UUID"),
    ("zoneinfo", "ZoneInfo"),
)
"""Classes that sessions often hold and that do no harm."""

# They find classes past `find_class`, or call what no session needs.
_REFUSED: Final = frozenset(
    {
        "EXT1", "EXT2", "EXT4", "INST", "OBJ", "PERSID", "BINPERSID", "NEXT_BUFFER",
        "READONLY_BUFFER",
    }
)  # fmt: skip
_GETS: Final = frozenset({"GET", "BINGET", "LONG_BINGET"})
_PUTS: Final = frozenset({"PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"})
_GLOBALS: Final = frozenset({"GLOBAL", "STACK_GLOBAL"})
_FILLS: Final = frozenset({"APPEND", "APPENDS", "SETITEM", "SETITEMS", "ADDITEMS", "BUILD"})

_MOST: Final = 1_000_000
"""Values handled, those inside of others and shared ones counted each time they are met.

So it bounds the depth too: what is nested a thousand levels deep costs half of it.
"""


# On the stack of the play; anything else there is a size.
_GLOBAL: Final = 0
_MARK: Final = -1


class Pickles:
    """Read pickles that name only the classes given.

    Args:
        allow: Pairs of module and name. Whoever can write to the old store can make instances of
            them, with any arguments.

    Raises:
        ConfigurationError: There is no such module or name.
    """

    __slots__ = ("_allowed",)

    def __init__(self, allow: Iterable[tuple[str, str]]) -> None:
        self._allowed = {(module, name): _found(module, name) for module, name in allow}

    def loads(self, data: bytes) -> Any:
        """Return what was pickled.

        Raises:
            Undecodable: It does what no honest pickle does.
            Exception: It names another class, or is no pickle.
        """
        _Play(data).run()
        value = _Restricted(data, self._allowed).load()
        _check_size(value)
        return value


def _found(module: str, name: str) -> Any:
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ConfigurationError(f"allow names {module}.{name}, which is not there") from error


def _check_size(value: Any) -> None:
    """Refuse what would not end, or not soon, when it is written: lists that share or hold others.

    The play cannot know, for a list can be filled after it was put into another.
    """
    waiting, met = [value], 0
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            waiting += [*item, *item.values()]
        elif isinstance(item, (list, tuple, set, frozenset)):
            waiting += item
        met += 1
        if met + len(waiting) > _MOST:
            raise Undecodable("the pickle holds too much")


def _part_of_zone(owner: Any, name: str) -> Any:
    """Stand for the `getattr` by which a pickle finds ``ZoneInfo._unpickle``."""
    if owner is not ZoneInfo or name != "_unpickle":
        raise Undecodable("the pickle looks for a part of a class")
    return lambda key, _from_cache: ZoneInfo(key)


class _Restricted(pickle.Unpickler):
    def __init__(self, data: bytes, allowed: Mapping[tuple[str, str], Any]) -> None:
        super().__init__(io.BytesIO(data))
        self._allowed = allowed

    def find_class(self, module: str, name: str, /) -> Any:
        if (module, name) == ("builtins", "getattr") and ("zoneinfo", "ZoneInfo") in self._allowed:
            return _part_of_zone
        return self._allowed[module, name]


class _Play:
    """A pickle's opcodes, played with sizes instead of values."""

    __slots__ = ("_data", "_handled", "_memo", "_stack")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._handled = 0
        self._memo: dict[int, int] = {}
        self._stack: list[int] = []

    def run(self) -> None:
        """Raise Undecodable where the unpickler must not go, another error where it could not."""
        for opcode, argument, _ in pickletools.genops(self._data):
            name, stack = opcode.name, self._stack
            if name in _REFUSED:
                raise Undecodable("the pickle has an opcode that no session needs")
            if name == "MARK":
                stack.append(_MARK)
            elif name == "DUP":
                stack.append(stack[-1])
            elif name in _GETS:
                stack.append(self._memo[int(argument or 0)])
            elif name in _PUTS:
                self._put(len(self._memo) if argument is None else int(argument))
            else:
                self._step(opcode)

    def _put(self, index: int) -> None:
        if index > len(self._data):
            raise Undecodable("the pickle's memo is larger than the pickle")
        self._memo[index] = self._stack[-1]

    def _step(self, opcode: pickletools.OpcodeInfo) -> None:
        taken = self._taken(opcode)
        if not opcode.stack_after:
            return
        if opcode.name in _GLOBALS:
            self._stack.append(_GLOBAL)
            return
        filled = taken.pop(0) if opcode.name in _FILLS else 1
        if filled == _GLOBAL:
            raise Undecodable("the pickle changes a class")
        added = sum(taken)
        self._handled += added + 1
        if self._handled > _MOST:
            raise Undecodable("the pickle is nested too deeply, or holds too much")
        self._stack.append(filled + added)

    def _taken(self, opcode: pickletools.OpcodeInfo) -> list[int]:
        stack, before = self._stack, opcode.stack_before
        if pickletools.markobject in before:
            mark = len(stack) - 1 - stack[::-1].index(_MARK)
            start = mark - before.index(pickletools.markobject)
            taken = stack[start:mark] + stack[mark + 1 :]
        else:
            start = len(stack) - len(before)
            taken = stack[start:]
        if start < 0:
            raise ValueError("the pickle takes more than there is")
        del stack[start:]
        return taken

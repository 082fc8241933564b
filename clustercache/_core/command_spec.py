"""What the client knows about one command: the types behind the table in ``command_table``.

Positions count as in ``execute_command(*args)`` with the whole name in ``args[0]``: the key of
``("OBJECT ENCODING", "k")`` is at 1, as is that of ``("GET", "k")``. The servers publish the same
facts with two-word names counted as two arguments.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class KeysError(ValueError):
    """Tell that a call's keys cannot be found: it is malformed, whatever the server."""


class Safety(enum.IntEnum):
    """Say what a second application does when the reply to the first was lost; worse is larger."""

    READ = 0  # changes nothing
    SAME = 1  # same state, same reply
    COUNT = 2  # same state; a count or a per-item code in the reply may come out lower
    NEVER = 3  # the reply decides something, or the state moves on


class Route(enum.Enum):
    """Say which nodes a command goes to."""

    KEYS = "keys"  # the owner of its keys; any node if a call has none (EVAL with 0 keys)
    ANY = "any"  # one node, whichever
    DEFAULT = "default"  # one node, always the same
    PRIMARIES = "primaries"
    NODES = "nodes"  # primaries and replicas
    SLOT = "slot"  # the owner of the slot whose number is args[1]


class Split(enum.Enum):
    """Say how a command whose keys lie in several slots is split and merged."""

    NONE = "none"  # it cannot be split
    VALUES = "values"  # one element of the reply per key
    PAIRS = "pairs"  # key, value, key, value ...; the reply is OK
    SUM = "sum"  # the replies are counts to add


class Merge(enum.Enum):
    """Say how the replies of several nodes become one."""

    NONE = "none"  # not at all: one result for each node
    CURSORS = "cursors"  # SCAN: each node's cursor is its own, the keys are one list
    ALL = "all"  # all nodes must succeed; they reply alike
    ONE = "one"  # one success is enough: the script to kill runs on one node only
    PICK = "pick"  # any of those that are not null
    SUM = "sum"  # add the numbers
    AND = "and"  # element by element, true if true everywhere
    UNION = "union"  # one list without duplicates
    COUNTS = "counts"  # name, count, name, count ...: add the counts of each name


@dataclass(frozen=True, slots=True)
class KeySpec:
    """Say where some of a command's keys are, in the terms of the servers' key specifications.

    The search begins at ``index``, or, if ``keyword`` is set, after that option word. There, either
    the keys begin and reach to ``last`` (relative if not negative; -1 is the last argument of the
    call, -2 the one before), or, if ``numkeys`` is set, their number stands and they follow it.
    Every ``step``-th argument is a key, and only the first ``limit``-th part of the range has any.
    """

    index: int
    keyword: str = ""
    last: int = 0
    step: int = 1
    limit: int = 1
    numkeys: bool = False
    optional: bool = False  # a call without these keys is well-formed
    placeholder: bool = False  # "" here means that the keys come later (MIGRATE)


@dataclass(frozen=True, slots=True, eq=False)
class Options:
    """Say where a command's option words are, so that a value is never taken for one.

    ``start`` is the first one's place, 0 for right after the counted keys. ``takes`` has for each
    word how many values follow it, REST if what follows are operands to the end. If ``open``,
    the first unknown word begins the operands; otherwise it is an option this table is too old for.
    """

    start: int
    takes: Mapping[str, int]
    open: bool


REST = 1 << 30


@dataclass(frozen=True, slots=True)
class Timeout:
    """Say where a blocking command's timeout is: at ``at``, or right after the option ``word``."""

    at: int  # negative counts from the end
    word: str
    unit: float  # in seconds: 1.0, or 0.001 for milliseconds


@dataclass(frozen=True, slots=True, eq=False)
class CommandSpec:
    """Hold all that routing and retrying need to know about a command."""

    name: str  # "CONFIG GET" for two words
    words: tuple[bytes, ...]  # on the wire: (b"CONFIG", b"GET")
    key_specs: tuple[KeySpec, ...]
    single_key: int  # the place of the only key, if there is always exactly one; else 0
    readonly: bool  # a replica may serve it
    safety: Safety  # without options
    safety_words: Mapping[str, Safety]  # given options' safeties replace it: the worst counts
    options: Options | None
    route: Route
    split: Split
    merge: Merge
    timeout: Timeout | None
    refused: str  # the API to use instead, for what changes a connection's state; else ""
    container: bool  # has subcommands, which are listed under their full names

    @property
    def width(self) -> int:
        """How many arguments belong to one key of a command that can be split."""
        return 2 if self.split is Split.PAIRS else 1

    @property
    def blocking(self) -> bool:
        """Whether it can block: always, or with its BLOCK option."""
        return self.timeout is not None


NO_WORDS: Mapping[str, Safety] = {}

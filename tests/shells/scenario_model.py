"""What a scenario is made of: nothing here, or in the tables, knows sync from async."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from clustercache._core.slots import key_slot

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from clustercache.testing import FakeCluster, FakeServer

A_KEY, B_KEY = "bar", "foo"
"""Two keys: `Cast.a` owns the slot of the first, `Cast.b` that of the second."""

SLOT = key_slot(A_KEY)
VALUE = "a-value-that-no-message-may-show"


class Cast:
    """The cluster of a scenario: two primaries with a replica each, and a node it does not know."""

    def __init__(self, cluster: FakeCluster, stranger: FakeServer) -> None:
        self.cluster = cluster
        self.stranger = stranger
        self.a, self.b = cluster.primaries
        assert cluster.owner(A_KEY) is self.a
        assert cluster.owner(B_KEY) is self.b
        self._before: dict[FakeServer, int] = {}

    @property
    def nodes(self) -> list[FakeServer]:
        return [*self.cluster.nodes, self.stranger]

    def begin(self) -> None:
        """Forget what came in so far: the client has learnt the map and opened connections."""
        self._before = {node: len(node.commands) for node in self.nodes}

    def seen(self, node: FakeServer, *names: str) -> list[Any]:
        """The commands of these names that `node` got since `begin`, in order."""
        return [c for c in node.commands[self._before[node] :] if c.name in names]

    def count(self, *names: str) -> int:
        """How many of these all nodes got together."""
        return sum(len(self.seen(node, *names)) for node in self.nodes)

    def deny_refreshes(self) -> None:
        """Let nobody tell the map, so that redirects alone can change it."""
        for node in self.cluster.nodes:
            node.on("CLUSTER SLOTS", b"what?")


@dataclass(frozen=True)
class Call:
    """One call of the client, and what it has to end in.

    Attributes:
        method: The client's method.
        args: Its arguments.
        kwargs: Its keyword arguments.
        returns: The result.
        raises: The exception's class, instead.
        facts: Attributes that the exception must have.
        says: What its text contains.
        note: What a note on it contains.
        deadline: The block's `deadline(...)`, if any.
        at_least: Seconds that it takes at least.
        at_most: Seconds that it may take.
    """

    method: str
    args: Sequence[Any] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    returns: Any = None
    raises: type[Exception] | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    says: Sequence[str] = ()
    note: str = ""
    deadline: float | None = None
    at_least: float = 0.0
    at_most: float = 4.0


def get(key: str = A_KEY, **expected: Any) -> Call:
    return Call("get", (key,), **expected)


def put(key: str = A_KEY, **expected: Any) -> Call:
    return Call("set", (key, VALUE), **({"returns": True} | expected))


def incr(**expected: Any) -> Call:
    return Call("execute_command", ("INCR", A_KEY), **expected)


@dataclass(frozen=True)
class Scenario:
    """One row of the table.

    Attributes:
        rule: The sentence that it shows; the test's name.
        calls: What the client does, one after the other.
        script: What the cluster is told to do before that.
        seen: Looks at what the cluster got, and raises AssertionError.
        options: The client's options.
        cold: The script runs before the client has learnt the map.
        known_bug: Why it fails today; empty where it does not.
        not_for: The shells that it does not concern, by name, each with the reason.
    """

    rule: str
    calls: Sequence[Call]
    script: Callable[[Cast], object] = lambda cast: None
    seen: Callable[[Cast], object] = lambda cast: None
    options: Mapping[str, Any] = field(default_factory=dict)
    cold: bool = False
    known_bug: str = ""
    not_for: Mapping[str, str] = field(default_factory=dict)

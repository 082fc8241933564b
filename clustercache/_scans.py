"""Scans that survive a change of the cluster: of all keys, and of one set, hash or sorted set.

A cursor belongs to the process that gave it. Whenever another one would be asked to go on with it,
the scan begins again at cursor 0 there: what was there all the time is found at least once, and
some of it more than once.

A scan is a generator of steps: what was found, or something that the shell does and sends the
outcome of. It holds nothing that would have to be closed.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from redis.exceptions import ResponseError

from clustercache._core.scan import Pass, Passport, Scan, passport
from clustercache._request import NO_SLOT, Command, Request
from clustercache.exceptions import DeadlineExceededError

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from clustercache._core.address import Address
    from clustercache._core.commands import CommandSpec
    from clustercache._core.routing import Part
    from clustercache._core.topology import Node, Topology
    from clustercache._limits import LimitScope

    Call = Sequence[Any]
    Steps = Generator["Step", Any, None]

_PAUSE = 0.05
"""Seconds before nodes are asked again that were about to change."""

_ROUNDS = 20
"""How many rounds in a row may settle nothing, if they take longer than the deadline, too."""


class Scanned(Protocol):
    """What a scan asks of a client."""

    config: Any
    _limits: LimitScope

    def _result(self, spec: CommandSpec, reply: Any, options: dict[str, Any]) -> Any:
        """Return the result that a reply stands for."""

    def keyslot(self, key: Any) -> int:
        """Return the slot of a key."""


class Mapped(Protocol):
    """What a scan asks of a client's map."""

    @property
    def slots(self) -> Sequence[Any]:
        """What reaches each slot's owner."""

    @property
    def topology(self) -> Topology | None:
        """The snapshot in force."""


class Items(NamedTuple):
    """Found: to be given to the caller."""

    found: Any


class Learn(NamedTuple):
    """The topology must be known; the map that knows it is sent back."""

    deadline: float


class Ask(NamedTuple):
    """The parts of a command are sent; their replies and exceptions are sent back."""

    command: Command
    parts: Sequence[Part]
    aims: Sequence[Address | None]


class Run(NamedTuple):
    """A request is run; its reply is sent back."""

    request: Request


class Rest(NamedTuple):
    """Some seconds pass, and the map is refreshed."""

    seconds: float


class Execute(NamedTuple):
    """A command is executed; its result is sent back."""

    args: Call
    options: dict[str, Any]


Step = Items | Learn | Ask | Run | Rest | Execute


class ClusterScan:
    """One scan of all keys."""

    def __init__(self, client: Scanned, words: Sequence[Any], *, parallel: bool) -> None:
        """Begin nothing yet.

        Args:
            client: Whose cluster.
            words: MATCH, COUNT and TYPE with their values.
            parallel: Whether all nodes are asked at once, or one after the other.
        """
        self._client = client
        self._words = words
        self._parallel = parallel
        self._scan = Scan()
        self._slots: dict[Address, int | None] = {}
        self._map: Mapped

    def steps(self) -> Steps:
        """Yield the keys, and what is to be done.

        Raises:
            DeadlineExceededError: The slots did not come to rest, or a node did not answer.
        """
        fruitless, since = 0, monotonic()
        while nodes := self._scan.visits((yield from self._topology())):
            settled = False
            for group in [nodes] if self._parallel else [[node] for node in nodes]:
                passes = yield from self._passes(group)
                after = yield from self._passports([done.node for done in passes])
                for done, now in zip(passes, after, strict=True):
                    settled |= now is not None and self._scan.ended(done, now)
            if settled:
                fruitless, since = 0, monotonic()
            fruitless += 1
            patience = self._client._limits.in_force().deadline  # noqa: SLF001 - a part of it
            if fruitless > _ROUNDS and monotonic() - since > patience:
                msg = "the slots keep moving: scan again when the cluster has come to rest"
                raise DeadlineExceededError(msg, command="SCAN")
            if self._scan.visits((yield from self._topology())):
                yield Rest(0 if settled else _PAUSE)

    def _topology(self) -> Generator[Step, Any, Topology]:
        deadline = monotonic() + self._client._limits.in_force().deadline  # noqa: SLF001
        self._map = yield Learn(deadline)
        found = self._map.topology
        assert found is not None  # noqa: S101 - it was learnt
        return found

    def _passes(self, nodes: Sequence[Node]) -> Generator[Step, Any, list[Pass]]:
        """Yield the keys of some nodes; return the passes that reached their end."""
        ended: list[Pass] = []
        papers = yield from self._passports(nodes)
        began = zip(nodes, papers, strict=True)
        going = [Pass(node, paper) for node, paper in began if paper is not None]
        while going:
            calls = [("SCAN", one.cursor, *self._words) for one in going]
            replies = yield from self._ask([one.node for one in going], calls)
            still: list[Pass] = []
            for one, reply in zip(going, replies, strict=True):
                if reply is None:
                    continue  # the pass broke off: what it should settle is due
                if isinstance(reply, Exception):
                    raise reply
                one.cursor, keys = reply
                yield Items(keys)
                (still if one.cursor else ended).append(one)
            going = still
        return ended

    def _passports(self, nodes: Sequence[Node]) -> Generator[Step, Any, list[Passport | None]]:
        """Return what each node says of itself; None for one that is not there any more."""
        if not nodes:
            return []
        told = yield from self._ask(nodes, [("CLUSTER NODES",)] * len(nodes), decode=False)
        runs = yield from self._ask(nodes, [("INFO", "server")] * len(nodes), decode=False)
        topology = yield from self._topology()
        found = zip(nodes, told, runs, strict=True)
        return [_passport(node, one, info, topology) for node, one, info in found]

    def _ask(
        self, nodes: Sequence[Node], calls: Sequence[Call], *, decode: bool = True
    ) -> Generator[Step, Any, list[Any]]:
        """Return each node's result; an exception, or None for a node that is no primary now.

        Args:
            nodes: Whom to ask.
            calls: For each node the command and its arguments.
            decode: False leaves bytes.
        """
        topology = yield from self._topology()
        limits = self._client._limits.in_force()  # noqa: SLF001
        command = Command(calls[0], limits, monotonic(), decode=decode)
        places = [(node, self._slot_of(node, topology)) for node in nodes]
        asked: list[int] = []
        parts: list[Part] = []
        aims: list[Address | None] = []
        for index, (node, slot) in enumerate(places):
            # A node that owns no slot is there for the keys that it takes, or is no primary now.
            if slot is not None or self._scan.takes(node):
                words = (*command.spec.words, *calls[index][1:])
                asked.append(index)
                parts.append((NO_SLOT if slot is None else slot, words, [0]))
                aims.append(node.address if slot is None else None)
        results: list[Any] = [None] * len(nodes)
        replies = (yield Ask(command, parts, aims)) if parts else ()
        for index, reply in zip(asked, replies, strict=True):
            results[index] = self._result(*places[index], command.spec, reply)
        return results

    def _result(self, node: Node, slot: int | None, spec: CommandSpec, reply: Any) -> Any:
        if isinstance(reply, Exception):
            if slot is not None:
                return reply
            self._scan.lost(node)
            return None
        if slot is not None and not self._owns(node, slot):
            return None  # whose reply this is cannot be known
        return reply if spec.name == "CLUSTER NODES" else self._client._result(spec, reply, {})  # noqa: SLF001

    def _owns(self, node: Node, slot: int) -> bool:
        pool = self._map.slots[slot]
        return pool is not None and pool.address == node.address

    def _slot_of(self, node: Node, topology: Topology) -> int | None:
        """Return a slot that a node owns, by the map; None if it owns none."""
        known = self._slots.get(node.address)
        if known is None or not self._owns(node, known):
            owners = enumerate(topology.slots)
            known = next((n for n, s in owners if s and s.primary.address == node.address), None)
            self._slots[node.address] = known
        return known


def _passport(node: Node, told: Any, info: Any, topology: Topology) -> Passport | None:
    """Return what a node says of itself: its CLUSTER NODES and its INFO."""
    if told is None or info is None:
        return None
    for reply in (told, info):
        if isinstance(reply, Exception) and not isinstance(reply, ResponseError):
            raise reply
    run = "" if isinstance(info, Exception) else str(info.get("run_id", ""))
    if isinstance(told, bytes):
        return passport(told.decode(errors="replace"), run)
    # Denied, or no cluster: all that is known is what the map says.
    owners = enumerate(topology.slots)
    mine = [slot for slot, s in owners if s and s.primary.address == node.address]
    return Passport(run, 0, frozenset(mine), {})


class KeyScan:
    """One scan of what is at a key: SSCAN, HSCAN or ZSCAN."""

    def __init__(self, client: Scanned, call: Call, options: dict[str, Any]) -> None:
        """Begin nothing yet.

        Args:
            client: Whose cluster.
            call: The command with its arguments, the cursor among them.
            options: What its reply callback takes.
        """
        self._client = client
        self._call = list(call)
        self._options = options
        self._slot = client.keyslot(call[1])

    def steps(self) -> Steps:
        """Yield the results without their cursors, and what is to be done."""
        server: Address | None = None
        while True:
            result, asked = yield from self._ask()
            if self._call[2] and asked != server:
                self._call[2], server = 0, None  # a cursor that was not this node's
                continue
            server, self._call[2] = asked, int(result[0])
            found = result[1]
            yield Items(found.items() if isinstance(found, dict) else found)
            if self._call[2] == 0:
                return

    def _ask(self) -> Generator[Step, Any, tuple[Any, Address | None]]:
        """Return the result of one call, and who gave it; None where that cannot be known."""
        limits = self._client._limits.in_force()  # noqa: SLF001 - a part of it
        command = Command(self._call, limits, monotonic(), decode=True)
        known = yield Learn(command.deadline)
        before = known.slots[self._slot]
        request = Request(command, command.parts()[0])
        reply = yield Run(request)
        result = self._client._result(command.spec, reply, self._options)  # noqa: SLF001
        if request.via is not None:
            return result, request.via
        same = before is not None and before is known.slots[self._slot]
        return result, before.address if same else None


def of_nodes(words: Call, targets: dict[str, Any]) -> Steps:
    """Scan some nodes as they are, by turns.

    Args:
        words: MATCH, COUNT and TYPE with their values.
        targets: The option that names them.
    """
    cursors, keys = yield Execute(("SCAN", 0, *words), targets)
    yield Items(keys)
    while cursors := {name: cursor for name, cursor in cursors.items() if cursor}:
        for name, cursor in cursors.items():
            found, keys = yield Execute(("SCAN", cursor, *words), {"target": name})
            cursors[name] = found[name]
            yield Items(keys)


# What redis-py's iterators are made of; each gives its steps -----------------------------------


def keys(
    client: Scanned, words: dict[str, Any], targets: dict[str, Any], *, parallel: bool
) -> Steps:
    """Return the steps of `scan_iter`.

    Args:
        client: Whose cluster.
        words: MATCH, COUNT and TYPE; those that are None are left out.
        targets: The option that names the nodes, if it was given.
        parallel: Whether all primaries are asked at once.
    """
    given = _given(**words)
    if targets:
        return of_nodes(given, targets)
    return ClusterScan(client, client.config.recode(given), parallel=parallel).steps()


def members(
    client: Scanned, command: str, name: Any, *more: Any, match: Any, count: Any, **options: Any
) -> Steps:
    """Return the steps of `sscan_iter` and its like.

    Args:
        client: Whose cluster.
        command: SSCAN, HSCAN or ZSCAN.
        name: The key.
        more: Words at the end.
        match: A pattern, or None.
        count: About how many for each reply, or None.
        options: What its reply callback takes.
    """
    words = [name, 0, *_given(MATCH=match, COUNT=count), *more]
    return KeyScan(client, [command, *client.config.recode(words)], options).steps()


def _given(**words: Any) -> list[Any]:
    return [item for pair in words.items() if pair[1] is not None for item in pair]

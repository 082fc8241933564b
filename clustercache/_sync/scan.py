"""Scans that survive a change of the cluster: of all keys, and of one set, hash or sorted set.

A cursor belongs to the process that gave it. Whenever another one would be asked to go on with it,
the scan begins again at cursor 0 there: what was there all the time is found at least once, and
some of it more than once.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any, cast

from redis.exceptions import ResponseError

from clustercache._commands import Commands
from clustercache._core.scan import Pass, Passport, Scan, passport
from clustercache._request import NO_SLOT, Command, Request
from clustercache.exceptions import DeadlineExceededError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from clustercache._core.address import Address
    from clustercache._core.commands import CommandSpec
    from clustercache._core.routing import Part
    from clustercache._core.topology import Node, Topology
    from clustercache._sync.cluster import Cluster

    Call = Sequence[Any]

_PAUSE = 0.05
"""Seconds before nodes are asked again that were about to change."""

_ROUNDS = 20
"""How many rounds in a row may settle nothing, if they take longer than the deadline, too."""


class ClusterScan:
    """One scan of all keys."""

    def __init__(self, client: Cluster, words: Sequence[Any], *, parallel: bool) -> None:
        """Begin nothing yet.

        Args:
            client: Whose cluster.
            words: MATCH, COUNT and TYPE with their values.
            parallel: Whether all nodes are asked at once, or one after the other.
        """
        self._client = client
        self._map = client._map  # noqa: SLF001 - a part of the client
        self._words = words
        self._parallel = parallel
        self._scan = Scan()
        self._slots: dict[Address, int | None] = {}

    def keys(self) -> Iterator[Any]:
        """Yield the keys.

        Raises:
            DeadlineExceededError: The slots did not come to rest, or a node did not answer.
        """
        fruitless, since = 0, monotonic()
        while nodes := self._scan.visits(self._topology()):
            settled = False
            for group in [nodes] if self._parallel else [[node] for node in nodes]:
                passes = yield from self._passes(group)
                after = self._passports([done.node for done in passes])
                for done, now in zip(passes, after, strict=True):
                    settled |= now is not None and self._scan.ended(done, now)
            if settled:
                fruitless, since = 0, monotonic()
            fruitless += 1
            patience = self._client._limits.in_force().deadline  # noqa: SLF001
            if fruitless > _ROUNDS and monotonic() - since > patience:
                msg = "the slots keep moving: scan again when the cluster has come to rest"
                raise DeadlineExceededError(msg, command="SCAN")
            if self._scan.visits(self._topology()):
                self._map.helper.rest(0 if settled else _PAUSE)
                self._map.refresh(())

    def _topology(self) -> Topology:
        return self._client._topology()  # noqa: SLF001

    def _passes(self, nodes: Sequence[Node]) -> Generator[Any, None, list[Pass]]:
        """Yield the keys of some nodes; return the passes that reached their end."""
        ended: list[Pass] = []
        began = zip(nodes, self._passports(nodes), strict=True)
        going = [Pass(node, paper) for node, paper in began if paper is not None]
        while going:
            calls = [("SCAN", one.cursor, *self._words) for one in going]
            replies = self._ask([one.node for one in going], calls)
            still: list[Pass] = []
            for one, reply in zip(going, replies, strict=True):
                if reply is None:
                    continue  # the pass broke off: what it should settle is due
                if isinstance(reply, Exception):
                    raise reply
                one.cursor, keys = reply
                yield from keys
                (still if one.cursor else ended).append(one)
            going = still
        return ended

    def _passports(self, nodes: Sequence[Node]) -> list[Passport | None]:
        """Return what each node says of itself; None for one that is not there any more."""
        if not nodes:
            return []
        told = self._ask(nodes, [("CLUSTER NODES",)] * len(nodes), decode=False)
        runs = self._ask(nodes, [("INFO", "server")] * len(nodes), decode=False)
        return [self._passport(*one) for one in zip(nodes, told, runs, strict=True)]

    def _passport(self, node: Node, told: Any, info: Any) -> Passport | None:
        if told is None or info is None:
            return None
        for reply in (told, info):
            if isinstance(reply, Exception) and not isinstance(reply, ResponseError):
                raise reply
        run = "" if isinstance(info, Exception) else str(info.get("run_id", ""))
        if isinstance(told, bytes):
            return passport(told.decode(errors="replace"), run)
        # Denied, or no cluster: all that is known is what the map says.
        owners = enumerate(self._topology().slots)
        mine = [slot for slot, s in owners if s and s.primary.address == node.address]
        return Passport(run, 0, frozenset(mine), {})

    def _ask(
        self, nodes: Sequence[Node], calls: Sequence[Call], *, decode: bool = True
    ) -> list[Any]:
        """Return each node's result; an exception, or None for a node that is no primary now.

        Args:
            nodes: Whom to ask.
            calls: For each node the command and its arguments.
            decode: False leaves bytes.
        """
        client = self._client
        command = Command(calls[0], client._limits.in_force(), monotonic(), decode=decode)  # noqa: SLF001
        places = [(node, self._slot_of(node)) for node in nodes]
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
        replies = client._batches.run(command, parts, aims)[0] if parts else ()  # noqa: SLF001
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

    def _slot_of(self, node: Node) -> int | None:
        """Return a slot that a node owns, by the map; None if it owns none."""
        known = self._slots.get(node.address)
        if known is None or not self._owns(node, known):
            owners = enumerate(self._topology().slots)
            known = next((n for n, s in owners if s and s.primary.address == node.address), None)
            self._slots[node.address] = known
        return known


class KeyScan:
    """One scan of what is at a key: SSCAN, HSCAN or ZSCAN."""

    def __init__(self, client: Cluster, call: Call, options: dict[str, Any]) -> None:
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

    def replies(self) -> Iterator[Any]:
        """Yield the results without their cursors."""
        server: Address | None = None
        while True:
            result, asked = self._ask()
            if self._call[2] and asked != server:
                self._call[2], server = 0, None  # a cursor that was not this node's
                continue
            server, self._call[2] = asked, int(result[0])
            yield result[1]
            if self._call[2] == 0:
                return

    def _ask(self) -> tuple[Any, Address | None]:
        """Return the result of one call, and who gave it; None where that cannot be known."""
        client = self._client
        cluster_map = client._map  # noqa: SLF001
        command = Command(self._call, client._limits.in_force(), monotonic(), decode=True)  # noqa: SLF001
        cluster_map.ensure(command.deadline)
        before = cluster_map.slots[self._slot]
        request = Request(command, command.parts()[0])
        reply = client._executor.run(request)  # noqa: SLF001
        result = client._result(command.spec, reply, self._options)  # noqa: SLF001
        if request.via is not None:
            return result, request.via
        same = before is not None and before is cluster_map.slots[self._slot]
        return result, before.address if same else None  # type: ignore[union-attr]


class ScanAccess(Commands):
    """redis-py's iterators over scans, made to survive a change of the cluster."""

    def scan_iter(
        self,
        match: Any = None,
        count: int | None = None,
        _type: str | None = None,
        *,
        parallel: bool = False,
        **kwargs: Any,
    ) -> Iterator[Any]:
        """Iterate over the keys of all primaries, each at least once, whatever moves meanwhile.

        A key that is there from the beginning to the end is found, also if its slot is moved or
        its primary is replaced; it may then be found more than once.

        Args:
            match: Only keys that match this glob-style pattern.
            count: About how many keys a node looks at for each reply.
            _type: Only keys of this type ("string", "list", "set", "zset", "hash", "stream").
            parallel: Ask all primaries at once, and not one after the other.
            kwargs: ``target=`` scans these nodes and nothing else, as they are.
        """
        given = (("MATCH", match), ("COUNT", count), ("TYPE", _type))
        words = [item for pair in given if pair[1] is not None for item in pair]
        client = cast("Cluster", self)
        if kwargs:
            return super().scan_iter(match=match, count=count, _type=_type, **kwargs)
        return ClusterScan(client, client.config.recode(words), parallel=parallel).keys()

    def sscan_iter(self, name: Any, match: Any = None, count: int | None = None) -> Iterator[Any]:
        """Iterate over the members of the set at `name`, each at least once."""
        for members in self._key_scan("SSCAN", name, match, count):
            yield from members

    def hscan_iter(
        self,
        name: Any,
        match: Any = None,
        count: int | None = None,
        no_values: bool | None = None,  # noqa: FBT001 - redis-py's
    ) -> Iterator[Any]:
        """Iterate over the hash at `name`: (field, value) pairs, or the fields if `no_values`."""
        words = ("NOVALUES",) if no_values else ()
        for found in self._key_scan("HSCAN", name, match, count, *words, no_values=no_values):
            yield from found if no_values else found.items()

    def zscan_iter(
        self,
        name: Any,
        match: Any = None,
        count: int | None = None,
        score_cast_func: Any = float,
    ) -> Iterator[Any]:
        """Iterate over the sorted set at `name`: (member, score) pairs."""
        for pairs in self._key_scan("ZSCAN", name, match, count, score_cast_func=score_cast_func):
            yield from pairs

    def _key_scan(
        self, command: str, name: Any, match: Any, count: int | None, *words: Any, **options: Any
    ) -> Iterator[Any]:
        given = (("MATCH", match), ("COUNT", count))
        rest = [item for pair in given if pair[1] is not None for item in pair]
        client = cast("Cluster", self)
        call = [command, *client.config.recode([name, 0, *rest, *words])]
        return KeyScan(client, call, options).replies()

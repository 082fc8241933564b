"""One primary with replicas, or none, that belong to no cluster; and sentinels that watch them."""

from __future__ import annotations

from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Any

from clustercache.admin.link import RefusedError, UnreachableError, parse_info
from clustercache.admin.waiting import wait_until
from clustercache.config import TLS
from clustercache.exceptions import AdminError, ConfigurationError
from clustercache.localcluster.deployment import Deployment, Failover
from clustercache.localcluster.fleet import Fleet
from clustercache.localcluster.servers import find_server
from clustercache.localcluster.settings import SentinelSettings, Settings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from clustercache.localcluster.node import Node
    from clustercache.localcluster.settings import Value

_FAILOVER_TIME = 15.0  # beyond five times down_after


class LocalReplication(Deployment):
    """One primary on 127.0.0.1 with replicas that nobody promotes, ready when this returns.

    They end as those of `LocalCluster` do, and their directory is always a temporary one.

    Args:
        replicas: How many; with 0 it is a standalone server.
        port: The first of consecutive ports; None takes free ones.
        server: A path, or a name as `installed_servers` gives them; see `LocalCluster`.
        config: Further server options, as {"databases": 32}; a list gives several lines.
        appendonly: Whether servers log each write, so that one comes back with its data.
        username: ACL user with all rights, besides which no one may log in; needs a password.
        password: Password of that user, else of the default user.
        tls: True makes throw-away certificates; a `TLS` names certfile, keyfile and ca_certs.
        timeout: Seconds that starting may take.

    Raises:
        ConfigurationError: An option is wrong, or there is no such server.
        AdminError: The servers did not start; the end of the log is part of the message.
    """

    def __init__(
        self,
        replicas: int = 1,
        port: int | None = None,
        *,
        server: str | Path | None = None,
        config: Mapping[str, Value | Sequence[Value]] | None = None,
        appendonly: bool = False,
        username: str | None = None,
        password: str | None = None,
        tls: bool | TLS = False,
        timeout: float = 60.0,
    ) -> None:
        if replicas < 0:
            raise ConfigurationError("a primary has at least 0 replicas")
        settings = Settings(
            server=find_server(server),
            node_timeout=1.0,
            full_coverage=False,
            appendonly=appendonly,
            username=username,
            password=password,
            tls=TLS() if tls is True else (tls or None),
            extra=config or {},
            cluster=False,
        )
        super().__init__(Fleet(settings, None, make_tls=tls is True, timeout=timeout), timeout)
        try:
            self._open(1 + replicas, port)
        except BaseException:
            self.close()
            raise

    def _open(self, count: int, port: int | None) -> None:
        ports = range(port, port + count) if port is not None else ()
        primary, *others = self._fleet.add(count, ports)
        for replica in others:
            _follow(replica, primary)
        self.wait_ready()

    @property
    def primary(self) -> Node:
        """The node that says just now that it is the primary.

        Raises:
            AdminError: None, or more than one, says so.
        """
        found = self.primaries
        if len(found) != 1:
            raise AdminError(f"{len(found)} nodes say that they are the primary")
        return found[0]

    def failover(self, replica: Node) -> None:
        """Promote a replica by hand: REPLICAOF NO ONE there, and all others follow it.

        A primary that runs takes no writes meanwhile, so that none is lost.
        """
        former = next((node for node in self._running() if node.role == "primary"), None)
        if former is not None and former is not replica:
            former.call("CLIENT", "PAUSE", round(self._timeout * 1000), "WRITE")
            wait_until(lambda: _behind(former, replica), self._timeout, "writes under way")
        replica.call("REPLICAOF", "NO", "ONE")
        _remember(replica)
        for node in self._running():
            if node is not replica:
                _follow(node, replica)
        if former is not None and former is not replica:
            former.call("CLIENT", "UNPAUSE")
        self.wait_ready()

    def _why_not_ready(self) -> str | None:
        running = self._running()
        primaries = [node for node in running if node.role == "primary"]
        if len(primaries) != 1:
            return f"{len(primaries)} nodes are primaries"
        where = str(primaries[0].port)
        for node in running:
            if node is not primaries[0]:
                info = parse_info(node.call("INFO", "replication"))
                if info.get("master_port") != where or info.get("master_link_status") != "up":
                    return f"{node.address} is not in sync with {primaries[0].address}"
        known = parse_info(primaries[0].call("INFO", "replication"))
        online = sum("state=online" in value for name, value in known.items() if name != "role")
        return None if online >= len(running) - 1 else "the primary lacks a replica"


class LocalSentinel(LocalReplication):
    """One primary with replicas and the sentinels that watch them, ready when this returns.

    `nodes` are those that hold data, and `sentinels` the others; all can be killed and stopped.

    Args:
        replicas: How many.
        sentinels: How many; a majority of them promotes.
        service: What they call the primary and its replicas.
        down_after: Seconds without an answer after which they suspect a node.
        sentinel_password: Password that the sentinels ask for.
        options: As for `LocalReplication`.
    """

    def __init__(
        self,
        replicas: int = 2,
        sentinels: int = 3,
        *,
        service: str = "mymaster",
        down_after: float = 1.0,
        sentinel_password: str | None = None,
        **options: Any,
    ) -> None:
        if replicas < 1 or sentinels < 1 or down_after <= 0:
            raise ConfigurationError(
                "sentinels need a replica, one of them, and down_after above 0"
            )
        self._count = sentinels
        self._service = service
        self._down_after = down_after
        self._password = sentinel_password
        self._fault: tuple[Node, float] | None = None
        super().__init__(replicas, **options)

    def _open(self, count: int, port: int | None) -> None:
        super()._open(count, port)
        role = SentinelSettings(
            data=self._fleet.settings,
            service=self._service,
            primary=self.nodes[0].address,
            quorum=self._count // 2 + 1,
            down_after=self._down_after,
            password=self._password,
        )
        for sentinel in self._fleet.add(self._count, role=role):
            with suppress(RefusedError):  # before Redis 7.0 it asks each 10 s, and that is fixed
                sentinel.call("SENTINEL", "DEBUG", "INFO-PERIOD", 1000)
        self.wait_ready()

    @property
    def sentinels(self) -> tuple[Node, ...]:
        """The sentinels, dead ones too."""
        return tuple(self._fleet.sentinels)

    @property
    def url(self) -> str:
        """A URL with all sentinels, for `Cluster.from_url`."""
        addresses = [node.address for node in self.sentinels]
        return self._url(addresses, f"/{self._service}", "+sentinel", self._password)

    def failover(self, replica: Node | None = None) -> None:
        """Let the sentinels promote a replica while the primary runs, and wait for it.

        Args:
            replica: Which; None leaves it to them.
        """
        former, asked = self.primary, False
        if replica is not None:
            self._prefer(replica)

        def reason() -> str | None:
            nonlocal asked
            try:
                if not asked:
                    self._ask("FAILOVER")
                asked = True
            except RefusedError as error:
                return str(error)  # a failover is under way, or no replica was seen lately
            if former.role == "primary":
                return f"{former.address} is still the primary"
            return self._why_not_ready()

        wait_until(reason, self._timeout, "failover by the sentinels")
        if replica is not None:
            replica.call("CONFIG", "SET", "replica-priority", 100)

    def _prefer(self, replica: Node) -> None:
        """Let the sentinels choose `replica`, and wait until one of them knows."""
        replica.call("CONFIG", "SET", "replica-priority", 1)

        def reason() -> str | None:
            for entry in self._ask("REPLICAS"):
                told = dict(zip(entry[::2], entry[1::2], strict=True))
                if told["port"] == str(replica.port) and told["slave-priority"] == "1":
                    return None
            return "the sentinel does not know the priority yet"

        wait_until(reason, self._timeout, f"preferring {replica.address}")

    def wait_failover(self, timeout: float | None = None) -> Failover:
        """Wait until the sentinels name a successor of the primary last killed or stopped.

        Args:
            timeout: Seconds (default: 15, and five times `down_after`).

        Raises:
            AdminError: No primary was killed or stopped, or nobody was promoted.
        """
        if self._fault is None:
            raise AdminError("no primary was killed or stopped")
        victim, at = self._fault
        promoted: list[Node] = []

        def reason() -> str | None:
            port = int(self._ask("GET-MASTER-ADDR-BY-NAME")[1])
            promoted[:] = [n for n in self._running() if n.port == port and n.role == "primary"]
            return None if promoted and promoted[0] is not victim else "no successor is named yet"

        limit = _FAILOVER_TIME + 5 * self._down_after if timeout is None else timeout
        wait_until(reason, limit, f"failover of {victim.address}", interval=0.01)
        now = monotonic()
        return Failover(promoted[0], now - at, now)

    def _ask(self, what: str) -> Any:
        """Ask the first sentinel that runs."""
        sentinel = next((one for one in self.sentinels if one.running), None)
        if sentinel is None:
            raise AdminError("no sentinel is running")
        return sentinel.call("SENTINEL", what, self._service)

    def _note_fault(self, node: Node) -> None:
        if node in self.nodes and node.role == "primary":
            self._fault = (node, monotonic())

    def _why_not_ready(self) -> str | None:
        missing = super()._why_not_ready()
        running = [one for one in self.sentinels if one.running]
        if missing or not self.sentinels:
            return missing
        primary, count = self.primary, len(self.nodes) - 1
        for sentinel in running:
            try:
                entry = sentinel.call("SENTINEL", "MASTER", self._service)
            except UnreachableError as error:
                return str(error)
            told = dict(zip(entry[::2], entry[1::2], strict=True))
            if told["port"] != str(primary.port) or told["flags"] != "master":
                return f"{sentinel.address} does not see {primary.address} as the primary"
            if (
                int(told["num-slaves"]) < count
                or int(told["num-other-sentinels"]) < len(running) - 1
            ):
                return f"{sentinel.address} does not know all yet"
        return None


def _follow(replica: Node, primary: Node) -> None:
    replica.call("REPLICAOF", primary.host, primary.port)
    _remember(replica)


def _remember(node: Node) -> None:
    """Let a server keep its role when it is started again."""
    node.call("CONFIG", "REWRITE")


def _behind(primary: Node, replica: Node) -> str | None:
    sent = int(parse_info(primary.call("INFO", "replication"))["master_repl_offset"])
    got = int(parse_info(replica.call("INFO", "replication")).get("slave_repl_offset", -1))
    return None if got >= sent else f"{replica.address} lacks {sent - got} bytes"

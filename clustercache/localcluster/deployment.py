"""What all local forms have in common: servers that are killed, stopped, and torn down for sure."""

from __future__ import annotations

import signal
import weakref
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self
from urllib.parse import quote, urlencode

from clustercache.admin.waiting import wait_until

if TYPE_CHECKING:
    from types import TracebackType

    from clustercache._core.address import Address
    from clustercache.config import TLS
    from clustercache.localcluster.fleet import Fleet
    from clustercache.localcluster.node import Node
    from clustercache.localcluster.servers import Server


@dataclass(frozen=True, slots=True)
class Failover:
    """A promotion that was seen.

    Attributes:
        promoted: The node that is primary now.
        seconds: From the fault until the promotion was seen.
        at: When it was seen, by `time.monotonic()`.
    """

    promoted: Node
    seconds: float
    at: float


class Deployment(ABC):
    """Real servers on 127.0.0.1, which end with this object, and with this process."""

    def __init__(self, fleet: Fleet, timeout: float) -> None:
        """Take over servers, and end them when this object goes."""
        self._fleet = fleet
        self._timeout = timeout
        self._finalizer = weakref.finalize(self, fleet.close)
        self.directory = fleet.directory

    @property
    def server(self) -> Server:
        """The server program."""
        return self._fleet.settings.server

    @property
    def tls(self) -> TLS | None:
        """Paths of the certificates, or None for plain TCP."""
        return self._fleet.settings.tls

    @property
    def nodes(self) -> tuple[Node, ...]:
        """All nodes that hold data, dead ones too, in the order in which they were added."""
        return tuple(self._fleet.nodes)

    @property
    def primaries(self) -> tuple[Node, ...]:
        """The nodes that say just now that they are primaries."""
        return tuple(node for node in self.nodes if node.role == "primary")

    @property
    def replicas(self) -> tuple[Node, ...]:
        """The nodes that say just now that they are replicas."""
        return tuple(node for node in self.nodes if node.role == "replica")

    @property
    def url(self) -> str:
        """A URL with all nodes and credentials, for `Cluster.from_url`."""
        return self._url([node.address for node in self.nodes])

    def _url(
        self, addresses: list[Address], path: str = "", form: str = "", password: str | None = None
    ) -> str:
        """Return a URL.

        Args:
            addresses: All seeds.
            path: What follows the first of them.
            form: "+sentinel", where they are some.
            password: The sentinels' own.
        """
        settings = self._fleet.settings
        login = ""
        if settings.password is not None:
            login = (
                f"{quote(settings.username or '', safe='')}:{quote(settings.password, safe='')}@"
            )
        first, *others = addresses
        options = [("addr", str(address)) for address in others]
        if password is not None:
            options.append(("sentinel_password", password))
        if settings.tls and settings.tls.ca_certs:
            options.append(("ssl_ca_certs", settings.tls.ca_certs))
        query = f"?{urlencode(options, safe=':/')}" if options else ""
        return f"{'rediss' if settings.tls else 'redis'}{form}://{login}{first}{path}{query}"

    def kill(self, node: Node) -> None:
        """End a server with SIGKILL, and return when it is gone."""
        self._note_fault(node)
        self._fleet.signal(node, signal.SIGKILL)

    def stop(self, node: Node) -> None:
        """Freeze a server with SIGSTOP: it keeps its connections and says nothing."""
        self._note_fault(node)
        self._fleet.signal(node, signal.SIGSTOP)
        node.stopped = True

    def resume(self, node: Node) -> None:
        """Let a stopped server run on (SIGCONT)."""
        self._fleet.signal(node, signal.SIGCONT)
        node.stopped = False

    def restart(self, node: Node, *, wait: bool = True) -> None:
        """End a server in good order, or start a dead one again.

        Args:
            node: The server.
            wait: Whether to wait until all is ready again.
        """
        node.stopped = False
        self._fleet.supervised.end(node.name)
        self._fleet.start([node])
        if wait:
            self.wait_ready()

    def wait_ready(self, timeout: float | None = None) -> float:
        """Wait until all running nodes agree and are in sync.

        Right after a `kill` they still do: `wait_failover` waits for its consequence.

        Args:
            timeout: Seconds (default: the constructor's).

        Returns:
            The seconds that it took.

        Raises:
            AdminError: Not within the timeout; says what is missing.
        """
        limit = self._timeout if timeout is None else timeout
        return wait_until(self._why_not_ready, limit, "the local servers")

    def close(self) -> None:
        """End all servers and remove a temporary directory."""
        self._finalizer()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _running(self) -> list[Node]:
        pids = self._fleet.supervised.pids()
        return [node for node in self.nodes if node.name in pids and not node.stopped]

    @abstractmethod
    def _why_not_ready(self) -> str | None:
        """Return why it does not serve yet, or None if it does."""

    def _note_fault(self, node: Node) -> None:  # noqa: B027 - most have no failover to await
        """Remember what a failover is to be the consequence of."""

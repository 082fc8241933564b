"""One server of a local cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from clustercache._core.address import Address
from clustercache.admin.link import NodeLink, RefusedError, UnreachableError
from clustercache.admin.views import NodeView, fetch_view

if TYPE_CHECKING:
    import ssl
    from pathlib import Path

    from clustercache.config import ClusterConfig
    from clustercache.localcluster.settings import SentinelSettings
    from clustercache.localcluster.supervised import Supervised

HOST = "127.0.0.1"
Role = Literal["primary", "replica", "down"]


class Node:
    """One server of a `LocalCluster`, dead or alive.

    Attributes:
        address: Where clients reach it; `host` and `port` are its parts.
        directory: Where it keeps its files, with `server.conf` and `server.log`.
        stopped: Whether `LocalCluster.stop` froze it.
        role_settings: What makes a sentinel of it; None where it holds data.
        link: Its administrative connection.
    """

    def __init__(
        self,
        port: int,
        directory: Path,
        supervised: Supervised,
        config: ClusterConfig,
        tls: ssl.SSLContext | None,
    ) -> None:
        self.address = Address(HOST, port)
        self.directory = directory
        self.stopped = False
        self.role_settings: SentinelSettings | None = None
        self.link = NodeLink(self.address, config, tls)
        self._supervised = supervised
        self._node_id = ""

    @property
    def host(self) -> str:
        """The IP address it listens on."""
        return self.address.host

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self.address.port

    @property
    def name(self) -> str:
        """What the supervisor calls it."""
        return str(self.port)

    @property
    def pid(self) -> int | None:
        """Its process id; None while it is dead."""
        return self._supervised.pids().get(self.name)

    @property
    def running(self) -> bool:
        """Whether it lives and is not stopped."""
        return not self.stopped and self.pid is not None

    @property
    def node_id(self) -> str:
        """Its id in the cluster, remembered while it is down."""
        if not self._node_id:
            self._node_id = str(self.call("CLUSTER", "MYID"))
        return self._node_id

    @property
    def role(self) -> Role:
        """What it says it is just now: "primary" or "replica"; "down" while it cannot answer."""
        if not self.running:
            return "down"
        try:
            return "primary" if self.call("ROLE", timeout=1.0)[0] == "master" else "replica"
        except (UnreachableError, RefusedError):
            return "down"

    def call(self, *args: Any, timeout: float | None = None) -> Any:
        """Send one command to this node and return its reply, decoded (RESP2).

        Args:
            args: The command's words and arguments.
            timeout: Seconds to wait (default 5).

        Raises:
            AdminError: No answer, or an error.
        """
        return self.link.call(*args, timeout=timeout)

    def view(self) -> NodeView:
        """Return what it says of the cluster."""
        return fetch_view(self.link)

    def log_tail(self, lines: int = 8) -> str:
        """Return the last lines of its log."""
        try:
            text = (self.directory / "server.log").read_text(errors="replace")
        except FileNotFoundError:
            return ""
        return "\n".join(text.splitlines()[-lines:])

    def __repr__(self) -> str:
        return f"<Node {self.address}>"

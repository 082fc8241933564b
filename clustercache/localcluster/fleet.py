"""The servers of a local cluster as processes with files and ports; nothing of the cluster yet."""

from __future__ import annotations

import json
import signal
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from clustercache._core.address import Address
from clustercache.admin.link import RefusedError, parse_info
from clustercache.admin.waiting import wait_until
from clustercache.config import ClusterConfig
from clustercache.exceptions import AdminError, ConfigurationError
from clustercache.localcluster.certificates import make_certificates
from clustercache.localcluster.node import HOST, Node
from clustercache.localcluster.supervised import Supervised

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from clustercache.localcluster.settings import SentinelSettings, Settings

_STATE = "cluster.json"
_HIGHEST_PORT = 65535 - 10000


@dataclass(frozen=True, slots=True)
class Remembered:
    """What a fixed directory knows of the cluster that lived there.

    Attributes:
        shape: The primaries and replicas that were asked for.
        ports: The port of each node, in the order in which they were added.
        created: Whether a cluster had been made of them.
    """

    shape: tuple[int, int]
    ports: tuple[int, ...]
    created: bool


class Fleet:
    """Servers that share settings and a supervisor.

    Args:
        settings: What their configuration files say.
        directory: Where they keep their files, or None for a temporary one.
        make_tls: Whether to make throw-away certificates.
        timeout: Seconds until a started server must answer.
    """

    def __init__(
        self, settings: Settings, directory: Path | None, *, make_tls: bool, timeout: float
    ) -> None:
        self.nodes: list[Node] = []
        self.sentinels: list[Node] = []
        self.supervised = Supervised(directory)
        self.directory = self.supervised.directory
        self._timeout = timeout
        try:
            if make_tls:
                settings = replace(settings, tls=make_certificates(self.directory / "tls"))
            self.settings = settings
            tls = settings.tls
            self._config = ClusterConfig(
                seeds=(Address(HOST, 1),),
                username=settings.username,
                password=settings.password,
                tls=tls,
            )
            self._context = tls.context() if tls else None
        except BaseException:
            self.supervised.close()
            raise

    def load(self) -> Remembered | None:
        """Return what a former cluster left in the directory."""
        try:
            state = json.loads((self.directory / _STATE).read_text())
            primaries, replicas = state["shape"]
            return Remembered((primaries, replicas), tuple(state["ports"]), state["created"])
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigurationError(
                f"{self.directory / _STATE} cannot be read: {error}"
            ) from error

    def save(self, shape: tuple[int, int], *, created: bool) -> None:
        """Remember the nodes for the next time."""
        state = {"shape": shape, "ports": [node.port for node in self.nodes], "created": created}
        fresh = self.directory / f"{_STATE}.new"
        fresh.write_text(json.dumps(state))
        fresh.replace(self.directory / _STATE)

    def add(
        self, count: int, ports: Sequence[int] = (), role: SentinelSettings | None = None
    ) -> list[Node]:
        """Start servers on `ports`, or `count` of them on free ports, and wait until they answer.

        Args:
            count: How many.
            ports: Their ports; none for free ones.
            role: What makes sentinels of them, which are kept in `sentinels`.

        Raises:
            AdminError: A port is taken, or a server did not start; says what its log says.
        """
        if any(not 0 < port <= _HIGHEST_PORT for port in ports):
            raise ConfigurationError(f"ports must be from 1 to {_HIGHEST_PORT}: bus ports follow")
        config = self._config
        if role is not None:
            config = replace(config, username=None, password=role.password)
        fresh = [
            Node(port, self.directory / str(port), self.supervised, config, self._context)
            for port in self.supervised.ports(list(ports), count)
        ]
        for node in fresh:
            node.role_settings = role
        (self.nodes if role is None else self.sentinels).extend(fresh)
        self.start(fresh)
        return fresh

    def start(self, nodes: Sequence[Node]) -> None:
        """Start servers that do not run, and wait until each has loaded its data and answers."""
        program = str(self.settings.server.path)
        for node in nodes:
            settings = node.role_settings or self.settings
            node.directory.mkdir(exist_ok=True)
            file = node.directory / "server.conf"
            if settings.cluster or not file.exists():  # others write into it what they learn
                file.touch(mode=0o600)  # it may hold a password
                file.write_text(settings.text(node.port, node.directory))
            log = node.directory / "server.log"
            command = [program, str(file), *settings.arguments]
            self.supervised.start(node.name, command, node.directory, log)
            node.stopped = False
        for node in nodes:
            wait_until(
                lambda node=node: self._why_not_up(node),  # type: ignore[misc]
                self._timeout,
                f"server {node.address}",
                interval=0.005,
            )

    def _why_not_up(self, node: Node) -> str | None:
        pid = node.pid
        if pid is None:
            raise AdminError(
                f"server {node.address} ({self.settings.server}) ended while starting; its log "
                f"ends with:\n{node.log_tail()}"
            )
        try:
            info = parse_info(node.call("INFO", timeout=1.0))
        except RefusedError as error:
            raise AdminError(str(error)) from error  # waiting will not change its mind
        if info.get("process_id") != str(pid):
            return "another server answers on its port"
        return "it is loading its data" if info.get("loading", "0") != "0" else None

    def signal(self, node: Node, number: int) -> None:
        """Send a signal to a server, and see SIGKILL and SIGSTOP take effect.

        Raises:
            AdminError: The server is not running.
        """
        if node.pid is None:
            raise AdminError(f"{node.address} is dead already")
        self.supervised.signal(node.name, number, wait=10.0 if number == signal.SIGKILL else 0.0)

    def close(self) -> None:
        """End all servers."""
        for node in (*self.nodes, *self.sentinels):
            node.link.close()
        self.supervised.close()

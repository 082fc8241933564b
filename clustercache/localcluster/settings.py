"""What is written into the configuration file of each local server."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from string import ascii_letters, digits
from typing import TYPE_CHECKING

from clustercache.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from clustercache._core.address import Address
    from clustercache.config import TLS
    from clustercache.localcluster.servers import Server

Value = str | int | float | bool
_PLAIN = frozenset(f"{ascii_letters}{digits}-_./:@+=,".encode())


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What all servers of one cluster have in common; see `LocalCluster` for the fields."""

    server: Server
    node_timeout: float
    full_coverage: bool
    appendonly: bool
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: TLS | None = None
    extra: Mapping[str, Value | Sequence[Value]] = field(default_factory=dict)
    cluster: bool = True

    @property
    def arguments(self) -> tuple[str, ...]:
        """What follows the configuration file on the command line."""
        return ()

    def __post_init__(self) -> None:
        """Refuse what cannot be meant, before anything is started."""
        if not self.node_timeout > 0:
            raise ConfigurationError("node_timeout must be a number of seconds above 0")
        if self.username and self.password is None:
            raise ConfigurationError("username needs a password")
        if self.tls and not self.server.has_tls:
            raise ConfigurationError(f"{self.server} was built without TLS")

    def text(self, port: int, directory: Path) -> str:
        """Return the configuration of the server on `port`, which works in `directory`."""
        options: dict[str, Value | Sequence[Value]] = {
            **_ports(port, self.tls),
            "bind": "127.0.0.1",
            "dir": _quoted(str(directory)),
            "daemonize": False,
            "save": "",
            "appendonly": self.appendonly,
            **self._cluster_options(),
            # The default waits 5 s before the first sync; a primary killed before has no successor.
            "repl-diskless-sync": True,
            "repl-diskless-sync-delay": 0,
        }
        if self.server.version >= (7,):
            options["shutdown-timeout"] = 3
            options["enable-debug-command"] = "local"
        options.update(self._credentials())
        options.update(self.extra)
        return _lines(options)

    def _cluster_options(self) -> dict[str, Value]:
        if not self.cluster:
            return {}
        return {
            "cluster-enabled": True,
            "cluster-config-file": "nodes.conf",
            "cluster-node-timeout": round(self.node_timeout * 1000),
            "cluster-require-full-coverage": self.full_coverage,
            # However stale a replica is: a test wants it promoted.
            "cluster-replica-validity-factor": 0,
        }

    def _credentials(self) -> dict[str, Value | Sequence[Value]]:
        if self.password is None:
            return {}
        secret = _quoted(self.password)
        if not self.username:
            return {"requirepass": secret, "masterauth": secret}
        digest = hashlib.sha256(self.password.encode()).hexdigest()
        users = ["default off", f"{self.username} on #{digest} ~* &* +@all"]
        return {"user": users, "masteruser": _quoted(self.username), "masterauth": secret}


@dataclass(frozen=True, slots=True, kw_only=True)
class SentinelSettings:
    """What all sentinels of one service have in common; see `LocalSentinel` for the fields."""

    data: Settings
    service: str
    primary: Address
    quorum: int
    down_after: float
    password: str | None = field(default=None, repr=False)
    cluster: bool = False

    @property
    def arguments(self) -> tuple[str, ...]:
        """What follows the configuration file on the command line."""
        return ("--sentinel",)

    def text(self, port: int, directory: Path) -> str:
        """Return the configuration of the sentinel on `port`, which works in `directory`."""
        name, data = self.service, self.data
        where = f"{self.primary.host} {self.primary.port}"
        rules = [
            f"monitor {name} {where} {self.quorum}",
            f"down-after-milliseconds {name} {round(self.down_after * 1000)}",
            f"failover-timeout {name} {round(self.down_after * 5000)}",
            f"parallel-syncs {name} 8",
        ]
        if data.username:
            rules.append(f"auth-user {name} {data.username}")
        if data.password is not None:
            rules.append(f"auth-pass {name} {_quoted(data.password)}")
        options: dict[str, Value | Sequence[Value]] = {
            **_ports(port, data.tls),
            "bind": "127.0.0.1",
            "dir": _quoted(str(directory)),
            "daemonize": False,
            "sentinel": rules,
        }
        if self.password is not None:
            secret = _quoted(self.password)
            options["requirepass"] = secret
            options["sentinel"] = [*rules, f"sentinel-pass {secret}"]
        return _lines(options)


def _ports(port: int, tls: TLS | None) -> dict[str, Value]:
    if tls is None:
        return {"port": port}
    return {
        "port": 0,
        "tls-port": port,
        "tls-cert-file": _quoted(tls.certfile or ""),
        "tls-key-file": _quoted(tls.keyfile or ""),
        "tls-ca-cert-file": _quoted(tls.ca_certs or ""),
        "tls-auth-clients": "optional",
        "tls-replication": True,
        "tls-cluster": True,  # without it, SLOTS and MOVED name ports that speak plain TCP
    }


def _lines(options: Mapping[str, Value | Sequence[Value]]) -> str:
    return "".join(
        _line(name, value)
        for name, values in options.items()
        for value in ([values] if isinstance(values, (str, int, float)) else values)
    )


def _line(name: str, value: Value) -> str:
    if isinstance(value, bool):
        value = "yes" if value else "no"
    text = str(value)
    if any(mark in name + text for mark in "\r\n\0"):
        raise ConfigurationError(f"the value of {name!r} spans lines")
    return f"{name} {text or _quoted('')}\n"


def _quoted(text: str) -> str:
    """Return `text` as one word of a configuration file, whatever is in it."""
    words = (chr(byte) if byte in _PLAIN else f"\\x{byte:02x}" for byte in text.encode())
    return f'"{"".join(words)}"'

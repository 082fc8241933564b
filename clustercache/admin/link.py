"""One node, spoken to for administration: replies as text, every failure an AdminError."""

from __future__ import annotations

import os
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from clustercache._core.wire import ServerError
from clustercache._events import NoReply, NotSent, Refused, Silent
from clustercache._sync.connection import Connection
from clustercache._trust import UNTRUSTED, without_code
from clustercache.exceptions import AdminError

if TYPE_CHECKING:
    import ssl

    from clustercache._core.address import Address
    from clustercache.config import ClusterConfig


class UnreachableError(AdminError):
    """The node cannot be reached, or does not answer."""


class RefusedError(AdminError):
    """The node answered with an error; `text` is what it said."""

    def __init__(self, message: str, text: str) -> None:
        super().__init__(message)
        self.text = text


class NodeLink:
    """A connection to one node, made when it is needed and made again when it broke.

    Args:
        address: Where it listens.
        config: Credentials and limits.
        tls: The context for TLS, or None.
        timeout: Seconds for one connect or one reply.
    """

    def __init__(
        self,
        address: Address,
        config: ClusterConfig,
        tls: ssl.SSLContext | None = None,
        timeout: float = 5.0,
    ) -> None:
        self.address = address
        self.timeout = timeout
        # RESP2 keeps CONFIG GET and INFO of all versions alike.
        self._config = replace(config, decode_responses=True, encoding_errors="replace", protocol=2)
        self._tls = tls
        self._connection: Connection | None = None
        self._owner = os.getpid()
        self._lock = threading.Lock()

    def call(self, *args: Any, timeout: float | None = None) -> Any:
        """Send one command and return its reply.

        Raises:
            UnreachableError: No connection, or no reply within `timeout` seconds.
            RefusedError: The node answered with an error.
        """
        name = " ".join(str(word) for word in args[:2])
        limit = self.timeout if timeout is None else timeout
        if self._owner != os.getpid():  # forked: the connection and the lock are the parent's
            self._owner, self._lock, self._connection = os.getpid(), threading.Lock(), None
        try:
            with self._lock:
                return self._connected(limit).call(*args, timeout=limit)
        except (NotSent, NoReply, Silent) as error:
            raise UnreachableError(f"{self.address} cannot be reached: {error}") from error
        except Refused as error:
            if error.error.code == UNTRUSTED:
                raise UnreachableError(f"{self.address}: {without_code(error.error)}") from error
            raise RefusedError(
                _login_hint(self.address, error.error.text), error.error.text
            ) from error
        except ServerError as error:
            raise RefusedError(
                f"{self.address} refused {name}: {error.text}", error.text
            ) from error

    def _connected(self, timeout: float) -> Connection:
        connection = self._connection
        if connection is not None:
            if not connection.closed and not connection.is_stale():
                return connection
            connection.close()
        self._connection = Connection(self.address, self._config, tls=self._tls, timeout=timeout)
        return self._connection

    def close(self) -> None:
        """Close the connection; the next call makes a new one."""
        if self._connection is not None:
            self._connection.close()


def _login_hint(address: Address, text: str) -> str:
    return f"{address} refused the login: {text} (check username, password and TLS)"


def parse_info(text: str) -> dict[str, str]:
    """Return the fields of an INFO or CLUSTER INFO reply."""
    pairs = (line.partition(":") for line in text.splitlines() if not line.startswith("#"))
    return {name: value for name, colon, value in pairs if colon}

"""New credentials on live connections: AUTH again, without taking any from who uses it.

Idle connections are taken one by one. Those in use are renewed by whoever gives them back, before
anybody else finds them; the pool counts a renewal as one who waits, so that giving back asks no
question that it did not ask before. A connection on which the new credentials are refused keeps
the old ones: a server ends no connection because a password was changed.
"""

from __future__ import annotations

import logging
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from clustercache._core import wire
from clustercache._core.wire import ServerError
from clustercache._events import NoReply, NotSent, Silent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from clustercache._sync.cluster_map import ClusterMap
    from clustercache._sync.connection import Connection
    from clustercache._sync.pool import Pool
    from clustercache.config import ClusterConfig, CredentialProvider

_log = logging.getLogger("clustercache.credentials")


class Renewal:
    """The connections of one pool that were opened with former credentials."""

    __slots__ = ("_config", "_left", "_login", "refusal")

    def __init__(
        self, connections: Iterable[Connection], config: ClusterConfig, login: tuple[Any, ...]
    ) -> None:
        """Renew these.

        Args:
            connections: All that are open.
            config: For its timeouts.
            login: The AUTH command.
        """
        self._config = config
        self._login = login
        # A list of references, whose single operations are atomic: several threads work on it.
        self._left = [weakref.ref(connection) for connection in connections]
        self.refusal: ServerError | None = None

    @property
    def done(self) -> bool:
        """Whether none is left."""
        return all(known() is None for known in self._left[:])

    def add(self, connection: Connection) -> None:
        """Renew one more, which was being opened when the credentials changed."""
        self._left.append(weakref.ref(connection))

    def go_on(self, pool: Pool, only: Connection | None = None) -> None:
        """Renew the connections that nobody uses now, or one of them alone.

        Args:
            pool: Theirs.
            only: The one that was just given back: who gave it back waits for no other.
        """
        for known in self._left[:]:
            connection = known()
            if only is not None and connection is not only:
                continue
            try:
                pool.idle.remove(connection)  # type: ignore[arg-type]  # whoever removes it owns it
            except ValueError:
                continue  # in use, or gone
            assert connection is not None  # noqa: S101 - it was idle
            connection.leased = True
            with suppress(ValueError):
                self._left.remove(known)
            try:
                well = self._renew(connection, pool)
            except BaseException:
                pool.discard(connection)
                raise
            if well:
                pool.put_back(connection)
            else:
                # The node is silent, or gone: the others would only take as long, one by one.
                pool.discard(connection)
                pool.flush()

    def _renew(self, connection: Connection, pool: Pool) -> bool:
        """Authenticate anew; tell whether the connection can be used."""
        try:
            connection.call(*self._login, timeout=self._config.socket_timeout)
        except ServerError as error:
            if self.refusal is None:
                _log.warning("credentials_refused node=%s code=%s", pool.address, error.code)
            self.refusal = error
        except (NotSent, NoReply, Silent):
            return False
        connection.set_patience(self._config.patience)
        return True


def renew_all(cluster_map: ClusterMap) -> ServerError | None:
    """Renew the connections to all nodes; return what a server refused, if one did."""
    cluster_map.logins += 1
    login = wire.auth(*cluster_map.config.credentials())
    if login is None:
        return None
    refusals = [pool.renew(login) for pool in cluster_map.every_pool()]
    return next(filter(None, refusals), None)


def follow(provider: CredentialProvider | None, cluster_map: ClusterMap) -> None:
    """Renew the connections whenever a provider that streams credentials has new ones.

    Such a provider has redis-py's `on_next(callback)`; others are asked at each connect only.
    """
    on_next: Callable[[Callable[[object], None]], object] | None
    on_next = getattr(provider, "on_next", None)
    if on_next is None:
        return
    known = weakref.ref(cluster_map)  # the provider may outlive the client

    def renew(_: object) -> None:
        found = known()
        if found is not None and not found.closed:
            renew_all(found)

    on_next(renew)

"""What both shells' clients say and do alike, off the path that each call takes."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, Self

from clustercache import config as configuration
from clustercache._commands import callbacks_for, encoder_for, for_callback
from clustercache._core.slots import encode, key_slot
from clustercache._limits import LimitScope
from clustercache._nodes import C, NodeAccess

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from contextlib import AbstractContextManager

    from redis._parsers.encoders import Encoder

    from clustercache._core.commands import CommandSpec
    from clustercache._core.read_from import ReadFrom
    from clustercache.config import ClusterConfig, RetryPolicy


class BaseClient(NodeAccess[C]):
    """A configuration, the limits that it sets, and how replies become results."""

    def __init__(self, config: ClusterConfig) -> None:
        """Open nothing yet."""
        self.config = config
        self._limits = LimitScope(config)
        self._limited = self._limits.current.get
        self._callbacks = callbacks_for(config)
        self.encoder = encoder_for(config)

    @classmethod
    def from_url(cls, url: str | Iterable[str], **options: Any) -> Self:
        """Return a client for the cluster at a URL, or at several of its nodes' URLs.

        Args:
            url: ``redis[s]://`` or ``valkey[s]://[[user]:password@]host[:port][/db]``, of a
                cluster, of one server, or of a primary and its replicas; more seeds as
                ``?addr=host:port&addr=...``. Sentinels: ``redis+sentinel://host[:port]/service``.
            options: redis-py's names (``decode_responses``, ``socket_timeout``, ``ssl_ca_certs``,
                ...) and those of `ClusterConfig`.

        Raises:
            ConfigurationError: Something in it is unknown or out of range.
        """
        return cls(configuration.from_url(url, **options))

    # Limits -----------------------------------------------------------------------------------

    def deadline(self, seconds: float) -> AbstractContextManager[None]:
        """Give each call inside the block this many seconds, with all redirects and retries.

        Example:
            >>> with r.deadline(0.2): r.get("k")  # doctest: +SKIP
        """
        return self._limits.block(deadline=seconds)

    def retry(self, policy: RetryPolicy) -> AbstractContextManager[None]:
        """Send again inside the block what `policy` says, when a reply was lost."""
        return self._limits.block(retry=policy)

    def read_from(self, policy: ReadFrom) -> AbstractContextManager[None]:
        """Send each read inside the block where `policy` says; pipelines go to primaries always.

        Raises:
            ConfigurationError: SAME_ZONE, and no zone is known.

        Example:
            >>> with r.read_from(ReadFrom.PREFER_REPLICA): r.get("k")  # doctest: +SKIP
        """
        return self._limits.block(read_from=policy)

    def doubts(self, key: Any) -> object | None:
        """Return what calls for a key wait for: a sign of its primary's being suspected, or None.

        The same object as long as it is the same suspicion. Nothing is sent.

        Args:
            key: Any key of the shard.
        """
        pool = self._slots()[key_slot(encode(key))]
        suspicion: object | None = None if pool is None else pool.suspicion
        return suspicion

    @abstractmethod
    def _slots(self) -> Sequence[Any]:
        """Return the pools by slot, as they are now."""

    # Results ----------------------------------------------------------------------------------

    def _result(self, spec: CommandSpec, reply: Any, options: dict[str, Any]) -> Any:
        callback = self._callbacks.get(spec.name)
        if callback is None:
            return reply
        return callback(reply, **for_callback(options))

    def set_response_callback(self, command: str, callback: Callable[..., Any]) -> None:
        """Turn the replies to a command into results by `callback`; redis-py's modules do it."""
        self._callbacks[command.upper()] = callback

    def get_encoder(self) -> Encoder:
        """Return redis-py's encoder, for its scripts."""
        return self.encoder

    def get_connection_kwargs(self) -> dict[str, Any]:
        """Return what redis-py's methods ask of a connection."""
        return {"decode_responses": self.config.decode_responses}

    def keyslot(self, key: Any) -> int:
        """Return the slot (0 to 16383) of a key."""
        return key_slot(encode(key, self.config.encoding))

    def __repr__(self) -> str:
        """Show the seeds; never credentials."""
        return f"<{type(self).__name__} {', '.join(map(str, self.config.seeds))}>"

"""What both stores are made of: settings, plans, and where `memory://` leads."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from clustercache.exceptions import (
    ConfigurationError,
    PartialError,
    SessionUnavailableError,
)
from clustercache.instrumentation.hooks import Observer
from clustercache.sessions.memory import Memory, Null
from clustercache.sessions.plans import Plans
from clustercache.sessions.settings import NAMES, SessionSettings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from redis.exceptions import RedisError

    from clustercache.instrumentation import Event
    from clustercache.sessions.session import Session

_MEMORY: Final = "memory://"
_named: dict[str, Memory] = {}
_lock = threading.Lock()


class BaseStore:
    """Settings and plans; the shells send.

    Attributes:
        settings: As given.
        client: Who is asked; None in process.
        plans: What is sent when.
    """

    _client: type[Any]

    def __init__(self, client: Any, **options: Any) -> None:
        """Keep sessions by a client.

        Args:
            client: A client of the store's kind, or what `from_url` makes of ``memory://``.
            options: Those of `SessionSettings`.

        Raises:
            ConfigurationError: Something in it is unknown or out of range.
        """
        own, unknown = self._options(options)
        if unknown:
            msg = f"unknown options: {', '.join(sorted(unknown))}"
            raise ConfigurationError(msg)
        self.settings = SessionSettings(**own)
        self._owns_client = False
        in_process = isinstance(client, Memory)
        if not in_process and not isinstance(client, self._client):
            msg = (
                f"{type(self).__name__} takes a {self._client.__name__}, got a"
                f" {type(client).__name__}: use {type(self).__name__}.from_url(url)"
            )
            raise ConfigurationError(msg)
        if not in_process and client.config.decode_responses:
            # What is sealed is no text.
            client = type(client)(replace(client.config, decode_responses=False))
            self._owns_client = True
        self.client: Any = None if in_process else client
        hooks = self.settings.hooks or (() if in_process else client.config.hooks)
        self._observer = Observer(hooks)
        self.plans = Plans(self.settings, self._tell)
        self._sent = self._way(client)

    def _made(self) -> list[Any]:
        """Return the clients that the store made, and closes."""
        own = [self.client] if self._owns_client else []
        return own + (self._sent.made if self.client is not None else [])

    def _way(self, client: Any) -> Any:
        """Return what sends calls by a client."""
        raise NotImplementedError

    def _tell(self, event: Event) -> None:
        self._observer.tell(event)

    @staticmethod
    def _options(options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Part a store's options from those of its client."""
        own = {name: value for name, value in options.items() if name in NAMES}
        return own, {name: value for name, value in options.items() if name not in NAMES}

    def new(self) -> Session:
        """Return an empty session that is not stored; a save stores it once it has anything."""
        return self.plans.new()

    def _new(
        self,
        data: Mapping[str, Any] | None,
        *,
        user: str | None,
        device: str,
        address: str,
        idle: float | None,
    ) -> Session:
        session = self.plans.new(data)
        if idle is not None:
            session.idle = idle
        if user is not None:
            session.login(user, device=device, address=address)
        return session

    # Keys -------------------------------------------------------------------------------------

    def _pattern(self, kind: str) -> str:
        plain = "".join(f"\\{sign}" if sign in "*?[]\\" else sign for sign in self.settings.prefix)
        return f"{plain}:{kind}:*"

    def _user_at(self, key: str) -> str:
        return key[len(self.settings.prefix) + 3 :]

    def _selectors(self, keys: Iterable[str]) -> list[str]:
        return [self._user_at(key) for key in keys]


class Ended:
    """How many sessions were ended, and what went wrong on the way; it stops nothing."""

    def __init__(self) -> None:
        self.count = 0
        self._failed: list[RedisError] = []

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Keep an error for the end."""
        try:
            yield
        except (PartialError, SessionUnavailableError) as error:
            self._failed.append(error)

    def result(self) -> int:
        """Return the count.

        Raises:
            PartialError: Something went wrong.
        """
        if not self._failed:
            return self.count
        outcomes: dict[str, Any] = {}
        for error in self._failed:
            if isinstance(error, PartialError):
                outcomes |= error.outcomes
        msg = f"all sessions were ended but some: {self._failed[-1]}"
        raise PartialError(msg, outcomes, command="UNLINK") from self._failed[-1]


def memory_at(url: object, options: Mapping[str, Any]) -> Memory | None:
    """Return what ``memory://`` or ``null://`` stands for, or None for another URL."""
    if not isinstance(url, str) or not url.startswith((_MEMORY, "null://")):
        return None
    if options:
        msg = f"{url} has no client, so that it takes no {', '.join(sorted(options))}"
        raise ConfigurationError(msg)
    if url.startswith("null://"):
        return Null()
    name = url.removeprefix(_MEMORY)
    if not name:
        return Memory()
    with _lock:
        return _named.setdefault(name, Memory())

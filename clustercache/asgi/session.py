"""`scope["session"]`: a `Session` that knows its store, and what it is before anybody looks at it.

ASGI hands a session over without a chance to await anything. So what is handed over is closed at
first: `ClosedSession` opens at the first look, to what was loaded for it, or raises why it cannot.
A page that never looks pays for nothing but that load, and where there is no cookie, for nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Self

from redis.exceptions import RedisError

from clustercache.exceptions import (
    OutcomeUnknownError,
    SessionError,
    SessionGoneError,
    SessionNotLoadedError,
    SessionUnavailableError,
)
from clustercache.sessions.identity import settle_identity
from clustercache.sessions.plans import Saved
from clustercache.sessions.session import Session

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from clustercache.sessions.aio import AsyncSessionStore

_REFUSED: Final = (SessionGoneError, SessionUnavailableError, OutcomeUnknownError)


class RequestSession(Session):
    """The session of one request, or of one websocket.

    Saved before the response starts. What is changed later needs `await session.save()`.
    """

    __slots__ = ("_cookie", "_failure", "_found", "_sent", "_store", "raised")

    _cookie: str | None
    _failure: SessionError | None
    _found: Session | None
    _sent: Saved | None
    _store: AsyncSessionStore
    raised: RedisError | None
    """What the application was told of it, last."""

    async def load(self) -> Self:
        """Load it, where that was not done before the application; return it.

        Raises:
            SessionUnavailableError: Its shard cannot be asked.
        """
        return self

    async def save(self) -> Saved:
        """Do all that is due to it now; see `AsyncSessionStore.save` for what is raised.

        Raises:
            RuntimeError: It would need a new cookie, and the response has started.
        """
        settle_identity(self)
        late = self._sent is None
        if late and (self.login_due or self.rotation_due or (self.is_new and self.changes())):
            msg = (
                "the response has started, so that no cookie can be set: begin, rotate or log in a"
                " session before that"
            )
            raise RuntimeError(msg)
        try:
            saved = await self._store.save(self)
        except RedisError as error:
            self.raised = error
            raise
        if not late and (saved.set_token or saved.ended):
            self._sent = saved
        return saved

    async def reload(self) -> bool:
        """Read it again, and drop what was changed here; tell whether it may still be used.

        False also where its token was replaced meanwhile, as it is at a login: a websocket should
        close then, and a browser that is still welcome comes back with its new cookie.

        Raises:
            SessionUnavailableError: Its shard cannot be asked.
        """
        return await self._store.reload(self)

    # As Starlette's own -----------------------------------------------------------------------

    def mark_accessed(self) -> None:
        """Take note that it was looked at."""
        self.accessed = True

    def clear(self) -> None:
        """End it, as `flush` does: its cookie is deleted, or gets a new token with new data."""
        self.flush()

    def popitem(self) -> tuple[str, Any]:
        """Remove the last field; return its name and value."""
        for name in reversed(list(self)):
            return name, self.pop(name)
        msg = "the session is empty"
        raise KeyError(msg)

    def __ior__(self, other: Mapping[str, Any] | Iterable[tuple[str, Any]]) -> Self:
        self.update(other)
        return self

    # For the middleware -----------------------------------------------------------------------

    def replace(self, data: Mapping[str, Any]) -> None:
        """Let it hold this, and nothing else."""
        for name in [one for one in self if one not in data]:
            del self[name]
        self.update(data)

    async def save_at_start(self) -> Saved:
        """Save it for the last time with a cookie; return what the browser is to be told.

        Where the application changed nothing, nothing is lost if a mere touch or renewal fails.
        """
        try:
            await self.save()
        except _REFUSED:
            if self.modified:
                raise
        sent, self._sent = self._sent, None
        return sent or Saved()


class UnreadableSession(RequestSession):
    """An empty session in place of one that cannot be read now. Whatever changes it is refused."""

    __slots__ = ()

    def __setitem__(self, name: str, value: Any) -> None:
        self._refuse()

    def __delitem__(self, name: str) -> None:
        self._refuse()

    def _refuse(self, *_: Any, **__: Any) -> Any:
        assert self._failure is not None  # noqa: S101 - it is what makes it unreadable
        self.raised = self._failure
        raise self._failure.with_traceback(None)

    step = login = rotate = flush = logout = _refuse

    async def reload(self) -> bool:
        """Refuse, for there is no telling."""
        self._refuse()
        return False


class ClosedSession(RequestSession):
    """A session that nobody has looked at: any look opens it, and turns it into what it is."""

    __slots__ = ()

    def __init__(self, store: AsyncSessionStore, cookie: str | None) -> None:
        """Hold nothing yet, but know where to find it.

        Args:
            store: Where it is kept.
            cookie: What the browser sent.
        """
        # What `Session` itself holds comes with the opening.
        self._store, self._cookie = store, cookie
        self._found, self._sent = None, Saved()
        self._failure = self.raised = None

    def __getattribute__(self, name: str) -> Any:
        if name not in _OF_THE_CLOSED and not name.startswith("__"):
            opened(self)
        return object.__getattribute__(self, name)

    def __setitem__(self, name: str, value: Any) -> None:
        opened(self)[name] = value

    def __delitem__(self, name: str) -> None:
        del opened(self)[name]

    def __repr__(self) -> str:
        return "<Session not looked at>"

    def mark_accessed(self) -> None:
        """Nothing: Starlette says so before anybody has looked."""

    def leave_unloaded(self) -> None:
        """Let every look fail until `load`."""
        self._failure = SessionNotLoadedError(
            "the session is not loaded here, for load='lazy' or by the path: `await session.load()`"
        )

    async def fetch(self) -> None:
        """Load what it opens to; keep what fails for whoever looks."""
        self._failure = None
        if self._cookie is None:
            return
        try:
            self._found = await self._store.load(self._cookie)
        except SessionUnavailableError as error:
            self._failure = error

    async def load(self) -> Self:
        """Load it, unless that was done, and open it."""
        if isinstance(self._failure, SessionNotLoadedError):
            await self.fetch()
        opened(self)
        return self

    async def save_at_start(self) -> Saved:
        """Save what nobody looked at: it may be due for a touch, or a new token."""
        self._sent = None
        if self._found is None:
            return Saved()
        try:
            return await self._store.save(self._found)
        except _REFUSED:
            return Saved()


_OF_THE_CLOSED: Final = frozenset({
    *RequestSession.__slots__,
    "fetch",
    "leave_unloaded",
    "load",
    "mark_accessed",
    "save_at_start",
})  # fmt: skip


def opened(session: ClosedSession) -> RequestSession:
    """Turn a closed session into what was found for it.

    Raises:
        SessionUnavailableError: It could not be read; unless `on_unavailable` says otherwise.
        SessionNotLoadedError: It was not loaded yet.
    """
    failure, store = session._failure, session._store  # noqa: SLF001 - this module's
    kind: Any = RequestSession
    mode = store.settings.on_unavailable
    if failure is not None:
        if mode == "raise" or isinstance(failure, SessionNotLoadedError):
            session.raised = failure
            raise failure.with_traceback(None)
        kind = UnreadableSession
    found = session._found  # noqa: SLF001
    Session.become(session, store.new() if found is None else found)
    session.__class__ = kind
    session.accessed = True
    session.stale = session.stale or (failure is not None and mode == "read_only")
    return session

"""What a store does, apart from the sending: the same for both shells and for `memory://`.

Each plan is a generator: it yields the calls of one round trip, is sent their outcomes in order (an
exception where there is no reply), and returns the result. So nothing is decided twice.
"""

from __future__ import annotations

from time import time
from typing import TYPE_CHECKING, Any, NamedTuple

from clustercache.exceptions import SessionUnavailableError
from clustercache.instrumentation import SessionStale, SessionUnknown
from clustercache.sessions.calls import Call, Loaded
from clustercache.sessions.index import Index
from clustercache.sessions.record import Record, Standing
from clustercache.sessions.session import Session
from clustercache.sessions.token import Token, public_id
from clustercache.sessions.writing import Writing

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from clustercache.instrumentation import Event
    from clustercache.sessions.settings import SessionSettings

    Plan = Generator[list[Call], list[Any], Any]


class Saved(NamedTuple):
    """What a save came to, for whoever sets cookies. With neither, leave the browser's alone.

    Attributes:
        set_token: The cookie's new value.
        ended: Whether the cookie is to be deleted.
        acknowledged: How many replicas have a login, a logout or a rotation; None for others.
    """

    set_token: str | None = None
    ended: bool = False
    acknowledged: int | None = None


class Plans(Writing):
    """The plans of one store."""

    def __init__(
        self,
        settings: SessionSettings,
        tell: Callable[[Event], None],
        clock: Callable[[], float] = time,
    ) -> None:
        """Prepare; see `Writing`."""
        super().__init__(settings, tell, clock)
        self.index = Index(self)

    # Load -------------------------------------------------------------------------------------

    def load(
        self, cookie: str | None, into: Session | None = None
    ) -> Generator[list[Call], list[Any], Session | None]:
        """Return the session that a cookie opens, or None.

        Args:
            cookie: A token, or what an older store gave.
            into: An object that is to become the session; a new one by default.
        """
        token = Token.parse(cookie)
        if token is None:
            return (yield from self._migrated(cookie)) if cookie else None
        return (yield from self._opened(token, into))

    def _opened(
        self, token: Token, into: Session | None = None
    ) -> Generator[list[Call], list[Any], Session | None]:
        [loaded] = yield [Call("load", self.key(token.selector))]
        if isinstance(loaded, Exception):
            raise loaded
        assert isinstance(loaded, Loaded)  # noqa: S101 - as the shells answer a load
        record = Record.read(loaded.stored) if loaded.stored else None
        now = self.now()
        standing = record.standing(token.digest, now) if record else Standing.NOT_GOOD
        if record is None or standing is Standing.NOT_GOOD:
            if loaded.stale:
                # What a replica does not know may well be: it lags, or the token is newer.
                msg = "the session cannot be read: only a replica answers, and it may lag behind"
                raise SessionUnavailableError(msg)
            reason = "verifier" if record else "unreadable" if loaded.stored else "absent"
            self._tell(SessionUnknown(session=public_id(token.selector), reason=reason))
            return None
        if loaded.stale:
            self._tell(SessionStale(session=public_id(token.selector)))
        session = Session.__new__(Session) if into is None else into
        Session.__init__(
            session,
            self.codec,
            token,
            self._dropped,
            idle=self.settings.idle,
            record=record,
            standing=standing,
            ttl=loaded.ttl,
            stale=loaded.stale,
        )
        return session

    def _migrated(self, cookie: str) -> Generator[list[Call], list[Any], Session | None]:
        """Return a new session with what an older store has under a cookie of its own."""
        reader = self.settings.migrate
        key = reader.key_of(cookie) if reader is not None else None
        if reader is None or key is None:
            self._tell(SessionUnknown(reason="malformed"))
            return None
        [stored] = yield [Call("old", key)]
        if isinstance(stored, Exception):
            raise stored
        data = None if stored is None else reader.decode(stored)
        if data is None:
            self._tell(SessionUnknown(reason="absent" if stored is None else "unreadable"))
            return None
        session = self.new()
        for name, value in data.items():
            try:
                self.codec.encode(value)
                session[name] = value
            except (TypeError, ValueError):
                self._dropped(session.public_id, str(name), "it cannot be written any more")
        session.old_key = key
        return session

    def superseded(self, cookie: str | None) -> Generator[list[Call], list[Any], bool]:
        """Tell whether a token was replaced a moment ago, by a request beside this one."""
        token = Token.parse(cookie)
        if token is None:
            return False
        [loaded] = yield [Call("load", self.key(token.selector))]
        if isinstance(loaded, Exception):
            raise loaded
        record = Record.read(loaded.stored) if loaded.stored else None
        now = self.now()
        if record is None or now - record.made > self._grace:
            return False
        return record.standing(token.digest, now) is Standing.NOT_GOOD

    # Save -------------------------------------------------------------------------------------

    def save(self, session: Session) -> Generator[list[Call], list[Any], Saved]:
        """Write all that is due."""
        acknowledged = None
        ended = bool(session.ending)
        while session.ending:
            one = session.ending[0]
            if one.old_key is not None:
                yield from self._ask(Call("retire", one.old_key))
            if one.selector is not None:
                acknowledged = yield from self.index.end(one.selector, one.user, "logout")
            session.ending.pop(0)
        if session.login_due is not None:
            acknowledged = yield from self.index.login(session)
        elif session.is_new:
            if not session.changes():
                return Saved(ended=ended, acknowledged=acknowledged)
            yield from self.create(session, {})
        else:
            written = yield from self._write_what_is_due(session)
            acknowledged = acknowledged if written is None else written
        token = str(session.token_held) if session.issued else None
        session.issued = False
        return Saved(token, ended=ended and token is None, acknowledged=acknowledged)

    def stored(self, session: Session) -> Generator[list[Call], list[Any], None]:
        """Store a new session, also an empty one."""
        if session.login_due is None:
            yield from self.create(session, {})
        else:
            yield from self.index.login(session)

    # At once ----------------------------------------------------------------------------------

    def delete(self, session: Session) -> Generator[list[Call], list[Any], Saved]:
        """End a session, and forget what was to be written."""
        session.flush()
        return (yield from self.save(session))

    def reload(self, session: Session) -> Generator[list[Call], list[Any], bool]:
        """Read a session again, and drop what was changed here."""
        if session.is_new:
            return False
        accessed = session.accessed
        found = yield from self._opened(session.shown)
        if found is None:
            return False
        session.become(found)
        session.accessed = accessed
        return True

"""The session engine: Django's whole `SessionBase`, blocking and asynchronous.

    SESSION_ENGINE = "clustercache.django.sessions"

Nothing is asked before the session is looked at, and a save sends what changed. The methods that
begin with an a are asynchronous from end to end; once a session is loaded, the others do no I/O
but for those that write.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib.sessions.backends.base import CreateError, UpdateError
from django.contrib.sessions.exceptions import SessionInterrupted

from clustercache.django import expiry, logins, stores
from clustercache.django.mapping import SessionMapping
from clustercache.exceptions import (
    SessionGoneError,
    SessionRevokedError,
    SessionUnavailableError,
)
from clustercache.sessions.identity import USER_FIELDS
from clustercache.sessions.plans import Saved
from clustercache.sessions.record import Standing

if TYPE_CHECKING:
    from clustercache.sessions.session import Session

__all__ = ["CreateError", "SessionGone", "SessionStore", "UpdateError"]

_GONE = (SessionGoneError, SessionRevokedError)
_NOTHING = Saved()


class SessionGone(UpdateError, SessionInterrupted):  # type: ignore[misc] # noqa: N818 - as its bases
    """The session was ended, or its token replaced, since the request loaded it (status 400)."""

    def __init__(self) -> None:
        super().__init__(
            "The request's session was deleted before the request completed. The user may have"
            " logged out in a concurrent request, for example."
        )


class SessionStore(SessionMapping):
    """What `request.session` is.

    Attributes:
        session_key: The token, which a cookie may hold; None for a session that is not stored.
        failure: Why the session could not be read, where it could not.
        flushed: Whether it was ended, so that the browser's cookie is of no use.
        saved_in_vain: Whether a touch was refused, which is no trouble.
        refresh_due: Whether the cookie should be sent again, for its session lasts longer now.
    """

    failure: SessionUnavailableError | None = None
    flushed = False
    refresh_due = False
    _lost: str | None = None
    """A token that was shown, and opens nothing."""
    _deleted = False
    saved_in_vain = False

    @property
    def inner(self) -> Session:
        """The session itself, with what Django's interface has no words for."""
        return self._get_session()

    # Load -------------------------------------------------------------------------------------

    def load(self) -> Session:
        """Read the session; return an empty one where there is none.

        Raises:
            SessionUnavailableError: Nobody can tell, now, and `on_unavailable` is not "anonymous".
        """
        kept = stores.store()
        try:
            found = kept.load(self.session_key)
        except SessionUnavailableError as error:
            self._failed(error, kept)
            return kept.new()
        if found is not None and expiry.is_over(found):
            kept.delete(found)
            found = None
        return self._opened(found, kept)

    async def aload(self) -> Session:
        """Read the session; see `load`."""
        kept = stores.astore()
        try:
            found = await kept.load(self.session_key)
        except SessionUnavailableError as error:
            self._failed(error, kept)
            return kept.new()
        if found is not None and expiry.is_over(found):
            await kept.delete(found)
            found = None
        return self._opened(found, kept)

    def _failed(self, error: SessionUnavailableError, kept: Any) -> None:
        self.failure = error
        if kept.settings.on_unavailable != "anonymous":
            raise error

    def _opened(self, found: Session | None, kept: Any) -> Session:
        """Take note of what was found."""
        if found is None:
            self._lost, self._session_key = self.session_key, None
            found = kept.new()
        elif found.is_new:
            self._session_key = None  # an older store's: it gets a token of its own
        else:
            logins.drop_what_is_over(found)
        if self._clear_due:
            self._clear(found)
        self._expiry_seen = expiry.of(found)
        return found

    def exists(self, session_key: str | None) -> bool:
        """Tell whether a token opens a session."""
        return stores.store().load(session_key) is not None

    async def aexists(self, session_key: str | None) -> bool:
        """Tell whether a token opens a session."""
        return await stores.astore().load(session_key) is not None

    # Save -------------------------------------------------------------------------------------

    def create(self) -> None:
        """Store a new, empty session at once."""
        self._created(stores.store().create())

    async def acreate(self) -> None:
        """Store a new, empty session at once."""
        self._created(await stores.astore().create())

    def _created(self, session: Session) -> None:
        self._session_cache, self._session_key = session, session.token
        self._deleted, self.modified, self._expiry_seen = False, True, None

    def save(self, must_create: bool = False) -> None:  # noqa: FBT001, FBT002 - Django's
        """Write what changed, and do what else is due: login, rotation, renewal, touch, end.

        Args:
            must_create: Whether it has to be new.

        Raises:
            UpdateError: It was ended or rotated meanwhile. Nothing was written.
            CreateError: It is stored already.
            SessionError: As `SessionStore.save` of `clustercache` does.
        """
        session, kept = self._get_session(), stores.store()
        seen = self._before(session, must_create=must_create)
        try:
            if self._may_replace(session) and kept.superseded(self._lost):
                raise SessionGone
            if _is_empty(session):
                session.become(kept.create(idle=session.idle))
                return self._after(session, seen)
            saved = kept.save(session)
        except _GONE as error:
            raise SessionGone from error
        return self._after(session, seen, saved)

    async def asave(self, must_create: bool = False) -> None:  # noqa: FBT001, FBT002 - Django's
        """Write what changed; see `save`."""
        session, kept = await self._aget_session(), stores.astore()
        seen = self._before(session, must_create=must_create)
        try:
            if self._may_replace(session) and await kept.superseded(self._lost):
                raise SessionGone
            if _is_empty(session):
                session.become(await kept.create(idle=session.idle))
                return self._after(session, seen)
            saved = await kept.save(session)
        except _GONE as error:
            raise SessionGone from error
        return self._after(session, seen, saved)

    def _before(self, session: Session, *, must_create: bool) -> int | None:
        """Say what the session is to do; return when its use was written down last."""
        if self.failure is not None:
            raise self.failure
        if self._deleted:
            raise SessionGone
        if must_create and not session.is_new:
            raise CreateError
        if session.login_due is not None or not session.untouched(USER_FIELDS):
            logins.note_login(session, self.device, self.address)
        expiry.note(session, self._expiry_seen)
        return None if session.facts is None else session.facts.active

    def _may_replace(self, session: Session) -> bool:
        """Tell whether a new token would replace one in the browser that this request missed."""
        return session.is_new and self._lost is not None and session.login_due is None

    def _after(self, session: Session, seen: int | None, saved: Saved | None = None) -> None:
        facts = session.facts
        if saved == _NOTHING and facts is not None and facts.active == seen:
            return
        self._session_key, self._lost = session.token, None
        self.modified = self.modified or seen is None
        if saved is not None and saved.ended:
            self.flushed = True
        now = expiry.of(session)
        if facts is not None and seen is not None:
            late = facts.active - seen >= min(stores.touch_after_ms(), facts.idle // 2)
            self.refresh_due = self.refresh_due or late or now != self._expiry_seen
        self._expiry_seen = now

    @property
    def is_current(self) -> bool:
        """Whether no other request has renewed the token, as far as is known."""
        return self.inner.standing is Standing.CURRENT

    # End and rotate ---------------------------------------------------------------------------

    def delete(self, session_key: str | None = None) -> None:
        """End the session of a token, at once; this one's without."""
        key = session_key or self.session_key
        if key is None:
            return
        kept = stores.store()
        found = kept.load(key)
        if found is not None:
            kept.delete(found)
        self._deleted = self._deleted or key == self.session_key

    async def adelete(self, session_key: str | None = None) -> None:
        """End the session of a token; see `delete`."""
        key = session_key or self.session_key
        if key is None:
            return
        kept = stores.astore()
        found = await kept.load(key)
        if found is not None:
            await kept.delete(found)
        self._deleted = self._deleted or key == self.session_key

    def flush(self) -> None:
        """End the session at once; what is set afterwards begins a new one with a new token."""
        session = self._session_cache_or_none()
        if session is None and self.session_key is not None:
            session = self.load()
        if session is not None and self.failure is None:
            stores.store().delete(session)
        self._flushed()

    async def aflush(self) -> None:
        """End the session at once; see `flush`."""
        session = self._session_cache_or_none()
        if session is None and self.session_key is not None:
            session = await self.aload()
        if session is not None and self.failure is None:
            await stores.astore().delete(session)
        self._flushed()

    def _flushed(self) -> None:
        if self.failure is not None:
            raise self.failure
        self._session_cache, self._session_key = stores.new(), None
        self._clear_due = self._deleted = False
        self._lost = self._expiry_seen = None
        self.accessed = self.modified = self.flushed = True

    def cycle_key(self) -> None:
        """Give the session a new token at once: the old one is dead."""
        self._get_session().rotate()
        self.save()

    async def acycle_key(self) -> None:
        """Give the session a new token at once: the old one is dead."""
        (await self._aget_session()).rotate()
        await self.asave()

    # Nothing to do ----------------------------------------------------------------------------

    @classmethod
    def clear_expired(cls) -> None:
        """Do nothing: the server removes what is over."""

    @classmethod
    async def aclear_expired(cls) -> None:
        """Do nothing: the server removes what is over."""


def _is_empty(session: Session) -> bool:
    new = session.is_new and not session.ending and session.login_due is None
    return new and len(session) == 0

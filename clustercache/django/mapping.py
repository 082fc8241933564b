"""The half of the engine that looks at data: Django's names for a session's fields.

A key that is no text is one as Django's JSON sessions would write it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.backends.base import SessionBase
from django.utils.module_loading import import_string

from clustercache.django import logins, stores
from clustercache.django.serializer import text_key, text_keys

if TYPE_CHECKING:
    from clustercache.sessions.session import Session

_NOT_GIVEN: Any = object()


class SessionMapping(SessionBase):  # type: ignore[misc]
    """A session's fields, loaded when they are first looked at.

    Attributes:
        accessed: Whether it was looked at.
        modified: Whether something was set; a change deep inside a value is found without.
        device: Of the browser, for the list of a user's sessions.
        address: The same.
    """

    _session_cache: Session
    _clear_due = False
    _taken_over = False
    _expiry_seen: Any = None
    meta: Any = None

    def __init__(self, session_key: str | None = None) -> None:
        """Ask nothing yet.

        Args:
            session_key: The token that a cookie holds.
        """
        # Not the base's, which looks up a serializer that is not used.
        self._session_key = session_key
        self.accessed = self.modified = False

    @property
    def serializer(self) -> Any:
        """What `encode` and `decode` use, and no session."""
        from django.conf import settings

        return import_string(settings.SESSION_SERIALIZER)

    @property
    def device(self) -> str:
        """What the browser calls itself."""
        return str((self.meta or {}).get("HTTP_USER_AGENT", ""))[:200]

    @property
    def address(self) -> str:
        """Where the request came from."""
        return str((self.meta or {}).get("REMOTE_ADDR", ""))

    # Load -------------------------------------------------------------------------------------

    def _session_cache_or_none(self) -> Session | None:
        found: Session | None = self.__dict__.get("_session_cache")
        return found

    def _get_session(self, no_load: bool = False) -> Session:  # noqa: FBT001, FBT002 - Django's
        self.accessed = True
        found: Session | None = self.__dict__.get("_session_cache")
        if found is None:
            new = no_load or self.session_key is None
            found = self._session_cache = stores.new() if new else self.load()
        return found

    async def _aget_session(self, no_load: bool = False) -> Session:  # noqa: FBT001, FBT002
        self.accessed = True
        found: Session | None = self.__dict__.get("_session_cache")
        if found is None:
            new = no_load or self.session_key is None
            found = self._session_cache = stores.new() if new else await self.aload()
        return found

    _session = property(_get_session)

    def _for(self, key: Any) -> Session:
        """Return the session in which a key is looked for."""
        session = self._get_session()
        if key == SESSION_KEY and self._is_to_be_taken_over(session):
            self._taken_over = True
            trusting = logins.trusting()
            if trusting is not None:
                path, backend = trusting
                logins.take_over(session, path, backend.get_user(session.user))
        return session

    async def _afor(self, key: Any) -> Session:
        session = await self._aget_session()
        if key == SESSION_KEY and self._is_to_be_taken_over(session):
            self._taken_over = True
            trusting = logins.trusting()
            if trusting is not None:
                path, backend = trusting
                logins.take_over(session, path, await backend.aget_user(session.user))
        return session

    def _is_to_be_taken_over(self, session: Session) -> bool:
        """Tell whether another framework's login is there, and Django's is not."""
        return session.user is not None and not self._taken_over and SESSION_KEY not in session

    # Look -------------------------------------------------------------------------------------

    def __contains__(self, key: Any) -> bool:
        return text_key(key) in self._for(key)

    def __getitem__(self, key: Any) -> Any:
        return self._for(key)[text_key(key)]

    has_key = __contains__

    async def ahas_key(self, key: Any) -> bool:
        """Tell whether there is a field."""
        return text_key(key) in await self._afor(key)

    def get(self, key: Any, default: Any = None) -> Any:
        """Return a field's value, or the default."""
        return self._for(key).get(text_key(key), default)

    async def aget(self, key: Any, default: Any = None) -> Any:
        """Return a field's value, or the default."""
        return (await self._afor(key)).get(text_key(key), default)

    # Change -----------------------------------------------------------------------------------

    def __setitem__(self, key: Any, value: Any) -> None:
        self._get_session()[text_key(key)] = value
        self.modified = True

    async def aset(self, key: Any, value: Any) -> None:
        """Set a field."""
        (await self._aget_session())[text_key(key)] = value
        self.modified = True

    def __delitem__(self, key: Any) -> None:
        del self._get_session()[text_key(key)]
        self.modified = True

    async def adelete_test_cookie(self) -> None:
        """Remove what `set_test_cookie` has set."""
        await self._aget_session()
        self.delete_test_cookie()

    def pop(self, key: Any, default: Any = _NOT_GIVEN) -> Any:
        """Remove a field and return its value, or the default where that is given."""
        return self._pop(self._for(key), text_key(key), default)

    async def apop(self, key: Any, default: Any = _NOT_GIVEN) -> Any:
        """Remove a field; see `pop`."""
        return self._pop(await self._afor(key), text_key(key), default)

    def _pop(self, session: Session, key: Any, default: Any) -> Any:
        self.modified = self.modified or key in session
        return session.pop(key, *(() if default is _NOT_GIVEN else (default,)))

    def setdefault(self, key: Any, value: Any) -> Any:
        """Return a field's value; set it to this one if there is none."""
        if key not in self:
            self[key] = value
        return self[key]

    async def asetdefault(self, key: Any, value: Any) -> Any:
        """Return a field's value; see `setdefault`."""
        await self._afor(key)
        return self.setdefault(key, value)

    def update(self, dict_: Any) -> None:
        """Set several fields."""
        self._get_session().update(text_keys(dict_))
        self.modified = True

    async def aupdate(self, dict_: Any) -> None:
        """Set several fields."""
        (await self._aget_session()).update(text_keys(dict_))
        self.modified = True

    def incr(self, key: str, by: int = 1) -> int:
        """Add to a number, at the save to what the server has then; return the sum known here."""
        self.modified = True
        return self._get_session().incr(key, by)

    async def aincr(self, key: str, by: int = 1) -> int:
        """Add to a number; see `incr`."""
        await self._aget_session()
        return self.incr(key, by)

    def append(self, key: str, *values: Any) -> None:
        """Add to the end of a list, at the save to what the server has then."""
        self.modified = True
        self._get_session().append(key, *values)

    async def aappend(self, key: str, *values: Any) -> None:
        """Add to the end of a list; see `append`."""
        await self._aget_session()
        self.append(key, *values)

    def clear(self) -> None:
        """Remove all fields; a user is logged out by it. Nothing is asked before the save."""
        found = self._session_cache_or_none()
        if found is not None:
            self._clear(found)
        elif self.session_key is not None:
            self._clear_due = True
        else:
            self._session_cache = stores.new()
        self.accessed = self.modified = True

    def _clear(self, session: Session) -> None:
        self._clear_due = False
        if session.user is None:
            session.clear()
        else:
            session.flush()

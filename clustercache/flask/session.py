"""`flask.session`: a `Session` that is loaded when it is looked at first."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any, Final

from flask.sessions import SessionMixin

from clustercache.exceptions import SessionUnavailableError
from clustercache.flask.answers import with_status
from clustercache.sessions.fields import Fields
from clustercache.sessions.identity import settle_identity
from clustercache.sessions.session import Session

if TYPE_CHECKING:
    from flask.wrappers import Request

    from clustercache.sessions.store import SessionStore

_HELD: Final = frozenset({*Fields.__slots__, *Session.__slots__})
"""What is there once a session is loaded."""
_PERMANENT: Final = "_permanent"
_USER: Final = "_user_id"
"""Where Flask-Login keeps who is logged in."""
_ALONE: Final = frozenset('; "\\%')
"""Signs of other cookies, or of a value that is not what it looks like."""
_LONGEST: Final = 200
"""Characters of what a browser calls itself."""


def _once_open(method: Any) -> Any:
    """Make a method load the session first, which may make it one that refuses the method."""
    name = method.__name__

    @wraps(method)
    def opening(self: FlaskSession, *args: Any, **options: Any) -> Any:
        if self.is_open:
            return method(self, *args, **options)
        self.open()
        return getattr(self, name)(*args, **options)

    return opening


class FlaskSession(Session, SessionMixin):
    """The session of one request, as Flask and its extensions know sessions.

    What changes inside a value counts, without `modified` being set. `clear()` ends the session at
    the server; what is set afterwards goes to a new one with a new token.

    Raises:
        SessionUnavailableError: At the first look, if its shard cannot be asked. It is an HTTP
            error too: where nobody handles it, 503 with Retry-After is answered.
    """

    __slots__ = (
        "_cookie",
        "_failure",
        "_forced",
        "_proved",
        "_request",
        "_store",
        "flushed",
        "is_open",
    )

    def __init__(self, store: SessionStore, request: Request, cookie: str) -> None:
        """Ask nothing yet.

        Args:
            store: Where it is kept.
            request: Whose it is.
            cookie: The name of its cookie.
        """
        self._store = store
        self._request = request
        self._cookie = cookie
        self._failure: Exception | None = None
        self._forced = self._proved = False
        self.is_open = False
        """Whether anybody looked at it."""
        self.flushed = False
        """Whether the application ended it."""
        self.accessed = False

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """Load the session when something of it is needed that is not there yet."""
            if name not in _HELD or self.is_open:
                msg = f"{type(self).__name__!r} object has no attribute {name!r}"
                raise AttributeError(msg)
            self.open()
            return object.__getattribute__(self, name)

    def open(self) -> None:
        """Load it, unless that was done.

        Raises:
            SessionUnavailableError: Nobody can tell, now.
        """
        if self.is_open:
            return
        if self._failure is not None:
            raise self._failure
        cookie = self.sent
        try:
            found = self._store.load(cookie, self) if cookie else None
        except SessionUnavailableError as error:
            self._failure = with_status(error)
            if self._store.settings.on_unavailable != "anonymous":
                raise self._failure from error
            self.__class__ = _Unreadable
            found = None
        if found is not self:
            self.become(self._store.new() if found is None else found)
        self.is_open = self.accessed = True

    @property
    def sent(self) -> str | None:
        """What the browser sent."""
        line, begin = self._request.environ.get("HTTP_COOKIE", ""), f"{self._cookie}="
        if line.startswith(begin) and _ALONE.isdisjoint(line):
            return str(line[len(begin) :])  # the usual one cookie needs no parser
        return self._request.cookies.get(self._cookie)

    # As Flask's own ---------------------------------------------------------------------------

    @property
    def new(self) -> bool:  # type: ignore[override]
        """Whether it is not stored yet."""
        return self.is_new

    @property
    def modified(self) -> bool:
        """Whether there is anything to write. Need not be set; True asks for a touch at least."""
        return self._forced or (self.is_open and super().modified)

    @modified.setter
    def modified(self, value: bool) -> None:
        self._forced = value
        if value:
            self.touch()

    @_once_open
    def __setitem__(self, name: str, value: Any) -> None:
        Session.__setitem__(self, name, value)
        if name == _USER:
            self._proved = True

    __delitem__ = _once_open(Session.__delitem__)
    step = _once_open(Session.step)
    rotate = _once_open(Session.rotate)
    touch = _once_open(Session.touch)

    # What is wanted ---------------------------------------------------------------------------

    def clear(self) -> None:
        """End it, as `flush` does."""
        self.flush()

    @_once_open
    def flush(self) -> None:
        """End it at the end of the request; its cookie is deleted unless something is set again."""
        Session.flush(self)
        self.flushed = True
        self._proved = False

    logout = flush

    @_once_open
    def login(self, user: str, *, device: str = "", address: str = "") -> None:
        """Make it a user's at the end of the request, with a new token.

        Args:
            user: The user's id, as a text.
            device: What `sessions_of` shows of where it is used; the browser's name by default.
            address: The same, as an IP address; by default that of the request.
        """
        device = device or self._request.headers.get("User-Agent", "")[:_LONGEST]
        Session.login(self, user, device=device, address=address or self._request.remote_addr or "")

    # For the interface ------------------------------------------------------------------------

    def settle(self) -> None:
        """Decide what the data tell: whose it is, and whether there is anything worth storing."""
        settle_identity(self)
        if self._proved and self.login_due is None and self.get(_USER) is not None:
            # The same user again: who proves that anew gets a new token, and a new `auth_time`.
            self.login(str(self[_USER]))
        if self.is_new and self.login_due is None and list(self) == [_PERMANENT]:
            # Set for every request by many applications: that stores no robot's session.
            del self[_PERMANENT]

    def __repr__(self) -> str:
        return Session.__repr__(self) if self.is_open else "<Session not looked at>"


class _Unreadable(FlaskSession):
    """An empty session in place of one that cannot be read now. Whatever changes it is refused."""

    __slots__ = ()

    def __setitem__(self, name: str, value: Any) -> None:
        self._refuse()

    def __delitem__(self, name: str) -> None:
        self._refuse()

    def _refuse(self, *_: Any, **__: Any) -> Any:
        assert self._failure is not None  # noqa: S101 - it is what makes it unreadable
        raise self._failure

    step = login = rotate = touch = flush = logout = _refuse

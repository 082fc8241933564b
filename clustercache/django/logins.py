"""Django's login and the session's own user: two marks of one thing, kept the same.

`_auth_user_id` is Django's, and the session's `user` what all frameworks share. A change of the
first is a login or a logout; of the second, made elsewhere, Django takes note as its authentication
backend allows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.utils.module_loading import import_string

from clustercache.sessions.identity import settle_identity

if TYPE_CHECKING:
    from clustercache.django.backends import SessionBackend
    from clustercache.sessions.session import Session

AUTH_KEYS = (SESSION_KEY, BACKEND_SESSION_KEY, HASH_SESSION_KEY)


def trusting() -> tuple[str, SessionBackend] | None:
    """Return the backend that takes such logins over, with its path, or None."""
    from clustercache.django.backends import SessionBackend

    for path in settings.AUTHENTICATION_BACKENDS:
        kind = import_string(path)
        if isinstance(kind, type) and issubclass(kind, SessionBackend):
            return path, kind()
    return None


def take_over(session: Session, path: str, user: Any) -> None:
    """Write down Django's marks of a login: the password's hash, too, so that a change ends it."""
    if user is None:
        return
    session[SESSION_KEY] = session.user
    session[BACKEND_SESSION_KEY] = path
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()


def drop_what_is_over(session: Session) -> None:
    """Forget Django's marks of a login that another framework has ended or replaced since."""
    if SESSION_KEY in session.stored and str(session.before(SESSION_KEY)) != session.user:
        for key in AUTH_KEYS:
            session.stored.pop(key, None)  # it is no removal, which would be a logout


def note_login(session: Session, device: str, address: str) -> None:
    """Make a change of Django's user the login or the logout that it is."""
    if session.user is not None and session.login_due is None:
        wanted = session.get(SESSION_KEY)
        if wanted is not None and str(wanted) != session.user:
            # What was stored is another user's.
            data = {name: session[name] for name in session.changes().sets}
            session.flush()
            session.update(data)
    settle_identity(session, device=device, address=address)

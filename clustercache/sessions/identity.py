"""Whose a session is, as the frameworks' own logins tell it: one decision for all of them.

Django and Flask-Login keep a user's id in the session's data. A change of it *is* a login, so that
the token is replaced and the user's index knows the session, whichever framework wrote it; and its
removal is a logout.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from clustercache.sessions.session import Session

USER_FIELDS: Final = ("_auth_user_id", "_user_id")
"""Where Django, and where Flask-Login, keep a user's id."""

_PROOFS: Final = ("_auth_user_backend", "_auth_user_hash", "_fresh", "_id")
"""What they keep beside it; it means nothing for another user."""


def settle_identity(session: Session, *, device: str = "", address: str = "") -> None:
    """Ask for the login, or the logout, that a session's data tell of. Call it before each save.

    A session whose user was removed ends: what else is in it goes on in a new one, with a new
    token. One that `Session.login` gave to another user forgets who the data said it was.

    Args:
        session: Any; one that tells of no change is left as it is.
        device: What `sessions_of` shows of where it is used.
        address: The same, as an IP address.
    """
    if session.login_due is not None:
        _forget_the_other(session, session.login_due.user)
    elif not session.untouched(USER_FIELDS):
        _follow(session, device, address)


def _follow(session: Session, device: str, address: str) -> None:
    removed = False
    for name in USER_FIELDS:
        before, now = session.before(name), session.get(name)
        if now is not None and now != before:
            if str(now) != session.user:  # else one framework took over another's login
                session.login(str(now), device=device, address=address)
            return
        removed |= before is not None and now is None
    if removed:
        # Also of what another framework has there: a logout is one for all of them.
        theirs = {*USER_FIELDS, *_PROOFS}
        rest = {name: value for name, value in session.items() if name not in theirs}
        session.flush()
        session.update(rest)


def _forget_the_other(session: Session, user: str) -> None:
    """Drop the id of the user before, unless it was set along with the login."""
    if session.user in {None, user}:
        return
    for name in USER_FIELDS:
        before = session.before(name)
        if before is not None and session.get(name) == before and str(before) != user:
            for one in (name, *_PROOFS):
                session.pop(one, None)

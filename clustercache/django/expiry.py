"""Django's `set_expiry`, as the session's own idle limit."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.utils import timezone

from clustercache.django import stores

if TYPE_CHECKING:
    from clustercache.sessions.session import Session

KEY = "_session_expiry"
_AT_ONCE = 0.001


def of(session: Session) -> Any:
    """Return what was set: seconds, a time in ISO 8601, 0 for the browser's end, or None."""
    there = KEY in session.stored or not session.untouched((KEY,))
    return session.get(KEY) if there else None


def is_over(session: Session) -> bool:
    """Tell whether a time that was set has come: use has kept the session in the store."""
    if KEY not in session.stored:
        return False
    until = of(session)
    return isinstance(until, (str, datetime)) and _left(until) <= 0


def note(session: Session, seen: Any) -> None:
    """Make what is set the session's idle limit, if it was changed from what was seen."""
    wanted = of(session)
    if wanted == seen:
        return
    if isinstance(wanted, (str, datetime)):
        session.idle = max(_left(wanted), _AT_ONCE)
    elif wanted:
        session.idle = max(float(wanted), _AT_ONCE)
    else:
        session.idle = stores.idle()


def _left(until: str | datetime) -> float:
    moment = datetime.fromisoformat(until) if isinstance(until, str) else until
    now: datetime = timezone.now()
    if timezone.is_naive(moment) != timezone.is_naive(now):
        # USE_TZ was changed since.
        change = timezone.make_naive if timezone.is_naive(now) else timezone.make_aware
        moment = change(moment)
    return (moment - now).total_seconds()

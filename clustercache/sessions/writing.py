"""Writing one session: its creation, its changes, its tokens, and when a mere touch is due.

Plans as in `plans`, whose base this is.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

from clustercache.exceptions import OutcomeUnknownError, SessionGoneError, SessionTooLargeError
from clustercache.instrumentation import (
    SessionCreated,
    SessionFieldDropped,
    SessionRefused,
    SessionRotated,
)
from clustercache.sessions.calls import Acknowledged, Call
from clustercache.sessions.codec import Codec
from clustercache.sessions.record import Record, Standing
from clustercache.sessions.scripts import NONCE_BYTES
from clustercache.sessions.session import Session
from clustercache.sessions.token import Token

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

    from clustercache.instrumentation import Event
    from clustercache.sessions.fields import Changes
    from clustercache.sessions.settings import SessionSettings


class Writing:
    """Makes and writes the sessions of one store."""

    def __init__(
        self,
        settings: SessionSettings,
        tell: Callable[[Event], None],
        clock: Callable[[], float],
    ) -> None:
        """Prepare.

        Args:
            settings: The store's.
            tell: Called with each event.
            clock: Returns seconds since 1970.
        """
        self.settings = settings
        self.codec = Codec(settings.serializer, settings.keys)
        self._tell = tell
        self._clock = clock
        age = settings.renew_after
        self._age = None if age is None else int(age * 1000)
        self._grace = int(settings.grace * 1000)
        self._touch_after = int(settings.touch_after * 1000)

    # Keys and sessions ------------------------------------------------------------------------

    def key(self, selector: str) -> str:
        """Return where a session is."""
        return f"{self.settings.prefix}:s:{selector}"

    def tell(self, event: Event) -> None:
        """Tell an event."""
        self._tell(event)

    def now(self) -> int:
        """Return the time in milliseconds since 1970."""
        return int(self._clock() * 1000)

    def new(self, data: Mapping[str, Any] | None = None) -> Session:
        """Return a session that is not stored yet."""
        session = Session(self.codec, Token.issue(), self._dropped, idle=self.settings.idle)
        session.update(data or {})
        session.accessed = False
        return session

    def _dropped(self, session: str, field: str, reason: str) -> None:
        self._tell(SessionFieldDropped(session=session, field=field, reason=reason))

    def create(
        self, session: Session, facts: Mapping[str, Any], *, lasting: bool = False
    ) -> Generator[list[Call], list[Any], int | None]:
        """Store a session for the first time.

        Args:
            session: A new one.
            facts: More fields, of the record.
            lasting: Whether replicas are waited for.
        """
        changes = session.changes()
        self.check_size(session, changes)
        sealed = session.seal(changes.sets)
        idle, lifetime = session.idle, self.settings.lifetime
        pairs = [word for name, value in facts.items() for word in (name, value)]
        pairs += [word for name, value in sealed.items() for word in (f":{name}", value)]
        digest = session.shown.digest
        args = (digest, milliseconds(idle), milliseconds(lifetime), *pairs)
        reply, replicas = yield from self._ask(
            Call("create", self.key(session.selector), args, lasting)
        )
        if reply[0] != b"ok":
            msg = "the session could not be created: its key holds another one; try again"
            raise SessionGoneError(msg)
        now = self.now()
        session.facts = Record(
            key=digest,
            previous=None,
            previous_until=None,
            made=now,
            created=now,
            active=now,
            deadline=now + milliseconds(lifetime),
            idle=milliseconds(idle),
            user=None,
            proved=None,
            device=b"",
            nonce=b"",
            fields={},
        )
        session.ttl = reply[2]
        session.idle_changed = False
        session.rotation_due = session.touch_due = False
        session.issued = True
        session.saved(changes, sealed)
        self._tell(SessionCreated(session=session.public_id))
        if session.old_key is not None:
            yield [Call("retire", session.old_key)]
            session.old_key = None
        return replicas

    def _write_what_is_due(self, session: Session) -> Generator[list[Call], list[Any], int | None]:
        changes = session.changes()
        renewal = self._renewal_is_due(session)
        idle = session.idle_changed
        due = changes or session.rotation_due or renewal or idle or self._touch_is_due(session)
        if not due:
            return None
        mode = "rotate" if session.rotation_due else "renew" if renewal else ""
        return (yield from self.write(session, changes, mode, {}))

    def write(
        self,
        session: Session,
        changes: Changes,
        mode: str,
        facts: Mapping[str, Any],
        lifetime: float | None = None,
    ) -> Generator[list[Call], list[Any], int | None]:
        """Write to a stored session, and replace its token.

        Args:
            session: The session.
            changes: Of its fields.
            mode: "rotate", "renew", or "" to keep the token.
            facts: More fields, of the record.
            lifetime: Seconds to its new absolute deadline; None keeps that.
        """
        self.check_size(session, changes)
        nonce = secrets.token_bytes(NONCE_BYTES) if changes or mode or facts else b""
        successor = session.token_held.successor() if mode else None
        while True:
            sealed = session.seal(changes.sets)
            args = self._words(session, changes, sealed, nonce, mode, successor, facts, lifetime)
            call = Call("save", self.key(session.selector), args, mode == "rotate")
            reply, replicas = yield from self._ask(call)
            if reply[0] != b"conflict":
                break
            for name, stored in zip(changes.compared, reply[1:], strict=True):
                session.rebase(name, stored)
            changes = session.changes()
            self.check_size(session, changes)
        self._judge(session, reply)
        session.saved(changes, sealed)
        self._written(session, nonce, reply, lifetime)
        if successor is not None:
            self._renewed(session, mode, successor if reply[1] else None)
        if mode == "rotate" and not facts:
            self._tell(SessionRotated(session=session.public_id, reason="rotate"))
        elif mode == "renew" and reply[1]:
            self._tell(SessionRotated(session=session.public_id, reason="renew"))
        return replicas

    def _words(  # noqa: PLR0917 - the script's own order
        self,
        session: Session,
        changes: Changes,
        sealed: Mapping[str, bytes],
        nonce: bytes,
        mode: str,
        successor: Token | None,
        facts: Mapping[str, Any],
        lifetime: float | None,
    ) -> tuple[Any, ...]:
        pairs = [word for name, value in facts.items() for word in (name, value)]
        pairs += [word for name, value in sealed.items() for word in (f":{name}", value)]
        removed = [f":{name}" for name in changes.removed]
        compared: list[Any] = []
        for name, stored in changes.compared.items():
            compared += (f":{name}", int(stored is not None), stored or b"")
        return (
            session.shown.digest,
            nonce,
            b"",
            session.nonce,
            mode,
            b"" if successor is None else successor.digest,
            self._grace,
            self._age or 0,
            milliseconds(session.idle) if session.idle_changed else b"",
            b"" if lifetime is None else milliseconds(lifetime),
            len(pairs) // 2,
            len(removed),
            len(changes.compared),
            *pairs,
            *removed,
            *compared,
        )

    def _judge(self, session: Session, reply: Any) -> None:
        """Raise what the save script's verdict means."""
        if reply[0] == b"gone":
            self._tell(SessionRefused(session=session.public_id))
            msg = (
                f"session {session.public_id} was ended, or its token replaced, since it was"
                " loaded: nothing was written"
            )
            raise SessionGoneError(msg, command="EVALSHA")
        if reply[0] == b"unknown":
            msg = (
                "a save's reply was lost, and the session was saved too often since to tell"
                " whether it was applied: load it again and look"
            )
            raise OutcomeUnknownError(msg, command="EVALSHA", applied="maybe")

    def _written(self, session: Session, nonce: bytes, reply: Any, lifetime: float | None) -> None:
        now = self.now()
        facts = session.facts
        assert facts is not None  # noqa: S101 - it was stored before
        until = facts.previous_until
        if facts.is_to_be_confirmed(session.standing):
            until = now + self._grace
        session.facts = facts._replace(
            previous_until=until,
            active=now,
            idle=milliseconds(session.idle),
            deadline=facts.deadline if lifetime is None else now + milliseconds(lifetime),
        )
        session.nonce = nonce or session.nonce
        session.ttl = reply[2]
        if session.standing is Standing.CURRENT and not (reply[3:] and reply[3]):
            session.standing = Standing.IN_GRACE  # at best: another request has renewed the token
        session.idle_changed = session.touch_due = False
        session.stale = False

    def _renewed(self, session: Session, mode: str, successor: Token | None) -> None:
        """Take note of a new token; of None where another has renewed it meanwhile."""
        facts = session.facts
        assert facts is not None  # noqa: S101 - it was stored before
        session.facts = facts._replace(made=self.now())
        if successor is None:
            return
        session.token_held, session.issued = successor, True
        if mode == "rotate":
            session.facts = session.facts._replace(previous=None, previous_until=None)
            session.shown, session.standing = successor, Standing.CURRENT
            session.rotation_due = False
        else:
            # Showing the new one would confirm what no browser has seen yet.
            session.standing = Standing.UNCONFIRMED

    def _renewal_is_due(self, session: Session) -> bool:
        if self._age is None or session.stale or session.facts is None:
            return False
        now = self.now()
        return session.facts.renewal_is_due(session.standing, now, self._age, self._grace)

    def _touch_is_due(self, session: Session) -> bool:
        """Tell whether its use is to be written down; a stale one's is not."""
        facts, ttl = session.facts, session.ttl
        if facts is None or ttl is None:
            return session.touch_due
        left = facts.deadline - self.now()
        used = min(facts.idle, left) - ttl
        return (
            session.touch_due
            or used >= min(self._touch_after, facts.idle // 2)
            or facts.is_to_be_confirmed(session.standing)
        )

    def check_size(self, session: Session, changes: Changes) -> None:
        """Refuse a session that would be too large.

        Raises:
            SessionTooLargeError: It would.
        """
        size = session.size(changes)
        if changes.sets and size > self.settings.max_bytes:
            msg = (
                f"the session would be {size} bytes, more than max_bytes={self.settings.max_bytes}:"
                " keep large things in the cache or a database, and their ids in the session"
            )
            raise SessionTooLargeError(msg)

    def _ask(self, call: Call) -> Generator[list[Call], list[Any], tuple[Any, int | None]]:
        """Ask one thing, and return its reply and who has it."""
        [reply] = yield [call]
        if isinstance(reply, Exception):
            raise reply
        if isinstance(reply, Acknowledged):
            return reply.reply, reply.replicas
        return reply, None


def milliseconds(seconds: float) -> int:
    """Return whole milliseconds, at least one."""
    return max(int(seconds * 1000), 1)

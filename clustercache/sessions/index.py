"""A user's sessions: logging in and out, the limit, the list, and ending all of them.

A login writes the index first, then the session, and then looks whether all were ended meanwhile:
so no session lives that its user's index does not have. The index is healed where it is read.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from clustercache.exceptions import (
    PartialError,
    SessionGoneError,
    SessionLimitError,
    SessionRevokedError,
)
from clustercache.instrumentation import SessionDeleted, SessionRotated
from clustercache.sessions.calls import Call
from clustercache.sessions.codec import Undecodable
from clustercache.sessions.record import FACTS
from clustercache.sessions.scripts import PENDING
from clustercache.sessions.session import Session, moment
from clustercache.sessions.token import public_id
from clustercache.sessions.writing import milliseconds

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Sequence
    from datetime import datetime

    from clustercache.sessions.session import Login
    from clustercache.sessions.writing import Writing

_ROUND = 500
"""Sessions that are asked about in one round trip."""


class SessionInfo(NamedTuple):
    """One session as its user, or an administrator, is shown it; times are aware datetimes.

    Attributes:
        public_id: Its name in lists and logs; opens nothing.
        user: Whose it is.
        device: As given at the login.
        address: As given at the login.
        created: When it was stored first.
        last_seen: When its use was written down last.
        expires: Its absolute deadline.
        current: Whether it is the one that was given as such.
    """

    public_id: str
    user: str | None
    device: str
    address: str
    created: datetime
    last_seen: datetime
    expires: datetime
    current: bool = False


class Index:
    """The plans that concern users."""

    def __init__(self, sessions: Writing) -> None:
        """Prepare.

        Args:
            sessions: Of the same store.
        """
        self._sessions = sessions
        self._settings = sessions.settings

    def key(self, user: str) -> str:
        """Return where a user's index is."""
        return f"{self._settings.prefix}:u:{user}"

    # In and out -------------------------------------------------------------------------------

    def login(self, session: Session) -> Generator[list[Call], list[Any], int | None]:
        """Give a session to a user, with a new token; return how many replicas have it."""
        login, before = session.login_due, session.user
        assert login is not None  # noqa: S101 - who asks has looked
        selector = session.selector
        self._sessions.check_size(session, session.changes())
        epoch, over = yield from self._reserve(login.user, selector)
        try:
            acknowledged = yield from self._write(session, login)
        except SessionGoneError:
            # It is not on its way: the next login may find that it is dead.
            yield [Call("drop", self.key(login.user), (f"+{selector}",))]
            raise
        [settled] = yield [Call("settle", self.key(login.user), (selector, epoch))]
        if isinstance(settled, Exception):
            # Nobody knows whether all were ended meanwhile, and nobody has the new token yet.
            yield [Call("unlink", self._sessions.key(selector))]
            raise settled
        if not settled:
            yield from self.end(selector, login.user, "race")
            msg = f"all sessions of the user were ended while {session.public_id} logged in"
            raise SessionRevokedError(msg)
        session.user, session.login_due = login.user, None
        if before is not None and before != login.user:
            yield from self._drop(before, [selector])
        with suppress(PartialError):  # those left stay in the index: the next login ends them
            yield from self._end_all(login.user, over, "limit")
        return acknowledged

    def _reserve(
        self, user: str, selector: str
    ) -> Generator[list[Call], list[Any], tuple[bytes, list[str]]]:
        """Enter a session in the index; return the user's epoch and what is past the limit."""
        limit, refuse = self._settings.limit or 0, self._settings.when_full == "refuse"
        lifetime = milliseconds(self._settings.lifetime)
        dead: list[str] = []
        members: list[bytes] = []
        for last in (False, True):
            args = (selector, lifetime, limit, int(refuse or not last), PENDING, *dead)
            verdict, *rest = yield from self._ask(Call("reserve", self.key(user), args))
            if verdict == b"ok":
                return rest[0], [one.decode() for one in rest[1]]
            # Who looks dead may have idled out: only who is alive counts.
            members = rest[0]
            if not last:
                dead = yield from self._dead(_settled(members))
        count = len([one for one in _selectors(members) if one != selector])
        msg = f"the user has {count} sessions already: end one, or set when_full='evict'"
        raise SessionLimitError(msg)

    def _write(
        self, session: Session, login: Login
    ) -> Generator[list[Call], list[Any], int | None]:
        sessions, settings = self._sessions, self._settings
        plain = sessions.codec.encode([login.device, login.address])
        device, proved = sessions.codec.seal(session.selector, "_d", plain), sessions.now()
        facts = {"_u": login.user, "_at": proved, "_d": device}
        if session.is_new:
            acknowledged = yield from sessions.create(session, facts, lasting=True)
        else:
            acknowledged = yield from sessions.write(
                session, session.changes(), "rotate", facts, settings.lifetime
            )
            sessions.tell(SessionRotated(session=session.public_id, reason="login"))
        if session.facts is not None:
            session.facts = session.facts._replace(user=login.user, proved=proved, device=device)
        return acknowledged

    def end(
        self, selector: str, user: str | None, reason: str
    ) -> Generator[list[Call], list[Any], int | None]:
        """Delete a session, then its place in the index; return how many replicas know."""
        key = self._sessions.key(selector)
        [reply] = yield [Call("unlink", key, lasting=True)]
        if isinstance(reply, Exception):
            raise reply
        if reply.reply:
            self._sessions.tell(SessionDeleted(session=public_id(selector), reason=reason))
        if user is not None:
            yield from self._drop(user, [selector])
            if not reply.reply:
                yield from self._end_late([selector], reason)
        return int(reply.replicas)

    # Lists ------------------------------------------------------------------------------------

    def sessions_of(
        self, user: str, current: Session | None = None
    ) -> Generator[list[Call], list[Any], list[SessionInfo]]:
        """Return a user's sessions, the newest first; what is over is dropped from the index."""
        members = yield from self._ask(Call("members", self.key(user)))
        alive, absent = yield from self._facts(_selectors(members))
        # What was under way when it was listed may be stored, and settled, by now.
        dead = set(absent).intersection(_settled(members))
        if dead:
            yield [Call("members", self.key(user), tuple(dead))]
        mine = None if current is None else current.selector
        # An entry may outlive its session's use by that user.
        found = [self.info(s, f, current=s == mine) for s, f in alive.items()]
        of_user = [one for one in found if one is not None and one.user == user]
        return sorted(of_user, key=lambda one: one.created, reverse=True)

    def infos(
        self, selectors: Sequence[str]
    ) -> Generator[list[Call], list[Any], list[SessionInfo]]:
        """Return what sessions tell, those left out that are over by now."""
        alive, _ = yield from self._facts(selectors)
        found = [self.info(selector, facts) for selector, facts in alive.items()]
        return [one for one in found if one is not None]

    def info(
        self, selector: str, facts: Sequence[bytes | None], *, current: bool = False
    ) -> SessionInfo | None:
        """Return what a session's `FACTS` tell, or None if they are those of no session."""
        created, active, deadline, _, user, sealed = facts
        if created is None or active is None or deadline is None:
            return None
        device, address = self._device(selector, sealed)
        try:
            return SessionInfo(
                public_id=public_id(selector),
                user=None if user is None else user.decode(),
                device=device,
                address=address,
                created=moment(int(created)),
                last_seen=moment(int(active)),
                expires=moment(int(deadline)),
                current=current,
            )
        except (ValueError, OverflowError, OSError):
            return None

    def _device(self, selector: str, sealed: bytes | None) -> tuple[str, str]:
        codec = self._sessions.codec
        try:
            device, address = codec.decode(codec.unseal(selector, "_d", sealed or b""))
        except (Undecodable, TypeError, ValueError):
            return "", ""
        return str(device), str(address)

    # Ending several ---------------------------------------------------------------------------

    def revoke(self, user: str, named: str) -> Generator[list[Call], list[Any], bool]:
        """End the user's session with this public id; tell whether there was one."""
        for selector in (yield from self._members(user)):
            if public_id(selector) == named:
                yield from self.end(selector, user, "revoked")
                return True
        return False

    def revoke_all(
        self, user: str, keep: str | None = None
    ) -> Generator[list[Call], list[Any], int]:
        """End a user's sessions, those of logins under way included; return how many.

        Args:
            user: Whose.
            keep: The selector of the one that stays.
        """
        lifetime = milliseconds(self._settings.lifetime)
        members = yield from self._ask(Call("revoke", self.key(user), (lifetime,)))
        selectors = [one for one in _selectors(members) if one != keep]
        return (yield from self._end_all(user, selectors, "revoked"))

    def end_some(self, selectors: Sequence[str]) -> Generator[list[Call], list[Any], int]:
        """End sessions whoever they belong to; return how many."""
        return (yield from self._end_all(None, selectors, "revoked"))

    def _end_all(
        self, user: str | None, selectors: Sequence[str], reason: str
    ) -> Generator[list[Call], list[Any], int]:
        """End sessions; those that cannot be reached stay in the index, and are named."""
        failed: dict[str, Exception] = {}
        count = 0
        for some in _rounds(selectors):
            replies = yield [Call("unlink", self._sessions.key(one)) for one in some]
            outcomes = dict(zip(some, replies, strict=True))
            missed = {one: r for one, r in outcomes.items() if isinstance(r, Exception)}
            failed |= missed
            for one in outcomes.keys() - missed.keys():
                if outcomes[one]:
                    count += 1
                    self._sessions.tell(SessionDeleted(session=public_id(one), reason=reason))
            if user is not None:
                yield from self._drop(user, [one for one in some if one not in missed])
                absent = [one for one in some if one not in missed and not outcomes[one]]
                count += yield from self._end_late(absent, reason)
        if failed:
            names = {public_id(one): error for one, error in failed.items()}
            nodes = sorted({getattr(one, "node", "") or "a node" for one in names.values()})
            msg = (
                f"{len(failed)} of {len(selectors)} sessions could not be ended, for"
                f" {', '.join(nodes)} cannot be reached: ask again"
            )
            raise PartialError(msg, names, command="UNLINK") from next(iter(failed.values()))
        return count

    def _end_late(
        self, selectors: Sequence[str], reason: str
    ) -> Generator[list[Call], list[Any], int]:
        """End what was not there, and may have been stored before its place was taken.

        A login that comes later than that finds no place in the index, and ends itself.
        """
        if not selectors:
            return 0
        replies = yield [Call("unlink", self._sessions.key(one)) for one in selectors]
        ended = [one for one, reply in zip(selectors, replies, strict=True) if reply == 1]
        for one in ended:
            self._sessions.tell(SessionDeleted(session=public_id(one), reason=reason))
        return len(ended)

    # Parts ------------------------------------------------------------------------------------

    def _members(self, user: str) -> Generator[list[Call], list[Any], list[str]]:
        return _selectors((yield from self._ask(Call("members", self.key(user)))))

    def _facts(
        self, selectors: Sequence[str]
    ) -> Generator[list[Call], list[Any], tuple[dict[str, Any], list[str]]]:
        """Return the facts of those that are alive, and who is dead.

        Raises:
            redis.RedisError: A shard could not be asked.
        """
        alive: dict[str, Any] = {}
        dead: list[str] = []
        for some in _rounds(selectors):
            replies = yield [Call("facts", self._sessions.key(one)) for one in some]
            for one, facts in zip(some, replies, strict=True):
                other = str(facts).startswith("WRONGTYPE")  # something else is at this key
                if isinstance(facts, Exception) and not other:
                    raise facts
                if other or facts[FACTS.index("_c")] is None:
                    dead.append(one)
                else:
                    alive[one] = facts
        return alive, dead

    def _dead(self, selectors: Sequence[str]) -> Generator[list[Call], list[Any], list[str]]:
        """Return who is not there; who cannot be asked counts as alive."""
        dead: list[str] = []
        for some in _rounds(selectors):
            replies = yield [Call("exists", self._sessions.key(one)) for one in some]
            dead += [one for one, there in zip(some, replies, strict=True) if there == 0]
        return dead

    def _drop(self, user: str, selectors: Iterable[str]) -> Generator[list[Call], list[Any], None]:
        """Take sessions that are over out of the index; what fails is healed when it is read."""
        words = tuple(word for one in selectors for word in (one, f"+{one}"))
        if words:
            yield [Call("drop", self.key(user), words)]

    def _ask(self, call: Call) -> Generator[list[Call], list[Any], Any]:
        [reply] = yield [call]
        if isinstance(reply, Exception):
            raise reply
        return reply


def _selectors(members: Iterable[bytes]) -> list[str]:
    return [one.decode() for one in members if not one.startswith(b"+")]


def _settled(members: Sequence[bytes]) -> list[str]:
    """Return whose login is over: those that are not there now will not be there again."""
    under_way = {one[1:] for one in members if one.startswith(b"+")}
    return _selectors(one for one in members if one not in under_way)


def _rounds(selectors: Sequence[str]) -> Iterable[Sequence[str]]:
    return (selectors[at : at + _ROUND] for at in range(0, len(selectors), _ROUND))

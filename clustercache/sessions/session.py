"""`Session`: what an application holds of one session, and what it wants of it at the next save."""

from __future__ import annotations

from datetime import UTC, datetime
from math import isfinite
from typing import TYPE_CHECKING, Any, NamedTuple

from clustercache.sessions.fields import Fields, Step
from clustercache.sessions.record import Record, Standing
from clustercache.sessions.token import Token, public_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from clustercache.sessions.codec import Codec


class Login(NamedTuple):
    """A login that is to be written.

    Attributes:
        user: Whose session it becomes.
        device: What the user is shown of where it is used, as a browser's name.
        address: The same, as an IP address.
    """

    user: str
    device: str = ""
    address: str = ""


class Ending(NamedTuple):
    """A session that is to be deleted: ours, or the one of an older store that it began as."""

    selector: str | None
    user: str | None
    old_key: str | None


class Session(Fields):
    """One session: a mapping of texts to values, and who it belongs to.

    Nothing is sent before `SessionStore.save`, which does all that was asked for in between. Not
    thread-safe: each request loads its own.

    Attributes:
        user: Whose it is; None before a login.
        stale: Whether a replica told it, for the primary did not answer.
        accessed: Whether the application looked at its data.
        old_key: Where an older store keeps what it was made from.
    """

    __slots__ = (
        "_dropping",
        "_idle",
        "_usual_idle",
        "accessed",
        "ending",
        "facts",
        "idle_changed",
        "issued",
        "login_due",
        "nonce",
        "old_key",
        "rotation_due",
        "shown",
        "stale",
        "standing",
        "token_held",
        "touch_due",
        "ttl",
        "user",
    )

    def __init__(  # one place where all begin
        self,
        codec: Codec,
        token: Token,
        dropped: Callable[[str, str, str], None],
        *,
        idle: float,
        record: Record | None = None,
        standing: Standing = Standing.CURRENT,
        ttl: int | None = None,
        stale: bool = False,
    ) -> None:
        """Made by a store: `new`, `create` or `load`.

        Args:
            codec: Reads and writes values.
            token: That was shown; a new one for a session that is not stored yet.
            dropped: Told of a field that cannot be read: public id, name, why.
            idle: The idle limit in seconds.
            record: What is stored; None for a new session.
            standing: What the token's verifier is to it.
            ttl: What is left of its time, in milliseconds.
            stale: Whether a replica told.
        """
        self._dropping = dropped
        self.accessed = False
        self.ending: list[Ending] = []
        self._usual_idle = idle
        self._begin(codec, token, record)
        self.standing = standing
        self.ttl = ttl
        self.stale = stale

    def _begin(self, codec: Codec, token: Token, record: Record | None) -> None:
        selector, dropping = token.selector, self._dropping
        stored = {} if record is None else record.fields
        Fields.__init__(
            self, codec, selector, stored, lambda f, why: dropping(public_id(selector), f, why)
        )
        self.facts = record
        self.token_held = token
        """The newest, and what a cookie may hold."""
        self.shown = token
        """What the next save shows: as long as the browser may have no other, this one."""
        self._idle = self._usual_idle if record is None else record.idle / 1000
        self.standing = Standing.CURRENT
        self.issued = False
        """Whether `token_held` is new to the browser."""
        self.nonce = b"" if record is None else record.nonce
        self.user = None if record is None else record.user
        self.login_due: Login | None = None
        self.rotation_due = False
        self.touch_due = False
        self.idle_changed = False
        self.old_key: str | None = None

    # What it is -------------------------------------------------------------------------------

    @property
    def is_new(self) -> bool:
        """Whether it is not stored yet."""
        return self.facts is None

    @property
    def token(self) -> str | None:
        """What a cookie may hold; None for a session that is not stored."""
        return None if self.is_new else str(self.token_held)

    @property
    def selector(self) -> str:
        """The public half of the token."""
        return self.token_held.selector

    @property
    def public_id(self) -> str:
        """What logs and lists call it."""
        return public_id(self.selector)

    @property
    def modified(self) -> bool:
        """Whether a save has anything to write, a mere touch or renewal left aside."""
        return bool(
            self.ending
            or self.login_due
            or self.rotation_due
            or (self.idle_changed and not self.is_new)
            or self.changes()
        )

    @property
    def ended(self) -> bool:
        """Whether it was flushed, and nothing was set since."""
        empty = not any(True for _ in self._names())
        return bool(self.ending) and self.is_new and empty and self.login_due is None

    @property
    def created(self) -> datetime | None:
        """When it was stored first."""
        return None if self.facts is None else moment(self.facts.created)

    @property
    def last_seen(self) -> datetime | None:
        """When its use was written down last, before this request."""
        return None if self.facts is None else moment(self.facts.active)

    @property
    def expires(self) -> datetime | None:
        """Its absolute deadline."""
        return None if self.facts is None else moment(self.facts.deadline)

    @property
    def auth_time(self) -> datetime | None:
        """When its user proved who they are: for what asks for a fresh login (step-up)."""
        known = self.facts is not None and self.facts.proved is not None
        return moment(self.facts.proved) if known else None  # type: ignore[union-attr,arg-type]

    @property
    def idle(self) -> float:
        """Seconds without use after which it ends; may be set."""
        return self._idle

    @idle.setter
    def idle(self, seconds: float) -> None:
        if not (isfinite(seconds) and seconds > 0):
            msg = f"idle must be seconds above 0, got {seconds!r}: flush() ends a session"
            raise ValueError(msg)
        if seconds != self._idle:
            self._idle = seconds
            self.idle_changed = True

    # Looking at it ----------------------------------------------------------------------------

    def __getitem__(self, name: str) -> Any:
        self.accessed = True
        return super().__getitem__(name)

    def __setitem__(self, name: str, value: Any) -> None:
        self.accessed = True
        super().__setitem__(name, value)

    def __delitem__(self, name: str) -> None:
        self.accessed = True
        super().__delitem__(name)

    def __contains__(self, name: object) -> bool:
        self.accessed = True
        return super().__contains__(name)

    def __iter__(self) -> Iterator[str]:
        self.accessed = True
        return super().__iter__()

    def __bool__(self) -> bool:
        """Tell whether it has any field, or is stored: `load(token) or new()` loses no session."""
        return len(self) > 0 or not self.is_new

    def __len__(self) -> int:
        self.accessed = True
        return super().__len__()

    # What is wanted ---------------------------------------------------------------------------

    def rotate(self) -> None:
        """Ask for a new token: call it where rights change. The old one is dead once saved."""
        self.rotation_due = True

    def login(self, user: str, *, device: str = "", address: str = "") -> None:
        """Make it a user's at the next save, with a new token.

        Args:
            user: The user's id, as a text.
            device: What `sessions_of` shows of where it is used.
            address: The same, as an IP address.
        """
        if not (user and isinstance(user, str)):
            msg = f"a user's id is a text, got {user!r}"
            raise TypeError(msg)
        user.encode()  # what is no UTF-8 is no id
        self.login_due = Login(user, device, address)

    def flush(self) -> None:
        """End it at the next save. What is set afterwards begins a new session with a new token."""
        if not self.is_new or self.old_key is not None:
            selector = None if self.is_new else self.selector
            self.ending.append(Ending(selector, self.user, self.old_key))
        self._begin(self._codec, Token.issue(), None)
        self.accessed = True
        self.stale = False

    logout = flush

    def touch(self) -> None:
        """Write down at the next save that it was used, even if that is not due."""
        self.touch_due = True

    def incr(self, name: str, by: int = 1) -> int:
        """Add to a number, at the save to what the server has then; return the sum as known here.

        An absent one counts for 0.

        Raises:
            TypeError: It is no whole number.
        """
        self.accessed = True

        def add(value: Any) -> int:
            if type(value) is not int:
                msg = f"the session's field {name!r} is no whole number"
                raise TypeError(msg)
            return value + by

        result: int = self.step(name, Step(0, add))
        return result

    def append(self, name: str, *values: Any) -> None:
        """Add to the end of a list, at the save to what the server has then.

        An absent one counts for an empty list.

        Raises:
            TypeError: It is no list.
        """
        self.accessed = True

        def add(value: Any) -> list[Any]:
            if not isinstance(value, list):
                msg = f"the session's field {name!r} is no list"
                raise TypeError(msg)
            return [*value, *values]

        self.step(name, Step([], add))

    def become(self, other: Session) -> None:
        """Take over what another object for the same session holds."""
        for name in (*Fields.__slots__, *Session.__slots__):
            setattr(self, name, getattr(other, name))

    def __repr__(self) -> str:
        state = "new" if self.is_new else "stale" if self.stale else "stored"
        return f"<Session {self.public_id} {state}>"


def moment(milliseconds: int) -> datetime:
    """Return a time of the server's as an aware datetime."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC)

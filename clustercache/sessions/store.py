"""`SessionStore`: sessions for synchronous programs."""

from __future__ import annotations

from itertools import islice
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, Self

from redis.exceptions import RedisError

from clustercache._core.slots import key_slot
from clustercache._core.wire import pack_many
from clustercache._sync.cluster import Cluster
from clustercache._sync.together import read_together
from clustercache.sessions.base import BaseStore, Ended
from clustercache.sessions.calls import Acknowledged, Call, Loaded
from clustercache.sessions.memory import Memory
from clustercache.sessions.ways import LOT, Batch, One, Pause, Ways

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
    from types import TracebackType

    from clustercache.instrumentation import Event
    from clustercache.sessions.index import SessionInfo
    from clustercache.sessions.plans import Saved
    from clustercache.sessions.session import Session
    from clustercache.sessions.settings import SessionSettings


class SessionStore(BaseStore):
    """Sessions in a cluster, on one server, or in this process; for any number of threads.

    Example:
        >>> store = SessionStore.from_url("memory://", idle=1800, lifetime=86400)
        >>> session = store.create({"cart": []}, user="u1")
        >>> again = store.load(session.token)
        >>> again["cart"].append("apple")
        >>> store.save(again).set_token is None
        True
        >>> store.load(session.token)["cart"]
        ['apple']
    """

    _client = Cluster
    _sent: Any

    def _way(self, client: Any) -> Any:
        if isinstance(client, Memory):
            return client
        return ClusterWay(client, self.settings, self._tell)

    # One session ------------------------------------------------------------------------------

    def create(
        self,
        data: Mapping[str, Any] | None = None,
        *,
        user: str | None = None,
        device: str = "",
        address: str = "",
        idle: float | None = None,
    ) -> Session:
        """Store a new session at once, empty or not.

        Args:
            data: Its fields.
            user: Whose it is; enters the user's index, and counts for the limit.
            device: What `sessions_of` shows of where it is used.
            address: The same, as an IP address.
            idle: Its own idle limit in seconds.

        Raises:
            SessionUnavailableError: Its shard cannot be asked.
            SessionTooLargeError: Nothing was sent.
            SessionLimitError: The user has too many.
        """
        session = self._new(data, user=user, device=device, address=address, idle=idle)
        self._run(self.plans.stored(session))
        return session

    def load(self, token: str | None, into: Session | None = None) -> Session | None:
        """Return the session that a token opens; None for one that is unknown, old or ended.

        Where the primary does not answer, a replica does: the session is `stale` then, and can be
        saved if the primary is back by that time.

        Args:
            token: What a cookie holds.
            into: An object that is to become the session; a new one by default.

        Raises:
            SessionUnavailableError: Nobody can tell, now.
        """
        session: Session | None = self._run(self.plans.load(token, into))
        return session

    def save(self, session: Session) -> Saved:
        """Do all that is due to a session: fields, login, rotation, renewal, touch, its end.

        Raises:
            SessionGoneError: It was ended or rotated since it was loaded; nothing was written.
            SessionUnavailableError: Its shard cannot be asked.
            SessionTooLargeError: Nothing was sent.
            SessionLimitError: A login, and the user has too many.
            SessionRevokedError: A login, and all were ended meanwhile.
            OutcomeUnknownError: It may have been written, or not.
        """
        saved: Saved = self._run(self.plans.save(session))
        return saved

    def login(self, session: Session, user: str, *, device: str = "", address: str = "") -> Saved:
        """Give a session to a user at once, with a new token; see `save` for what is raised."""
        session.login(user, device=device, address=address)
        return self.save(session)

    def rotate(self, session: Session) -> Saved:
        """Give a session a new token at once: the old one is dead."""
        session.rotate()
        return self.save(session)

    def delete(self, session: Session) -> Saved:
        """End a session at once."""
        saved: Saved = self._run(self.plans.delete(session))
        return saved

    def reload(self, session: Session) -> bool:
        """Read a session again, and drop what was changed here; tell whether it is there."""
        there: bool = self._run(self.plans.reload(session))
        return there

    def superseded(self, token: str | None) -> bool:
        """Tell whether a token that `load` refused was replaced a moment ago.

        Then the browser has a newer one by now, or soon, that no cookie may take the place of.

        Raises:
            SessionUnavailableError: Nobody can tell, now.
        """
        found: bool = self._run(self.plans.superseded(token))
        return found

    # A user's sessions ------------------------------------------------------------------------

    def sessions_of(self, user: str, *, current: Session | None = None) -> list[SessionInfo]:
        """Return a user's sessions, the newest first.

        Args:
            user: Whose.
            current: Which of them is marked as the current one.
        """
        found: list[SessionInfo] = self._run(self.plans.index.sessions_of(user, current))
        return found

    def revoke(self, user: str, public_id: str) -> bool:
        """End one of a user's sessions; tell whether there was one."""
        ended: bool = self._run(self.plans.index.revoke(user, public_id))
        return ended

    def revoke_all(self, user: str, *, keep: Session | None = None) -> int:
        """End all sessions of a user, those of logins under way included; return how many.

        Args:
            user: Whose.
            keep: One that stays.

        Raises:
            PartialError: Some could not be reached; they are named, and stay in the index.
        """
        kept = None if keep is None else keep.selector
        count: int = self._run(self.plans.index.revoke_all(user, kept))
        return count

    # All sessions -----------------------------------------------------------------------------

    def revoke_everybody(self) -> int:
        """End all sessions of all users, and those of nobody; return how many.

        Raises:
            PartialError: Some could not be reached; all others are ended.
        """
        ended = Ended()
        for keys in self._sent.keys(self._pattern("u")):
            for key in keys:
                with ended.counting():
                    ended.count += self._run(self.plans.index.revoke_all(self._user_at(key)))
        for keys in self._sent.keys(self._pattern("s")):
            with ended.counting():
                ended.count += self._run(self.plans.index.end_some(self._selectors(keys)))
        return ended.result()

    def scan(self) -> Iterator[SessionInfo]:
        """Yield all sessions, in no order."""
        for keys in self._sent.keys(self._pattern("s")):
            yield from self._run(self.plans.index.infos(self._selectors(keys)))

    def count(self, user: str | None = None) -> int:
        """Return how many sessions there are, of a user or in all."""
        if user is not None:
            return len(self.sessions_of(user))
        return sum(len(keys) for keys in self._sent.keys(self._pattern("s")))

    # The store itself -------------------------------------------------------------------------

    def _run(self, plan: Generator[list[Call], list[Any], Any]) -> Any:
        """Send what a plan yields, and return its result."""
        try:
            calls = next(plan)
            while True:
                calls = plan.send(self._sent.ask(calls))
        except StopIteration as end:
            return end.value

    def close(self) -> None:
        """Close the client, if the store made it."""
        for one in self._made():
            one.close()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close it."""
        self.close()


class ClusterWay(Ways):
    """Sends calls by a `Cluster`."""

    def __init__(
        self, client: Any, settings: SessionSettings, tell: Callable[[Event], None]
    ) -> None:
        """Ask nothing yet; see `Ways`."""
        super().__init__(client, settings, tell)
        config = client.config
        longest = min(settings.stale_after, settings.deadline or config.deadline, config.deadline)
        self._is_plain = not (config.hooks or config.recodes) and longest > config.patience
        """Whether a load may go past all that is for special cases."""
        self._as_dict = client._callbacks.get("HGETALL")  # noqa: SLF001 - ours too

    def ask(self, calls: Sequence[Call]) -> list[Any]:
        """Return the calls' outcomes, in order: replies, or errors where there are none."""
        began = monotonic()
        if calls[0].op == "load":
            loaded = self._at_once(calls[0].key, began + self._for_primary())
            if loaded is not None:
                return [loaded]
        doings = self.doings(calls, began)
        try:
            doing = next(doings)
            while True:
                try:
                    result = self._do(doing)
                except RedisError as error:
                    doing = doings.throw(error)
                else:
                    doing = doings.send(result)
        except StopIteration as end:
            outcomes: list[Any] = end.value
            return outcomes

    def _do(self, doing: Batch | One | Pause) -> Any:
        if isinstance(doing, Pause):
            return sleep(doing.seconds)
        with self.limits(doing):
            if isinstance(doing, Batch):
                pipeline = doing.client.pipeline()
                for words in doing.commands:
                    pipeline.execute_command(*words)
                return pipeline.execute(raise_on_error=False)
            if doing.lasting is None:
                return doing.client.execute_command(*doing.words, **doing.options)
            by = self.durable(doing.lasting)
            reply = (by or self.client).execute_command(*doing.words, **doing.options)
            return Acknowledged(reply, by.acknowledged if by else 0)

    def _at_once(self, key: str, deadline: float) -> Loaded | None:
        """Return what the primary tells where nothing is in the way; None for the long way."""
        client = self.client
        if not self._is_plain or client._limited() is not None:  # noqa: SLF001 - as below
            return None
        data = pack_many([("HGETALL", key), ("PTTL", key)])
        slot = key_slot(key)
        replies = read_together(client._map, (slot, slot), data, deadline)  # noqa: SLF001 - ours too
        if replies is None:
            return None
        stored, ttl = replies
        return Loaded(stored if self._as_dict is None else self._as_dict(stored), ttl)

    def keys(self, pattern: str) -> Iterator[list[str]]:
        """Yield the names of keys, a lot at a time."""
        found = self.client.scan_iter(pattern, count=LOT)
        while lot := [key.decode("utf-8", "replace") for key in islice(found, LOT)]:
            yield lot

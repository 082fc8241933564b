"""`AsyncSessionStore`: sessions for asyncio programs. See `store`, its twin."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING, Any, Self

from redis.exceptions import RedisError

from clustercache._async.cluster import AsyncCluster
from clustercache.sessions.base import BaseStore, Ended
from clustercache.sessions.calls import Acknowledged, Call
from clustercache.sessions.memory import Detached, Memory
from clustercache.sessions.ways import LOT, Batch, One, Pause, Ways

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Generator, Mapping, Sequence
    from types import TracebackType

    from clustercache.sessions.index import SessionInfo
    from clustercache.sessions.plans import Saved
    from clustercache.sessions.session import Session


class AsyncSessionStore(BaseStore):
    """Sessions in a cluster, on one server, or in this process; for any number of tasks and loops.

    Each method does what `SessionStore`'s does, and is awaited.

    Example:
        >>> async with AsyncSessionStore.from_url("redis://127.0.0.1") as s:  # doctest: +SKIP
        ...     session = await s.create({"cart": []}, user="u1")
    """

    _client = AsyncCluster
    _sent: Any

    def _way(self, client: Any) -> Any:
        if isinstance(client, Memory):
            return Detached(client)
        return AsyncClusterWay(client, self.settings, self._tell)

    # One session ------------------------------------------------------------------------------

    async def create(
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
        await self._run(self.plans.stored(session))
        return session

    async def load(self, token: str | None, into: Session | None = None) -> Session | None:
        """Return the session that a token opens; None for one that is unknown, old or ended.

        Where the primary does not answer, a replica does: the session is `stale` then, and can be
        saved if the primary is back by that time.

        Args:
            token: What a cookie holds.
            into: An object that is to become the session; a new one by default.

        Raises:
            SessionUnavailableError: Nobody can tell, now.
        """
        session: Session | None = await self._run(self.plans.load(token, into))
        return session

    async def save(self, session: Session) -> Saved:
        """Do all that is due to a session: fields, login, rotation, renewal, touch, its end.

        Raises:
            SessionGoneError: It was ended or rotated since it was loaded; nothing was written.
            SessionUnavailableError: Its shard cannot be asked.
            SessionTooLargeError: Nothing was sent.
            SessionLimitError: A login, and the user has too many.
            SessionRevokedError: A login, and all were ended meanwhile.
            OutcomeUnknownError: It may have been written, or not.
        """
        saved: Saved = await self._run(self.plans.save(session))
        return saved

    async def login(
        self, session: Session, user: str, *, device: str = "", address: str = ""
    ) -> Saved:
        """Give a session to a user at once, with a new token; see `save` for what is raised."""
        session.login(user, device=device, address=address)
        return await self.save(session)

    async def rotate(self, session: Session) -> Saved:
        """Give a session a new token at once: the old one is dead."""
        session.rotate()
        return await self.save(session)

    async def delete(self, session: Session) -> Saved:
        """End a session at once."""
        saved: Saved = await self._run(self.plans.delete(session))
        return saved

    async def reload(self, session: Session) -> bool:
        """Read a session again, and drop what was changed here; tell whether it is there."""
        there: bool = await self._run(self.plans.reload(session))
        return there

    async def superseded(self, token: str | None) -> bool:
        """Tell whether a token that `load` refused was replaced a moment ago.

        Then the browser has a newer one by now, or soon, that no cookie may take the place of.

        Raises:
            SessionUnavailableError: Nobody can tell, now.
        """
        found: bool = await self._run(self.plans.superseded(token))
        return found

    # A user's sessions ------------------------------------------------------------------------

    async def sessions_of(self, user: str, *, current: Session | None = None) -> list[SessionInfo]:
        """Return a user's sessions, the newest first.

        Args:
            user: Whose.
            current: Which of them is marked as the current one.
        """
        found: list[SessionInfo] = await self._run(self.plans.index.sessions_of(user, current))
        return found

    async def revoke(self, user: str, public_id: str) -> bool:
        """End one of a user's sessions; tell whether there was one."""
        ended: bool = await self._run(self.plans.index.revoke(user, public_id))
        return ended

    async def revoke_all(self, user: str, *, keep: Session | None = None) -> int:
        """End all sessions of a user, those of logins under way included; return how many.

        Args:
            user: Whose.
            keep: One that stays.

        Raises:
            PartialError: Some could not be reached; they are named, and stay in the index.
        """
        kept = None if keep is None else keep.selector
        count: int = await self._run(self.plans.index.revoke_all(user, kept))
        return count

    # All sessions -----------------------------------------------------------------------------

    async def revoke_everybody(self) -> int:
        """End all sessions of all users, and those of nobody; return how many.

        Raises:
            PartialError: Some could not be reached; all others are ended.
        """
        ended = Ended()
        async for keys in self._sent.keys(self._pattern("u")):
            for key in keys:
                with ended.counting():
                    ended.count += await self._run(self.plans.index.revoke_all(self._user_at(key)))
        async for keys in self._sent.keys(self._pattern("s")):
            with ended.counting():
                ended.count += await self._run(self.plans.index.end_some(self._selectors(keys)))
        return ended.result()

    async def scan(self) -> AsyncIterator[SessionInfo]:
        """Yield all sessions, in no order."""
        async for keys in self._sent.keys(self._pattern("s")):
            for info in await self._run(self.plans.index.infos(self._selectors(keys))):
                yield info

    async def count(self, user: str | None = None) -> int:
        """Return how many sessions there are, of a user or in all."""
        if user is not None:
            return len(await self.sessions_of(user))
        return sum([len(keys) async for keys in self._sent.keys(self._pattern("s"))])

    # The store itself -------------------------------------------------------------------------

    async def _run(self, plan: Generator[list[Call], list[Any], Any]) -> Any:
        """Send what a plan yields, and return its result."""
        try:
            calls = next(plan)
            while True:
                calls = plan.send(await self._sent.ask(calls))
        except StopIteration as end:
            return end.value

    async def aclose(self) -> None:
        """Close the client, if the store made it."""
        for one in self._made():
            await one.aclose()

    async def __aenter__(self) -> Self:
        """Return itself."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close it."""
        await self.aclose()


class AsyncClusterWay(Ways):
    """Sends calls by an `AsyncCluster`."""

    async def ask(self, calls: Sequence[Call]) -> list[Any]:
        """Return the calls' outcomes, in order: replies, or errors where there are none."""
        doings = self.doings(calls, monotonic())
        try:
            doing = next(doings)
            while True:
                try:
                    result = await self._do(doing)
                except RedisError as error:
                    doing = doings.throw(error)
                else:
                    doing = doings.send(result)
        except StopIteration as end:
            outcomes: list[Any] = end.value
            return outcomes

    async def _do(self, doing: Batch | One | Pause) -> Any:
        if isinstance(doing, Pause):
            return await asyncio.sleep(doing.seconds)
        with self.limits(doing):
            if isinstance(doing, Batch):
                pipeline = doing.client.pipeline()
                for words in doing.commands:
                    pipeline.execute_command(*words)
                return await pipeline.execute(raise_on_error=False)
            if doing.lasting is None:
                return await doing.client.execute_command(*doing.words, **doing.options)
            await self.client.initialize()
            by = self.durable(doing.lasting)
            reply = await (by or self.client).execute_command(*doing.words, **doing.options)
            return Acknowledged(reply, by.acknowledged if by else 0)

    async def keys(self, pattern: str) -> AsyncIterator[list[str]]:
        """Yield the names of keys, a lot at a time."""
        found = self.client.scan_iter(pattern, count=LOT)
        lot: list[str] = []
        async for key in found:
            lot.append(key.decode("utf-8", "replace"))
            if len(lot) == LOT:
                yield lot
                lot = []
        yield lot

"""`AsyncSessionStore`: sessions for asyncio programs. See `store`, its twin."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING, Any, Self

from redis.exceptions import NoScriptError, RedisError

from clustercache._async.cluster import AsyncCluster
from clustercache._core.read_from import ReadFrom
from clustercache.exceptions import OutcomeUnknownError
from clustercache.sessions.base import BaseStore, Ended, memory_at
from clustercache.sessions.calls import Acknowledged, Call, Loaded
from clustercache.sessions.memory import Detached, Memory
from clustercache.sessions.scripts import SCRIPTS
from clustercache.sessions.ways import AGAIN, LOT, Ways, left_until, rest, unless_unknown

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Generator, Iterable, Mapping, Sequence
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

    @classmethod
    def from_url(cls, url: str | Iterable[str], **options: Any) -> Self:
        """Return a store at a URL.

        Args:
            url: As `AsyncCluster.from_url` takes it, or ``memory://`` (one with a name, as
                ``memory://shop``, is shared in the process), or ``null://``.
            options: Those of `SessionSettings` and, where there is a server, of the client.

        Raises:
            ConfigurationError: Something in it is unknown or out of range.
        """
        own, others = cls._options(options)
        memory = memory_at(url, others)
        if memory is not None:
            return cls(memory, **own)
        store = cls(AsyncCluster.from_url(url, **others), **own)
        store._owns_client = True
        return store

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
        if len(calls) > 1:
            return await self._plain(calls)
        (call,) = calls
        try:
            if call.op == "load":
                return [await self._load(call)]
            if call.op in SCRIPTS:
                return [await self._script(call)]
            if not call.lasting:
                return await self._plain(calls)
            with self.client.deadline(self._seconds()):
                return [await self._send(call)]
        except RedisError as error:
            return [self._told(error, call)]

    async def _load(self, call: Call) -> Loaded:
        key, client = call.key, self.client
        end = monotonic() + self._seconds()
        error: RedisError | None = None
        if not self._primary_is_doubted(key):
            try:
                with client.deadline(self._for_primary()):
                    return await self._from_primary(key)
            except RedisError as caught:
                error = caught
                if not self.is_away(error):
                    raise
        try:
            with client.deadline(left_until(end, None)), client.read_from(ReadFrom.PREFER_REPLICA):
                return Loaded(await client.execute_command("HGETALL", key), None)
        except RedisError as caught:
            self._in_vain(key)
            raise caught from error

    async def _from_primary(self, key: str) -> Loaded:
        pipeline = self.client.pipeline()
        pipeline.execute_command("HGETALL", key)
        pipeline.execute_command("PTTL", key)
        loaded: Loaded = self._loaded(*await pipeline.execute(raise_on_error=False))
        return loaded

    async def _script(self, call: Call) -> Any:
        """Run a script; a save whose reply was lost is sent again, and told so."""
        end = monotonic() + self._seconds()
        unknown: OutcomeUnknownError | None = None
        losses = 0
        while True:
            left = left_until(end, unknown)
            try:
                with self.client.deadline(left):
                    return await self._send(call)
            except OutcomeUnknownError as error:
                if call.repeatable:
                    raise
                unknown, call, losses = error, call.again(), losses + 1
                await asyncio.sleep(rest(losses, end))
            except RedisError as error:
                raise unless_unknown(error, unknown) from error

    async def _send(self, call: Call) -> Any:
        by = await self._durable(call) if call.lasting else None
        execute = (by or self.client).execute_command
        if call.op not in SCRIPTS:
            reply = await execute(*call.words)
        else:
            options = AGAIN if call.repeatable else {}
            try:
                reply = await execute(*call.words, **options)
            except NoScriptError:
                reply = await execute(*call.in_full, **options)
        if call.lasting:
            return Acknowledged(reply, by.acknowledged if by else 0)
        return reply

    async def _durable(self, call: Call) -> Any:
        """Return what waits for replicas, if the shard has any and they are to be waited for."""
        wanted = self._settings.ack_replicas
        if not wanted:
            return None
        await self.client.initialize()
        if self.client.get_node_from_key(call.key, replica=True) is None:
            return None
        return self.client.durable(wanted, self._settings.ack_timeout)

    async def _plain(self, calls: Sequence[Call]) -> list[Any]:
        pipeline = self._for(calls[0]).pipeline()
        for call in calls:
            pipeline.execute_command(*call.words)
        try:
            with self.client.deadline(self._seconds()):
                outcomes = await pipeline.execute(raise_on_error=False)
        except RedisError as error:
            outcomes = [error] * len(calls)
        return [
            self._told(one, call) if isinstance(one, RedisError) else one
            for call, one in zip(calls, outcomes, strict=True)
        ]

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

"""Scripts and locks as in redis-py, over a client of this package.

A script is called by its digest. A node that lacks it (a primary that joined later, a replica that
was promoted: SCRIPT LOAD is not replicated) says NOSCRIPT, and gets the source instead, once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from redis.exceptions import NoScriptError

from clustercache._commands import (
    REPEATABLE,
    RedisAsyncLock,
    RedisAsyncScript,
    RedisLock,
    RedisScript,
)
from clustercache._core.read_from import ReadFrom
from clustercache.exceptions import OutcomeUnknownError

if TYPE_CHECKING:
    from collections.abc import Iterable


class Script(RedisScript):
    """A script that is called like a function; see `Cluster.register_script`."""

    def __init__(self, client: Any, script: Any, *, repeatable: bool = False) -> None:
        """Compute its digest; nothing is sent.

        Args:
            client: Who calls it, unless a call names another.
            script: The source, str or bytes.
            repeatable: Whether calling it twice leaves the same state and gives the same result.
        """
        super().__init__(client, script)
        self._options = {REPEATABLE: True} if repeatable else {}

    def __call__(
        self,
        keys: Iterable[Any] | None = None,
        args: Iterable[Any] | None = None,
        client: Any = None,
    ) -> Any:
        """Run it, and return its result.

        Args:
            keys: Its KEYS; they must live in one slot.
            args: Its ARGV.
            client: A client, a pipeline or durable writes to run it by.
        """
        by = self.registered_client if client is None else client
        words = _words(keys, args)
        if hasattr(by, "execute"):
            # A pipeline cannot ask first whether the node has it.
            return by.execute_command("EVAL", self.script, *words)
        try:
            return by.execute_command("EVALSHA", self.sha, *words, **self._options)
        except NoScriptError:
            return by.execute_command("EVAL", self.script, *words, **self._options)


class AsyncScript(RedisAsyncScript):
    """A script that is awaited; see `AsyncCluster.register_script`."""

    def __init__(self, client: Any, script: Any, *, repeatable: bool = False) -> None:
        """Compute its digest; nothing is sent.

        Args:
            client: Who calls it, unless a call names another.
            script: The source, str or bytes.
            repeatable: Whether calling it twice leaves the same state and gives the same result.
        """
        super().__init__(client, script)
        self._options = {REPEATABLE: True} if repeatable else {}

    def __call__(
        self,
        keys: Iterable[Any] | None = None,
        args: Iterable[Any] | None = None,
        client: Any = None,
    ) -> Any:
        """Run it, and return its result when awaited; a pipeline keeps it at once.

        Args:
            keys: Its KEYS; they must live in one slot.
            args: Its ARGV.
            client: A client, a pipeline or durable writes to run it by.
        """
        by = self.registered_client if client is None else client
        words = _words(keys, args)
        if hasattr(by, "execute"):
            return by.execute_command("EVAL", self.script, *words)
        return self._run(by, words)

    async def _run(self, by: Any, words: tuple[Any, ...]) -> Any:
        try:
            return await by.execute_command("EVALSHA", self.sha, *words, **self._options)
        except NoScriptError:
            return await by.execute_command("EVAL", self.script, *words, **self._options)


def _words(keys: Iterable[Any] | None, args: Iterable[Any] | None) -> tuple[Any, ...]:
    keys = list(keys or ())
    return (len(keys), *keys, *(args or ()))


class Lock(RedisLock):
    """redis-py's lock: a key with a token that its holder alone knows, in the key's slot.

    Its scripts decide something, so that none but `reacquire`'s is repeated when a reply was lost:
    `release` and `extend` raise OutcomeUnknownError then.
    """

    lua_release: Any
    lua_extend: Any
    lua_reacquire: Any

    def register_scripts(self) -> None:
        """Make the scripts, for this client: redis-py's are shared by all of a process."""
        self.lua_release = Script(self.redis, self.LUA_RELEASE_SCRIPT)
        self.lua_extend = Script(self.redis, self.LUA_EXTEND_SCRIPT)
        self.lua_reacquire = Script(self.redis, self.LUA_REACQUIRE_SCRIPT, repeatable=True)

    def do_acquire(self, token: Any) -> bool:
        """Try once; where the reply was lost, the key tells who has the lock."""
        try:
            return bool(super().do_acquire(token))
        except OutcomeUnknownError:
            with self.redis.read_from(ReadFrom.PRIMARY):
                held = self.redis.get(self.name)
            return held is not None and self.redis.get_encoder().encode(held) == token

    def locked(self) -> bool:
        """Tell whether anybody has the lock; a replica may not know."""
        with self.redis.read_from(ReadFrom.PRIMARY):
            return bool(super().locked())

    def owned(self) -> bool:
        """Tell whether this one has it; a replica may not know."""
        with self.redis.read_from(ReadFrom.PRIMARY):
            return bool(super().owned())


class AsyncLock(RedisAsyncLock):
    """redis-py's lock for asyncio; see `Lock`."""

    redis: Any
    lua_release: Any
    lua_extend: Any
    lua_reacquire: Any

    def register_scripts(self) -> None:
        """Make the scripts, for this client: redis-py's are shared by all of a process."""
        self.lua_release = AsyncScript(self.redis, self.LUA_RELEASE_SCRIPT)
        self.lua_extend = AsyncScript(self.redis, self.LUA_EXTEND_SCRIPT)
        self.lua_reacquire = AsyncScript(self.redis, self.LUA_REACQUIRE_SCRIPT, repeatable=True)

    async def do_acquire(self, token: Any) -> bool:
        """Try once; where the reply was lost, the key tells who has the lock."""
        try:
            return bool(await super().do_acquire(token))
        except OutcomeUnknownError:
            with self.redis.read_from(ReadFrom.PRIMARY):
                held = await self.redis.get(self.name)
            return held is not None and self.redis.get_encoder().encode(held) == token

    async def locked(self) -> bool:
        """Tell whether anybody has the lock; a replica may not know."""
        with self.redis.read_from(ReadFrom.PRIMARY):
            return bool(await super().locked())

    async def owned(self) -> bool:
        """Tell whether this one has it; a replica may not know."""
        with self.redis.read_from(ReadFrom.PRIMARY):
            return bool(await super().owned())

"""Reads on a tracking connection: what they ask, and what may be kept of what they bring."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Self

from clustercache._core.wire import ServerError
from clustercache.caching.near import MISSING

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence
    from types import TracebackType

    from clustercache._core.tracking import Coherence
    from clustercache._core.vouching import Depends, Token
    from clustercache.caching.near import NearCache

_GET = b"*3\r\n$6\r\nCLIENT\r\n$7\r\nCACHING\r\n$3\r\nYES\r\n*2\r\n$3\r\nGET\r\n$%d\r\n%b\r\n"


class Reading:
    """One key that was read, or was to be. Close it, whatever becomes of it: it is a `with`.

    Attributes:
        key: What was asked for.
        data: What the primary has there, None where it has nothing; MISSING where it did not say
            so: then ask the client, and what it answers is not kept.
        done: Whether there is nothing more to wait for, or nobody waits any more.
        then: What is called at that moment, by whoever reads the connection.
    """

    __slots__ = ("_allowed", "_near", "data", "done", "key", "then", "token")
    count: Final = 2
    """How many replies there will be."""

    def __init__(self, near: NearCache, key: bytes, token: Token | None) -> None:
        """Take a token that was claimed, or None where nothing will be read."""
        self._near = near
        self.key = key
        self.token = token
        self.data: Any = MISSING
        self.done = False
        self.then: Callable[[], object] | None = None
        self._allowed: Any = None

    @property
    def question(self) -> bytes:
        """What is sent."""
        return _GET % (len(self.key), self.key)

    def take(self, reply: Any) -> None:
        """Take the next of the replies."""
        if self._allowed is None:
            self._allowed = reply
            return
        if self.done:
            return
        if type(reply) is ServerError:
            self._refused(reply.code)
        elif type(self._allowed) is not ServerError:
            # What is not tracked will not be invalidated, either.
            self.data = reply
        self.lost()

    def _refused(self, code: str) -> None:
        if self.token is not None and code in {"MOVED", "ASK"}:
            self._near.tell(partial(_redirect, token=self.token, moved=code == "MOVED"))

    def lost(self) -> None:
        """Take note that no more replies will come."""
        if not self.done:
            self.done = True
            if self.then is not None:
                self.then()

    def keep(
        self,
        value: Any,
        *,
        ttl: float = math.inf,
        name: Hashable = None,
        decode: Callable[[bytes], Any] | None = None,
        depends: Depends = (),
        cost: int = 0,
    ) -> bool:
        """Keep what was read, if nothing has happened that forbids it; tell whether it was.

        Args:
            value: What `data` says.
            ttl: Seconds that it lives on the server, when it was read.
            name: What it is looked up by; None means by its key.
            decode: Makes the value of the data; without it only what nobody can change is kept.
            depends: (name, value) pairs: it is served only while each name is, with that value.
            cost: What it cost to make the value, in microseconds.
        """
        if self.token is None or self.data is MISSING:
            return False
        return self._near.keep(
            self.token, self.data, value,
            ttl=ttl, name=name, decode=decode, depends=depends, cost=cost,
        )  # fmt: skip

    def close(self) -> None:
        """Let later reads be kept by a token of their own."""
        token, self.token = self.token, None
        if token is not None:
            self._near.release(token)

    def __enter__(self) -> Self:
        """Return the reading."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close it."""
        self.close()


class Untracked:
    """A key that was read where nothing is to be kept: a `Reading` that keeps nothing."""

    __slots__ = ("data",)
    token = None

    def __init__(self, data: Any) -> None:
        """Take what the key holds, or the error."""
        self.data = data

    def keep(self, *_: Any, **__: Any) -> bool:
        """Keep nothing."""
        return False

    def close(self) -> None:
        """Do nothing."""


class Share:
    """The readings of one call that go to one primary, in one write.

    Attributes:
        done: Whether there is nothing more to wait for.
    """

    __slots__ = ("_left", "done", "readings")

    def __init__(self, readings: Sequence[Reading]) -> None:
        """Take them over; each tells when it is done."""
        self._left = len(readings)
        self.readings = readings
        self.done = False
        for reading in readings:
            reading.then = self._one_done

    def _one_done(self) -> None:
        self._left -= 1
        self.done = not self._left


def _redirect(state: Coherence, *, token: Token, moved: bool) -> None:
    state.redirected(token, moved=moved)

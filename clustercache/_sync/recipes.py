"""What is made of a client's commands: durable writes, scripts and locks."""

from __future__ import annotations

from typing import Any

from clustercache._scripts import Lock, Script
from clustercache._sync.durable import Durable, Wanted


class Recipes:
    """Methods of `Cluster`."""

    def durable(
        self,
        replicas: int = 1,
        timeout: float = 0.1,
        *,
        aof: bool = False,
        local: bool = False,
        strict: bool = False,
    ) -> Durable:
        """Return what writes and waits until replicas have it; by WAIT on the same connection.

        Args:
            replicas: How many replicas are waited for.
            timeout: Seconds to wait for them at most; a nearer deadline shortens it.
            aof: Wait until they have it on disk (WAITAOF: Redis 7.2, Valkey).
            local: Wait until the primary has it on disk, too; implies `aof`.
            strict: Raise NotReplicatedError when fewer have it in time.

        Example:
            >>> with r.durable(replicas=1) as d:  # doctest: +SKIP
            ...     d.set("k", "v")
            ...     d.acknowledged
            True
            1
        """
        wanted = Wanted(replicas=replicas, timeout=timeout, aof=aof, local=local, strict=strict)
        client: Any = self
        return Durable(client, wanted)

    def register_script(self, script: Any, *, repeatable: bool = False) -> Script:
        """Return a script that is called like a function: ``script(keys=[...], args=[...])``.

        Args:
            script: The source.
            repeatable: Whether it may be sent again when its reply was lost.
        """
        return Script(self, script, repeatable=repeatable)

    def lock(
        self, name: str, timeout: float | None = None, *, lock_class: Any = Lock, **options: Any
    ) -> Lock:
        """Return a lock on a name, as in redis-py.

        Args:
            name: The key.
            timeout: Seconds after which it is free again; None keeps it until it is released.
            lock_class: What to make instead of `Lock`.
            options: redis-py's ``sleep``, ``blocking``, ``blocking_timeout``, ``thread_local``
                and ``raise_on_release_error``.
        """
        made: Lock = lock_class(self, name, timeout=timeout, **options)
        return made

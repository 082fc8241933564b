"""Asking a provider for credentials without blocking the loop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from clustercache._commands import own_async_provider
from clustercache._events import NotSent

if TYPE_CHECKING:
    from clustercache.config import ClusterConfig


async def credentials_of(
    config: ClusterConfig, seconds: float | None = None
) -> tuple[str | None, str | None]:
    """Return (username, password) for the next connection.

    A provider with redis-py's `get_credentials_async` is awaited. One without it may block, on the
    network say, and is asked in a thread.

    Args:
        config: Whose provider is asked, if it has one.
        seconds: How long that may take.

    Raises:
        NotSent: It took longer.
    """
    if config.credential_provider is None:
        return config.credentials()
    ask = own_async_provider(config.credential_provider)
    try:
        async with asyncio.timeout(seconds):
            if ask is not None:
                return config.named(await ask())
            return await asyncio.to_thread(config.credentials)
    except TimeoutError:
        msg = "the credential provider did not answer in time"
        raise NotSent(msg) from None

"""What finds calls of this package that block an event loop."""

from __future__ import annotations

import traceback
from contextlib import contextmanager
from typing import TYPE_CHECKING
from unittest import mock

from blockbuster import BlockingError, blockbuster, blockbuster_ctx

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def blocking_calls() -> Iterator[list[str]]:
    """Refuse calls that block a running loop from inside this package; yield where they were.

    The list is what to look at: a client that outlives lost connections may catch the error, too.
    """
    found: list[str] = []

    class SeenError(BlockingError):
        def __init__(self, func: str) -> None:
            super().__init__(func)
            found.append(f"{func}\n{''.join(traceback.format_stack(limit=12))}")

    with (
        mock.patch.object(blockbuster, "BlockingError", SeenError),
        blockbuster_ctx("clustercache", excluded_modules=["clustercache.localcluster"]),
    ):
        yield found

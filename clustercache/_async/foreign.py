"""Loops that are not ours any more: one that was closed, and one that a fork left to the parent."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio


def unwatch(loop: asyncio.AbstractEventLoop, number: int, process: int) -> None:
    """Let a loop watch a file no more.

    A child leaves its parent's loop alone: the selector is the same one in both processes, and what
    the child takes out of it the parent hears no more.

    Args:
        loop: Who watched.
        number: The file's.
        process: The id of the process in which it began.
    """
    if os.getpid() == process:
        with suppress(OSError, ValueError, RuntimeError):  # the loop, or the file, was closed
            loop.remove_reader(number)
            loop.remove_writer(number)


def leave(*tasks: asyncio.Task[Any] | None) -> None:
    """End tasks that no loop will ever go on with, and let no word be lost on them.

    What they opened is closed now: the garbage collector might find their sockets before them.
    """
    for task in tasks:
        if task is not None and not task.done():
            task._log_destroy_pending = False  # type: ignore[attr-defined]  # noqa: SLF001
            with suppress(RuntimeError, ValueError):  # it runs, in a thread of the parent's
                task.get_coro().close()

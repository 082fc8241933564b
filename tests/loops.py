"""Event loops for tests: asyncio's and uvloop's, watched for what is left behind in them."""

from __future__ import annotations

import asyncio
import gc
import logging
import time
from contextlib import contextmanager

import pytest

try:
    import uvloop
except ImportError:  # no wheels for this Python or platform
    uvloop = None

LOOPS = [
    "asyncio",
    pytest.param("uvloop", marks=pytest.mark.skipif(uvloop is None, reason="no uvloop here")),
]
"""For `pytest.mark.parametrize("loop", LOOPS)`."""


def new_loop(loop="asyncio"):
    return uvloop.new_event_loop() if loop == "uvloop" else asyncio.new_event_loop()


class _Records(logging.Handler):
    """Keeps what asyncio logs."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self.texts = []

    def emit(self, record):
        self.texts.append(record.getMessage())


@contextmanager
def _logged():
    records, logger = _Records(), logging.getLogger("asyncio")
    logger.addHandler(records)
    try:
        yield records.texts
    finally:
        logger.removeHandler(records)


def run(main, *, loop="asyncio", collect=True, debug=False, tasks=False):
    """Run a coroutine in an event loop of its own, and return its result.

    Fails if it leaves a task behind, or if the loop had to report or log anything.

    Args:
        main: The coroutine.
        loop: "asyncio" or "uvloop".
        collect: Whether garbage is collected at the end, so that what was not closed is told now.
        tasks: Whether tasks may be left: they are cancelled.
        debug: Whether the loop refuses what comes from another thread, and the like.
    """
    reports = []
    with _logged() as texts:
        with asyncio.Runner(loop_factory=lambda: new_loop(loop), debug=debug) as runner:
            runner.get_loop().set_exception_handler(lambda _, context: reports.append(context))
            runner.get_loop().slow_callback_duration = 10.0
            result = runner.run(main if tasks else _watched(main))
        if collect:
            gc.collect()
    assert not reports, reports
    assert not texts, texts
    return result


async def _watched(main):
    result = await main
    left = asyncio.all_tasks() - {asyncio.current_task()}
    assert not left, f"still running: {left}"
    return result


async def until(condition, patience=5.0):
    """Let the loop go on until a condition holds."""
    limit = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < limit, "the condition did not come true"
        await asyncio.sleep(0.001)


def timers(loop):
    """The timers that a loop of asyncio still has; uvloop does not tell its own."""
    return [handle for handle in loop._scheduled if not handle.cancelled()]

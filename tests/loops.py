"""Event loops for tests: asyncio's and uvloop's, watched for what is left behind in them."""

from __future__ import annotations

import asyncio
import gc
import time

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


def run(main, *, loop="asyncio", collect=True):
    """Run a coroutine in an event loop of its own, and return its result.

    Fails if it leaves a task behind, or if the loop had to report what nobody took.

    Args:
        main: The coroutine.
        loop: "asyncio" or "uvloop".
        collect: Whether garbage is collected at the end, so that what was not closed is told now.
    """
    reports = []
    with asyncio.Runner(loop_factory=lambda: new_loop(loop)) as runner:
        runner.get_loop().set_exception_handler(lambda _, context: reports.append(context))
        result = runner.run(_watched(main))
    if collect:
        gc.collect()
    assert not reports, reports
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

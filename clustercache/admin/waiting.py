"""Wait for a condition, never for a time."""

from __future__ import annotations

from time import monotonic, sleep
from typing import TYPE_CHECKING

from clustercache.admin.link import RefusedError, UnreachableError
from clustercache.exceptions import AdminError

if TYPE_CHECKING:
    from collections.abc import Callable


def wait_until(
    reason: Callable[[], str | None], timeout: float, what: str, *, interval: float = 0.02
) -> float:
    """Ask `reason` until it returns None, and return the seconds that took.

    Args:
        reason: Returns why it is not so yet, or None; a node that cannot be reached or
            refuses is a reason too.
        timeout: Seconds to wait at most.
        what: What is waited for, as the error names it.
        interval: Seconds between two questions.

    Raises:
        AdminError: The time is over; the last reason is part of the message.
    """
    start = monotonic()
    while True:
        try:
            why = reason()
        except (RefusedError, UnreachableError) as error:
            why = str(error)
        if why is None:
            return monotonic() - start
        if monotonic() - start > timeout:
            raise AdminError(f"{what}: not so after {timeout:g} s: {why}")
        sleep(interval)

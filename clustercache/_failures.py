"""From a decision to raise to the exception: what happened, where, and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clustercache._commands import to_error
from clustercache._core.decisions import Attempt, Verb, may_be_applied
from clustercache.exceptions import ClusterCacheError, DeadlineExceededError, OutcomeUnknownError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clustercache._request import Failed, Request


def failure(
    verb: Verb, failed: Failed, request: Request, history: Sequence[Attempt], took: float
) -> Exception:
    """Return the exception that a call ends in.

    Args:
        verb: One of Verb's RAISE_ members.
        failed: What the last attempt ended in.
        request: The request.
        history: The attempts before the last.
        took: What the last attempt took, in seconds.
    """
    facts = request.facts(failed.event.node)
    if verb is Verb.RAISE_REPLY and failed.error is not None:
        error = to_error(failed.error)
        error.add_note(str(ClusterCacheError("refused by the server", **facts)))
        return error
    facts["attempts"] = [str(one) for one in (*history, Attempt(failed.event, took))]
    maybe = may_be_applied(failed.event, request.call, history)
    facts["applied"] = "maybe" if maybe else "no"
    if verb is Verb.RAISE_UNKNOWN:
        msg = "sent, and the reply was lost: it may have been applied, so look before you repeat it"
        return OutcomeUnknownError(msg, **facts)
    seconds = request.command.limits.deadline
    msg = (
        f"no reply within the deadline of {seconds:g} s; a failover takes the "
        "cluster's node timeout and a little more: if that is longer, raise the deadline"
    )
    return DeadlineExceededError(msg, **facts)

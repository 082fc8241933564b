"""From a decision to raise to the exception: what happened, where, and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clustercache._commands import to_error
from clustercache._core.commands import Safety
from clustercache._core.decisions import Attempt, Verb, may_be_applied
from clustercache._core.wire import UNDECODABLE
from clustercache._trust import UNTRUSTED, without_code
from clustercache.exceptions import (
    ClosedError,
    ClusterCacheError,
    DeadlineExceededError,
    OutcomeUnknownError,
    OvertakenError,
    PoolTimeoutError,
    ReplyDecodeError,
    ReplyTooLargeError,
    ShardUnavailableError,
    UntrustedError,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clustercache._request import Exchange, Failed


def failure(
    verb: Verb, failed: Failed, request: Exchange, history: Sequence[Attempt], took: float
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
    if failed.error is not None and failed.error.code == UNDECODABLE:
        maybe = request.call.safety is not Safety.READ
        return ReplyDecodeError(_UNDECODABLE, applied="maybe" if maybe else "no", **facts)
    if failed.error is not None and failed.error.code == UNTRUSTED:
        return UntrustedError(without_code(failed.error), **facts)
    if verb is Verb.RAISE_REPLY and failed.error is not None:
        error = to_error(failed.error)
        error.add_note(str(ClusterCacheError("refused by the server", **facts)))
        return error
    facts["attempts"] = [str(one) for one in (*history, Attempt(failed.event, took))]
    maybe = may_be_applied(failed.event, request.call, history)
    facts["applied"] = "maybe" if maybe else "no"
    kind, message = _KINDS[verb]
    return kind(message.format(seconds=request.command.limits.deadline), **facts)


_UNDECODABLE = "the reply is not text in the client's encoding: use decode_responses=False for it"
_KINDS: dict[Verb, tuple[type[ClusterCacheError], str]] = {
    Verb.RAISE_UNKNOWN: (
        OutcomeUnknownError,
        "sent, and the reply was lost: it may have been applied, so look before you repeat it",
    ),
    Verb.RAISE_TOO_LARGE: (
        ReplyTooLargeError,
        "the reply is larger than max_reply_bytes: ask for less at a time, or raise it",
    ),
    Verb.RAISE_DEADLINE: (
        DeadlineExceededError,
        "no reply in {seconds:g} s; a failover takes the node timeout and more: raise the deadline",
    ),
    Verb.RAISE_OVERTAKEN: (
        OvertakenError,
        "refused, and a later command of the pipeline on the same key was executed: send it again",
    ),
    Verb.RAISE_POOL_FULL: (
        PoolTimeoutError,
        "no room came free at the node: raise max_connections or, in asyncio, max_in_flight",
    ),
    Verb.RAISE_CROWDED: (
        ShardUnavailableError,
        "max_waiting calls wait already for this shard, whose primary does not answer",
    ),
    Verb.RAISE_CLOSED: (ClosedError, "the client is closed: make a new one"),
}

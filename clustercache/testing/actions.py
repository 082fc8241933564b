"""What a server can do with a command: when it answers, what, and what comes after that."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from .replies import Plain, Reply, raw, reply, simple

Then: TypeAlias = Literal["continue", "hang", "close", "reset"]


@dataclass(frozen=True, slots=True)
class Action:
    """One turn of the server: wait, write, and go on or not.

    Args:
        reply: What is written, or None for nothing.
        after: Seconds to wait first; later commands on the connection wait behind it.
        then: "continue"; "hang" (read on and answer nothing more); "close"; or "reset" (close so
            that the peer sees ECONNRESET).
    """

    reply: Reply | None
    after: float = 0.0
    then: Then = "continue"


def silence() -> Action:
    """Read the command and never answer; the connection stays open and answers nothing more.

    Nothing more, because a reply to a later command would be taken for the missing one.
    """
    return Action(None, then="hang")


def partial(data: bytes, *, then: Literal["hang", "close", "reset"] = "hang") -> Action:
    r"""Write the beginning of a reply, then fall silent or hang up.

    Example:
        node.on("GET", partial(b"$5\r\nhel", then="close"))
    """
    return Action(raw(data), then=then)


def delay(seconds: float, answer: Action | Plain) -> Action:
    """Wait, then do what `answer` says."""
    action = as_action(answer)
    return replace(action, after=action.after + seconds)


def close_before_reply() -> Action:
    """Read the command and hang up without a word: executed or not, the client cannot know."""
    return Action(None, then="close")


def close_after_reply(answer: Plain | None = simple("OK")) -> Action:  # noqa: B008 (immutable)
    """Answer, then hang up."""
    return Action(reply(answer), then="close")


def reset() -> Action:
    """Read the command and reset the connection: the client sees ECONNRESET."""
    return Action(None, then="reset")


def as_action(answer: Action | Plain) -> Action:
    """Turn a reply or a plain value into the action that sends it at once."""
    return answer if isinstance(answer, Action) else Action(reply(answer))

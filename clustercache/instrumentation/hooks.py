"""Who is told: the log, then each hook, in the thread in which it happened.

A hook is part of the call that it hears of, so it should be short; but whatever it raises, the call
goes on. The first error of each hook is logged, and what a hook itself does with the client is not
told to any, so that no hook can call itself.
"""

from __future__ import annotations

import logging
import threading
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol

from clustercache._core.decisions import Verb
from clustercache.instrumentation.events import Redirected, Retried
from clustercache.instrumentation.logs import commands_are_logged, log

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from clustercache._core import decisions
    from clustercache._core.address import Address
    from clustercache.instrumentation.events import Event

_log = logging.getLogger("clustercache.instrumentation")


class Hook(Protocol):
    """Called with each event."""

    def __call__(self, event: Event, /) -> object:
        """Take note of the event. What is returned is ignored."""


class Trail(threading.local):
    """What this thread's call in progress did so far.

    Attributes:
        attempts: How often it was sent.
        nodes: Who it was sent to, the last one last; what was sent at once to the owner is not in.
        silent: Whether a hook is at work.
    """

    attempts = 1
    nodes: tuple[Address, ...] = ()
    silent = False

    def begin(self) -> Any:
        """Begin a call's; return what `end` needs to go back to the one around it."""
        outer = self.attempts, self.nodes
        self.attempts, self.nodes = 1, ()
        return outer

    def end(self, outer: Any) -> None:
        """Go back to what was before `begin`."""
        self.attempts, self.nodes = outer


class _Steps:
    """One call's attempts and nodes."""

    __slots__ = ("attempts", "nodes")

    def __init__(self) -> None:
        self.attempts = 1
        self.nodes: tuple[Address, ...] = ()


class TaskTrail:
    """A trail for each task's call in progress; the tasks that a call starts share its own.

    What a hook starts is silent for good, for it goes on when the hook has returned.
    """

    __slots__ = ("_silent", "_steps")

    def __init__(self) -> None:
        """Begin without a call."""
        self._steps: ContextVar[_Steps | None] = ContextVar("clustercache_steps", default=None)
        self._silent = ContextVar("clustercache_silent", default=False)

    @property
    def attempts(self) -> int:
        """How often the call was sent."""
        steps = self._steps.get()
        return steps.attempts if steps else 1

    @attempts.setter
    def attempts(self, attempts: int) -> None:
        if steps := self._steps.get():
            steps.attempts = attempts

    @property
    def nodes(self) -> tuple[Address, ...]:
        """Who it was sent to."""
        steps = self._steps.get()
        return steps.nodes if steps else ()

    @nodes.setter
    def nodes(self, nodes: tuple[Address, ...]) -> None:
        if steps := self._steps.get():
            steps.nodes = nodes

    @property
    def silent(self) -> bool:
        """Whether a hook is at work."""
        return self._silent.get()

    @silent.setter
    def silent(self, silent: bool) -> None:
        self._silent.set(silent)

    def begin(self) -> Any:
        """Begin a call's; return what `end` needs to go back to the one around it."""
        return self._steps.set(_Steps())

    def end(self, outer: Any) -> None:
        """Go back to what was before `begin`."""
        self._steps.reset(outer)


class Observer:
    """Tells one client's events.

    Attributes:
        active: Whether there are hooks.
        trail: The calls in progress, each in its thread or task.
    """

    __slots__ = ("_failed", "_hooks", "active", "trail")

    def __init__(self, hooks: Sequence[Hook] = (), trail: Trail | TaskTrail | None = None) -> None:
        """Tell these hooks.

        Args:
            hooks: Called with each event.
            trail: Where a call's way is kept, if calls are not told apart by their threads.
        """
        self._hooks = tuple(hooks)
        self._failed: set[int] = set()
        self.active = bool(self._hooks)
        self.trail = trail or Trail()

    def tell(self, event: Event) -> None:
        """Log an event and call the hooks with it."""
        log(event)
        trail = self.trail
        if not self._hooks or trail.silent:
            return
        trail.silent = True
        try:
            for number, hook in enumerate(self._hooks):
                try:
                    hook(event)
                except Exception:  # noqa: BLE001 - it is not of the call
                    if number not in self._failed:
                        self._failed.add(number)
                        _log.exception("hook_failed hook=%s event=%s", _name(hook), event.kind)
        finally:
            trail.silent = False

    def sent_to(self, node: Address) -> None:
        """Note where a call of this thread goes."""
        known = tuple(one for one in self.trail.nodes if one != node)
        self.trail.nodes = (*known, node)

    def decided(
        self,
        facts: Callable[[Address | None], Mapping[str, Any]],
        event: decisions.Event,
        decision: decisions.Decision,
        attempt: int,
    ) -> None:
        """Tell of a redirect or of a retry.

        Args:
            facts: Gives the command's name, its slot and the node, as every error says them.
            event: What an attempt ended in.
            decision: What follows; only sending again is worth an event.
            attempt: Its number, from 1.
        """
        if decision.verb is not Verb.SEND or not (self.active or commands_are_logged()):
            return
        self.trail.attempts = max(self.trail.attempts, attempt + 1)
        trouble = event.trouble.name.lower()
        known = {**facts(event.node), "attempt": attempt}
        if event.to is None:
            self.tell(Retried(reason=trouble, pause=decision.pause, **known))
        else:
            known["slot"] = event.slot
            self.tell(Redirected(by=trouble, to=str(event.to), **known))


def _name(hook: Hook) -> str:
    return getattr(hook, "__qualname__", None) or type(hook).__qualname__

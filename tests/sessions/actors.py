"""One plan under way, a round trip at a time."""

from __future__ import annotations


class Actor:
    """One plan under way."""

    def __init__(self, plan):
        self._plan, self.result, self.error, self.over = plan, None, None, False
        self._wanted = self._next(lambda: next(plan))

    def step(self, way):
        """Make one round trip."""
        replies = way.ask(self._wanted)
        self._wanted = self._next(lambda: self._plan.send(replies))

    def _next(self, act):
        try:
            return act()
        except StopIteration as end:
            self.result = end.value
        except Exception as error:  # noqa: BLE001 - it is what the caller would be told
            self.error = error
        self.over = True
        return None

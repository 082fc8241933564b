"""What happens on each shard or server, second by second: a live table, or a line a second."""

from __future__ import annotations

import threading
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol

from clustercache.cli import output
from clustercache.cli.demo.view import CHART, CHART_NEEDS, event_line, live_view, plain_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

_TICK = 0.125
_WINDOW = 8  # ticks that a rate is taken over
_COLUMN = 8  # ticks for each column of the chart


@dataclass(slots=True)
class Moments:
    """When it happened, in monotonic seconds."""

    killed: float = 0.0
    promoted: float = 0.0
    restarted: float = 0.0
    rejoined: float = 0.0


class Counted(Protocol):
    """What a gauge looks at."""

    @property
    def counts(self) -> tuple[int, int, int]:
        """Reads and writes that succeeded, and errors."""
        ...

    def outage(self, since: float) -> tuple[float, float] | None:
        """Return from when to when nothing succeeded after `since`; None if not, or not over."""
        ...


class Gauge:
    """The rates, state and past of one shard, or of one web server.

    Args:
        load: What is counted.
        name: What it is called.
        where: The address that serves it just now.
    """

    def __init__(self, load: Counted, name: str, where: str) -> None:
        self.load = load
        self.name = name
        self.where = where
        self.state = "ok"
        self.down_since: float | None = None
        self.again_after: float | None = None
        self.chart: deque[float] = deque(maxlen=CHART)
        self._samples: deque[tuple[float, int, int]] = deque(maxlen=_WINDOW + 1)
        self._ticks = 0

    def sample(self, now: float) -> None:
        """Look at the counters."""
        reads, writes, _ = self.load.counts
        self._samples.append((now, reads, writes))
        self._ticks += 1
        if self._ticks % _COLUMN == 0:
            self.chart.append(sum(self.rates(_COLUMN)))

    def recovered(self) -> float | None:
        """Return when the slots served again, once, when that is first seen."""
        if self.state != "promoted" or self.down_since is None or self.again_after is not None:
            return None
        outage = self.load.outage(self.down_since)
        if outage is None:
            return None
        self.again_after = outage[1] - self.down_since
        return outage[1]

    def remark(self, now: float) -> Text:
        """Return how soon it served again."""
        if self.down_since is None:
            return output.coloured("-", "dim")
        if self.again_after is None:
            return output.coloured(f"{now - self.down_since:.1f} s ...", "red")
        return output.coloured(f"{self.again_after:.2f} s", "bold")

    def rates(self, ticks: int = _WINDOW) -> tuple[float, float]:
        """Return reads and writes per second."""
        last, first = self._samples[-1], self._samples[max(-len(self._samples), -ticks - 1)]
        seconds = last[0] - first[0]
        if not seconds:
            return 0.0, 0.0
        return (last[1] - first[1]) / seconds, (last[2] - first[2]) / seconds

    @property
    def errors(self) -> int:
        """How many calls failed."""
        return self.load.counts[2]


class Watch:
    """Shows the gauges while something else goes on.

    Args:
        screen: Where.
        gauges: What is shown.
        indent: Spaces before each line.
        headings: Of the gauges' names, addresses and remarks.
    """

    def __init__(
        self,
        screen: Console,
        gauges: Sequence[Gauge],
        indent: int,
        headings: tuple[str, str, str] = ("slots", "primary", "again in"),
    ) -> None:
        self.gauges = gauges
        self.headings = headings
        self.events: list[tuple[float, str]] = []
        self.zero = monotonic()
        self.indent = indent
        self._screen = screen
        self._chart = screen.width >= CHART_NEEDS and not screen.options.ascii_only
        self._live: Live | None = None
        self._next_line = 0.0

    @contextmanager
    def showing(self) -> Iterator[None]:
        """Show a live table inside the block where there is a terminal, else lines."""
        if not self._screen.is_terminal or self._screen.quiet:
            yield
            return
        from rich.live import Live

        with Live(console=self._screen, auto_refresh=False) as self._live:
            yield

    def tell(self, text: str, when: float | None = None) -> None:
        """Note what happened (default: just now)."""
        event = ((monotonic() if when is None else when) - self.zero, text)
        self.events.append(event)
        if self._live is None:
            self._screen.print(event_line(event, self.indent))

    def until(self, work: Callable[[], Any]) -> Any:
        """Do `work` in a thread, show the gauges meanwhile, and return its result."""
        outcome: list[Any] = []

        def run() -> None:
            try:
                outcome.append(work())
            except Exception as error:  # noqa: BLE001 - raised below, in the thread that asked
                outcome.append(error)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        while thread.is_alive():
            thread.join(_TICK)
            self._tick()
        if isinstance(outcome[0], Exception):
            raise outcome[0]
        return outcome[0]

    def run_for(self, seconds: float) -> None:
        """Show the gauges for so long."""
        self.until(lambda: threading.Event().wait(seconds))

    def _tick(self) -> None:
        now = monotonic()
        for gauge in self.gauges:
            gauge.sample(now)
            again = gauge.recovered()
            if again is not None:
                self.tell(f"slots {gauge.name} serve again", again)
        if self._live is not None:
            self._live.update(live_view(self, now, chart=self._chart), refresh=True)
        elif now >= self._next_line:
            self._next_line = now + 1.0
            self._screen.print(plain_line(self, now))

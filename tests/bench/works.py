"""What is measured. A new kind of work is a `Work` in `WORKS`, and a check of its operation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.bench import caching_works, products, threads
from tests.bench.cachings import AFAR, ANEAR, CACHES, FAR, NEAR
from tests.bench.data import GROUP, LONG
from tests.bench.loops import LOOPS, THREADS
from tests.bench.sites import FRAMEWORKS
from tests.bench.tasks import in_tasks
from tests.bench.threads import in_main_thread, in_threads
from tests.bench.visits import in_turn

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.bench.timing import Timing


@dataclass(frozen=True, slots=True)
class Work:
    """One kind of work.

    Attributes:
        name: For the command line.
        title: For the report.
        needs: The operation of a contender that does it, as `worker.CHECKS` names them.
        run: Does it `calls` times: run(session, needs, calls) -> Timing.
        per_call: How many of the unit that is reported are in one call.
        unit: What is reported.
        runs_on: `loops.THREADS`, one of `loops.LOOPS`, of `sites.FRAMEWORKS` or of
            `cachings.CACHES`: contenders of the same kind do it.
        tasks: How many tasks of a loop call at once.
        goal: What the CPU of ours may be at most, times that of a session in a signed cookie.
    """

    name: str
    title: str
    needs: str
    run: Callable[..., Timing]
    per_call: int = 1
    unit: str = "operation"
    runs_on: str = THREADS
    tasks: int = 1
    goal: float | None = None

    @property
    def part(self):
        """The part of the report that it belongs to: "clients", "sessions" or "caching"."""
        if self.runs_on in CACHES:
            return "caching"
        return "sessions" if self.runs_on in FRAMEWORKS else "clients"


def _awaited(loop, name, what, needs, tasks=1, **units):
    """Return a work of tasks on one of the loops; asyncio's own is the one that goes unnamed."""
    own = loop == "asyncio"
    title = f"asyncio {what}, {tasks} task{'s' if tasks > 1 else ''}{'' if own else ', on ' + loop}"
    full = name if own else f"{name}-{loop}"
    return Work(full, title, needs, in_tasks(tasks), runs_on=loop, tasks=tasks, **units)


def _on(loop):
    """Return all works of a loop.

    A hundred tasks come last: some clients keep the hundred connections and use them all in turn.
    """
    grouped = {"per_call": GROUP, "unit": "command"}
    return [
        _awaited(loop, "aget", "GET", "get"),
        _awaited(loop, "aset", "SET", "set"),
        _awaited(
            loop, "apipeline", f"pipeline of {GROUP} GETs across slots", "pipeline", **grouped
        ),
        _awaited(loop, "aget-100", "GET", "get", tasks=100),
        _awaited(loop, "aset-100", "SET", "set", tasks=100),
    ]


_VISITS = {
    "page": "a page that never touches its session",
    "read": "a page that reads its session",
    "write": "a page that changes its session",
}
_GOALS = {  # set in microseconds, on a machine where signed cookies took as many as stand below
    "Flask": {"page": 255 / 247, "read": 350 / 258, "write": 430 / 372},
    "Django": {"page": 96 / 93, "read": 200 / 121, "write": 280 / 168},
}


def _visits(framework):
    """Return the works of a framework's sites."""
    return [
        Work(
            f"{framework.lower()}-{page}",
            f"{framework}: {what}",
            page,
            in_turn,
            unit="request",
            runs_on=framework,
            goal=_GOALS[framework][page],
        )
        for page, what in _VISITS.items()
    ]


def _cached(prefix, where, near, far, run):
    """Return the works of caches: those that answer from the process, and those that do not."""
    many = {"per_call": products.GROUP, "unit": "key"}
    return [
        Work(f"{prefix}near-hit", f"{where}near hit, decorated", "near", run, runs_on=near),
        Work(f"{prefix}far-hit", f"{where}far hit", "far", run, runs_on=far),
        Work(
            f"{prefix}far-many",
            f"{where}{products.GROUP} far hits by one call",
            "many",
            run,
            runs_on=far,
            **many,
        ),
    ]


WORKS = [
    Work("get", "GET, 1 thread", "get", in_main_thread(threads.get)),
    Work("set", "SET, 1 thread", "set", in_main_thread(threads.put)),
    Work("get-8", "GET, 8 threads", "get", in_threads(threads.get, 8)),
    Work(
        "mget",
        f"MGET of {GROUP} keys across slots, 1 thread",
        "mget",
        in_main_thread(threads.groups),
        per_call=GROUP,
        unit="key",
    ),
    Work(
        "pipeline",
        f"Pipeline of {GROUP} GETs across slots, 1 thread",
        "pipeline",
        in_main_thread(threads.groups),
        per_call=GROUP,
        unit="command",
    ),
    Work(
        "pipeline-10k",
        f"Pipeline of {len(LONG):,} GETs across slots, 1 thread",
        "pipeline",
        in_main_thread(threads.long_groups),
        per_call=len(LONG),
        unit="command",
    ),
    *(work for loop in LOOPS for work in _on(loop)),
    *(work for framework in FRAMEWORKS for work in _visits(framework)),
    *_cached("", "Cache: ", NEAR, FAR, caching_works.in_turn),
    *_cached("a", "Cache in asyncio: ", ANEAR, AFAR, caching_works.in_task),
]

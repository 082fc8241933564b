"""Slots move to and fro under load: nothing fails, is lost, or is applied twice."""

from __future__ import annotations

from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any

import pytest

from clustercache import Cluster
from clustercache._core.slots import key_slot
from clustercache.localcluster import LocalCluster
from tests.clusters import need_server
from tests.faults.calls import tags_of
from tests.faults.checks import check_errors, check_prompt, slowest
from tests.faults.load import Load, ManyKeys, Worker, check_applied
from tests.faults.moves import FILLERS, Move, at_once, fillers, key_by_key, refusals

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.faults
THREADS = 4
"""On the slots that move, and as many on a shard that has no part in it."""
STRICT = partial(ManyKeys, strict=True)


def drill(
    lc: LocalCluster,
    how: Callable[[Move], None],
    rounds: int,
    report: Callable[[str, Any], None],
    *,
    make: Callable[..., Worker] = STRICT,
) -> None:
    """Move loaded slots there and back under load, and check everything."""
    source, target, bystander = lc.primaries
    moving, healthy = tags_of(lc, source, THREADS), tags_of(lc, bystander, THREADS)
    with (
        Cluster.from_url(lc.url) as client,
        Load(client, moving, healthy, make=make) as load,
    ):
        for tag in moving:
            client.mset(dict.fromkeys(fillers(tag), b"x" * 100))

        def move_all() -> tuple[float, float]:
            begin = load.warm_up()
            for _ in range(rounds):
                for worker in load.sick:
                    move = Move(lc, worker, key_slot(worker.tag), source, target)
                    how(move)
                    how(move.back())
            return begin, monotonic()

        begin, end = load.during(move_all)
        unknown = check_errors(load, lambda _: False)
        assert not unknown
        report("calls", sum(len(worker.calls) for worker in load.workers))
        report("seconds", end - begin)
        report("slowest_call", slowest(load.sick, begin, end))
        absent = check_applied(load)
        assert absent == 0, f"{absent} acknowledged commands were lost"
        report("slowest_healthy_call", check_prompt(load, begin, end))
        left = [client.exists(*fillers(tag)) for tag in moving]
        assert left == [FILLERS] * THREADS
        redirects = sum(node["redirects"] for node in client.stats()["nodes"].values())
        report("redirects", redirects)
        assert redirects >= 2 * THREADS * rounds


@pytest.mark.parametrize("server", ["valkey", "redis-6.2"])
def test_nothing_fails_while_slots_move_key_by_key(server: str, report: Any) -> None:
    with LocalCluster(server=need_server(server).path) as lc:
        drill(lc, key_by_key, 1, report)
        for code in ("ASK", "TRYAGAIN", "MOVED"):
            count = refusals(lc, code)
            report(code, count)
            assert count > 0, f"no server ever answered {code}: the drill shows nothing"


def test_nothing_fails_while_slots_move_at_once(report: Any) -> None:
    with LocalCluster(server=need_server("valkey").path) as lc:
        drill(lc, at_once, 5, report)
        assert refusals(lc, "ASK") == 0, "these moves know no half-moved slot"

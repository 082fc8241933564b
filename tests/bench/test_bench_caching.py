"""What the bench asks of caches, and how it takes those that lie."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, closing

import pytest

from tests.bench import caching_loops, caching_threads
from tests.bench.__main__ import chosen
from tests.bench.caching_works import CHECKS, in_task, in_turn
from tests.bench.cachings import CACHES, FAR, NEAR, PLAIN
from tests.bench.checks import WrongError
from tests.bench.contenders import CONTENDERS, FLOOR, of_kind
from tests.bench.loops import LoopSession
from tests.bench.products import GROUPS, KEYS, NUMBERS, PRODUCTS, TEXTS, maker
from tests.bench.rounds import Row
from tests.bench.tables import OURS, table
from tests.bench.works import WORKS

PART = [work for work in WORKS if work.part == "caching"]


def many(keys):
    return {key: PRODUCTS[key] for key in keys}


def remembering():
    kept, make = {}, maker()
    return lambda number: (
        kept.setdefault(number, None) or kept.update({number: make(number)}) or kept[number]
    )


HONEST = {"near": remembering(), "far": PRODUCTS.get, "many": many}


@pytest.mark.parametrize("needs", CHECKS)
@pytest.mark.parametrize("calls", [1, 7, 1001])
def test_a_cache_that_does_its_work_passes(needs, calls):
    session = caching_threads.Asked(None, **HONEST)
    CHECKS[needs](session.operation(needs, 0), None)
    assert in_turn(session, needs, calls).right


@pytest.mark.parametrize("needs", CHECKS)
def test_so_does_one_in_asyncio(needs):
    @asynccontextmanager
    async def connect(_):
        async def ask(thing):
            return HONEST[needs](thing)

        yield {needs: ask}

    with closing(LoopSession("asyncio", connect, None)) as session:
        CHECKS[needs](session.operation(needs, 0), None)
        assert in_task(session, needs, 7).right


def test_texts_and_lists_are_values_too():
    CHECKS["far"](TEXTS.get, None)
    CHECKS["many"](lambda keys: [TEXTS[key] for key in keys], None)


@pytest.mark.parametrize(
    ("needs", "lie"),
    [
        ("near", maker()),  # it keeps nothing
        ("near", lambda number: "product 0, made by call 0"),
        ("far", lambda key: PRODUCTS[KEYS[0]]),
        ("far", lambda key: PRODUCTS.get(key, PRODUCTS[KEYS[0]])),
        ("many", lambda keys: many(keys[1:])),
        ("many", lambda keys: dict(zip(keys, many(GROUPS[0]).values(), strict=True))),
        ("many", lambda keys: list(many(sorted(keys)).values())),
    ],
)
def test_a_cache_that_does_not_do_its_work_is_caught(needs, lie):
    with pytest.raises(WrongError):
        CHECKS[needs](lie, None)


def test_a_last_answer_that_was_not_kept_is_caught():
    session = caching_threads.Asked(None, near=maker())
    assert not in_turn(session, "near", 5).right


def test_the_table_compares_with_the_first_and_with_ours():
    rows = {
        PLAIN: Row(wall=[0.5], cpu=[0.5]),
        OURS: Row(wall=[2.0], cpu=[2.0]),
        "redis-py-near": Row(kind="missing", problem="too old"),
    }
    lines = table(PART[0], rows)
    assert (
        lines[2] == f"| {PLAIN} | 0.50 (0.50-0.50) | 1.00 | 0.25 | 0.50 (0.50-0.50) | 2,000,000 |"
    )
    assert lines[3] == f"| {OURS} | 2.00 (2.00-2.00) | 4.00 | 1.00 | 2.00 (2.00-2.00) | 500,000 |"
    assert lines[4] == "| redis-py-near | missing: too old | | | | |"
    assert table(PART[0], {})[2:] == []


def test_caching_is_a_part_of_its_own_and_its_first_rows_always_run():
    assert chosen(WORKS, ["caching"]) == PART
    assert {work.runs_on for work in PART} == {*CACHES}
    some = chosen(CONTENDERS, ["dogpile.cache"])
    assert [contender.name for contender in of_kind(FAR, some)] == [FLOOR, "dogpile.cache"]
    assert [contender.name for contender in of_kind(NEAR, some)] == [PLAIN]


@pytest.mark.live
@pytest.mark.timeout(60)
def test_near_hits_are_near(cluster):
    with closing(caching_threads.near(cluster.nodes[0].address)) as near:
        before = near.cache.stats().total
        in_turn(near, "near", len(NUMBERS))
        after = near.cache.stats().total
    assert after.near_hits - before.near_hits == len(NUMBERS) + 1
    assert after.far_hits == before.far_hits
    assert after.computes == len(NUMBERS)


@pytest.mark.live
@pytest.mark.timeout(60)
@pytest.mark.parametrize("connect", [caching_threads.miss, caching_threads.far])
@pytest.mark.parametrize(("needs", "supply"), [("far", KEYS), ("many", GROUPS)])
def test_far_hits_and_near_misses_are_far(connect, needs, supply, cluster):
    with closing(connect(cluster.nodes[0].address)) as far:
        in_turn(far, needs, len(supply))
        total = far.cache.stats().total
    assert (total.near_hits, total.misses) == (0, 0)
    assert total.far_hits == len(KEYS) * (len(supply) + 1) / len(supply)


@pytest.mark.live
@pytest.mark.timeout(60)
def test_near_hits_in_asyncio_are_near(cluster):
    async def turn():
        async with caching_loops.near(cluster.nodes[0].address) as operations:
            for number in NUMBERS:
                await operations["near"](number)
            return operations["near"].cache_stats()

    total = asyncio.run(turn())
    assert total.near_hits == total.far_hits == total.computes == len(NUMBERS)


@pytest.mark.live
@pytest.mark.timeout(60)
@pytest.mark.parametrize("connect", [caching_loops.miss, caching_loops.far])
@pytest.mark.parametrize(("needs", "supply"), [("far", KEYS), ("many", GROUPS)])
def test_far_hits_and_near_misses_in_asyncio_are_far(connect, needs, supply, cluster):
    async def turn():
        async with connect(cluster.nodes[0].address) as operations:
            for thing in supply:
                await operations[needs](thing)
            return operations[needs].__self__.stats().total

    total = asyncio.run(turn())
    assert (total.near_hits, total.far_hits, total.misses) == (0, len(KEYS), 0)

"""How caches are asked, and whether they answer with what was stored. Checks are not timed."""

from __future__ import annotations

from itertools import cycle, islice

from tests.bench.checks import WrongError
from tests.bench.products import GROUPS, KEYS, NUMBERS, by_key, is_product
from tests.bench.timing import clocks, since

_SUPPLY = {"near": NUMBERS, "far": KEYS, "many": GROUPS}


def in_turn(session, needs, calls):
    """Ask for one thing after the other, in one thread."""
    operation, supply = session.operation(needs, 0), _SUPPLY[needs]
    expected = operation(supply[(calls - 1) % len(supply)])
    turns = islice(cycle(supply), calls)
    began = clocks()
    for thing in turns:
        value = operation(thing)
    return since(began, value == expected)


def in_task(session, needs, calls):
    """Do so in one task."""
    return session.run(_in_task(session.awaitable(needs), _SUPPLY[needs], calls))


async def _in_task(operation, supply, calls):
    expected = await operation(supply[(calls - 1) % len(supply)])
    turns = islice(cycle(supply), calls)
    began = clocks()
    for thing in turns:
        value = await operation(thing)
    return since(began, value == expected)


def check_near(text, referee):
    """Each text is the right one, and was not made again."""
    for number in NUMBERS:
        first, again = _string(text(number)), _string(text(number))
        if not first.startswith(f"product {number}, "):
            raise WrongError(f"product {number} is another one: {first[:40]!r}")
        if first != again:
            raise WrongError(f"product {number} was made again, and not kept")


def _string(value):
    return value.decode() if isinstance(value, bytes) else value


def check_far(get, referee):
    for key in KEYS:
        if not is_product(key, get(key)):
            raise WrongError(f"{key} is something else than what was stored")
    if get("product:absent"):
        raise WrongError("something was found that was never stored")


def check_many(get_many, referee):
    for group in GROUPS:
        found = by_key(group[::-1], get_many(group[::-1]))
        if {*found} != {*group} or not all(is_product(*item) for item in found.items()):
            raise WrongError(f"of {len(group)} products, some are not what was stored")


CHECKS = {"near": check_near, "far": check_far, "many": check_many}

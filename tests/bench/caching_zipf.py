"""What a near cache saves where few things are asked for often; draws docs/images/near-cache.svg.

    python -m tests.bench.caching_zipf [--keys N] [--calls N] [--out FILE] [--json FILE]

Two web processes, here two caches with a client each, ask for products by Zipf's law: the product
of rank r is asked for r^-s times as often as the first one. Every hundredth call is a change by a
third party, who invalidates the product. The servers hold all products that were computed; what
varies is s, and how many of them fit into each near cache.

Counted are the calls that were answered in the process, the commands that the primaries carried
out (those that keep the near caches true included), and the computations.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from itertools import accumulate
from pathlib import Path

from clustercache.localcluster import LocalCluster
from tests.bench.charts import Chart, drawn
from tests.bench.floor import Link, slot_ranges
from tests.bench.products import product
from tests.bench.rounds import ROOT
from tests.bench.timing import clocks, since

PICTURE = ROOT / "docs" / "images" / "near-cache.svg"
EXPONENTS = (0.7, 1.0, 1.3)
SHARES = (0.0, 0.01, 0.03, 0.1, 0.3, 1.0)
_CHANGES = 100  # one in so many calls
_PROCESSES = 2


@dataclass(frozen=True, slots=True)
class Figures:
    """What one run came to, per thousand calls.

    Attributes:
        exponent: The law's s.
        share: The part of the keys that fits into a near cache.
        near: Calls that were answered in the process.
        commands: Commands that the primaries carried out.
        computed: Computations.
        cpu: Microseconds of this process for each call.
    """

    exponent: float
    share: float
    near: float
    commands: float
    computed: float
    cpu: float


class Primaries:
    """The primaries of a cluster, and how many commands they have carried out."""

    def __init__(self, address):
        owners = {tuple(primary[:2]) for _, _, primary, *_ in slot_ranges(address)}
        self._links = [Link(owner) for owner in sorted(owners)]

    def commands(self):
        return sum(_commands(link.ask("INFO", "stats")) for link in self._links)

    def close(self):
        for link in self._links:
            link.sock.close()


def _commands(info):
    found = dict(line.split(":") for line in info.decode().splitlines() if ":" in line)
    return int(found["total_commands_processed"])


def asked_for(keys, calls, exponent, seed=7):
    """Return the numbers of the products that are asked for, in order."""
    weights = list(accumulate(rank**-exponent for rank in range(1, keys + 1)))
    # The law's ranks, shuffled over the numbers, so that no node has all that is asked for often.
    numbers = random.Random(seed).sample(range(keys), keys)
    ranks = random.Random(seed + 1).choices(range(keys), cum_weights=weights, k=calls)
    return [numbers[rank] for rank in ranks]


def decorated(cache):
    """Return the function that is cached; under its name all caches have the same values."""
    return cache.cached(ttl=None, name="product")(product)


def run(url, primaries, options, exponent, share):
    """Return the `Figures` of one run, its near caches warm."""
    from clustercache import Cache, NearCache

    keys, calls = options.keys, options.calls
    numbers = asked_for(keys, calls + calls // 2, exponent)
    with ExitStack() as stack:
        caches = [
            stack.enter_context(
                Cache.from_url(
                    url,
                    namespace="zipf",
                    near=NearCache(max(2, round(share * keys))) if share else None,
                )
            )
            for _ in range(_PROCESSES)
        ]
        third = decorated(stack.enter_context(Cache.from_url(url, namespace="zipf")))
        functions = [decorated(cache) for cache in caches]
        call_all(functions, third, numbers[calls:])
        before, commands = totals(functions), primaries.commands()
        began = clocks()
        call_all(functions, third, numbers[:calls])
        timing = since(began, right=True)
        after, asked = totals(functions), primaries.commands() - commands
    near, computed = (1000 * (b - a) / calls for a, b in zip(before, after, strict=True))
    cpu = 1e6 * timing.cpu / calls
    return Figures(exponent, share, near, 1000 * asked / calls, computed, cpu)


def call_all(functions, third, numbers):
    """Let the processes take turns, and the third party change what comes hundredth."""
    for at, number in enumerate(numbers):
        if at % _CHANGES:
            found = functions[at % len(functions)](number)
            if found["pk"] != number:
                raise AssertionError("that is another product")
        else:
            third.cache_invalidate(number)


def totals(functions):
    """Return the near hits and the computations until now."""
    read = [function.cache_stats() for function in functions]
    return sum(one.near_hits for one in read), sum(one.computes for one in read)


def fill(url, keys):
    """Let the servers hold all products."""
    from clustercache import Cache

    with Cache.from_url(url, namespace="zipf") as cache:
        function = decorated(cache)
        for number in range(keys):
            function(number)


def charts(figures, keys):
    """Return what is drawn."""
    ticks = tuple(f"{share:.0%}" if share else "none" for share in SHARES)
    across = f"near cache, as a share of {keys:,} products"

    def lines(value):
        return {
            f"s = {exponent:g}": [value(one) for one in figures if one.exponent == exponent]
            for exponent in EXPONENTS
        }

    commands = lines(lambda one: one.commands)
    top = max(map(max, commands.values()))
    middle = EXPONENTS[len(EXPONENTS) // 2]
    computed = [one.computed for one in figures if one.exponent == middle]
    return [
        Chart(
            "Calls answered in the process",
            across,
            ticks,
            lines(lambda one: one.near / 10),
            100,
            "%",
        ),
        Chart(
            "Per 1,000 calls: commands at the primaries",
            across,
            ticks,
            {**commands, "computed": computed},
            -(-top // 400) * 400,
        ),
    ]


def shown(figures):
    """Return the lines of a table."""
    heads = ("s", "near cache", "near hits", "commands", "computed", "CPU, µs")
    yield "  ".join(head.rjust(10) for head in heads)
    for one in figures:
        counts = (f"{count:,.1f}" for count in (one.near, one.commands, one.computed, one.cpu))
        yield "  ".join(
            cell.rjust(10) for cell in (f"{one.exponent:g}", f"{one.share:.0%}", *counts)
        )


def main(argv=None):
    """Count, print and draw; return the figures."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.caching_zipf")
    parser.add_argument("--keys", type=int, default=10_000, help="products (10,000)")
    parser.add_argument("--calls", type=int, default=40_000, help="of each run (40,000)")
    parser.add_argument("--out", type=Path, default=PICTURE, help="where the picture goes")
    parser.add_argument("--json", type=Path, help="a file for the figures")
    options = parser.parse_args(argv)
    with LocalCluster() as cluster:
        primaries = Primaries(cluster.nodes[0].address)
        fill(cluster.url, options.keys)
        figures = [
            run(cluster.url, primaries, options, exponent, share)
            for exponent in EXPONENTS
            for share in SHARES
        ]
        primaries.close()
    print("per 1,000 calls", *shown(figures), sep="\n")
    caption = (
        f"{options.calls:,} calls by Zipf's law (rank^-s) from {_PROCESSES} processes,"
        f" every {_CHANGES}th one is an invalidation by a third."
        " Without any cache each call computes"
    )
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(drawn(charts(figures, options.keys), caption), encoding="utf-8")
    if options.json:
        options.json.write_text(json.dumps([asdict(one) for one in figures], indent=1) + "\n")
    return figures


if __name__ == "__main__":
    main()
    sys.exit(0)

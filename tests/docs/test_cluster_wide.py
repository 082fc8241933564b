"""The table of docs/cluster-wide.md is the command table's: it is made from it, here.

`python -m tests.docs.test_cluster_wide` writes it anew.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from clustercache._core.commands import COMMANDS, Merge, Route

PAGE = Path(__file__).resolve().parents[2] / "docs" / "cluster-wide.md"
BEGIN, END = "<!-- table -->\n", "<!-- end of table -->\n"
PLACES = {
    Route.PRIMARIES: "all primaries",
    Route.NODES: "all nodes",
    Route.DEFAULT: "one primary",
}
RESULTS = {
    Merge.NONE: "a dict by node",
    Merge.CURSORS: "the nodes' cursors in a dict, and all keys in a list",
    Merge.ALL: "as of one node; all must succeed",
    Merge.ONE: "as of one node; one success is enough",
    Merge.PICK: "any one that is not None",
    Merge.SUM: "the sum",
    Merge.AND: "element by element, true if true everywhere",
    Merge.UNION: "one list without duplicates",
    Merge.COUNTS: "the counts of each name, added",
}


def table():
    rows = defaultdict(list)
    for spec in COMMANDS.values():
        one = spec.route is Route.DEFAULT and spec.merge is Merge.NONE
        if spec.route in PLACES and not (spec.container or spec.refused or one):
            rows[spec.route, spec.merge].append(spec.name)
    yield "| goes to | result of several nodes | commands |"
    yield "|---|---|---|"
    for route, place in PLACES.items():
        for merge, result in RESULTS.items():
            if (route, merge) in rows:
                yield f"| {place} | {result} | {', '.join(sorted(rows[route, merge]))} |"


def written():
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + "\n".join(table()) + "\n" + END + after


def test_the_page_has_the_command_tables_own_table():
    assert PAGE.read_text(encoding="utf-8") == written()


def test_every_way_of_merging_is_told():
    assert set(RESULTS) == set(Merge)


if __name__ == "__main__":
    PAGE.write_text(written(), encoding="utf-8")

"""Where primaries and replicas go, so that losing one host loses as little as possible.

Primaries are dealt to the hosts in turn. Replicas are dealt to the primaries, and then swapped in
pairs for as long as a swap puts fewer of them on the host of their own primary, or else on the
host of a sibling. For the first aim no better assignment exists when no such swap is left: a
replica on the host of its primary could only stay there because all replicas of other hosts
serve primaries of this host already.
"""

from __future__ import annotations

from itertools import zip_longest
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_SAME_HOST_AS_PRIMARY = 1000
_SAME_HOST_AS_SIBLING = 1


def deal(hosts: Sequence[str]) -> list[int]:
    """Return the indexes of `hosts` so that each host comes once before any comes twice."""
    by_host: dict[str, list[int]] = {}
    for index, host in enumerate(hosts):
        by_host.setdefault(host, []).append(index)
    rounds = zip_longest(*by_host.values())
    return [index for row in rounds for index in row if index is not None]


def assign(primaries: Sequence[str], replicas: Sequence[str]) -> list[list[int]]:
    """Return, for each primary, the indexes of its replicas; both are given by their hosts.

    Each primary gets an even share; the first get one more where the numbers do not divide.
    """
    groups: list[list[int]] = [[] for _ in primaries]
    free = deal(replicas)
    for turn in range(len(replicas)):
        owner = turn % len(primaries)
        taken = {primaries[owner], *(replicas[index] for index in groups[owner])}
        best = next((index for index in free if replicas[index] not in taken), free[0])
        free.remove(best)
        groups[owner].append(best)
    if len({*primaries, *replicas}) > 1:
        while _swap_once(primaries, replicas, groups):
            pass
    return groups


def _swap_once(primaries: Sequence[str], replicas: Sequence[str], groups: list[list[int]]) -> bool:
    """Make the first swap found that lowers the cost; tell whether there was one."""
    for owner, group in enumerate(groups):
        if not _cost(primaries[owner], [replicas[index] for index in group]):
            continue
        for other in range(len(groups)):
            for mine in range(len(group)):
                for theirs in range(len(groups[other])):
                    if other != owner and _swap_pays(
                        (primaries, replicas, groups), (owner, mine), (other, theirs)
                    ):
                        return True
    return False


def _swap_pays(
    layout: tuple[Sequence[str], Sequence[str], list[list[int]]],
    one: tuple[int, int],
    two: tuple[int, int],
) -> bool:
    """Swap two replicas, and swap them back unless that lowered the cost."""
    primaries, replicas, groups = layout
    first, second = groups[one[0]], groups[two[0]]
    if replicas[first[one[1]]] == replicas[second[two[1]]]:
        return False

    def cost() -> int:
        return _cost(primaries[one[0]], [replicas[index] for index in first]) + _cost(
            primaries[two[0]], [replicas[index] for index in second]
        )

    before = cost()
    first[one[1]], second[two[1]] = second[two[1]], first[one[1]]
    if cost() < before:
        return True
    first[one[1]], second[two[1]] = second[two[1]], first[one[1]]
    return False


def _cost(primary: str, replicas: list[str]) -> int:
    siblings = len(replicas) - len(set(replicas))
    return replicas.count(primary) * _SAME_HOST_AS_PRIMARY + siblings * _SAME_HOST_AS_SIBLING

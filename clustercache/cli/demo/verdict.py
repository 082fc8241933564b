"""What users saw of the shop while something was broken."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from clustercache.cli.demo.shopper import HOME, READ, WRITE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from clustercache.cli.demo.shopper import Shopper, Visit


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Measured figures only; times in seconds.

    Attributes:
        users: How many were logged in.
        workers: How many processes answered.
        requests: All visits, those of pages that never look at the session among them.
        logged_out: Users whom the shop did not know any more, or took for another.
        cookies_changed: Cookies that got another value; none was due.
        cookies_deleted: Cookies that the shop deleted; nobody logged out.
        failed_home: Failed requests (no answer, or 5xx) of pages without a session.
        failed_reads: Those that only read.
        failed_writes: Those that wrote.
        changes: Changes that the shop took.
        missing: Those of them that are not in the cart at the end: replication is asynchronous.
        replicated: Changes among them that a replica was known to have before anything broke.
        lost: Those of these that are not there.
        twice: Changes that were applied more than once.
        slowest: The longest request.
        slowest_home: The longest of the pages without a session.
        errors: What was wrong, the first of each kind.
    """

    users: int
    workers: int
    requests: int
    reads: int
    writes: int
    logged_out: int
    cookies_changed: int
    cookies_deleted: int
    failed_home: int
    failed_reads: int
    failed_writes: int
    changes: int
    missing: int
    replicated: int
    lost: int
    twice: int
    slowest: float
    slowest_home: float
    errors: tuple[str, ...] = ()

    @property
    def failed(self) -> int:
        """All requests that failed."""
        return self.failed_home + self.failed_reads + self.failed_writes

    @property
    def cookies(self) -> int:
        """All cookies that were changed or deleted."""
        return self.cookies_changed + self.cookies_deleted

    @property
    def ok(self) -> bool:
        """Whether no user noticed anything but a wait."""
        return not (self.logged_out or self.cookies or self.failed or self.lost or self.twice)

    def to_dict(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        return {"ok": self.ok, **asdict(self)}


def judge(
    shoppers: Sequence[Shopper], replicated: Callable[[Shopper, Visit], bool] | None = None
) -> Verdict:
    """Return the figures, after everybody looked back.

    Args:
        shoppers: Everybody.
        replicated: Whether a replica was known to have a user's change; default: of none.
    """
    visits = [visit for shopper in shoppers for visit in shopper.visits]
    kinds = Counter(visit.kind for visit in visits)
    failed = Counter(visit.kind for visit in visits if visit.failed)
    return Verdict(
        users=len(shoppers),
        workers=len({visit.worker for visit in visits if visit.worker}),
        requests=len(visits),
        reads=kinds[READ],
        writes=kinds[WRITE],
        logged_out=sum(any(v.stranger for v in shopper.visits) for shopper in shoppers),
        cookies_changed=sum(shopper.browser.changed for shopper in shoppers),
        cookies_deleted=sum(shopper.browser.deleted for shopper in shoppers),
        failed_home=failed[HOME],
        failed_reads=failed[READ],
        failed_writes=failed[WRITE],
        **_changes(shoppers, replicated or (lambda *_: False)),
        slowest=_slowest(visits),
        slowest_home=_slowest(v for v in visits if v.kind == HOME),
        errors=tuple(dict.fromkeys(v.error for v in visits if v.error))[:5],
    )


def _slowest(visits: Iterable[Visit]) -> float:
    return max((visit.end - visit.start for visit in visits), default=0.0)


def _changes(
    shoppers: Sequence[Shopper], replicated: Callable[[Shopper, Visit], bool]
) -> dict[str, int]:
    count: Counter[str] = Counter()
    for shopper in shoppers:
        found = Counter(shopper.cart or ())
        for visit in (visit for visit in shopper.visits if visit.kind == WRITE):
            count["twice"] += found[visit.item] > 1
            if 0 < visit.status < 400:
                known = replicated(shopper, visit)
                count["changes"] += 1
                count["missing"] += visit.item not in found
                count["replicated"] += known
                count["lost"] += known and visit.item not in found
    return {name: count[name] for name in ("changes", "missing", "replicated", "lost", "twice")}

"""What the bench says of sessions, and how it takes sites that lie."""

from __future__ import annotations

from functools import partial

import pytest

from tests.bench import shop
from tests.bench.__main__ import chosen
from tests.bench.checks import WrongError
from tests.bench.contenders import CONTENDERS, FLOOR, of_kind
from tests.bench.floor import Floor
from tests.bench.holdings import Holdings
from tests.bench.rounds import Row
from tests.bench.sites import COOKIE, FRAMEWORKS
from tests.bench.tables import OURS, table
from tests.bench.visits import CHECKS, Site, in_turn
from tests.bench.works import WORKS

READ, WRITE = (
    next(work for work in WORKS if work.name == name) for name in ("flask-read", "flask-write")
)


class Shop:
    """A site whose sessions are in memory."""

    def __init__(self):
        self.sessions = [{} for _ in range(shop.BROWSERS)]
        self.site = Site([partial(self.visit, number) for number in range(shop.BROWSERS)])

    def visit(self, number, path):
        return self.page(number, *path[1:].split("/")).encode()

    def page(self, number, page, *words):
        session = self.sessions[number]
        return {
            "enter": lambda: shop.enter(session, *map(int, words)),
            "page": lambda: shop.PAGE,
            "read": lambda: shop.read(session),
            "write": lambda: shop.write(session),
        }[page]()


class Forgetful(Shop):
    """It says that a session changed, and keeps it as it was."""

    def page(self, number, page, *words):
        if page == "write":
            return shop.write(dict(self.sessions[number]))
        return super().page(number, page, *words)


class MixedUp(Shop):
    """Everybody gets the same session once all are logged in."""

    def page(self, number, page, *words):
        return super().page(number if page == "enter" else 0, page, *words)


class Held:
    """What a server holds, from a list."""

    def __init__(self, *digests):
        self.digest = iter(digests).__next__


def column(line, number):
    return line.split("|")[number].strip()


@pytest.mark.parametrize("page", CHECKS)
@pytest.mark.parametrize("calls", [1, shop.BROWSERS, 31])
def test_a_page_that_does_its_work_passes(page, calls):
    site = Shop().site
    CHECKS[page](site.operation(page, 0), None)
    assert in_turn(site, page, calls).right


def test_a_change_that_was_not_kept_is_caught():
    site = Forgetful().site
    assert in_turn(site, "write", shop.BROWSERS).right
    assert not in_turn(site, "write", shop.BROWSERS + 1).right
    with pytest.raises(WrongError, match="not 'user-0 5 2'"):
        CHECKS["write"](site.operation("write", 0), None)


@pytest.mark.parametrize("page", ["read", "write"])
def test_another_users_session_is_caught(page):
    site = MixedUp().site
    with pytest.raises(WrongError, match="not 'user-1 "):
        CHECKS[page](site.operation(page, 0), None)


def test_a_page_that_says_something_else_is_caught():
    with pytest.raises(WrongError, match="Internal"):
        CHECKS["page"](lambda number: b"Internal Server Error", None)


def test_a_change_that_never_reached_the_server_is_caught():
    site = Shop().site
    with pytest.raises(WrongError, match="the server"):
        CHECKS["write"](site.operation("write", 0), Held("a", "b", "c", "c"))


def test_a_site_that_lets_nobody_in_is_no_contender():
    with pytest.raises(WrongError, match="Service Unavailable"):
        Site([lambda path: b"Service Unavailable"])


@pytest.mark.live
def test_what_is_held_changes_with_any_write_and_with_no_read(cluster):
    address = cluster.nodes[0].address
    held, floor = Holdings(address), Floor(address)
    seen = []
    for key in ("a", "b", "c"):  # on three primaries
        floor.set(f"bench:held:{key}", key)
        seen.append(held.digest())
    floor.get("bench:held:a")
    assert held.digest() == seen[-1]
    assert [sum(map(bytes.__ne__, *pair)) for pair in (seen[:2], seen[1:])] == [1, 1]
    assert seen[0] != seen[2]
    held.close()
    floor.close()


def test_the_table_compares_with_cookies_and_with_the_cheapest_peer():
    rows = {
        COOKIE: Row(wall=[100.0], cpu=[100.0]),
        OURS: Row(wall=[250.0], cpu=[120.0]),
        "clustercache-standalone": Row(wall=[200.0], cpu=[90.0]),
        "flask-session": Row(wall=[500.0], cpu=[300.0]),
        "flask-session-changes": Row(wall=[300.0], cpu=[150.0]),
        "absent": Row(kind="missing", problem="no module"),
    }
    lines = table(READ, rows)
    ours = "120.0 (120.0-120.0) | 1.20 | 0.80 | 250.0 (250.0-250.0) | 4,000"
    assert lines[3] == f"| clustercache | {ours} |"
    assert [column(line, 4) for line in lines[2:7]] == ["0.67", "0.80", "0.60", "2.00", "1.00"]
    assert lines[7] == "| absent | missing: no module | | | | |"
    assert lines[8] == "| *goal for clustercache* | | 1.36 | below 1.00 | | |"
    assert {line.count("|") for line in lines} == {7}


def test_without_a_peer_there_is_nothing_to_be_cheaper_than():
    lines = table(WRITE, {COOKIE: Row(wall=[1.0], cpu=[1.0]), OURS: Row(wall=[2.0], cpu=[2.0])})
    assert [column(line, 4) for line in lines[2:4]] == ["-", "-"]


def test_a_page_that_leaves_the_session_alone_need_not_beat_what_does_so_too():
    works = [work for work in WORKS if work.needs == "page"]
    assert [column(table(work, {})[-1], 4) for work in works] == ["-", "-"]


def test_sessions_are_a_part_of_their_own():
    works = chosen(WORKS, ["sessions"])
    assert {work.runs_on for work in works} == {*FRAMEWORKS}
    assert all(work.goal for work in works)
    parts = [chosen(WORKS, [part]) for part in ("clients", "sessions", "caching")]
    assert sum(map(len, parts)) == len(WORKS)
    some = chosen(CONTENDERS, ["django-redis"])
    assert [contender.name for contender in of_kind("Django", some)] == [COOKIE, "django-redis"]
    assert [contender.name for contender in of_kind("Flask", some)] == [COOKIE]
    assert [contender.name for contender in of_kind("threads", some)] == [FLOOR]

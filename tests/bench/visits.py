"""How pages of a site are visited: its browsers take turns, one request at a time."""

from __future__ import annotations

from itertools import cycle, islice

from tests.bench.checks import WrongError
from tests.bench.shop import BROWSERS, ITEMS, PAGE, after, told
from tests.bench.timing import clocks, since


class Site:
    """A web application in this process, and browsers whose users are logged in.

    Args:
        browsers: For each a function that visits a path and returns what the page says, as bytes.
    """

    def __init__(self, browsers):
        self._browsers = browsers
        for number, visit in enumerate(browsers):
            _expect(told(f"user-{number}", ITEMS, 0), visit(f"/enter/{number}"))

    def operation(self, name, thread):
        """Return the function that visits a page with a browser (counted from 0)."""
        browsers, path = self._browsers, f"/{name}"
        return lambda number: browsers[number](path)

    def close(self):
        """There is nothing to close: its process ends."""


def in_turn(site, page, calls):
    """Visit a page, and see whether it says to the last browser what it should."""
    visit, last = site.operation(page, 0), (calls - 1) % BROWSERS
    before = site.operation("read", 0)(last).decode()
    turns = list(islice(cycle(range(BROWSERS)), calls))
    began = clocks()
    for number in turns:
        answer = visit(number)
    return since(began, answer.decode() == after(page, before, turns.count(last)))


def _expect(right, answer):
    if answer != right.encode():
        raise WrongError(f"a page said {answer[:200]!r} and not {right!r}")


def check_page(page, held):
    for number in range(BROWSERS):
        _expect(PAGE, page(number))


def check_read(read, held):
    """Each browser is told its own session."""
    for number in range(BROWSERS):
        answer = read(number)
        _expect(told(f"user-{number}", ITEMS, int(answer.split()[-1])), answer)


def check_write(write, held):
    """Each browser's session counts on, and what the server holds changes with it.

    Args:
        write: Visits the page with a browser.
        held: The server's `Holdings`; None where sessions are in the cookies.
    """
    for number in range(BROWSERS):
        before = held and held.digest()
        visits = int(write(number).split()[-1])
        if held and held.digest() == before:
            raise WrongError("the server holds nothing else after a session was changed")
        _expect(told(f"user-{number}", ITEMS, visits + 1), write(number))


CHECKS = {"page": check_page, "read": check_read, "write": check_write}

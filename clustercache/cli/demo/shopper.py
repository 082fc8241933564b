"""One user of a web shop, with a browser, who remembers every visit.

The shop, whichever framework it is written in, has these pages; all but the first need a login:

    GET /           says welcome and never looks at the session
    POST /login     user=...
    GET /me         {"user": ..., "cart": [...]}; 401 for a stranger
    POST /cart      item=...; goes on to another page (303), 401 for a stranger
    POST /logout

An `X-Worker` header tells which process answered.
"""

from __future__ import annotations

import json
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from clustercache.cli.demo.browser import Answer, Browser

HOME, READ, WRITE = "home", "read", "write"


class Visit(NamedTuple):
    """One request: its kind, from when to when (monotonic), and what came of it.

    Attributes:
        status: Of the answer; 0 where there was none.
        stranger: Whether the shop did not know its user, or took the user for another.
        item: What was to be put into the cart.
        worker: Which process answered.
        retry_after: When to come again, as the shop said.
        error: What was wrong.
    """

    kind: str
    start: float
    end: float
    status: int
    stranger: bool = False
    item: str = ""
    worker: str = ""
    retry_after: str = ""
    error: str = ""

    @property
    def failed(self) -> bool:
        """Whether there was no answer, or a server's error."""
        return self.status == 0 or self.status >= 500


class Shopper:
    """One user.

    Args:
        number: Which one.
        browser: The user's.
        journal: Where all users note their visits.

    Attributes:
        visits: All of them, in order.
        cart: What the shop says at the end; None where it says nothing.
        waiting: Whether a request is open.
    """

    __slots__ = ("browser", "cart", "journal", "number", "user", "visits", "waiting")

    def __init__(self, number: int, browser: Browser, journal: list[Visit]) -> None:
        self.number = number
        self.journal = journal
        self.user = f"user{number}"
        self.browser = browser
        self.visits: list[Visit] = []
        self.cart: list[str] | None = None
        self.waiting = False

    async def log_in(self) -> None:
        """Log in; raises RuntimeError where the shop does not let the user in."""
        answer = await self.browser.post("/login", {"user": self.user})
        if answer.status not in {200, 303} or not self.browser.cookies:
            raise RuntimeError(f"the login was answered {answer.status}: {answer.body[:300]!r}")

    async def visit(self, kind: str) -> None:
        """Make one request, and remember it."""
        item = f"{self.user}-{len(self.visits)}" if kind == WRITE else ""
        self.waiting = True
        start = monotonic()
        try:
            answer = await self._ask(kind, item)
            seen = self._judge(kind, answer)
        except (OSError, ValueError) as error:
            seen = {"status": 0, "error": f"{type(error).__name__}: {error}"}
        self.waiting = False
        visit = Visit(kind, start, monotonic(), item=item, **seen)
        self.visits.append(visit)
        self.journal.append(visit)

    async def look_back(self) -> None:
        """Ask for the cart as it is now."""
        await self.visit(READ)

    def _ask(self, kind: str, item: str) -> Awaitable[Answer]:
        if kind == WRITE:
            return self.browser.post("/cart", {"item": item})
        return self.browser.get("/" if kind == HOME else "/me")

    def _judge(self, kind: str, answer: Answer) -> dict[str, Any]:
        seen: dict[str, Any] = {
            "status": answer.status,
            "stranger": kind != HOME and answer.status in {401, 403},
            "worker": answer.header("x-worker"),
            "retry_after": answer.header("retry-after"),
        }
        if answer.status >= 400:
            seen["error"] = f"{answer.status} {answer.body[:200]!r}"
        elif kind == READ:
            page = json.loads(answer.body)
            seen["stranger"] = page["user"] != self.user
            self.cart = page["cart"]
        return seen

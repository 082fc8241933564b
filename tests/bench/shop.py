"""The web application whose requests are measured: what its pages do with a session.

Every framework's site has these pages, and each session tells whose it is.
"""

from __future__ import annotations

PAGE = "a page for everybody"
ITEMS = 5
BROWSERS = 12  # of as many users: in a cluster their sessions lie on all primaries


def enter(session, number):
    """Log a user in; this page is not measured."""
    session["user"] = f"user-{number}"
    session["csrf"] = f"{number:032x}"
    session["cart"] = [{"sku": f"{number}-{item}", "quantity": item} for item in range(ITEMS)]
    session["visits"] = 0
    return read(session)


def read(session):
    """Tell the whole session."""
    return told(session["user"], len(session["cart"]), session["visits"])


def write(session):
    """Change one of its values."""
    session["visits"] += 1
    return read(session)


def told(user, items, visits):
    """Return what pages say that look at a session."""
    return f"{user} {items} {visits}"


def after(page, before, times):
    """Return what a page says when it was visited `times` after a session was `before`."""
    user, items, visits = before.split()
    answers = {"page": PAGE, "read": before, "write": told(user, items, int(visits) + times)}
    return answers[page]

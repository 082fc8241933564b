"""A thousand rounds each of what goes wrong between two requests of one user, through Django."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.contrib.sessions.exceptions import SessionInterrupted

from clustercache.django import logout_everywhere, stores
from tests.frameworks import django_site  # noqa: F401 - gives the settings first
from tests.frameworks.django_requests import Blocking, grow_old, set_to

pytestmark = pytest.mark.live
ROUNDS = 1000


@pytest.fixture
def together(site):
    """Return what runs two functions at once, and their results."""
    with ThreadPoolExecutor(2) as pool:

        def run(*functions):
            gate = threading.Barrier(2, timeout=10)

            def one(function):
                gate.wait()
                return function()

            return [future.result(20) for future in [pool.submit(one, f) for f in functions]]

        yield run


def answered(browser, view, token=None):
    """Return a response, or None where Django would answer 400."""
    try:
        return browser.answer(view, token)
    except SessionInterrupted:
        return None


def test_requests_that_change_different_keys_both_survive(together):
    browser = Blocking()
    token = browser.token()
    for number in range(ROUNDS):
        mine = together(
            lambda: browser.answer(lambda s: s.update({"left": number}), token),  # noqa: B023
            lambda: browser.answer(lambda s: s.update({"right": number}), token),  # noqa: B023
        )
        assert [set_to(one) for one in mine] == [None, None]
        assert browser.read(token) == {"a": 1, "left": number, "right": number}


def test_a_logout_wins_over_every_slow_writer(together):
    browser, refused = Blocking(), 0
    for _ in range(ROUNDS):
        token = browser.token(lambda s: s.update({"_auth_user_id": "racing"}))
        wrote, left = together(
            lambda: answered(browser, lambda s: s.update({"b": 2}), token),  # noqa: B023
            lambda: answered(browser, lambda s: s.flush(), token),  # noqa: B023
        )
        assert browser.read(token) is None
        assert set_to(left) == ""
        refused += wrote is None
        new = None if wrote is None else set_to(wrote)
        if new is not None:
            # Who came after the logout is a stranger, with nothing of that session.
            assert browser.read(new) == {"b": 2}
            assert stores.store().load(new).user is None
    assert stores.store().count("racing") == 0
    assert refused


def test_a_renewal_is_won_by_one_and_lost_by_nobody(together):
    browser = Blocking()
    for _ in range(ROUNDS):
        token = browser.token()
        grow_old(token)
        answers = together(*[lambda: browser.answer(lambda s: s.get("a"), token)] * 2)  # noqa: B023
        (new,) = {set_to(one) for one in answers} - {None}
        assert new != token
        assert browser.read(token) == browser.read(new) == {"a": 1}


def test_no_login_lives_through_a_logout_everywhere(together):
    browser = Blocking()
    for number in range(ROUNDS):
        user = f"everywhere-{number}"
        entered, _ = together(
            lambda: answered(browser, lambda s: s.update({"_auth_user_id": user})),  # noqa: B023
            lambda: logout_everywhere(user),  # noqa: B023
        )
        token = None if entered is None else set_to(entered)
        alive = token is not None and browser.read(token) is not None
        # What lives is in the index: so the next one ends it.
        assert logout_everywhere(user) == alive
        assert token is None or browser.read(token) is None

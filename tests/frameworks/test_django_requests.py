"""What a request does to its session and to its cookie: each of the traps of the stock middleware.

Both middlewares, the blocking one and that of an event loop, pass the same tests.
"""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.sessions.exceptions import SessionInterrupted
from django.core.exceptions import PermissionDenied
from django.utils import timezone

from clustercache.django import stores
from clustercache.exceptions import (
    SessionTooLargeError,
    SessionUnavailableError,
)
from tests.frameworks import django_site  # noqa: F401 - gives the settings first
from tests.frameworks.django_requests import Blocking, Looping, elsewhere, grow_old, set_to

pytestmark = pytest.mark.live
NOWHERE = "redis://127.0.0.1:1"
AWAY = {"deadline": 0.2, "stale_after": 0.1}


@pytest.fixture(params=[Blocking, Looping], ids=lambda kind: kind.name)
def browser(request, site):
    return request.param()


def nothing(session):
    pass


def look(session):
    session.get("a")


def write(session):
    session["b"] = 2


# What is sent ---------------------------------------------------------------------------------


def test_a_page_that_does_not_look_at_the_session_needs_no_server(browser, site):
    with site(CLUSTERCACHE_URL=NOWHERE):
        response = browser.answer(nothing, "x" * 16 + "." + "y" * 22)
    assert response.status_code == 200
    assert not response.has_header("Vary")
    assert set_to(response) is None


def test_an_empty_session_is_not_stored_and_sets_no_cookie(browser):
    response = browser.answer(look)
    assert set_to(response) is None
    assert response["Vary"] == "Cookie"


def test_a_session_that_was_only_read_sets_no_cookie(browser):
    token = browser.token()
    assert set_to(browser.answer(look, token)) is None


def test_a_change_deep_inside_is_saved_without_a_word(browser):
    token = browser.token(lambda session: session.update({"cart": {"items": [1]}}))
    assert set_to(browser.answer(lambda s: s["cart"]["items"].append(2), token)) is None
    assert browser.read(token) == {"cart": {"items": [1, 2]}}


def test_two_requests_that_change_different_fields_both_survive(browser):
    token = browser.token()

    def slow(session):
        session["mine"] = 1
        elsewhere(token, lambda other: other.update({"theirs": 2}))

    assert browser.answer(slow, token).status_code == 200
    assert browser.read(token) == {"a": 1, "mine": 1, "theirs": 2}


def test_counting_and_appending_lose_nothing(browser):
    token = browser.token(lambda session: session.update({"n": 1, "items": ["a"]}))

    def slow(session):
        session.incr("n")
        session.append("items", "c")
        elsewhere(token, lambda other: (other.incr("n"), other.append("items", "b")))

    browser.answer(slow, token)
    assert browser.read(token) == {"n": 3, "items": ["a", "b", "c"]}


def test_keys_that_are_no_texts_are_those_of_djangos_json(browser):
    token = browser.token(lambda s: s.update({1: "a", 1.5: {2: "b", None: "c", True: "d"}}))
    assert browser.read(token) == {"1": "a", "1.5": {"2": "b", "null": "c", "true": "d"}}
    found = []
    browser.answer(lambda session: found.extend([session[1], session["1"], 7 in session]), token)
    assert found == ["a", "a", False]


def test_what_a_failed_request_set_is_not_saved(browser):
    token = browser.token()
    assert set_to(browser.answer(write, token, status=500)) is None
    assert browser.read(token) == {"a": 1}


def test_a_token_that_was_replaced_reaches_the_browser_with_a_failure_too(browser):
    token = browser.token()
    response = browser.answer(lambda session: session.cycle_key(), token, status=500)
    assert browser.read(token) is None
    assert browser.read(set_to(response)) == {"a": 1}


# The end, and late requests -------------------------------------------------------------------


def test_a_logout_wins_over_a_slow_request(browser):
    token = browser.token()

    def slow(session):
        session["b"] = 2
        elsewhere(token, lambda other: other.flush() or other.update({"new": 1}))

    with pytest.raises(SessionInterrupted):
        browser.answer(slow, token)
    assert browser.read(token) is None


def test_a_logout_is_no_trouble_to_who_only_read(browser):
    token = browser.token()

    def slow(session):
        session.get("a")
        session.inner.touch()
        elsewhere(token, lambda other: other.flush() or other.update({"new": 1}))

    response = browser.answer(slow, token)
    assert response.status_code == 200
    assert set_to(response) is None


def test_flush_ends_the_session_and_deletes_the_cookie(browser, site):
    token = browser.token()
    with site(SESSION_COOKIE_SECURE=True, SESSION_COOKIE_PATH="/shop/"):
        response = browser.answer(lambda session: session.flush(), token)
    cookie = response.cookies["sessionid"]
    assert browser.read(token) is None
    assert (cookie.value, cookie["max-age"], cookie["path"], cookie["secure"]) == (
        "", 0, "/shop/", True,
    )  # fmt: skip
    assert cookie["samesite"] == "Lax"
    assert "no-store" in response["Cache-Control"]


def test_what_is_set_after_a_flush_is_in_a_new_session(browser):
    token = browser.token()
    response = browser.answer(lambda session: session.flush() or session.update({"b": 2}), token)
    assert browser.read(token) is None
    assert set_to(response) != token
    assert browser.read(set_to(response)) == {"b": 2}


@pytest.mark.parametrize("loaded", [True, False])
def test_clear_removes_every_field_and_keeps_the_token(browser, loaded):
    token = browser.token()
    response = browser.answer(lambda s: (loaded and s.get("none")) or s.clear(), token)
    assert set_to(response) is None
    assert browser.read(token) == {}


def test_a_late_request_with_a_replaced_token_leaves_the_new_cookie_alone(browser):
    old = browser.token()
    new = elsewhere(old, lambda session: session.cycle_key())
    response = browser.answer(look, old)
    assert response.status_code == 200
    assert set_to(response) is None
    with pytest.raises(SessionInterrupted):
        browser.answer(write, old)
    assert browser.read(new) == {"a": 1}


def test_a_late_request_may_log_in(browser):
    old = browser.token()
    elsewhere(old, lambda session: session.cycle_key())
    response = browser.answer(lambda s: s.update({"_auth_user_id": "late"}), old)
    assert browser.read(set_to(response)) == {"_auth_user_id": "late"}


@pytest.mark.parametrize("shown", ["x" * 16 + "." + "y" * 22, "a" * 32, "1", "", "é" * 20])
def test_a_token_that_was_not_issued_is_not_adopted(browser, shown):
    assert set_to(browser.answer(look, shown)) is None
    token = set_to(browser.answer(write, shown))
    assert token not in {shown, None}
    assert browser.read(token) == {"b": 2}


def test_a_renewed_token_is_set_once_and_both_are_good_for_a_while(browser):
    token = browser.token()
    grow_old(token)
    first, second = [set_to(browser.answer(look, token)) for _ in range(2)]
    assert first not in {None, token}
    assert second is None
    assert browser.read(token) == browser.read(first) == {"a": 1}


def test_a_slow_request_does_not_put_the_old_token_over_its_successor(browser, site):
    with site(SESSION_SAVE_EVERY_REQUEST=True):
        token = browser.token()
        grow_old(token)
        stores.store().save(stores.store().load(token))
        assert set_to(browser.answer(look, token)) is None


# The cookie -----------------------------------------------------------------------------------


def test_the_cookie_is_as_the_settings_say(browser, site):
    changed = {
        "SESSION_COOKIE_NAME": "__Secure-id", "SESSION_COOKIE_DOMAIN": "shop.example",
        "SESSION_COOKIE_PATH": "/shop/", "SESSION_COOKIE_SECURE": True,
        "SESSION_COOKIE_HTTPONLY": True, "SESSION_COOKIE_SAMESITE": "Strict",
        "SESSION_COOKIE_AGE": 600,
    }  # fmt: skip
    with site(**changed):
        response = browser.answer(write)
        cookie = response.cookies["__Secure-id"]
        assert len(cookie.value) <= 40
        assert stores.store().load(cookie.value).idle == 600
    named = ("domain", "path", "secure", "httponly", "samesite", "max-age")
    assert [cookie[name] for name in named] == [
        "shop.example", "/shop/", True, True, "Strict", 600,
    ]  # fmt: skip
    assert {"no-store", "private"} <= set(response["Cache-Control"].split(", "))
    assert response["Vary"] == "Cookie"


def test_a_session_until_the_browser_closes_has_a_cookie_without_an_age(browser, site):
    with site(SESSION_EXPIRE_AT_BROWSER_CLOSE=True):
        cookie = browser.answer(write).cookies["sessionid"]
    by_itself = browser.answer(lambda s: s.update({"a": 1}) or s.set_expiry(0)).cookies["sessionid"]
    assert (cookie["max-age"], cookie["expires"]) == ("", "")
    assert (by_itself["max-age"], by_itself["expires"]) == ("", "")


def test_an_expiry_in_seconds_is_the_idle_limit_at_the_server(browser):
    token = browser.token(lambda session: session.update({"a": 1}) or session.set_expiry(300))
    response = browser.answer(lambda session: session.set_expiry(200), token)
    found = stores.store().load(token)
    assert found.idle == 200
    assert 0 < found.ttl <= 200_000
    assert response.cookies["sessionid"]["max-age"] == 200
    browser.answer(lambda session: session.set_expiry(None), token)
    assert stores.store().load(token).idle == 1209600


def test_an_expiry_at_a_time_is_kept_though_the_session_is_used(browser, monkeypatch):
    soon = timezone.now() + timedelta(seconds=100)
    token = browser.token(lambda session: session.update({"a": 1}) or session.set_expiry(soon))
    assert 0 < stores.store().load(token).ttl <= 100_000
    monkeypatch.setattr(timezone, "now", lambda: soon)
    found = []
    response = browser.answer(lambda session: found.append(session.get("a")), token)
    assert found == [None]
    assert set_to(response) is None
    assert browser.read(token) is None


def test_save_every_request_sends_the_cookie_each_time_and_keeps_the_session(browser, site):
    token = browser.token()
    before = stores.store().load(token).facts.active
    with site(SESSION_SAVE_EVERY_REQUEST=True):
        response = browser.answer(nothing, token)
        assert set_to(browser.answer(nothing)) is None
    assert set_to(response) == token
    assert stores.store().load(token).facts.active > before


def test_the_cookie_lasts_longer_when_a_touch_is_due(browser, site):
    with site(CLUSTERCACHE_SESSIONS={"touch_after": 0.001}):
        token = browser.token()
        made = stores.store().load(token).facts.active
        while stores.store().plans.now() - made < 5:
            pass
        assert set_to(browser.answer(look, token)) == token


# What is refused ------------------------------------------------------------------------------


def test_a_session_that_is_too_large_says_so(browser, site):
    with site(CLUSTERCACHE_SESSIONS={"max_bytes": 100}), pytest.raises(SessionTooLargeError):
        browser.answer(lambda session: session.update({"a": "x" * 200}))


def test_a_login_past_the_limit_is_a_403(browser, site):
    login = {"_auth_user_id": f"limited-{browser.name}"}
    with site(CLUSTERCACHE_SESSIONS={"limit": 1}):
        browser.token(lambda session: session.update(login))
        with pytest.raises(PermissionDenied):
            browser.answer(lambda session: session.update(login))


# Nobody answers -------------------------------------------------------------------------------

TOKEN = "x" * 16 + "." + "y" * 22


def test_a_view_that_needs_the_session_is_a_503_while_the_store_is_away(browser, site):
    with site(CLUSTERCACHE_URL=NOWHERE, CLUSTERCACHE_SESSIONS=AWAY):
        response = browser.answer(look, TOKEN)
    assert response.status_code == 503
    assert int(response["Retry-After"]) >= 1
    assert set_to(response) is None


def test_a_save_that_nobody_takes_is_a_503_and_sets_no_cookie(browser, site):
    with site(CLUSTERCACHE_URL=NOWHERE, CLUSTERCACHE_SESSIONS=AWAY):
        response = browser.answer(write)
    assert response.status_code == 503
    assert int(response["Retry-After"]) >= 1
    assert set_to(response) is None


def test_anonymous_lets_readers_go_on_and_refuses_writers(browser, site):
    options = {**AWAY, "on_unavailable": "anonymous"}
    with site(CLUSTERCACHE_URL=NOWHERE, CLUSTERCACHE_SESSIONS=options):
        read, wrote = browser.answer(look, TOKEN), browser.answer(write, TOKEN)
    assert (read.status_code, wrote.status_code) == (200, 503)
    assert set_to(read) is None
    assert set_to(wrote) is None


def test_a_touch_that_nobody_takes_is_no_trouble_to_who_only_read(browser, site, monkeypatch):
    token = browser.token()

    def slow(session):
        session.get("a")
        session.inner.touch()
        for kept in (stores.store(), stores.astore()):
            monkeypatch.setattr(kept, "save", away)

    def away(session):
        raise SessionUnavailableError("nobody is there")

    response = browser.answer(slow, token)
    assert response.status_code == 200
    assert set_to(response) is None

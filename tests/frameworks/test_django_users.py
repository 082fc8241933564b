"""Logins: Django's own, those of other frameworks, and what ends them."""

from __future__ import annotations

import asyncio
import re

import pytest
from django.conf import settings
from django.contrib.auth import get_user_model
from django.test import AsyncClient, Client

from clustercache.django import (
    aend_user_session,
    aget_user_sessions,
    alogout_everywhere,
    end_user_session,
    get_user_sessions,
    logout_everywhere,
    stores,
)
from clustercache.django.sessions import SessionStore
from tests.frameworks import django_site  # noqa: F401 - gives the settings first

pytestmark = pytest.mark.live
OURS = "clustercache.django.SessionBackend"
NOWHERE = "redis://127.0.0.1:1"
MODEL = "django.contrib.auth.backends.ModelBackend"


@pytest.fixture(params=["", "a"], ids=["blocking", "asynchronous"])
def kind(request, site, user):
    """Which of each pair of views is asked: an asynchronous one runs on a loop of its own."""
    return request.param


def entered(kind, user, password="secret", **headers):
    browser = Client(**headers)
    query = {"user": user.username, "password": password}
    assert browser.get(f"/{kind}enter", query).content.decode() == user.username
    return browser


def token_of(browser):
    return browser.cookies["sessionid"].value


def who(browser, kind=""):
    return browser.get(f"/{kind}who").content.decode()


# Django's own ---------------------------------------------------------------------------------


def test_a_login_replaces_the_token_and_enters_the_index(kind, user):
    browser = Client(HTTP_USER_AGENT="a browser", REMOTE_ADDR="192.0.2.7")
    browser.get(f"/{kind}put", {"name": "cart", "value": "apple"})
    before = token_of(browser)
    query = {"user": user.username, "password": "secret"}
    browser.get(f"/{kind}enter", query)
    assert stores.store().load(before) is None
    found = stores.store().load(token_of(browser))
    assert (found.user, found["cart"]) == (str(user.pk), "apple")
    assert found.auth_time is not None
    (info,) = get_user_sessions(user)
    assert (info.device, info.address, info.user) == ("a browser", "192.0.2.7", str(user.pk))
    assert who(browser, kind) == user.username


def test_a_logout_ends_the_session_and_deletes_the_cookie(kind, user):
    browser = entered(kind, user)
    token = token_of(browser)
    browser.get(f"/{kind}leave")
    assert stores.store().load(token) is None
    assert token_of(browser) == ""
    assert get_user_sessions(user) == []
    browser.cookies["sessionid"] = token
    assert who(browser, kind) == ""


def test_a_changed_password_ends_all_other_sessions(kind, user):
    here, there = entered(kind, user), entered(kind, user)
    stranger = get_user_model().objects.create_user(f"not-{user.username}", password="secret")
    other = entered(kind, stranger)
    old, away = token_of(here), token_of(there)
    assert here.get(f"/{kind}change", {"password": "new"}).status_code == 200
    assert stores.store().load(away) is None
    assert stores.store().load(old) is None
    assert (who(here, kind), who(there, kind)) == (user.username, "")
    assert who(other, kind) == stranger.username
    assert len(get_user_sessions(user)) == 1


def test_a_password_that_somebody_else_changes_ends_them_all(kind, user):
    browser = entered(kind, user)
    token = token_of(browser)
    user.set_password("another")
    user.save()
    assert stores.store().load(token) is None
    assert who(browser, kind) == ""


def test_a_hash_that_is_only_made_stronger_ends_nothing(kind, user, site):
    hashers = ["PBKDF2PasswordHasher", "MD5PasswordHasher"]
    browser = entered(kind, user)
    with site(PASSWORD_HASHERS=[f"django.contrib.auth.hashers.{one}" for one in hashers]):
        entered(kind, user)
        user.refresh_from_db()
        assert user.password.startswith("pbkdf2")
    assert stores.store().load(token_of(browser)) is not None


def test_a_user_who_takes_over_anothers_session_gets_nothing_of_it(kind, user):
    other = get_user_model().objects.create_user(f"2-{user.username}", password="secret")
    browser = entered(kind, user)
    browser.get(f"/{kind}put", {"name": "secret", "value": "mine"})
    browser.get(f"/{kind}enter", {"user": other.username, "password": "secret"})
    found = stores.store().load(token_of(browser))
    assert found.user == str(other.pk)
    assert "secret" not in found
    assert get_user_sessions(user) == []


def test_clear_logs_out(kind, user):
    browser = entered(kind, user)
    token = token_of(browser)
    session = SessionStore(token)
    session.clear()
    session.save()
    assert stores.store().load(token) is None
    assert session.session_key is None
    assert get_user_sessions(user) == []


def test_a_removed_user_id_is_a_logout(kind, user):
    browser = entered(kind, user)
    token = token_of(browser)
    session = SessionStore(token)
    session["kept"] = 1
    del session["_auth_user_id"]
    session.save()
    assert stores.store().load(token) is None
    found = stores.store().load(session.session_key)
    assert found.user is None
    assert found["kept"] == 1


def test_a_session_for_a_moment_goes_on_when_the_secret_key_is_rotated(kind, user, site):
    browser, other = entered(kind, user), entered(kind, user)
    with site(SECRET_KEY="a new one", SECRET_KEY_FALLBACKS=["a secret of the tests alone"]):
        assert who(browser, kind) == user.username
        assert who(other, kind) == user.username


# Lists ----------------------------------------------------------------------------------------


def test_sessions_are_listed_and_ended(kind, user):
    browsers = [entered(kind, user) for _ in range(3)]

    class Request:
        session = SessionStore(token_of(browsers[0]))

    infos = get_user_sessions(user, Request)
    assert [one.current for one in infos].count(True) == 1
    other = next(one for one in infos if not one.current)
    assert end_user_session(user, other.public_id)
    assert not end_user_session(user, other.public_id)
    assert logout_everywhere(user, Request) == 1
    assert [who(one) for one in browsers] == [user.username, "", ""]
    assert logout_everywhere(user.pk) == 1
    assert who(browsers[0]) == ""


def test_sessions_are_listed_and_ended_on_a_loop(site, user):
    browsers = [entered("", user) for _ in range(3)]

    class Request:
        session = SessionStore(token_of(browsers[0]))

    async def end():
        infos = await aget_user_sessions(user, Request)
        other = next(one for one in infos if not one.current)
        assert len(infos) == 3
        assert await aend_user_session(user, other.public_id)
        count = await alogout_everywhere(user, Request)
        count += await alogout_everywhere(user)
        await stores.astore().aclose()
        return count

    assert asyncio.run(end()) == 2
    assert [who(one) for one in browsers] == [""] * 3


# Other frameworks' ----------------------------------------------------------------------------


def foreign(user, **data):
    """Return a browser that another framework has logged in."""
    browser = Client()
    made = stores.store().create(data, user=str(user if isinstance(user, str) else user.pk))
    browser.cookies["sessionid"] = made.token
    return browser


def test_a_foreign_login_is_trusted_by_our_backend_and_keeps_its_token(kind, user):
    browser = foreign(user, theirs=1)
    token = token_of(browser)
    proved = stores.store().load(token).auth_time
    assert who(browser, kind) == user.username
    found = stores.store().load(token)
    assert (found.user, found["_auth_user_backend"], found["theirs"]) == (str(user.pk), OURS, 1)
    assert found.auth_time == proved
    assert who(browser, kind) == user.username


def test_a_foreign_login_is_not_trusted_without_our_backend(kind, user, site):
    browser = foreign(user)
    with site(AUTHENTICATION_BACKENDS=[MODEL]):
        assert who(browser, kind) == ""
    assert stores.store().load(token_of(browser)) is not None


@pytest.mark.parametrize("name", ["0", "nobody", "-1"])
def test_a_foreign_user_whom_django_does_not_know_is_nobody(kind, name):
    browser = foreign(name)
    assert who(browser, kind) == ""
    assert stores.store().load(token_of(browser)) is not None


def test_a_foreign_login_of_who_is_not_active_is_not_let_in(kind, user):
    user.is_active = False
    user.save()
    assert who(foreign(user), kind) == ""


def test_a_foreign_login_ends_with_the_password(kind, user):
    browser = foreign(user)
    assert who(browser, kind) == user.username
    token = token_of(browser)
    user.set_password("new")
    user.save()
    assert stores.store().load(token) is None


def test_a_login_that_another_framework_replaced_is_not_the_former_user(kind, user):
    other = get_user_model().objects.create_user(f"3-{user.username}", password="secret")
    browser = entered(kind, user)
    session = stores.store().load(token_of(browser))
    saved = stores.store().login(session, str(other.pk))
    browser.cookies["sessionid"] = saved.set_token
    assert who(browser, kind) == other.username
    assert stores.store().load(token_of(browser)).user == str(other.pk)


def test_our_backend_knows_no_passwords(kind, user, site):
    with site(AUTHENTICATION_BACKENDS=[OURS]):
        assert not Client().login(username=user.username, password="secret")


# Applications ---------------------------------------------------------------------------------


def test_the_test_client_logs_in_and_has_a_session(site, user):
    browser = Client()
    session = browser.session
    session["before"] = 1
    session.save()
    assert browser.login(username=user.username, password="secret")
    assert browser.session["before"] == 1
    assert who(browser) == user.username
    browser.logout()
    assert get_user_sessions(user) == []
    browser.force_login(user)
    assert who(browser) == user.username
    assert browser.session["_auth_user_id"] == str(user.pk)


def test_the_asynchronous_test_client_logs_in(site, user):
    async def use():
        browser = AsyncClient()
        assert await browser.alogin(username=user.username, password="secret")
        first = (await browser.get("/awho")).content.decode()
        await browser.alogout()
        await browser.aforce_login(user)
        again = (await browser.get("/awho")).content.decode()
        await stores.astore().aclose()
        return first, again

    assert asyncio.run(use()) == (user.username, user.username)


def test_the_admin_logs_in_and_out(site, user):
    browser = Client(enforce_csrf_checks=True)
    page = browser.get("/admin/login/?next=/admin/")
    csrf = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.content.decode())[1]
    given = {"username": user.username, "password": "secret", "csrfmiddlewaretoken": csrf}
    answer = browser.post("/admin/login/?next=/admin/", given, follow=True)
    assert "Site administration" in answer.content.decode()
    token = token_of(browser)
    csrf = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', answer.content.decode())[1]
    assert browser.post("/admin/logout/", {"csrfmiddlewaretoken": csrf}).status_code == 200
    assert stores.store().load(token) is None
    assert browser.get("/admin/").status_code == 302


def test_csrf_tokens_in_sessions(site, user):
    with site(CSRF_USE_SESSIONS=True):
        browser = Client(enforce_csrf_checks=True)
        csrf = browser.get("/form").content.decode()
        assert browser.post("/guarded").status_code == 403
        given = {"csrfmiddlewaretoken": csrf}
        assert browser.post("/guarded", given).content == b"POST"


def test_rest_framework_authenticates_by_the_session(site, user):
    browser = entered("", user, enforce_csrf_checks=True)
    assert browser.get("/api").json() == {"user": user.username}
    assert browser.session["api"] == "GET"
    assert browser.post("/api").status_code == 403
    csrf = browser.get("/form").content.decode()
    assert browser.post("/api", headers={"X-CSRFToken": csrf}).json() == {"user": user.username}
    assert Client().get("/api").status_code == 403


@pytest.mark.parametrize("csrf", [False, True], ids=["", "csrf"])
@pytest.mark.parametrize("path", ["/read", "/aread", "/who", "/awho", "/api", "/form"])
@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_a_page_that_needs_the_session_is_a_503_while_nobody_answers(site, kind, path, csrf):
    away = {"deadline": 0.2, "stale_after": 0.1}
    token = "x" * 16 + "." + "y" * 22
    with site(CLUSTERCACHE_URL=NOWHERE, CLUSTERCACHE_SESSIONS=away, CSRF_USE_SESSIONS=csrf):
        browser = kind(raise_request_exception=False)
        browser.cookies["sessionid"] = token
        answer, page = visit(browser, path), visit(browser, "/page")
    needs_no_session = path == "/form" and not csrf
    assert answer.status_code == (200 if needs_no_session else 503)
    assert needs_no_session or int(answer["Retry-After"]) >= 1
    assert "sessionid" not in answer.cookies
    assert page.status_code == (503 if csrf else 200)


def test_the_projects_own_handlers_and_pages_are_asked(site, tmp_path):
    (tmp_path / "503.html").write_text("<p>We will be back.")
    templates = [{**settings.TEMPLATES[0], "DIRS": [tmp_path]}]
    with site(CLUSTERCACHE_URL=NOWHERE, CLUSTERCACHE_SESSIONS={"deadline": 0.2}):
        browser = Client()
        browser.cookies["sessionid"] = "x" * 16 + "." + "y" * 22
        with site(TEMPLATES=templates):
            assert browser.get("/read").content == b"<p>We will be back."
        handled = [*settings.MIDDLEWARE, "tests.frameworks.django_urls.Handler"]
        with site(MIDDLEWARE=handled):
            other = Client()
            other.cookies = browser.cookies
            answer = other.get("/read")
        assert (answer.status_code, answer.content) == (418, b"SessionUnavailableError")


def visit(browser, path):
    if isinstance(browser, Client):
        return browser.get(path)

    async def get():
        return await browser.get(path)

    return asyncio.run(get())

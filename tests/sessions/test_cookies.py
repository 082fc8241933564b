"""The session cookie: a browser keeps it, keeps to what it promises, and lets it be deleted."""

from __future__ import annotations

import pytest

from clustercache.exceptions import ConfigurationError
from clustercache.sessions.cookies import MOST, CookieSettings
from clustercache.sessions.token import Token

TOKEN = str(Token.issue())


def test_it_is_kept_from_scripts_and_from_other_sites():
    line = CookieSettings().set_to("t", tls=False)
    assert line == "session=t; Path=/; HttpOnly; SameSite=Lax"


def test_it_is_secure_where_the_request_was():
    assert CookieSettings().set_to("t", tls=True).endswith("; Secure")
    assert CookieSettings(secure=True).set_to("t", tls=False).endswith("; Secure")
    assert "Secure" not in CookieSettings(secure=False).set_to("t", tls=True)


ALL = {
    "name": "__Secure-id",
    "path": "/shop",
    "domain": "example.com",
    "same_site": "none",
    "partitioned": True,
    "max_age": 3600,
}
ATTRIBUTES = "Path=/shop; Domain=example.com; HttpOnly; SameSite=None; Partitioned; Secure"


def test_every_attribute_has_its_setting():
    line = CookieSettings(**ALL).set_to("t", tls=False)
    assert line == f"__Secure-id=t; Max-Age=3600; {ATTRIBUTES}"


def test_it_is_deleted_with_the_attributes_that_it_was_set_with():
    line = CookieSettings(**ALL).deleted(tls=False)
    gone = "__Secure-id=; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=0"
    assert line == f"{gone}; {ATTRIBUTES}"


def test_what_is_left_to_the_browser_is_not_said():
    line = CookieSettings(http_only=False, same_site=None).set_to("t", tls=False)
    assert line == "session=t; Path=/"


@pytest.mark.parametrize("name", ["__Host-session", "__Secure-session", "__HOST-session"])
def test_a_prefix_makes_it_secure(name):
    assert CookieSettings(name=name).set_to("t", tls=False).endswith("; Secure")


@pytest.mark.parametrize("of", [{"same_site": "none"}, {"partitioned": True}])
def test_what_browsers_take_only_with_secure_has_it(of):
    assert CookieSettings(**of).set_to("t", tls=False).endswith("; Secure")


REFUSED = [
    ({"name": "__Host-s", "path": "/shop"}, "no domain"),
    ({"name": "__host-s", "domain": "example.com"}, "no domain"),
    ({"name": "__Host-s", "secure": False}, "needs secure"),
    ({"name": "__Secure-s", "secure": False}, "needs secure"),
    ({"name": "__Http-s", "http_only": False}, "needs http_only"),
    ({"name": "__Host-Http-s", "http_only": False}, "needs http_only"),
    ({"name": "__Host-Http-s", "path": "/x"}, "no domain"),
    ({"same_site": "none", "secure": False}, "needs secure"),
    ({"partitioned": True, "secure": False}, "needs secure"),
    ({"name": ""}, "short word"),
    ({"name": "a b"}, "short word"),
    ({"name": "a;b"}, "short word"),
    ({"name": "é"}, "short word"),
    ({"name": "n" * (MOST - len(TOKEN))}, "short word"),
    ({"path": "shop"}, "path"),
    ({"path": "/;Domain=evil"}, "path"),
    ({"path": "/\r\n"}, "path"),
    ({"domain": "a;b"}, "domain"),
    ({"domain": ""}, "domain"),
    ({"same_site": "Lax"}, "same_site"),
    ({"max_age": 0}, "max_age"),
    ({"max_age": float("inf")}, "max_age"),
]


@pytest.mark.parametrize(("options", "why"), REFUSED, ids=str)
def test_what_a_browser_would_drop_is_refused(options, why):
    with pytest.raises(ConfigurationError, match=why):
        CookieSettings(**options)


def test_the_longest_name_stays_below_what_browsers_take():
    name = "n" * (MOST - 41)
    assert len(name) + len(TOKEN) < MOST
    pair = CookieSettings(name=name).set_to(TOKEN, tls=True).split(";")[0]
    assert len(pair) <= MOST


READ = [
    ([], None),
    ([(b"host", b"session=1")], None),
    ([(b"cookie", b"")], None),
    ([(b"cookie", b"session=1")], "1"),
    ([(b"cookie", b"a=b; session=1; c=d")], "1"),
    ([(b"cookie", b"a=b;session=1")], "1"),
    ([(b"cookie", b'session="1"')], "1"),
    ([(b"cookie", b"xsession=2; session=1")], "1"),
    ([(b"cookie", b"xsession=2")], None),
    ([(b"cookie", b"session=1; session=2")], "1"),
    ([(b"cookie", b"a=b"), (b"cookie", b"session=1")], "1"),
    ([(b"cookie", b"x=session=2"), (b"cookie", b"session=1")], "1"),
    ([(b"cookie", b"session=\xff")], "\xff"),
    ([(b"cookie", b"session=")], ""),
]


@pytest.mark.parametrize(("headers", "token"), READ, ids=str)
def test_it_is_found_among_others(headers, token):
    assert CookieSettings().read(headers) == token

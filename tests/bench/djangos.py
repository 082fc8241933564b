"""Django's sites: the same shop, with sessions kept by different hands.

Django's settings are a process's own, and so each process can have only one of these sites.
"""

from __future__ import annotations

from tests.bench import shop
from tests.bench.visits import Site

_STOCK = "django.contrib.sessions"


def signed_cookie(_):
    return _site(SESSION_ENGINE=f"{_STOCK}.backends.signed_cookies")


def clustercache(address):
    return _site(
        "clustercache.django.SessionMiddleware",
        SESSION_ENGINE="clustercache.django.sessions",
        CLUSTERCACHE_URL=_url(address),
    )


def django_redis(address):
    return _cached("django_redis.cache.RedisCache", address)


def redis_cache(address):
    return _cached("django.core.cache.backends.redis.RedisCache", address)


def _url(address):
    return f"redis://{address[0]}:{address[1]}"


def _cached(backend, address):
    caches = {"default": {"BACKEND": backend, "LOCATION": _url(address)}}
    return _site(SESSION_ENGINE=f"{_STOCK}.backends.cache", CACHES=caches)


def _site(middleware=f"{_STOCK}.middleware.SessionMiddleware", **settings):
    import django
    from django.conf import settings as all_settings

    all_settings.configure(
        ALLOWED_HOSTS=["testserver"],
        INSTALLED_APPS=[_STOCK],
        MIDDLEWARE=[middleware],
        ROOT_URLCONF=_urls(),
        SECRET_KEY="the bench's own secret, " * 2,
        **settings,
    )
    django.setup()
    from django.test import Client

    return Site([_browser(Client()) for _ in range(shop.BROWSERS)])


def _urls():
    from django.http import HttpResponse
    from django.urls import path

    def enter(request, number):
        return HttpResponse(shop.enter(request.session, number))

    return (  # a tuple: Django keeps what it made of it in a dictionary
        path("enter/<int:number>", enter),
        path("page", lambda request: HttpResponse(shop.PAGE)),
        path("read", lambda request: HttpResponse(shop.read(request.session))),
        path("write", lambda request: HttpResponse(shop.write(request.session))),
    )


def _browser(client):
    return lambda path: client.get(path).content

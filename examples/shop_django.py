"""A little shop in Django, in one file: gunicorn shop_django:application."""

import os
import time

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.urls import path
from django.views.decorators.http import require_GET, require_http_methods, require_POST

import pages
from clustercache.django import cached

settings.configure(
    ALLOWED_HOSTS=["127.0.0.1", "localhost"],
    ROOT_URLCONF=__name__,
    SECRET_KEY=os.environ.get("SECRET_KEY", "a real shop keeps one of its own"),
    CACHES={
        "default": {
            "BACKEND": "clustercache.django.ClusterCache",
            "LOCATION": os.environ["CLUSTERCACHE_URL"],
            "OPTIONS": {"namespace": "shop", "near": True},
        }
    },
    CLUSTERCACHE_URL=os.environ["CLUSTERCACHE_URL"],
    SESSION_ENGINE="clustercache.django.sessions",
    SESSION_COOKIE_NAME="shop",  # the same in all three shops: a login is good in each
    MIDDLEWARE=["clustercache.django.SessionMiddleware"],  # a real shop adds CsrfViewMiddleware
)


def user(request: HttpRequest) -> str:
    """Return who is logged in; 403 for a stranger."""
    who = request.session.inner.user  # whichever of the three shops it was that let the user in
    if who is None:
        raise PermissionDenied
    return who


@require_GET
def home(_request: HttpRequest) -> HttpResponse:
    """Welcome everybody. The session is not looked at: this page needs no Redis."""
    return HttpResponse(pages.home("Django"))


@require_POST
def login(request: HttpRequest) -> HttpResponse:
    """Let anybody in. A real shop asks for a password first."""
    request.session.inner.login(request.POST["user"])  # a new token: the cookie before is dead
    request.session["cart"] = []
    return HttpResponseRedirect("/cart", status=303)


@require_http_methods(["GET", "POST"])
def cart(request: HttpRequest) -> HttpResponse:
    """Show the cart, or put something into it."""
    who = user(request)
    if request.method == "GET":
        return HttpResponse(pages.cart(who, request.session["cart"], "Django"))
    request.session.append("cart", request.POST["item"])  # no lost update, whatever clicks at once
    return HttpResponseRedirect("/cart", status=303)


@require_GET
def me(request: HttpRequest) -> HttpResponse:
    """Tell a script who is logged in."""
    return JsonResponse({"user": user(request), "cart": request.session["cart"]})


@cached(ttl=60, stale=600)
def advice(item: str) -> list[str]:
    """Ask somebody slow what goes with something: one worker does, for all of them."""
    time.sleep(0.3)
    return [f"another {item}", f"a book about {item}"]


@require_GET
def goes_with(_request: HttpRequest, item: str) -> HttpResponse:
    """Tell a script what goes with something; of two that ask at once, one waits for the other."""
    near = advice.cache_stats().near_hits
    return JsonResponse({"item": item, "advice": advice(item), "near": near})


@require_POST
def logout(request: HttpRequest) -> HttpResponse:
    """End the session, on every server at once."""
    request.session.flush()
    return HttpResponseRedirect("/", status=303)


urlpatterns = [
    path("", home),
    path("login", login),
    path("cart", cart),
    path("me", me),
    path("with/<item>", goes_with),
    path("logout", logout),
]
application = get_wsgi_application()

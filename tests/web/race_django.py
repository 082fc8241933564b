"""What the races need, in Django."""

from __future__ import annotations

import json
import os
import time

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse, JsonResponse
from django.urls import path

settings.configure(
    ALLOWED_HOSTS=["127.0.0.1"],
    ROOT_URLCONF=__name__,
    SECRET_KEY="x",
    CLUSTERCACHE_URL=os.environ["CLUSTERCACHE_URL"],
    CLUSTERCACHE_SESSIONS=json.loads(os.environ["SETTINGS"]),
    SESSION_ENGINE="clustercache.django.sessions",
    MIDDLEWARE=["clustercache.django.SessionMiddleware"],
)


def home(_request):
    return HttpResponse("welcome")


def login(request):
    request.session.inner.login(request.POST["user"])
    return HttpResponse("welcome")


def put(request):
    if request.session.inner.user is None:
        return HttpResponse(status=401)
    time.sleep(float(request.POST["wait"]))
    request.session[request.POST["name"]] = request.POST["value"]
    return HttpResponse("done")


def read(request):
    if request.session.inner.user is None:
        return HttpResponse(status=401)
    return JsonResponse(dict(request.session.items()))


def logout(request):
    request.session.flush()
    return HttpResponse("goodbye")


urlpatterns = [
    path("", home),
    path("login", login),
    path("put", put),
    path("read", read),
    path("logout", logout),
]
app = get_wsgi_application()

"""The project's pages, each in both kinds."""

from __future__ import annotations

from django.contrib import admin
from django.contrib.auth import (
    aauthenticate,
    alogin,
    alogout,
    aupdate_session_auth_hash,
    authenticate,
    login,
    logout,
    update_session_auth_hash,
)
from django.http import HttpResponse, JsonResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from rest_framework.decorators import api_view
from rest_framework.response import Response


class Handler:
    """A middleware of the project's own, which deals with errors of its views."""

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        return self.get_response(request)

    def process_exception(self, request, exception):
        return HttpResponse(type(exception).__name__, status=418)


def page(request):
    return HttpResponse("a page for everybody")


def read(request):
    return JsonResponse(dict(request.session.items()))


def put(request):
    request.session[request.GET["name"]] = request.GET["value"]
    return HttpResponse("done")


def enter(request):
    user = authenticate(request, username=request.GET["user"], password=request.GET["password"])
    login(request, user)
    return HttpResponse(user.username)


def leave(request):
    logout(request)
    return HttpResponse("goodbye")


def who(request):
    return HttpResponse(request.user.get_username())


def change(request):
    request.user.set_password(request.GET["password"])
    request.user.save()
    update_session_auth_hash(request, request.user)
    return HttpResponse("changed")


async def apage(request):
    return HttpResponse("a page for everybody")


async def aread(request):
    return JsonResponse(dict(await request.session.aitems()))


async def aput(request):
    await request.session.aset(request.GET["name"], request.GET["value"])
    return HttpResponse("done")


async def aenter(request):
    given = {"username": request.GET["user"], "password": request.GET["password"]}
    user = await aauthenticate(request, **given)
    await alogin(request, user)
    return HttpResponse(user.username)


async def aleave(request):
    await alogout(request)
    return HttpResponse("goodbye")


async def awho(request):
    return HttpResponse((await request.auser()).get_username())


async def achange(request):
    request.user = user = await request.auser()  # which Django compares with the argument
    user.set_password(request.GET["password"])
    await user.asave()
    await aupdate_session_auth_hash(request, user)
    return HttpResponse("changed")


@api_view(["GET", "POST"])
def api(request):
    request.session["api"] = request.method
    return Response({"user": request.user.get_username()})


@csrf_exempt
def form(request):
    from django.middleware.csrf import get_token

    return HttpResponse(get_token(request))


def guarded(request):
    return HttpResponse(request.method)


urlpatterns = [path(f"{one.__name__}", one) for one in (
    page, read, put, enter, leave, who, change,
    apage, aread, aput, aenter, aleave, awho, achange,
    form, guarded,
)] + [path("api", api), path("admin/", admin.site.urls)]  # fmt: skip

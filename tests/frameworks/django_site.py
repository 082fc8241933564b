"""One Django project for all tests of a process: Django's settings can be given only once.

`site` points it at the tests' cluster. Names of users and keys are new for each test.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import django
from django.conf import settings

ENGINE = "clustercache.django.sessions"
MIDDLEWARE = "clustercache.django.SessionMiddleware"
STOCK = "django.contrib.sessions.middleware.SessionMiddleware"

if not settings.configured:
    settings.configure(
        SECRET_KEY="a secret of the tests alone",
        SESSION_ENGINE=ENGINE,
        CLUSTERCACHE_URL="memory://",
        USE_TZ=True,
        ROOT_URLCONF="tests.frameworks.django_urls",
        ALLOWED_HOSTS=["testserver"],
        PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
        MIDDLEWARE=[
            MIDDLEWARE,
            "django.middleware.csrf.CsrfViewMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
            "django.contrib.messages.middleware.MessageMiddleware",
        ],
        INSTALLED_APPS=[
            "django.contrib.admin",
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django.contrib.messages",
            "rest_framework",
            "clustercache.django",
        ],
        AUTHENTICATION_BACKENDS=[
            "django.contrib.auth.backends.ModelBackend",
            "clustercache.django.SessionBackend",
        ],
        TEMPLATES=[
            {
                "BACKEND": "django.template.backends.django.DjangoTemplates",
                "APP_DIRS": True,
                "OPTIONS": {
                    "context_processors": [
                        "django.template.context_processors.request",
                        "django.contrib.auth.context_processors.auth",
                        "django.contrib.messages.context_processors.messages",
                    ]
                },
            }
        ],
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": Path(tempfile.gettempdir()) / f"clustercache-{os.getpid()}.sqlite3",
            }
        },
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        STATIC_URL="/static/",
        LOGGING_CONFIG=None,
        REST_FRAMEWORK={
            "DEFAULT_AUTHENTICATION_CLASSES": [
                "rest_framework.authentication.SessionAuthentication"
            ],
            "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
        },
    )
    django.setup()

"""dogpile.cache's own tests of what every backend does, for ours; test_dogpile_own.py runs them."""

from __future__ import annotations

import os
from typing import ClassVar

import test_decorator
import test_redis_backend
from dogpile.testing import fixtures

import clustercache.dogpile  # noqa: F401 - makes the backend known

OURS = {"url": os.environ["CLUSTERCACHE_URL"], "signing_key": "k" * 16}


class Ours:
    backend = "clustercache"
    config_args: ClassVar = {"arguments": OURS}


class TestBackend(Ours, fixtures._GenericBackendTestSuite):
    pass


class TestSerializerNear(fixtures._GenericSerializerTestSuite, TestBackend):
    config_args: ClassVar = {"arguments": {**OURS, "near": 100, "distributed_lock": False}}


class TestMutex(Ours, fixtures._GenericMutexTestSuite):
    pass


class TestAsyncCreation(test_redis_backend.RedisAsyncCreationTest):
    backend = Ours.backend
    config_args = Ours.config_args


class TestDecorator(test_decorator.DecoratorTest):
    backend = Ours.backend
    config_args = Ours.config_args

"""The rights that docs/security.md names for sessions are enough, and each of them is needed."""

from __future__ import annotations

import re
from pathlib import Path
from uuid import uuid4

import pytest
from redis.exceptions import ResponseError

from clustercache import SessionStore
from clustercache.localcluster import LocalCluster

pytestmark = pytest.mark.live
TEXT = (Path(__file__).parents[2] / "docs" / "security.md").read_text()
BASE = re.search(r"ACL SETUSER app on >secret (.*)", TEXT)[1].split()
FOR_SESSIONS = re.search(r"`(\+[^`]*)`, and `~session:\*` \| sessions", TEXT)[1].split()


@pytest.fixture(scope="module")
def cluster():
    with LocalCluster(primaries=3, replicas=1) as lc:
        yield lc


def use(cluster, rights):
    """Do what applications do with sessions, as a user with these rights."""
    rules = ["reset", "on", ">secret", *BASE, "~session:*", *rights]
    for node in cluster.nodes:
        node.call("ACL", "SETUSER", "app", *rules)
    with SessionStore.from_url(cluster.url, username="app", password="secret") as store:
        made = store.create({"a": 1}, user=uuid4().hex)
        found = store.load(made.token)
        found["a"] = 2
        store.save(found)
        store.rotate(found)
        assert [one.user for one in store.sessions_of(made.user)] == [made.user]
        assert store.delete(found).ended
        assert store.revoke_all(made.user) == 0


def test_the_rights_that_are_named_are_enough(cluster):
    use(cluster, FOR_SESSIONS)


@pytest.mark.parametrize("left_out", FOR_SESSIONS)
def test_none_of_them_is_too_much(cluster, left_out):
    with pytest.raises(ResponseError):
        use(cluster, [one for one in FOR_SESSIONS if one != left_out])

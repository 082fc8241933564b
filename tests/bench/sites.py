"""Whose sessions are measured: a name, how its site is made, its packages and server in `ON_SITES`.

Most peers cannot use a cluster: they get one server of the same kind that is in none.
"""

from __future__ import annotations

from tests.bench import djangos, flasks

FRAMEWORKS = ("Flask", "Django")
COOKIE = "signed-cookie"
OURS = ("clustercache", "clustercache-standalone")
CLUSTER, STANDALONE = "cluster", "standalone"

_OURS = ("clustercache", "hiredis")
_PEERS = ("redis", "hiredis")
ON_SITES = {
    "Flask": [
        (COOKIE, flasks.signed_cookie, ("Flask",), None),
        (OURS[0], flasks.clustercache, ("Flask", *_OURS), CLUSTER),
        (OURS[1], flasks.clustercache, ("Flask", *_OURS), STANDALONE),
        ("flask-session", flasks.flask_session, ("Flask-Session", *_PEERS), STANDALONE),
        (
            "flask-session-changes",
            flasks.flask_session_changes,
            ("Flask-Session", *_PEERS),
            STANDALONE,
        ),
    ],
    "Django": [
        (COOKIE, djangos.signed_cookie, ("Django",), None),
        (OURS[0], djangos.clustercache, ("Django", *_OURS), CLUSTER),
        (OURS[1], djangos.clustercache, ("Django", *_OURS), STANDALONE),
        ("django-redis", djangos.django_redis, ("django-redis", *_PEERS), STANDALONE),
        ("django-rediscache", djangos.redis_cache, ("Django", *_PEERS), STANDALONE),
    ],
}

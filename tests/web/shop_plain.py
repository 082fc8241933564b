"""The shop without a framework, as the demo has it: gunicorn shop_plain:app."""

from __future__ import annotations

import os

from clustercache import SessionStore
from clustercache.cli.demo.shop import Shop

app = Shop(SessionStore.from_url(os.environ["CLUSTERCACHE_URL"]), "")

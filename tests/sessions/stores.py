"""Stores for tests: opened at one place, closed together, and what they told."""

from __future__ import annotations

from contextlib import ExitStack
from uuid import uuid4


class Told(list):
    """The events of a store."""

    def __call__(self, event):
        self.append(event)

    def kinds(self):
        """Return the kinds of what came, in order."""
        return [one.kind for one in self]

    def reasons(self, kind):
        """Return why events of a kind were told."""
        return [one.reason for one in self if one.kind == kind]


class Places:
    """Opens stores that share their sessions, and closes them."""

    def __init__(self, kind, url):
        self._kind, self._url = kind, url
        self._prefix = f"t{uuid4().hex}"
        self._stack = ExitStack()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._stack.close()

    def open(self, **options):
        """Open one more."""
        options.setdefault("prefix", self._prefix)
        store = self._kind.from_url(self._url, **options)
        return self._stack.enter_context(store)


def expire(store, session, seconds):
    """Let time pass for a session: its key's clock and its record go on by so many seconds."""
    key = f"{store.settings.prefix}:s:{session.selector}"
    shift_key(store, key, seconds, ("_c", "_a", "_x", "_r", "_kpx", "_at"))


def shift_key(store, key, seconds, names):
    """Set the times of a hash back, and its end nearer."""
    by = int(seconds * 1000)
    if store.client is None:
        memory = memory_of(store)
        held = memory._held[key]
        held.ends -= by
        fields = {name: held.fields.get(name.encode()) for name in names}
        held.fields |= {n.encode(): str(int(v) - by).encode() for n, v in fields.items() if v}
        return
    client = store.client
    for name in names:
        if (value := client.hget(key, name)) is not None:
            client.hset(key, name, int(value) - by)
    client.pexpire(key, max(client.pttl(key) - by, 1))


def memory_of(store):
    """Return what a store at ``memory://`` holds its sessions in."""
    sent = store._sent
    return getattr(sent, "_memory", sent)

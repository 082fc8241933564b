"""What a cache asks of the servers: each call is about one key, and knows its command.

    get () -> the key's bytes, or None      set (data, ttl or None) -> True
    unlink () -> how many there were        ttl () -> as PTTL's
    take (token, lease, seen, force)
        -> [1] granted | [0, left] leased to somebody else | [2, stored] not what was seen
    fill (token, data, ttl or "") -> 1 | 0 refused: the lease is void, or somebody else's
    renew (token, lease) -> 1 | 0           release (token) -> 1 | 0
    swap (seen, data, ttl or "") -> 1 | 0 not what was seen
    token (fresh, ttl or "") -> the token that is there now
    incr (token of the only tag, delta) -> the sum's digits | None: no integer with that tag

Times are milliseconds. `seen` is the SHA-1, in hexadecimal, of what was stored besides the lease;
"" for nothing. With `force=1` a lease is taken from whoever has it, whatever is stored.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from clustercache._direct import SCRIPT_OF_ONE_KEY
from clustercache.caching.scripts import SCRIPTS

if TYPE_CHECKING:
    from collections.abc import Callable


class Call(NamedTuple):
    """One operation on one key.

    Attributes:
        op: A script's name, or one of `PLAIN`.
        key: What it is about.
        args: As above.
    """

    op: str
    key: str
    args: tuple[Any, ...] = ()

    @property
    def words(self) -> tuple[Any, ...]:
        """The command."""
        plain = PLAIN.get(self.op)
        if plain is not None:
            return plain(self)
        return (SCRIPT_OF_ONE_KEY, SCRIPTS[self.op].sha, 1, self.key, *self.args)

    @property
    def in_full(self) -> tuple[Any, ...]:
        """The command of a script, for a server that does not know it."""
        return ("EVAL", SCRIPTS[self.op].source, 1, self.key, *self.args)

    @property
    def repeatable(self) -> bool:
        """Whether it is a script that may be sent again; a client knows its own commands."""
        script = SCRIPTS.get(self.op)
        return script is not None and script.repeatable


def _set(call: Call) -> tuple[Any, ...]:
    data, ttl = call.args
    return ("SET", call.key, data) if ttl is None else ("SET", call.key, data, "PX", ttl)


PLAIN: Final[dict[str, Callable[[Call], tuple[Any, ...]]]] = {
    "get": lambda call: ("GET", call.key),
    "set": _set,
    "unlink": lambda call: ("UNLINK", call.key),
    "ttl": lambda call: ("PTTL", call.key),
}

"""The plain case: one word, one key at a fixed place. Its slot and its bytes take no table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from clustercache._core.commands import COMMANDS, Route, Safety, Split
from clustercache._core.read_from import may_read

if TYPE_CHECKING:
    from clustercache._core.commands import CommandSpec

_NO_OPTIONS = 1 << 30


def _direct(spec: CommandSpec) -> tuple[int, int, int]:
    """Return where the key is, from which length on it is not safe to send again, and the longest.

    SET is safe to send again, but SET with options may be SET NX. DEL of one key is direct.
    """
    if spec.split is not Split.NONE:
        return 1, _NO_OPTIONS, 1 + spec.width
    if spec.safety is Safety.NEVER:
        return spec.single_key, 0, _NO_OPTIONS
    options = spec.options.start if spec.options is not None else _NO_OPTIONS
    return spec.single_key, options + 1 if spec.safety_words else _NO_OPTIONS, _NO_OPTIONS


DIRECT = {
    name: _direct(spec)
    for name, spec in COMMANDS.items()
    if (spec.single_key or spec.split in {Split.VALUES, Split.SUM})
    and len(spec.words) == 1
    and spec.route is Route.KEYS
    and not spec.refused
    and not spec.blocking
}
"""By name: the key's place, the length from which on it must not be sent twice, the most args."""

SCRIPT_OF_ONE_KEY: Final = "EvalSha"
"""EVALSHA, by who knows that there is one key: servers take it in any case, and we know it here."""

DIRECT[SCRIPT_OF_ONE_KEY] = (3, 0, _NO_OPTIONS)

READS = {
    name: (place, longest)
    for name, (place, _, longest) in DIRECT.items()
    if name in COMMANDS and may_read(COMMANDS[name])
}
"""Of these, what a replica may serve: the key's place, and the most args."""

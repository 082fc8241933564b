"""How values are written: as everywhere here, but with the keys of Django's JSON sessions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clustercache._values.serializers import TaggedJSON

if TYPE_CHECKING:
    from collections.abc import Mapping

_NAMED = {True: "true", False: "false", None: "null"}


class DjangoJSON(TaggedJSON):
    """`TaggedJSON` in which a dict's numbers, booleans and None become text as keys.

    So Django's own serializer does, and so applications expect: what is put at 1 is read at "1".
    """

    __slots__ = ()

    def _dict(self, value: dict[Any, Any]) -> dict[str, Any]:
        if {*map(type, value)} <= {str}:
            return super()._dict(value)
        return super()._dict({text_key(key): one for key, one in value.items()})


def text_key(key: Any) -> Any:
    """Return a key as JSON has it; what JSON has no form for, as it is."""
    if isinstance(key, str) or not isinstance(key, (int, float, type(None))):
        return key
    if key is None or isinstance(key, bool):
        return _NAMED[key]
    return int.__repr__(key) if isinstance(key, int) else float.__repr__(key)


def text_keys(pairs: Any) -> Mapping[str, Any]:
    """Return what `dict.update` takes, with keys as JSON has them."""
    return {text_key(key): value for key, value in dict(pairs).items()}

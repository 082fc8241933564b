"""Names that mean the same thing in every process, and what is said of things without one."""

from __future__ import annotations

import sys
from functools import lru_cache
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from clustercache.exceptions import ConfigurationError

_MAIN = ("__main__", "__mp_main__")  # the latter in what multiprocessing has spawned


class Unencodable(TypeError):  # noqa: N818 - a verdict on a value; whoever knows the argument says so
    """Say that a value has no stable encoding: what it is, and what to do instead."""

    def __init__(self, what: str, advice: str) -> None:
        super().__init__(f"{what} has no stable encoding; {advice}")

    @classmethod
    def of(cls, kind: type, base: type | None) -> Unencodable:
        """Return what to say of an instance of an unknown type.

        Args:
            kind: The type.
            base: Of its bases the first one that is known.
        """
        told = f"{kind.__module__}.{kind.__qualname__}"
        ways = "register(type, encode) the type, give it a __cache_key__ method, or use key="
        if base is None:
            return cls(f"an instance of {told}", ways)
        plain = base.__qualname__
        return cls(f"{told}, a subclass of {plain},", f"pass the {plain} itself, {ways}")


def misuse(message: str) -> ConfigurationError:
    """Return the error of a wrong option; functions are decorated before redis is imported."""
    from clustercache.exceptions import ConfigurationError

    return ConfigurationError(message)


def _name_of(kind: type) -> str:
    """Return the name of a class that other processes know it by.

    Raises:
        Unencodable: It is defined inside a function: each call of that makes another one.
    """
    if "<locals>" in kind.__qualname__:
        raise Unencodable(
            f"{kind.__qualname__}, defined inside a function,", "define it outside of it"
        )
    return f"{module_of(kind)}.{kind.__qualname__}"


name_of: Callable[[type], str] = lru_cache(maxsize=1024)(_name_of)


def module_of(thing: Any) -> str:
    """Return the name of the module that a class or function is defined in.

    Every script is called ``__main__``, and two of them may share a cache: one that was started
    with ``-m`` has its module's name, another one its file's.
    """
    name = str(thing.__module__)
    main = sys.modules.get("__main__")
    if name not in _MAIN or main is None:
        return name
    spec = getattr(main, "__spec__", None)
    if spec is not None:
        return str(spec.name)
    return f"__main__({PurePath(getattr(main, '__file__', None) or '').name})"

"""A function's arguments, bound as Python would bind them, by a function compiled once for it.

``inspect.Signature.bind`` takes 3 us. What is compiled here has the function's own parameters,
so the interpreter does the binding, and returns a near key:

    (identity, element, element, ...)

An element is the argument itself where that is a str, an int or None, and else a tuple of one
item, the argument's encoding: hashable, safe from the caller's changes, and of two types never
equal (1, True and 1.0 are equal to Python). Defaults are filled in; items of ``*args`` come last,
so a key of a given identity has one reading.
"""

from __future__ import annotations

from inspect import Parameter, Signature
from typing import TYPE_CHECKING, Any, Final

from clustercache.caching.encoding import PLAIN, Encoder
from clustercache.caching.names import Unencodable

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

_STARS: Final[dict[Any, str]] = {Parameter.VAR_POSITIONAL: "*", Parameter.VAR_KEYWORD: "**"}


class Elements:
    """Turn arguments into elements, and name the argument where that cannot be done.

    Args:
        encoder: Encodes them.
        function: What errors call the function.
    """

    __slots__ = ("_encode", "_function")

    def __init__(self, encoder: Encoder, function: str) -> None:
        self._encode = encoder.encode
        self._function = function

    def of(self, value: Any, argument: str) -> tuple[bytes]:
        """Return the element for an argument that is not its own.

        Raises:
            TypeError: It has no stable encoding.
        """
        whose = f"argument {argument!r} of {self._function}()"
        return self._encoded(value, whose, f', or leave it out with ignore=("{argument}",)')

    def of_key(self, value: Any) -> Any:
        """Return the element for what the callable given as key= returned.

        Raises:
            TypeError: It has no stable encoding.
        """
        return value if type(value) in PLAIN else self._encoded(value, "what key= returned", "")

    def _encoded(self, value: Any, whose: str, other_way: str) -> tuple[bytes]:
        try:
            return (self._encode(value),)
        except Unencodable as error:
            told = str(error)
        except RecursionError:
            told = "it contains itself, or is nested too deeply"
        raise TypeError(f"{whose} gives no cache key: {told}{other_way}")


def compile_binder(
    signature: Signature,
    elements: Elements,
    identity: bytes,
    *,
    ignore: Collection[str] = (),
    qualname: str = "function",
) -> Callable[..., tuple[Any, ...]]:
    """Return a function that takes a call's arguments and returns its near key.

    Args:
        signature: The function's.
        elements: Makes the elements.
        identity: The first item of each key.
        ignore: Names of arguments that do not count.
        qualname: The function's, for the TypeError of a call that does not fit.
    """
    own = _unused(signature.parameters)
    scope = {
        f"{own}i": identity,
        f"{own}t": type,
        f"{own}p": PLAIN,
        f"{own}e": elements.of,
        f"{own}w": _without(frozenset(ignore)),
    }
    counted = [p for p in signature.parameters.values() if p.name not in ignore]
    counted.sort(key=lambda p: p.kind is Parameter.VAR_POSITIONAL)
    items = "".join(_item(p, own) for p in counted)
    return _compiled(signature, f"({own}i, {items})", scope, own, qualname)


def compile_gatherer(signature: Signature, qualname: str) -> Callable[..., dict[str, Any]]:
    """Return a function that takes a call's arguments and returns them by name."""
    names = ", ".join(f"{name!r}: {name}" for name in signature.parameters)
    return _compiled(signature, f"{{{names}}}", {}, _unused(signature.parameters), qualname)


def _compiled(
    signature: Signature, result: str, scope: dict[str, Any], own: str, qualname: str
) -> Callable[..., Any]:
    parameters = list(signature.parameters.values())
    scope |= {f"{own}{n}": p.default for n, p in enumerate(parameters)}
    # Of the caller's there are only names in it, and `inspect` has seen that they are names.
    exec(f"def {own}({_declared(parameters, own)}): return {result}", scope)  # noqa: S102
    compiled: Callable[..., Any] = scope[own]
    compiled.__qualname__ = qualname
    return compiled


def _unused(names: Collection[str]) -> str:
    """Return a beginning that none of the names has."""
    own = "_"
    while any(name.startswith(own) for name in names):
        own += "_"
    return own


def _declared(parameters: list[Parameter], own: str) -> str:
    parts: list[str] = []
    last: Any = Parameter.POSITIONAL_ONLY
    starred = False
    for n, p in enumerate(parameters):
        if last is Parameter.POSITIONAL_ONLY is not p.kind and n:
            parts.append("/")
        if p.kind is Parameter.KEYWORD_ONLY and not starred:
            parts.append("*")
        starred = starred or p.kind in {Parameter.VAR_POSITIONAL, Parameter.KEYWORD_ONLY}
        default = "" if p.default is Parameter.empty else f"={own}{n}"
        parts.append(f"{_STARS.get(p.kind, '')}{p.name}{default}")
        last = p.kind
    if parameters and last is Parameter.POSITIONAL_ONLY:
        parts.append("/")
    return ", ".join(parts)


def _item(p: Parameter, own: str) -> str:
    if p.kind is Parameter.VAR_POSITIONAL:
        return f"*[{_element(f'{own}x', p.name, own)} for {own}x in {p.name}], "
    if p.kind is Parameter.VAR_KEYWORD:
        return f"{own}e({own}w({p.name}), {p.name!r}), "
    return f"{_element(p.name, p.name, own)}, "


def _element(value: str, name: str, own: str) -> str:
    return f"{value} if {own}t({value}) in {own}p else {own}e({value}, {name!r})"


def _without(ignored: frozenset[str]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    def without(keywords: dict[str, Any]) -> dict[str, Any]:
        if ignored.isdisjoint(keywords):
            return keywords
        return {name: value for name, value in keywords.items() if name not in ignored}

    return without

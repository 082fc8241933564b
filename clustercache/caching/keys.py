"""The keys of one function's calls: near ones, for this process, and far ones, for the servers.

    call --near--> (identity, element, ...) --far--> "shop.product:" + BLAKE2b of all of it
    call --near--> ("product:5",)           --far--> "product:5"          with a template

The identity is a digest of the function's name, the version, and the names of the parameters that
count: when those change, what was stored under the old ones is not found. It is in the near key
too, so that functions may share a near cache.
"""

from __future__ import annotations

import inspect
from binascii import b2a_base64
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from clustercache.caching.arguments import Elements, compile_binder, compile_gatherer
from clustercache.caching.encoding import ENCODER, Encoder
from clustercache.caching.names import misuse, module_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

NearKey: TypeAlias = tuple[Any, ...]

_DIGEST_BYTES: Final = 20
"""2**80 tries to find two calls with one key, for whoever may choose the arguments."""

_FORMAT: Final = 1
"""Counts the changes of the encoding."""

_URL: Final = bytes.maketrans(b"+/", b"-_")


def digest(near: tuple[Any, ...]) -> bytes:
    """Return what stands for a call in far keys: 20 bytes.

    Args:
        near: The near key: an identity and elements.
    """
    encode = ENCODER.encode  # of plain values only, which are the same to each encoder
    parts = [e[0] if type(e) is tuple else encode(e) for e in near[1:]]
    return blake2b(near[0] + b"".join(parts), digest_size=_DIGEST_BYTES).digest()


class Keys:
    """Make the keys of a function's calls. Calling it returns the far key.

    Args:
        function: The function; of a method or classmethod the function inside, which is called
            with self or cls first.
        name: Stands for the function; its module and qualified name otherwise.
        version: A str or int to change when what the function returns changes its meaning.
        key: A template for the whole far key (``"product:{pk}"``), or a callable that takes the
            call's arguments and returns what counts of them: anything that can be encoded.
        ignore: Names of arguments that do not count.
        encoder: Knows the types of the arguments.

    Raises:
        ConfigurationError: The function needs a name or has no signature; `ignore` names no
            argument; the template is no good.
    """

    __slots__ = ("_head", "name", "near")

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        name: str = "",
        version: str | int | None = None,
        key: str | Callable[..., Any] | None = None,
        ignore: Collection[str] = (),
        encoder: Encoder = ENCODER,
    ) -> None:
        if isinstance(ignore, str):
            raise misuse('ignore= takes several names; write ignore=("name",)')
        if ignore and key is not None:
            raise misuse("key= says what counts, so there is nothing for ignore= to leave out")
        templated = isinstance(key, str)
        self.name = name or _name(function, needed=not templated) or str(key)
        self._head = f"{self.name}:"
        self.near: Callable[..., NearKey]
        """Takes a call's arguments and returns its near key: hashable, and cheap.

        Raises TypeError where the call does not fit the function, or an argument cannot be
        encoded.
        """
        elements = Elements(encoder, self.name)
        if callable(key):
            self.near = _by_callable(key, elements, self._identity(version, ["key="]))
            return
        signature = _signature(function, self.name)
        _check_ignored(ignore, signature)
        if isinstance(key, str):
            self.near = _by_template(key, signature, version, self.name)
            return
        counted = [_shown(p) for p in signature.parameters.values() if p.name not in ignore]
        self.near = compile_binder(
            signature,
            elements,
            self._identity(version, counted),
            ignore=ignore,
            qualname=getattr(function, "__qualname__", self.name),
        )

    def __call__(self, /, *args: Any, **kwargs: Any) -> str:
        """Return the far key of a call, or raise TypeError as `near` does."""
        return self.far(self.near(*args, **kwargs))

    def far(self, near: NearKey) -> str:
        """Return the key that a near key's value is stored under, before any namespace."""
        if isinstance(near[0], str):
            return near[0]
        text = b2a_base64(digest(near), newline=False)
        return self._head + text.translate(_URL, b"=").decode()

    def _identity(self, version: str | int | None, parameters: list[str]) -> bytes:
        told = ENCODER.encode((_FORMAT, self.name, version, parameters))
        return blake2b(told, digest_size=_DIGEST_BYTES).digest()


def _name(function: Callable[..., Any], *, needed: bool) -> str:
    """Return a function's name, or raise where several functions would share it."""
    qualname = getattr(function, "__qualname__", None)
    code = getattr(inspect.unwrap(function), "__code__", None)
    # A method that says super() has a closure of its class, and is one function all the same.
    enclosed = set(getattr(code, "co_freevars", ())) - {"__class__"}
    owner = getattr(function, "__self__", None)
    bound = owner is not None and not inspect.ismodule(owner)
    if needed and (qualname is None or "<lambda>" in qualname or enclosed or bound):
        raise misuse(
            f"{qualname or type(function).__qualname__} needs a name=, for its own is not its"
            " alone: it is a lambda, a closure, a bound method or no function"
        )
    return "" if qualname is None else f"{module_of(function)}.{qualname}"


def _signature(function: Callable[..., Any], name: str) -> inspect.Signature:
    try:
        return inspect.signature(function)
    except (TypeError, ValueError) as error:
        raise misuse(f"{name} has no signature to be seen; use key=callable") from error


def _check_ignored(ignore: Collection[str], signature: inspect.Signature) -> None:
    """Raise where an ignored name is none, unless ``**kwargs`` may take it."""
    parameters = signature.parameters
    unknown = [name for name in ignore if name not in parameters]
    if unknown and all(p.kind is not p.VAR_KEYWORD for p in parameters.values()):
        raise misuse(f"ignore= names {unknown[0]!r}, which is no parameter")


def _shown(p: inspect.Parameter) -> str:
    return f"*{p.name}" if p.kind is p.VAR_POSITIONAL else p.name


def _by_callable(
    key: Callable[..., Any], elements: Elements, identity: bytes
) -> Callable[..., NearKey]:
    def near(*args: Any, **kwargs: Any) -> NearKey:
        return identity, elements.of_key(key(*args, **kwargs))

    return near


def _by_template(
    text: str, signature: inspect.Signature, version: str | int | None, qualname: str
) -> Callable[..., NearKey]:
    from clustercache.caching.templates import Template

    suffix = "" if version is None else f"@{version}".replace("{", "{{").replace("}", "}}")
    fill = Template(text + suffix, frozenset(signature.parameters)).fill
    gather = compile_gatherer(signature, qualname)

    def near(*args: Any, **kwargs: Any) -> NearKey:
        # No text: the keys of the servers are, and what they hold is kept near by them.
        return (fill(gather(*args, **kwargs)),)

    return near

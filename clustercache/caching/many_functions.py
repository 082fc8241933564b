"""What `cached_many` makes of a function of many keys."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Final

from clustercache.caching.functions import Function
from clustercache.caching.names import misuse
from clustercache.caching.near import MISSING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from clustercache.caching.doings import Plan
    from clustercache.caching.looking import Wanted

_SINGLE: Final = ("stale", "stale_if_error", "soft_timeout", "errors")
_OWNERS: Final = frozenset({"self", "cls"})
_POSITIONAL: Final = (
    inspect.Parameter.POSITIONAL_ONLY,
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
)


class ManyFunction(Function):
    """A function of many keys; its attributes are about one key at a time."""

    def __init__(self, cache: Any, function: Any, options: Mapping[str, Any]) -> None:
        """Call nothing yet."""
        super().__init__(cache, function, options)
        parameters = list(inspect.signature(function).parameters.values())
        self._at = int(bool(parameters) and parameters[0].name in _OWNERS)
        taken = parameters[self._at : self._at + 1]
        if not taken or taken[0].kind not in _POSITIONAL:
            raise TypeError(f"{function.__qualname__} has to take its keys as the first argument")
        self._name = taken[0].name

    def plan(self, args: Any, kwargs: Any) -> tuple[dict[Any, Any], Plan | None]:
        """Return what is near, and the plan that fetches the rest, if there is any."""
        before, after = args[: self._at], args[self._at + 1 :]
        if len(args) > self._at:
            keys = args[self._at]
        elif self._name in kwargs:
            keys = kwargs.pop(self._name)
        else:
            raise TypeError(f"{self.keys.name} takes its keys as {self._name}")
        near, found = self.cache.near, {}
        lacking: list[tuple[Any, Wanted]] = []
        for key in dict.fromkeys(keys):
            one = (*before, key, *after)
            name = self.keys.near(*one, **kwargs)
            value = MISSING if near is None else near.get(name)
            if value is MISSING:
                lacking.append((key, self.wanted(name, one, kwargs)))
            else:
                self.counters.near_hits()
                found[key] = value
        if not lacking:
            return found, None

        def function(some: list[Any]) -> Any:
            return self.function(*before, some, *after, **kwargs)

        return found, self._fetched(lacking, function)

    def _fetched(
        self, lacking: Sequence[tuple[Any, Wanted]], function: Callable[[list[Any]], Any]
    ) -> Plan:
        names = [key for key, _ in lacking]
        make = self._making(names, function)
        values = yield from self.plans.fetch_many([wanted for _, wanted in lacking], make)
        return {k: v for k, v in zip(names, values, strict=True) if v is not MISSING}

    def _making(
        self, names: Sequence[Any], function: Callable[[list[Any]], Any]
    ) -> Callable[[list[int]], Any]:
        """Return what calls the function for some of the keys, and returns values by index."""

        def by_index(asked: list[int], made: Any) -> dict[int, Any]:
            if not hasattr(made, "keys"):
                raise TypeError(
                    f"{self.keys.name} has to return a mapping from keys to values, and returned"
                    f" a {type(made).__qualname__}"
                )
            return {at: made[names[at]] for at in asked if names[at] in made}

        def make(asked: list[int]) -> dict[int, Any]:
            return by_index(asked, function([names[at] for at in asked]))

        async def amake(asked: list[int]) -> dict[int, Any]:
            return by_index(asked, await function([names[at] for at in asked]))

        return amake if inspect.iscoroutinefunction(self.function) else make

    def refresh(self, /, *_: Any, **__: Any) -> Any:
        """Refuse: a function of many keys is refreshed by invalidating and calling it."""
        raise TypeError(
            "a function of many keys has no refresh: cache_invalidate(key), and call it"
        )

    def fresh(self, /, *_: Any, **__: Any) -> Any:
        """Refuse, as `refresh` does."""
        raise TypeError("a function of many keys has no fresh: use get_many(fresh=True)")


def wrapped(cache: Any, function: Any, options: Mapping[str, Any]) -> Any:
    """Return the function that answers from the cache as far as it can."""
    for name in _SINGLE:
        if options[name]:
            raise misuse(f"{name}= is for functions of single values")
    made = ManyFunction(cache, function, options)
    run = made.cache._run  # noqa: SLF001 - ours too

    def call(*args: Any, **kwargs: Any) -> Any:
        found, plan = made.plan(args, kwargs)
        return found if plan is None else found | run(plan)

    async def acall(*args: Any, **kwargs: Any) -> Any:
        found, plan = made.plan(args, kwargs)
        return found if plan is None else found | await run(plan)

    return made.dress(acall if inspect.iscoroutinefunction(function) else call)

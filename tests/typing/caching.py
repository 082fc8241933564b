"""What a user's type checker sees of caches. Checked by mypy --strict, never run."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, assert_type

from clustercache import AsyncCache, Cache, NearCache, cached
from clustercache.caching.stats import CacheStats

if TYPE_CHECKING:
    from collections.abc import Sequence

cache = Cache.from_url("memory://", namespace="shop", near=NearCache(maxsize=10), on_error="raise")
assert_type(cache, Cache)
assert_type(cache.aio, AsyncCache)
assert_type(cache.set("k", 1, ttl=5, tags=("t",)), bool)
assert_type(cache.add("k", 1), bool)
assert_type(cache.get_many(["a", "b"]), dict[str, Any])
assert_type(cache.set_many({"a": 1}), list[str])
assert_type(cache.delete("k"), bool)
assert_type(cache.delete_many(["k"]), int)
assert_type(cache.incr("k"), int)
assert_type(cache.ttl("k"), float)
assert_type(cache.touch("k", None), bool)
assert_type(cache.stats(), CacheStats)


@cache.cached(ttl=60, tags=lambda pk, lang: (f"product:{pk}",), stale=5)
def product(pk: int, lang: str = "en") -> dict[str, int]:
    return {lang: pk}


@cache.cached
async def price(pk: int) -> float:
    return float(pk)


@cached(ttl=timedelta(seconds=5))
def stock(pk: int) -> int:
    return pk


@cache.cached_many(ttl=60)
def prices(pks: Sequence[int]) -> dict[int, float]:
    return {pk: float(pk) for pk in pks}


class Shop:
    @cache.cached(ttl=60)
    def product(self, pk: int) -> str:
        return str(pk)


assert_type(product(5), dict[str, int])
assert_type(product(pk=5, lang="de"), dict[str, int])
assert_type(product.refresh(5), dict[str, int])
assert_type(product.cache_key(5, "de"), str)
assert_type(product.cache_info().hits, int)
assert_type(product.__wrapped__(5), dict[str, int])
assert_type(stock(5), int)
assert_type(prices([5]), dict[int, float])
assert_type(Shop().product(5), str)
product("5")  # type: ignore[arg-type]
product(5, language="de")  # type: ignore[call-arg]
Shop().product("5")  # type: ignore[arg-type]
cache.cached(tll=60)  # type: ignore[call-overload]


async def caching() -> None:
    async with AsyncCache.from_url("memory://") as opened:
        assert_type(opened, AsyncCache)
        assert_type(await opened.set("k", 1), bool)
        assert_type(await opened.get_many(["k"]), dict[str, Any])
        assert_type(await opened.incr("k"), int)
        assert_type(await price(5), float)
        await price("5")  # type: ignore[arg-type]

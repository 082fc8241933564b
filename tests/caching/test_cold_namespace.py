"""A namespace without tokens yet: a value may be read after its fill, and its token before that."""

from __future__ import annotations

import pytest

from clustercache import Cache, NearCache
from clustercache.caching.doings import Ask, Compute, Look
from clustercache.caching.reading import Untracked
from clustercache.exceptions import ConfigurationError, OutcomeUnknownError


def test_a_value_that_was_read_before_its_token_is_not_made_twice():
    cache = Cache.from_url("memory://")
    made = []
    wanted = cache._wanted("key", make=lambda: made.append(1) or "value")
    assert cache._run(cache._plans.fetch(wanted)) == "value"
    plan = cache._plans.fetch(wanted)
    doing, steps, answer = next(plan), [], None
    while answer is None:
        steps.append(type(doing))
        result = cache._do(doing)
        if steps == [Look]:
            result = [result[0], Untracked(None)]  # its token came a moment later
        try:
            doing = plan.send(result)
        except StopIteration as end:
            answer = end.value
    assert answer == "value"
    assert made == [1]
    assert steps == [Look, Ask, Ask, Look]
    assert Compute not in steps


def test_what_is_no_near_cache_is_refused():
    with pytest.raises(ConfigurationError, match="near= takes a NearCache"):
        Cache.from_url("memory://", near=NearCache)


def test_a_set_whose_token_was_asked_for_in_vain_asks_again():
    cache = Cache.from_url("memory://")
    plan = cache._plans.store({cache._wanted("key"): "value"})
    lost = [True, OutcomeUnknownError("the reply was lost", command="EVALSHA")]
    cache._do(next(plan))
    again = plan.send(lost)
    with pytest.raises(StopIteration):
        plan.send(cache._do(plan.send(cache._do(again))))
    assert cache.get("key") == "value"

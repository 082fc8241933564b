"""docs/caching.md: its tables are made from what the code says of each option.

`python -m tests.docs.test_caching` writes them anew.
"""

from __future__ import annotations

import inspect
import re
from dataclasses import MISSING, fields
from pathlib import Path

import pytest

from clustercache.caching.base import DEFAULT
from clustercache.caching.decorating import CachedFunction, Options
from clustercache.caching.functions import _DEFAULTS
from clustercache.caching.near import NearCache
from clustercache.caching.settings import CacheSettings

PAGE = Path(__file__).resolve().parents[2] / "docs" / "caching.md"
ARGUMENT = re.compile(r"^    (\w+): (.*(?:\n {8}.*)*)", re.MULTILINE)


def meanings(thing, heading):
    """What a docstring says of each option."""
    _, _, text = inspect.getdoc(thing).partition(f"{heading}:\n")
    text = text.partition("\nRaises:")[0]
    return {name: " ".join(told.split()) for name, told in ARGUMENT.findall(text)}


def shown(default):
    if default is DEFAULT or default is MISSING:
        return "the cache's"
    if default in ((), ""):
        return "none"
    text = f"{default:g}" if isinstance(default, float) else f"{default!r}"
    return "`" + text.replace("'", '"') + "`"


def options():
    told = meanings(Options, "Attributes")
    own = {"serializer", "wait", "lease"}
    return {n: ("the cache's" if n in own else shown(_DEFAULTS[n]), told[n]) for n in told}


def settings():
    told = meanings(CacheSettings, "Args")
    return {one.name: (shown(one.default), told[one.name]) for one in fields(CacheSettings)}


def near():
    told = meanings(NearCache, "Args")
    parameters = inspect.signature(NearCache).parameters
    return {name: (shown(parameters[name].default), told[name]) for name in told}


def attributes():
    yield "`__wrapped__`", "The function itself."
    yield "`cache`", meanings(CachedFunction, "Attributes")["cache"]
    for name, one in vars(CachedFunction).items():
        if inspect.isfunction(one) and not name.startswith("_"):
            names = ", ".join(
                parameter.name.replace("args", "...")
                for parameter in inspect.signature(one).parameters.values()
                if parameter.kind is parameter.VAR_POSITIONAL
            )
            yield f"`{name}({names})`", inspect.getdoc(one)


TABLES = {"options": options, "near": near, "settings": settings}


def table(name):
    if name == "attributes":
        yield "| attribute | what it is or does |"
        yield "|---|---|"
        yield from (f"| {attribute} | {told} |" for attribute, told in attributes())
        return
    yield "| option | default | meaning |"
    yield "|---|---|---|"
    for option, (default, told) in TABLES[name]().items():
        yield f"| `{option}` | {default} | {told} |"


def written():
    text = PAGE.read_text(encoding="utf-8")
    for name in (*TABLES, "attributes"):
        begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->\n"
        before, _, rest = text.partition(begin)
        _, _, after = rest.partition(end)
        text = before + begin + "\n".join(table(name)) + "\n" + end + after
    return text


def test_the_page_has_the_tables_of_the_code():
    assert PAGE.read_text(encoding="utf-8") == written()


@pytest.mark.parametrize(
    ("told", "known"),
    [
        (meanings(Options, "Attributes"), _DEFAULTS),
        (meanings(Options, "Attributes"), Options.__annotations__),
        (meanings(CacheSettings, "Args"), CacheSettings.__dataclass_fields__),
        (meanings(NearCache, "Args"), inspect.signature(NearCache).parameters),
    ],
    ids=["defaults", "options", "settings", "near"],
)
def test_every_option_has_its_meaning(told, known):
    assert set(told) == set(known)


if __name__ == "__main__":
    PAGE.write_text(written(), encoding="utf-8")

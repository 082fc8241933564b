"""A key is the same in every process and in every Python, and two values never share one."""

from __future__ import annotations

import math
import os
import shutil
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clustercache.caching.encoding import ENCODER
from clustercache.caching.keys import Keys
from tests.caching import key_printer

ROOT = Path(__file__).parents[2]
SCRIPT = Path(key_printer.__file__)
PYTHONS = ["python3.11", "python3.12", "python3.13", "python3.14"]


@pytest.fixture
def interpreter(request):
    """Return a Python and the environment that it starts in, or skip where there is none."""
    found = shutil.which(request.param)
    # Where pyenv's shims are on the path, they start what this names.
    chosen = {"PYENV_VERSION": request.param.removeprefix("python")}
    options = {"env": os.environ | chosen, "capture_output": True, "timeout": 60}
    if not found or subprocess.run([found, "-c", ""], check=False, **options).returncode:
        pytest.skip(f"there is no {request.param} here")
    return found, chosen


def printed(*arguments, python=sys.executable, seed="0", cwd=ROOT, **environment):
    """Return the lines that the printer prints in a process of its own."""
    ours = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    done = subprocess.run(
        [python, *arguments],
        env=ours | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)} | environment,
        cwd=cwd,
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("seed", ["1", "2", "random"])
def test_a_key_is_the_same_under_every_hash_seed(seed):
    assert printed(SCRIPT, seed=seed) == list(key_printer.lines())


@pytest.mark.parametrize("interpreter", PYTHONS, indirect=True)
def test_a_key_is_the_same_in_every_python(interpreter):
    python, chosen = interpreter
    run = printed("-m", "tests.caching.key_printer", python=python, **chosen)
    assert run == list(key_printer.lines())


def test_keys_of_today_are_found_tomorrow():
    keys = Keys(key_printer.product, name="product")
    assert keys(5) == "product:qNfxNlLM2PDxAddarmModUPxKsQ"
    assert keys("Zoë", {1, "a"}, lang=None, x=b"") == "product:ytLVjQedD0MFu3UsfVMm0GJswpk"


def test_a_module_that_is_run_has_its_imported_name():
    run = printed("-m", "tests.caching.key_printer", "own", seed="1")
    code = "from tests.caching import key_printer; print(*key_printer.own(), sep='\\n')"
    assert run == printed("-c", code, seed="2")
    assert run[0].startswith("tests.caching.key_printer.Record.load:")


def test_a_script_has_its_files_name():
    run = printed(SCRIPT, "own", seed="1")
    assert run == printed(SCRIPT, "own", seed="2", cwd="/")
    assert run[0].startswith("__main__(key_printer.py).Record.load:")


def test_a_spawned_process_has_its_parents_keys():
    assert printed(SCRIPT, "spawn") == ["True"]
    assert printed("-m", "tests.caching.key_printer", "spawn") == ["True"]


def test_functions_are_decorated_without_redis():
    code = "import sys, clustercache.caching.keys; print('redis' in sys.modules)"
    assert printed("-c", code) == ["False"]


def brief(strategy):
    """Return a strategy that Hypothesis shows by its name, and not by all that is in it."""
    return st.composite(lambda draw: draw(strategy))()


text = st.text(st.characters(codec=None, exclude_categories=()), max_size=8)
leaves = brief(
    st.none()
    | st.booleans()
    | st.integers(-2, 2)
    | st.integers()
    | st.sampled_from([0.0, -0.0, 1.0, math.nan, math.inf])
    | st.floats()
    | text
    | st.sampled_from(["N", "i1;", "s1:", "()", ")", ";", "1"])
    | st.binary(max_size=4)
    | st.decimals(allow_nan=False)
    | st.sampled_from(list(map(Decimal, ["NaN", "1.0", "1"])))
    | st.uuids()
    | st.datetimes(timezones=st.none() | st.timezones())
    | st.times()
    | st.dates()
    | st.timedeltas()
)
hashables = brief(
    st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=3).map(tuple) | st.frozensets(inner, max_size=3),
    )
)
values = brief(
    st.recursive(
        hashables,
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.lists(inner, max_size=3).map(tuple)
            | st.dictionaries(hashables, inner, max_size=3)
            | st.sets(hashables, max_size=3)
        ),
        max_leaves=8,
    )
)


def shown(value):
    """Return what tells values apart to a reader: written slowly, and by other rules."""
    kind = type(value)
    if kind in {set, frozenset}:
        return kind.__name__ + str(sorted(map(shown, value)))
    if kind is dict:
        return "dict" + str(sorted((shown(k), shown(v)) for k, v in value.items()))
    if kind in {list, tuple}:
        return kind.__name__ + str([shown(item) for item in value])
    return f"{kind.__name__} {'nan' if kind is float and math.isnan(value) else value!r}"


@given(values, values)
def test_two_values_share_an_encoding_only_if_they_are_the_same(one, other):
    assert (ENCODER.encode(one) == ENCODER.encode(other)) == (shown(one) == shown(other))


@given(st.lists(values, max_size=4), st.lists(values, max_size=4))
def test_no_encoding_is_the_beginning_of_another(ones, others):
    joined = [b"".join(map(ENCODER.encode, items)) for items in (ones, others)]
    assert (joined[0] == joined[1]) == (shown(ones) == shown(others))


@given(
    st.lists(values, min_size=1, max_size=4),
    st.lists(values, min_size=1, max_size=4),
    st.dictionaries(st.sampled_from("xyz"), values, max_size=2),
)
def test_near_keys_agree_with_far_keys(ones, others, keywords):
    keys = Keys(key_printer.product)
    near, near2 = keys.near(*ones), keys.near(*others, **keywords)
    assert (near == near2) == (keys.far(near) == keys.far(near2))
    assert (near == near2) == (shown([ones, {}]) == shown([others, keywords]))

"""What is asked for by Zipf's law, and how what it came to is drawn."""

from __future__ import annotations

import json
from collections import Counter
from xml.etree import ElementTree as ET

import pytest

from tests.bench.caching_zipf import EXPONENTS, SHARES, Figures, asked_for, charts, main, shown
from tests.bench.charts import Chart, drawn

SVG = "{http://www.w3.org/2000/svg}"
FIGURES = [
    Figures(exponent, share, near=900 * share, commands=2000 - share, computed=9.0, cpu=50.0)
    for exponent in EXPONENTS
    for share in SHARES
]


def texts(svg):
    return [node.text for node in ET.fromstring(svg).iter(f"{SVG}text")]


def test_the_second_is_asked_for_half_as_often_as_the_first():
    numbers = asked_for(100, 100_000, 1.0)
    assert numbers == asked_for(100, 100_000, 1.0)
    (_, first), (_, second), *_ = Counter(numbers).most_common()
    assert first / second == pytest.approx(2, rel=0.1)
    assert {*numbers} == {*range(100)}


def test_a_higher_exponent_asks_for_fewer_things():
    most = [Counter(asked_for(1000, 10_000, s)).most_common(1)[0][1] for s in EXPONENTS]
    assert most == sorted(most)
    assert most[-1] > 3 * most[0]


def test_each_line_has_its_points_and_its_name():
    chart = Chart(
        "a < b", "share", ("0", "1"), {"up": [0.0, 50.0], "down": [100.0, 49.0]}, 100, "%"
    )
    svg = drawn([chart, chart], "a caption & more")
    found = ET.fromstring(svg)
    assert len(list(found.iter(f"{SVG}polyline"))) == 4
    assert len(list(found.iter(f"{SVG}circle"))) == 8
    said = texts(svg)
    assert {"a < b", "share", "0", "1", "up", "down", "100%", "a caption & more"} <= {*said}
    up, down = (
        next(float(n.get("y")) for n in found.iter(f"{SVG}text") if n.text == name)
        for name in ("up", "down")
    )
    assert down - up == 15  # their lines end nearly at one point


def test_names_of_lines_that_end_low_stay_above_the_ticks():
    chart = Chart("low", "share", ("0", "1"), {name: [9.0, 0.0] for name in "abc"}, 100)
    nodes = list(ET.fromstring(drawn([chart], "caption")).iter(f"{SVG}text"))
    tick = next(float(node.get("y")) for node in nodes if node.text == "1")
    names = [float(node.get("y")) for node in nodes if node.text in {*"abc"}]
    assert [tick - y for y in names] == [46, 31, 16]


def test_the_picture_has_a_line_for_each_exponent_and_a_tick_for_each_size():
    said = texts(drawn(charts(FIGURES, 1000), "caption"))
    for exponent in EXPONENTS:
        assert said.count(f"s = {exponent:g}") == 2
    assert said.count("none") == said.count("30%") == 2
    assert said.count("computed") == 1
    assert "2,000" in said


def test_the_table_has_a_line_for_each_run():
    lines = list(shown(FIGURES))
    assert len(lines) == 1 + len(FIGURES)
    assert lines[-1].split() == ["1.3", "100%", "900.0", "1,999.0", "9.0", "50.0"]


@pytest.mark.live
@pytest.mark.bench
@pytest.mark.timeout(120)
def test_a_near_cache_answers_more_the_more_fits_into_it(tmp_path):
    out, figures = tmp_path / "images" / "near.svg", tmp_path / "figures.json"
    found = main(["--keys=100", "--calls=400", f"--out={out}", f"--json={figures}"])
    assert len(json.loads(figures.read_text())) == len(found) == len(EXPONENTS) * len(SHARES)
    ET.fromstring(out.read_text())
    for exponent in EXPONENTS:
        runs = [one for one in found if one.exponent == exponent]
        assert runs[0].near == 0
        assert runs[-1].near > runs[-2].near > runs[1].near >= 0
        assert runs[-1].commands < runs[0].commands

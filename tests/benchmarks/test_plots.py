from __future__ import annotations

import math
import re
from itertools import pairwise
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.plots import Axis, Line, decades, plot, shown, steps

POSITIVE = st.floats(1e-3, 1e7)
LINES = [Line("gateway, p50", [(100, 1.0), (200, 3.0)]), Line("a < b", [(100, 2.0)], dashed=True, colour=1)]


def drawn(lines=LINES, **options) -> str:
    return plot("Latency", Axis("load (requests/s)"), Axis("latency (ms)", **options), lines)


def test_a_picture_names_its_title_its_axes_with_units_and_its_lines():
    texts = [element.text for element in ET.fromstring(drawn()).iter("{http://www.w3.org/2000/svg}text")]
    for text in ("Latency", "load (requests/s)", "latency (ms)", "gateway, p50", "a < b"):
        assert text in texts


def test_it_has_colours_for_light_and_for_dark_paper():
    assert "@media (prefers-color-scheme: dark){.paper{fill:" in drawn()


def test_what_belongs_to_another_line_is_broken():
    assert len(re.findall(r'class="line c1 dashed"', drawn())) == 2


def test_a_long_legend_goes_on_in_another_row():
    lines = [Line("a name of thirty characters or so", [(1, 1.0)]) for _ in range(4)]
    places = re.findall(r'<path class="line c0" d="M(\d+) (\d+)h24"/>', drawn(lines))
    assert places == [("72", "44"), ("351", "44"), ("72", "64"), ("351", "64")]


@settings(max_examples=30)
@given(st.lists(st.tuples(POSITIVE, POSITIVE), min_size=1, max_size=20), st.booleans())
def test_every_point_lies_within_the_plot(points, logarithmic):
    svg = drawn([Line("a", points)], logarithmic=logarithmic)
    places = [(float(x), float(y)) for x, y in re.findall(r'cx="([\d.]+)" cy="([\d.]+)"', svg)]
    assert len(places) == len(points)
    assert all(72 <= x <= 680 and 84 <= y <= 344 for x, y in places)


@given(POSITIVE)
def test_steps_begin_at_nothing_and_reach_the_highest(highest):
    found = steps(highest)
    assert found[0] == 0
    assert found[-2] < highest * (1 + 1e-6)
    assert found[-1] >= highest * (1 - 1e-6)
    assert 3 <= len(found) <= 7


@given(POSITIVE, POSITIVE)
def test_decades_hold_what_lies_between(first, second):
    low, high = sorted((first, second))
    found = decades(low, high)
    assert found[0] <= low * (1 + 1e-6)
    assert found[-1] >= high * (1 - 1e-6)
    assert all(math.isclose(later / earlier, 10) for earlier, later in pairwise(found))


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.1, "0.1"), (12.5, "12.5"), (10.0, "10"), (1e5, "100,000"), (2500.0, "2,500"), (1e6, "1 M"), (1.5e6, "1.5 M")],
)
def test_a_value_is_written_as_people_read_it(value, text):
    assert shown(value) == text


@pytest.mark.parametrize("lines", [[], [Line("a", [])], [Line("a", [(1.0, 0.0)])]])
def test_what_has_no_place_on_an_axis_is_refused(lines):
    with pytest.raises(ValueError, match="an axis needs values"):
        drawn(lines, logarithmic=True)

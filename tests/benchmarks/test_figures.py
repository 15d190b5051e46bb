from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.figures import Spread, Target, across, quantile, ratios, spread

VALUES = st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=50)


def test_a_spread_is_the_median_and_the_range():
    assert spread([3.0, 1.0, 2.0, 9.0]) == Spread(2.5, 1.0, 9.0)


def test_a_spread_of_nothing_is_refused():
    with pytest.raises(ValueError, match="no value"):
        spread([])


@given(VALUES)
def test_a_median_lies_within_its_range(values):
    found = spread(values)
    assert found.low <= found.median <= found.high


def test_a_ratio_is_taken_round_by_round():
    assert ratios([10.0, 30.0], [20.0, 120.0]) == [0.5, 0.25]


def test_ratios_want_as_many_rounds_of_the_yardstick():
    with pytest.raises(ValueError, match="zip"):
        ratios([1.0, 2.0], [1.0])


def test_a_yardstick_that_measured_nothing_is_refused():
    with pytest.raises(ValueError, match="measured nothing"):
        ratios([1.0], [0.0])


@given(VALUES)
def test_a_yardstick_beside_itself_is_one(values):
    assert set(ratios(values, values)) == {1.0}


@pytest.mark.parametrize(
    ("share", "expected"), [(0.01, 1.0), (0.25, 1.0), (0.26, 2.0), (0.5, 2.0), (0.75, 3.0), (0.99, 4.0), (1.0, 4.0)]
)
def test_a_quantile_is_the_smallest_value_that_the_share_does_not_exceed(share, expected):
    assert quantile([4.0, 2.0, 1.0, 3.0], share) == expected


@given(VALUES, st.floats(0.001, 1.0))
def test_a_quantile_is_one_of_the_values_and_covers_its_share(values, share):
    found = quantile(values, share)
    assert found in values
    assert sum(value <= found for value in values) >= share * len(values) - 1e-9


@pytest.mark.parametrize(("values", "share"), [([], 0.5), ([1.0], 0.0), ([1.0], 1.1)])
def test_a_quantile_of_nothing_or_of_an_impossible_share_is_refused(values, share):
    with pytest.raises(ValueError, match="quantile"):
        quantile(values, share)


def test_across_is_the_largest_over_the_smallest_of_each_round():
    assert across([[1.0, 2.0], [3.0, 2.0], [2.0, 8.0]]) == [3.0, 4.0]


@pytest.mark.parametrize(
    ("target", "value", "reached"),
    [
        (Target(0.2, at_least=True), 0.2, True),
        (Target(0.2, at_least=True), 0.199, False),
        (Target(5.0, at_least=False), 5.0, True),
        (Target(5.0, at_least=False), 5.01, False),
    ],
)
def test_a_bound_itself_is_within(target, value, reached):
    assert target.reached(value) is reached


def test_a_target_says_its_direction():
    assert (str(Target(0.2, at_least=True)), str(Target(150.0, at_least=False))) == ("≥ 0.2", "≤ 150")

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.figures import Spread, Target, Verdict, across, again, noise, quantile, ratios, spread

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


@pytest.mark.parametrize(
    ("value", "floor", "verdict"),
    [
        (0.41, 0.0, Verdict.AIM),
        (0.33, 0.0, Verdict.REACHED),
        (0.32, 0.0, Verdict.MISSED),
        (0.32, 0.05, Verdict.NOISE),
        (0.31, 0.05, Verdict.MISSED),
    ],
)
def test_a_target_is_missed_only_beyond_the_noise(value, floor, verdict):
    assert Target(0.33, at_least=True, aim=0.40).verdict(value, floor) is verdict


@pytest.mark.parametrize(("value", "verdict"), [(1.9, Verdict.AIM), (3.2, Verdict.NOISE), (3.4, Verdict.MISSED)])
def test_so_is_one_that_is_the_more_reached_the_smaller_the_figure(value, verdict):
    assert Target(3.0, at_least=False, aim=2.0).verdict(value, 0.1) is verdict


@given(st.floats(0.01, 100), st.floats(0.01, 100), st.floats(0, 1), st.booleans())
def test_noise_never_turns_what_is_reached_into_a_miss(value, bound, floor, at_least):
    target = Target(bound, at_least=at_least)
    assert target.reached(value) is (target.verdict(value, floor) is Verdict.REACHED)


@pytest.mark.parametrize(
    ("repeated", "expected"),
    [([1.0, 1.0, 1.0], 0.0), ([0.9, 1.0, 1.1], 0.1), ([1.2, 1.2, 1.2], 0.2), ([1.0, 2.0, 3.0], 1.0)],
)
def test_the_noise_is_half_the_range_or_the_medians_distance(repeated, expected):
    assert round(noise(repeated), 9) == expected


def test_the_second_measurement_has_the_first_ones_name():
    assert again("bare") == "bare, again"

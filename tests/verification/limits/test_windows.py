"""Fixed windows, as a rule of plain Python."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.verification.limits.windows import OFF, Window, quota, rests

TIMES = st.lists(st.floats(0, 100).map(lambda step: round(step, 2)), min_size=1, max_size=30)


def test_a_new_window_counts_nothing():
    assert Window().at(0.0) == 0


def test_a_window_begins_with_the_first_and_ends_where_it_began_to_end():
    window = Window().claimed(1000.0, 600.0).claimed(1500.0, 600.0)
    assert window == Window(2, 1600.0)
    assert (window.at(1599.9), window.at(1600.0)) == (2, 0)
    assert window.claimed(1600.0, 600.0) == Window(1, 2200.0)


@settings(max_examples=40)
@given(TIMES)
def test_no_window_is_ever_prolonged_and_its_count_is_of_what_lies_in_it(steps):
    window, now, inside = Window(), 0.0, 0
    for step in steps:
        now += step
        inside = inside + 1 if window.until > now else 1
        before, window = window, window.claimed(now, 60.0)
        assert window.until == (before.until if before.until > now else now + 60.0)
        assert window.at(now) == inside


@settings(max_examples=40)
@given(TIMES)
def test_what_is_given_back_leaves_the_window_as_if_it_had_never_been_counted(steps):
    window, now = Window(), 0.0
    for step in steps:
        now += step
        window = window.claimed(now, 60.0)
    assert window.given_back(now, 60.0).at(now) == window.at(now) - 1


@pytest.mark.parametrize("at", [999.0, 1600.0, 2000.0])
def test_what_was_counted_in_another_window_takes_nothing_from_this_one(at):
    window = Window(3, 1600.0)
    assert window.given_back(at, 600.0) == window


def test_an_empty_window_gives_nothing_back():
    assert Window(0, 1600.0).given_back(1500.0, 600.0) == Window(0, 1600.0)


def test_a_limit_of_0_is_off():
    assert (quota(0), quota(5)) == (OFF, 5)


@pytest.mark.parametrize(
    ("sends", "approved", "expected"),
    [(19, 0, False), (20, 0, True), (20, 1, True), (20, 2, False), (29, 2, True), (30, 3, False)],
)
def test_a_block_rests_with_twenty_sends_and_less_than_a_tenth_of_them_approved(sends, approved, expected):
    assert rests(sends, approved) is expected

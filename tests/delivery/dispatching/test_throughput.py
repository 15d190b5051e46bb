"""What a channel settles is measured while more waits, and known soon enough to refuse what would die."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.delivery.dispatching.throughput import LONGEST_SPAN, STALE, STANDSTILL, WEIGHT, Throughput

INFINITE = float("inf")


def measured(per_second: int, *, slots: int = 10) -> Throughput:
    """One whose first second was measured."""
    throughput = Throughput(slots)
    throughput.begin(0.0)
    throughput.settled += per_second
    throughput.look(1.0)
    return throughput


def passed(throughput: Throughput, start: float, seconds: float, *, every: float = 0.1, number: int = 0) -> float:
    """Let time go by in which ``number`` are settled each ``every`` seconds; return when that is over."""
    steps = round(seconds / every)
    for step in range(1, steps + 1):
        throughput.settled += number
        throughput.watch(start + step * every)
        if step % round(1.0 / every) == 0:
            throughput.look(start + step * every)
    return start + steps * every


def test_nothing_is_known_of_an_idle_channel():
    throughput = Throughput(10)
    throughput.settled += 1000
    throughput.look(5.0)
    assert throughput.rate(5.0) == INFINITE


def test_what_is_settled_in_a_second_of_waiting_is_the_rate():
    throughput = measured(200)
    assert throughput.rate(1.0) == 200.0


def test_a_measurement_takes_a_second():
    throughput = Throughput(1)
    throughput.begin(0.0)
    throughput.settled += 1
    throughput.look(0.9)
    assert throughput.rate(0.0) == INFINITE
    throughput.look(1.0)
    assert throughput.rate(1.0) == 1.0


def test_until_something_is_settled_a_slow_channel_is_judged_by_the_time_that_takes():
    throughput = Throughput(10)
    throughput.begin(0.0)
    assert throughput.rate(0.0) == INFINITE
    assert [throughput.rate(seconds) for seconds in (0.1, 1.0, 5.0)] == [100.0, 10.0, 2.0]


def test_a_slow_channel_is_measured_once_every_slot_was_settled():
    throughput = Throughput(10)
    throughput.begin(0.0)
    for second in range(1, 6):
        throughput.look(float(second))
    throughput.settled += 10
    throughput.look(5.0)
    assert throughput.rate(5.0) == 2.0


def test_a_dead_channel_is_measured_in_the_end():
    throughput = Throughput(10)
    throughput.begin(0.0)
    throughput.look(LONGEST_SPAN)
    assert throughput.rate(LONGEST_SPAN) == 0.0


def test_a_new_measurement_is_weighed_against_those_before():
    throughput = measured(100)
    throughput.settled += 200
    throughput.look(2.0)
    assert throughput.rate(2.0) == pytest.approx(200 * WEIGHT + 100 * (1 - WEIGHT))


def test_a_channel_that_became_slow_is_believed_before_the_measurement_ends():
    throughput = measured(1000)
    assert throughput.rate(1.5) == 20.0


def test_what_waits_no_longer_is_not_measured_and_the_last_figure_stands():
    throughput = measured(100)
    throughput.stop()
    throughput.look(9.0)
    assert (throughput.measuring, throughput.rate(9.0)) == (False, 100.0)


def test_a_figure_of_long_ago_says_nothing():
    throughput = measured(100)
    throughput.stop()
    assert throughput.rate(1.0 + STALE) == 100.0
    assert throughput.rate(1.1 + STALE) == INFINITE
    throughput.begin(100.0)
    throughput.settled += 30
    throughput.look(101.0)
    assert throughput.rate(101.0) == 30.0


def test_a_measurement_that_is_under_way_is_not_begun_again():
    throughput = Throughput(1)
    throughput.begin(0.0)
    throughput.settled += 10
    throughput.begin(0.9)
    throughput.look(1.0)
    assert throughput.rate(1.0) == 10.0


def test_a_channel_that_was_dead_and_drained_what_waited_is_not_thought_dead():
    throughput = Throughput(10)
    throughput.begin(0.0)
    throughput.look(LONGEST_SPAN)
    throughput.settled += 30
    throughput.drained(LONGEST_SPAN + 2.0)
    assert (throughput.measuring, throughput.rate(LONGEST_SPAN + 5.0)) == (False, 15.0)


def test_a_burst_that_is_gone_at_once_says_no_more_than_a_second_does():
    throughput = Throughput(10)
    throughput.begin(0.0)
    throughput.look(LONGEST_SPAN)
    throughput.settled += 3
    throughput.drained(LONGEST_SPAN + 0.001)
    assert throughput.rate(LONGEST_SPAN + 1.0) == 3.0


def test_a_trickle_that_leaves_nothing_waiting_does_not_lower_the_figure():
    throughput = measured(100)
    throughput.settled += 1
    throughput.drained(2.0)
    throughput.drained(3.0)
    assert throughput.rate(3.0) == 100.0


def test_what_was_measured_can_be_forgotten():
    throughput = measured(100)
    throughput.forget()
    assert (throughput.measuring, throughput.rate(1.0)) == (False, INFINITE)


@settings(max_examples=20)
@given(lasted=st.floats(0.5, 25.0), per_second=st.integers(50, 1000), flowed=st.floats(1.0, 5.0))
def test_a_standstill_that_is_over_does_not_make_a_channel_slow(lasted, per_second, flowed):
    throughput = Throughput(10)
    throughput.begin(0.0)
    number = per_second // 10
    now = passed(throughput, passed(throughput, 0.0, flowed, number=number), lasted)
    now = passed(throughput, now, 0.1, number=number)
    assert throughput.rate(now) == pytest.approx(number * 10, rel=0.02)
    assert throughput.stands_still(now) == 0.0
    assert throughput.rate(passed(throughput, now, 2.0, number=number)) == pytest.approx(number * 10, rel=0.1)


def test_one_that_lasts_is_told_and_bounds_the_rate():
    throughput = Throughput(10)
    throughput.begin(0.0)
    now = passed(throughput, passed(throughput, 0.0, 1.5, number=10), 3.0)
    assert throughput.stands_still(now) == pytest.approx(3.0)
    assert throughput.rate(now) == pytest.approx((50 + 10) / 3.5)
    assert throughput.measured == pytest.approx(100.0)


def test_after_a_standstill_of_what_was_not_measured_yet_it_is_measured_anew():
    throughput = Throughput(10)
    throughput.begin(0.0)
    now = passed(throughput, passed(throughput, 0.0, 0.5, number=10), 5.0)
    assert (throughput.stands_still(now), throughput.measured) == (0.0, 0.0)
    assert throughput.rate(passed(throughput, now, 1.0, number=10)) == pytest.approx(100.0, rel=0.2)


def test_a_provider_that_became_slow_is_found_out_at_its_second_standstill():
    throughput = measured(100)
    now = 1.0
    for _ in range(3):
        now = passed(throughput, now, 10.0)
        now = passed(throughput, now, 0.1, number=10)
    assert throughput.rate(now) < 100.0 * (1 - WEIGHT) + 2.0
    assert throughput.rate(now + 9.0) == pytest.approx(10 / 9.0, rel=0.1)


def test_the_time_that_all_slots_take_is_no_standstill():
    throughput = Throughput(10)
    throughput.begin(0.0)
    throughput.settled += 20
    throughput.look(10.0)
    now = passed(throughput, 10.0, 9.0)
    assert now - 10.0 > STANDSTILL
    assert throughput.rate(now) == pytest.approx(10 / 9.0)
    assert throughput.stands_still(now) == 0.0


def test_a_channel_that_was_dead_and_settles_again_is_not_dead():
    throughput = Throughput(10)
    throughput.begin(0.0)
    throughput.look(LONGEST_SPAN)
    throughput.settled += 5
    assert throughput.rate(LONGEST_SPAN + 0.5) == 30.0
    throughput.settled += 5
    throughput.look(LONGEST_SPAN + 1.0)
    assert throughput.rate(LONGEST_SPAN + 1.0) == 10.0


def test_many_short_standstills_are_measured_with_what_is_settled_between():
    throughput = measured(1000)
    now = 1.0
    for _ in range(20):
        now = passed(throughput, passed(throughput, now, 0.5, number=50), 0.5)
        throughput.look(now)
    assert throughput.measured == pytest.approx(275.0, rel=0.3)

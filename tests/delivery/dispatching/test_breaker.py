"""A breaker opens where most sends fail, tries again carefully, and stops where the configuration is refused."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.delivery.dispatching.breaker import (
    ENOUGH,
    OPEN_TIME,
    STOP_TIME,
    WINDOW,
    Breaker,
    Change,
    Entry,
    State,
    Verdict,
)

WORKED, FAILED, REFUSED, SILENT = Verdict.WORKED, Verdict.FAILED, Verdict.REFUSED, Verdict.SILENT


def after(*verdicts: Verdict, now: float = 0.0) -> Breaker:
    breaker = Breaker()
    for verdict in verdicts:
        breaker.record(verdict, now)
    return breaker


def opened(now: float = 0.0) -> Breaker:
    return after(*[FAILED] * ENOUGH, now=now)


def ramping(now: float = OPEN_TIME) -> Breaker:
    breaker = opened()
    breaker.admit(now)
    breaker.record(WORKED, now, probe=True)
    return breaker


def stopped(now: float = 0.0) -> Breaker:
    return after(REFUSED, now=now)


def test_a_new_one_lets_everything_through():
    breaker = Breaker()
    assert (breaker.state, breaker.calm, breaker.admit(0.0)) == (State.OK, True, Entry.FREE)
    assert (breaker.refuses(0.0), breaker.wait(0.0), breaker.part(0.0)) == (False, 0.0, 1.0)


def test_half_of_twenty_failing_opens_it():
    breaker = after(*[WORKED] * 10, *[FAILED] * 9)
    assert breaker.calm
    assert breaker.record(FAILED, 0.0) is Change.OPENED
    assert (breaker.state, breaker.calm, breaker.admit(0.0)) == (State.OPEN, False, Entry.REFUSED)
    assert (breaker.refuses(9.9), breaker.wait(4.0)) == (True, 6.0)


def test_fewer_than_twenty_say_too_little():
    assert after(*[FAILED] * (ENOUGH - 1)).calm


def test_less_than_half_failing_is_borne():
    breaker = after(*[WORKED] * 11, *[FAILED] * 10)
    assert breaker.calm


def test_failures_of_long_ago_are_forgotten():
    breaker = after(*[FAILED] * (ENOUGH - 1))
    assert breaker.record(FAILED, WINDOW) is None
    assert breaker.calm


def test_what_says_nothing_counts_for_nothing():
    breaker = after(*[FAILED] * (ENOUGH - 1), *[SILENT] * 50)
    assert breaker.calm
    assert breaker.record(FAILED, 0.0) is Change.OPENED


def test_after_ten_seconds_one_send_is_tried():
    breaker = opened()
    assert breaker.admit(OPEN_TIME) is Entry.PROBE
    assert breaker.state is State.PROBING
    assert breaker.admit(OPEN_TIME) is Entry.REFUSED
    assert breaker.refuses(OPEN_TIME + 100)
    assert breaker.wait(OPEN_TIME + 100) == 0.0


def test_a_probe_that_fails_opens_it_again_and_is_no_news():
    breaker = opened()
    breaker.admit(OPEN_TIME)
    assert breaker.record(FAILED, 15.0, probe=True) is None
    assert (breaker.state, breaker.wait(15.0)) == (State.OPEN, OPEN_TIME)
    assert breaker.admit(25.0) is Entry.PROBE


def test_a_probe_that_works_lets_more_through_from_second_to_second():
    breaker = opened()
    breaker.admit(OPEN_TIME)
    assert breaker.record(WORKED, 10.0, probe=True) is Change.CLOSED
    assert (breaker.state, breaker.admit(10.0), breaker.refuses(10.0)) == (State.RAMPING, Entry.FREE, False)
    assert [round(breaker.part(10.0 + second), 6) for second in (0, 1, 4.5, 8)] == [0.1, 0.2, 0.55, 0.9]
    assert breaker.state is State.RAMPING
    assert breaker.part(19.1) == 1.0
    assert (breaker.state, breaker.calm) == (State.OK, True)


def test_the_end_of_the_ramp_is_noticed_by_a_send():
    breaker = ramping()
    assert breaker.admit(OPEN_TIME + 9.1) is Entry.FREE
    assert breaker.calm


def test_failures_during_the_ramp_open_it_again():
    breaker = ramping()
    for _ in range(ENOUGH - 1):
        assert breaker.record(FAILED, 11.0) is None
    assert breaker.record(FAILED, 11.0) is Change.OPENED
    assert breaker.wait(11.0) == OPEN_TIME


def test_what_was_under_way_when_it_opened_changes_nothing():
    breaker = opened()
    for verdict in (WORKED, FAILED, SILENT):
        assert breaker.record(verdict, 1.0) is None
    assert (breaker.state, breaker.wait(1.0)) == (State.OPEN, 9.0)


def test_a_probe_that_was_not_made_is_the_next_ones():
    breaker = opened()
    breaker.admit(OPEN_TIME)
    breaker.abandon(12.0)
    assert breaker.state is State.OPEN
    assert breaker.admit(12.0) is Entry.PROBE


def test_a_probe_that_says_nothing_is_the_next_ones():
    breaker = opened()
    breaker.admit(OPEN_TIME)
    assert breaker.record(SILENT, 12.0, probe=True) is None
    assert breaker.admit(12.0) is Entry.PROBE


def test_a_refused_configuration_stops_it_at_once():
    breaker = Breaker()
    assert breaker.record(REFUSED, 5.0) is Change.STOPPED
    assert (breaker.state, breaker.admit(5.0), breaker.wait(5.0)) == (State.STOPPED, Entry.REFUSED, STOP_TIME)
    assert breaker.record(REFUSED, 6.0) is None
    assert breaker.wait(6.0) == STOP_TIME - 1


def test_a_stopped_channel_is_tried_once_a_minute():
    breaker = stopped()
    tries = []
    for second in range(200):
        if breaker.admit(float(second)) is Entry.PROBE:
            tries.append(second)
            breaker.record(REFUSED if second < 100 else FAILED, second + 0.5, probe=True)
    assert tries == [60, 121, 182]
    assert breaker.state is State.STOPPED


def test_a_stopped_channel_whose_probe_says_nothing_waits_a_minute_too():
    breaker = stopped()
    breaker.admit(STOP_TIME)
    breaker.record(SILENT, STOP_TIME, probe=True)
    assert breaker.wait(STOP_TIME) == STOP_TIME


def test_a_stopped_channel_whose_probe_was_not_made_is_tried_with_the_next():
    breaker = stopped()
    breaker.admit(STOP_TIME)
    breaker.abandon(STOP_TIME)
    assert breaker.state is State.STOPPED
    assert breaker.admit(STOP_TIME) is Entry.PROBE


def test_a_stopped_channel_that_works_again_ramps():
    breaker = stopped()
    breaker.admit(STOP_TIME)
    assert breaker.record(WORKED, STOP_TIME, probe=True) is Change.RESUMED
    assert breaker.state is State.RAMPING


def test_a_probe_that_is_refused_stops_it():
    breaker = opened()
    breaker.admit(OPEN_TIME)
    assert breaker.record(REFUSED, OPEN_TIME, probe=True) is Change.STOPPED


def test_one_that_is_stopped_while_its_probe_is_under_way_resumes_by_it():
    breaker = opened()
    breaker.admit(OPEN_TIME)
    assert breaker.record(REFUSED, OPEN_TIME) is Change.STOPPED
    assert breaker.admit(OPEN_TIME + STOP_TIME) is Entry.REFUSED
    assert breaker.record(WORKED, OPEN_TIME + 1, probe=True) is Change.RESUMED


answers = st.lists(
    st.tuples(st.floats(0.0, 5.0), st.sampled_from([WORKED, FAILED, SILENT, REFUSED])), min_size=1, max_size=200
)


@given(answers, st.integers(1, 5))
def test_whatever_comes_there_is_one_probe_at_most_and_none_before_its_time(steps, lasts):
    """Each step asks to send; a probe is answered ``lasts`` steps later."""
    breaker, now, probe_from, closed_at = Breaker(), 0.0, -1, 0.0
    for number, (pause, verdict) in enumerate(steps):
        now += pause
        refused, before = breaker.refuses(now), breaker.state
        entry = breaker.admit(now)
        assert (entry is Entry.REFUSED) == refused
        if entry is Entry.PROBE:
            assert probe_from < 0
            assert now - closed_at >= (STOP_TIME if before is State.STOPPED else OPEN_TIME) or before is State.OPEN
            probe_from = number
        if probe_from >= 0 and number - probe_from >= lasts:
            breaker.record(verdict, now, probe=True)
            probe_from = -1
        elif entry is Entry.FREE:
            change = breaker.record(verdict, now)
            if change is not None:
                closed_at = now
        assert breaker.calm == (breaker.state is State.OK)
        assert 0.1 <= breaker.part(now) <= 1.0


@given(st.lists(st.tuples(st.floats(0.0, 4.0), st.booleans()), max_size=300))
def test_it_opens_as_if_every_answer_of_the_window_were_counted(steps):
    """Parts of three seconds are forgotten whole: what is older than the window never counts, what is younger than
    nine tenths of it always does."""
    breaker, now = Breaker(), 0.0
    told: list[tuple[float, bool]] = []
    for pause, fails in steps:
        now += pause
        told.append((now, fails))
        change = breaker.record(FAILED if fails else WORKED, now)
        surely = [failed for at, failed in told if now - at < WINDOW * 0.9]
        perhaps = [failed for at, failed in told if now - at <= WINDOW]
        if len(surely) == len(perhaps):
            assert (change is Change.OPENED) == (len(surely) >= ENOUGH and 2 * sum(surely) >= len(surely))
        if change is Change.OPENED:
            assert len(perhaps) >= ENOUGH
            return

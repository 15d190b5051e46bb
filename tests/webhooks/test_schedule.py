"""When a webhook is tried again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.webhooks.schedule import DELAYS, JITTER, MAX_RETRY_AFTER, next_try


def delay(tries: int, *, retry_after: float | None = None, jitter: float = 0.0) -> float | None:
    due_at = next_try(tries, 1000.0, retry_after=retry_after, jitter=jitter)
    return None if due_at is None else due_at - 1000.0


def test_the_delays_are_those_of_standard_webhooks():
    hour = 3600.0
    expected = [5.0, 300.0, 1800.0, 2 * hour, 5 * hour, 10 * hour, 14 * hour, 20 * hour, 24 * hour]
    assert [delay(tries) for tries in range(1, 10)] == expected
    assert DELAYS[0] == 0.0


def test_the_tenth_try_is_the_last():
    assert delay(9) is not None
    assert delay(10) is None
    assert delay(10, retry_after=5.0) is None


@pytest.mark.parametrize(
    ("asked", "expected"),
    [(None, 300.0), (0.0, 300.0), (299.0, 300.0), (301.0, 301.0), (1e9, MAX_RETRY_AFTER)],
)
def test_what_the_receiver_asks_for_makes_a_delay_longer_up_to_a_day(asked, expected):
    assert delay(2, retry_after=asked) == expected


@given(st.integers(1, 9), st.floats(0, 1), st.none() | st.floats(0, 1e7))
def test_no_try_is_early_and_chance_adds_a_tenth_at_most(tries, jitter, asked):
    waited = delay(tries, retry_after=asked, jitter=jitter)
    assert waited is not None
    assert DELAYS[tries] <= waited + 1e-6
    assert waited <= max(DELAYS[tries] * (1 + JITTER), min(asked or 0.0, MAX_RETRY_AFTER)) + 1e-6


def test_what_failed_together_does_not_return_together():
    assert delay(1, jitter=0.0) != delay(1, jitter=1.0)

"""Locks grow with failures, up to an hour, and say when they end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.verification.authenticators.throttling import LONGEST_LOCK, checks_left, lock_seconds, refusal


@pytest.mark.parametrize(
    ("failures", "seconds"),
    [(0, 0), (4, 0), (5, 60), (6, 120), (7, 240), (8, 480), (9, 960), (10, 1920), (11, 3600), (12, 3600)],
)
def test_a_lock_doubles_from_a_minute_to_an_hour(failures, seconds):
    assert seconds == lock_seconds(failures)


@given(st.integers(0, 2**62))
def test_a_lock_never_shrinks_and_has_an_end(failures):
    assert lock_seconds(failures) <= lock_seconds(failures + 1) <= LONGEST_LOCK


def test_the_worst_day_has_33_tries():
    """What docs/authenticators.md reckons with: three of a million codes are right at a time."""
    now, tries = 0.0, 0
    while now < 86_400:
        tries += 1
        now += lock_seconds(tries)
    assert tries == 33


@pytest.mark.parametrize(("failures", "left"), [(1, 4), (4, 1), (5, 0), (9, 0)])
def test_what_is_left_before_a_lock_is_told(failures, left):
    assert left == checks_left(failures)


def test_a_refusal_names_its_limit_and_when_to_come_back():
    problem = refusal(locked_until=160.5, failures=6, now=60.25)
    assert (problem.status, problem.code, problem.extra) == (429, "rate_limited", {"limit": "authenticator"})
    assert problem.headers == {
        "Retry-After": "101",
        "RateLimit": '"authenticator";r=0;t=101',
        "RateLimit-Policy": '"authenticator";q=5;w=120',
    }

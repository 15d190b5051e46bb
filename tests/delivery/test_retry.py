"""When to try again: a table for reading, properties for everything else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.delivery.retry import (
    BACKOFF_CAP,
    CHANNEL_SHARE,
    MAX_TRIES,
    MAX_UNKNOWNS,
    REPEAT_TIME,
    REPORT_WAIT,
    Budget,
    attempt_time,
    backoff,
    min_life,
)

NOW = 1_777_891_200.0
seconds = st.floats(min_value=0, max_value=600)
jitters = st.floats(min_value=0, max_value=1)


@pytest.mark.parametrize(
    ("tries", "jitter", "wait"),
    [(1, 0.0, 0.5), (1, 1.0, 1.0), (2, 0.0, 1.0), (2, 1.0, 2.0), (3, 1.0, 4.0), (4, 1.0, 8.0), (5, 1.0, 15.0)],
)
def test_the_backoff_doubles_up_to_its_cap(tries, jitter, wait):
    assert backoff(tries, jitter) == wait


@given(tries=st.integers(1, 60), jitter=jitters)
def test_a_backoff_is_in_the_upper_half_of_its_value(tries, jitter):
    full = min(BACKOFF_CAP, 2.0 ** (tries - 1))
    assert full / 2 <= backoff(tries, jitter) <= full


@pytest.mark.parametrize(("ttl", "life"), [(5, 1.25), (40, 10.0), (120, 30.0), (600, 30.0)])
def test_a_quarter_of_the_codes_life_is_worth_a_retry_and_at_most_30_seconds(ttl, life):
    assert min_life(ttl) == life


@pytest.mark.parametrize(
    ("tries", "left", "share", "retry_after", "due"),
    [
        (1, 300, None, None, 1.0),
        (1, 300, None, 20.0, 20.0),
        (1, 300, None, 0.1, 1.0),
        (4, 300, None, None, None),
        (1, 30.5, None, None, None),
        (1, 31.0, None, None, 1.0),
        (1, 300, 8.0, 8.0, None),
        (1, 300, 8.0, 7.9, 7.9),
        (1, 300, None, 271.0, None),
    ],
)
def test_what_follows_a_failed_try(tries, left, share, retry_after, due):
    ends = None if share is None else NOW + share
    budget = Budget(now=NOW, tries=tries, expires_at=NOW + left, ttl=300, share_ends_at=ends)
    assert budget.next_try(jitter=1.0, retry_after=retry_after) == (None if due is None else NOW + due)


@given(
    tries=st.integers(1, 10),
    left=seconds,
    ttl=st.floats(min_value=5, max_value=600),
    share=st.none() | st.floats(min_value=-1, max_value=CHANNEL_SHARE),
    retry_after=st.none() | seconds,
    jitter=jitters,
    unknowns=st.integers(0, 2),
    outcome=st.sampled_from(["transient", "unknown", "permanent"]),
    reports=st.booleans(),
)
def test_no_next_try_breaks_a_bound(tries, left, ttl, share, retry_after, jitter, unknowns, outcome, reports):
    ends = None if share is None else NOW + share
    budget = Budget(
        now=NOW,
        tries=tries,
        expires_at=NOW + left,
        ttl=ttl,
        share_ends_at=ends,
        unknowns=unknowns,
        outcome=outcome,
        reports=reports,
    )
    due = budget.next_try(jitter=jitter, retry_after=retry_after)
    if due is None:
        return
    assert outcome != "permanent"
    assert outcome != "unknown" or unknowns + 1 < MAX_UNKNOWNS
    assert tries < MAX_TRIES
    assert due <= budget.expires_at - min_life(ttl)
    assert due >= NOW + 0.5
    assert ends is None or due < ends
    if outcome == "unknown" and reports:
        assert due <= NOW + REPORT_WAIT
        assert ends is None or due + REPEAT_TIME <= ends
    else:
        assert due >= NOW + (retry_after or 0.0)


@pytest.mark.parametrize(
    ("left", "share", "reports", "due"),
    [
        (300, None, True, 3.0),
        (300, 8.0, True, 3.0),
        (300, 4.0, True, 3.0),
        (300, 3.0, True, 2.0),
        (300, 1.5, True, 0.5),
        (300, 1.25, True, None),
        (300, 0.0, True, None),
        (32.0, None, True, 2.0),
        (30.25, None, True, None),
        (300, None, False, 1.0),
        (300, 8.0, False, 1.0),
        (300, 0.5, False, None),
    ],
)
def test_a_lost_answer_is_followed_by_one_more_try_after_the_time_a_report_may_take(left, share, reports, due):
    ends = None if share is None else NOW + share
    budget = Budget(
        now=NOW, tries=1, expires_at=NOW + left, ttl=300, share_ends_at=ends, outcome="unknown", reports=reports
    )
    assert budget.next_try(jitter=1.0, retry_after=None) == (None if due is None else NOW + due)


@pytest.mark.parametrize("reports", [True, False])
def test_a_second_lost_answer_moves_on(reports):
    again = Budget(
        now=NOW,
        tries=2,
        expires_at=NOW + 300,
        ttl=300,
        share_ends_at=None,
        unknowns=1,
        outcome="unknown",
        reports=reports,
    )
    assert again.next_try(jitter=1.0, retry_after=None) is None


def test_a_refusal_after_a_lost_answer_may_be_tried_again():
    budget = Budget(now=NOW, tries=2, expires_at=NOW + 300, ttl=300, share_ends_at=None, unknowns=1, reports=True)
    assert budget.next_try(jitter=1.0, retry_after=None) == NOW + 2.0


def test_a_permanent_refusal_is_not_tried_again():
    budget = Budget(now=NOW, tries=1, expires_at=NOW + 300, ttl=300, share_ends_at=None, outcome="permanent")
    assert budget.next_try(jitter=1.0, retry_after=None) is None


@pytest.mark.parametrize(("left", "alive"), [(30.0, True), (29.9, False), (-1.0, False)])
def test_a_code_is_alive_while_a_fallback_is_worth_sending(left, alive):
    assert Budget(now=NOW, tries=1, expires_at=NOW + left, ttl=300, share_ends_at=None).alive is alive


@given(timeout=seconds, left=seconds, share=st.none() | seconds)
def test_an_attempt_never_outlasts_the_code_or_the_channels_share(timeout, left, share):
    ends = None if share is None else NOW + share
    limit = attempt_time(timeout=timeout, now=NOW, expires_at=NOW + left, share_ends_at=ends)
    assert limit <= timeout
    assert NOW + limit <= NOW + left + 1e-6
    assert ends is None or NOW + limit <= ends + 1e-6

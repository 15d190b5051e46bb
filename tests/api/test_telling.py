"""Views as JSON: times, and every detail an event can have."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from gateway.api.shapes import EventShape
from gateway.api.telling import not_before
from gateway.clock import rfc3339
from gateway.verification import reading

TIMES = st.floats(0, 4_000_000_000)


def read(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def test_a_time_is_rfc_3339_in_utc_with_milliseconds():
    assert rfc3339(1_777_891_200.1239) == "2026-05-04T10:40:00.123Z"
    assert rfc3339(0.0) == "1970-01-01T00:00:00.000Z"


@given(TIMES)
def test_a_time_is_told_to_the_millisecond(seconds):
    told = datetime.fromisoformat(rfc3339(seconds))
    assert told.tzinfo == UTC
    assert abs(told.timestamp() - seconds) <= 0.001001


@given(TIMES)
def test_a_time_to_come_back_at_is_never_before_the_real_one(seconds):
    # Times are stored in microseconds at best: a double near 2^32 resolves less than one.
    assert read(not_before(seconds)) >= seconds - 0.000001


def test_every_detail_of_an_event_can_be_told():
    assert set(reading._DETAILS) <= set(EventShape.__struct_fields__)

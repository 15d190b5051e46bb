"""The table of Twilio's codes, and what stops a channel."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from channels.base import AmbiguousError, PermanentError, Reason, TransientError
from channels.twilio_codes import CODES, RECIPIENT_LIMITS, by_status, checked, code_of, failure, verdict


def test_only_the_account_and_the_sender_itself_stop_a_channel() -> None:
    stopping = {code for code, meaning in CODES.items() if verdict(meaning)[1] is Reason.MISCONFIGURED}
    account = {"10001", "20003", "20403", "20404", "30002", "90010"}
    sender = {"21601", "21603", "21609", "21660", "21661", "63007"}
    assert stopping == account | sender


@pytest.mark.parametrize(
    "code", ["21408", "21606", "21612", "21657", "21659", "21703", "30032", "30034", "21219", "21608"]
)
def test_what_depends_on_the_destination_is_that_messages_alone(code: str) -> None:
    kind, reason = verdict(CODES[code])
    assert kind is PermanentError
    assert reason is not Reason.MISCONFIGURED


@pytest.mark.parametrize(("code", "meaning"), CODES.items())
def test_every_row_is_a_failure_with_its_code(code: str, meaning: str) -> None:
    error = failure(code, meaning, retry_after=7.0)
    assert (type(error), error.reason, error.provider_code) == (*verdict(meaning), code)
    if isinstance(error, TransientError):
        whole = error.reason is Reason.RATE_LIMITED and code not in RECIPIENT_LIMITS
        assert (error.retry_after, error.whole_channel) == (7.0, whole)


def test_every_limit_of_one_number_is_a_limit_of_the_table() -> None:
    assert {CODES[code] for code in RECIPIENT_LIMITS} == {"transient:rate_limited"}


@pytest.mark.parametrize(
    ("status", "coded", "plain"),
    [
        (200, "permanent:misconfigured", "permanent:misconfigured"),
        (302, "permanent:misconfigured", "permanent:misconfigured"),
        (400, "permanent:rejected", "permanent:rejected"),
        (401, "permanent:misconfigured", "permanent:misconfigured"),
        (403, "permanent:rejected", "permanent:misconfigured"),
        (404, "permanent:rejected", "permanent:misconfigured"),
        (408, "transient:unavailable", "transient:unavailable"),
        (422, "permanent:rejected", "permanent:rejected"),
        (429, "transient:rate_limited", "transient:rate_limited"),
        (500, "ambiguous:unavailable", "ambiguous:unavailable"),
        (503, "transient:unavailable", "transient:unavailable"),
        (599, "ambiguous:unavailable", "ambiguous:unavailable"),
    ],
)
def test_a_status_decides_where_no_code_does(status: int, coded: str, plain: str) -> None:
    assert (by_status(status, coded=True), by_status(status, coded=False)) == (coded, plain)


@given(st.integers(100, 999), st.booleans())
def test_every_status_means_something(status: int, coded: bool) -> None:
    kind, reason = verdict(by_status(status, coded=coded))
    assert kind in {TransientError, PermanentError, AmbiguousError}
    assert reason in Reason


@pytest.mark.parametrize(
    ("value", "code"), [(21211, "21211"), ("21211", "21211"), (0, "0"), (None, None), ("1234567", None), ("٣", None)]
)
def test_a_code_is_a_short_number(value: object, code: str | None) -> None:
    assert code_of(value) == code


@given(st.text(max_size=20))
def test_what_is_no_meaning_is_refused(value: str) -> None:
    kind, _, reason = value.partition(":")
    assume(kind not in {"transient", "permanent", "ambiguous"} or reason not in set(Reason))
    with pytest.raises(ValueError, match="kind:reason"):
        verdict(value)


def test_settings_say_what_codes_mean() -> None:
    assert checked({"30003": "permanent:unreachable"}) == {"30003": "permanent:unreachable"}
    for wrong in ({"x": "permanent:unknown"}, {"²": "permanent:unknown"}, {"30003": "permanent"}):
        with pytest.raises(ValueError, match=r"a Twilio error code|kind:reason"):
            checked(wrong)

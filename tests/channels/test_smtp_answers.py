"""The table of mail servers' answers, row by row; what is said over a real wire is in test_email."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels.base import AmbiguousError, DeliveryError, PermanentError, Reason, TransientError
from channels.smtp import Phase
from channels.smtp_answers import LATER, QUOTA, answer_code, refusal, reported_reason

P, T, A = PermanentError, TransientError, AmbiguousError
OURS, RECIPIENT, DATA, CONTENT = Phase.OURS, Phase.RECIPIENT, Phase.DATA, Phase.CONTENT
EVERY = (OURS, RECIPIENT, DATA, CONTENT)
NAMED = (RECIPIENT, DATA, CONTENT)

ROWS = [
    (EVERY, "550 5.4.5", T, Reason.RATE_LIMITED),
    (EVERY, "530 5.7.0", P, Reason.MISCONFIGURED),
    (EVERY, "530", P, Reason.MISCONFIGURED),
    (EVERY, "534", P, Reason.MISCONFIGURED),
    (EVERY, "535 5.7.8", P, Reason.MISCONFIGURED),
    (EVERY, "538", P, Reason.MISCONFIGURED),
    *((EVERY, f"550 5.7.{number}", P, Reason.MISCONFIGURED) for number in (8, 9, 11, 20, 21, 22, 23, 24, 25, 26, 27)),
    (EVERY, "550 5.1.7", P, Reason.MISCONFIGURED),
    (EVERY, "550 5.1.8", P, Reason.MISCONFIGURED),
    ((OURS,), "550 5.1.1", P, Reason.MISCONFIGURED),
    ((OURS,), "550 5.7.1", P, Reason.MISCONFIGURED),
    ((OURS,), "554", P, Reason.MISCONFIGURED),
    ((OURS,), "553", P, Reason.MISCONFIGURED),
    (NAMED, "552 5.2.2", P, Reason.UNREACHABLE),
    ((RECIPIENT,), "552", P, Reason.UNREACHABLE),
    ((CONTENT,), "552", P, Reason.REJECTED),
    ((CONTENT,), "552 5.3.4", P, Reason.REJECTED),
    (NAMED, "550 5.1.1", P, Reason.INVALID_RECIPIENT),
    (NAMED, "553 5.1.3", P, Reason.INVALID_RECIPIENT),
    (NAMED, "556 5.1.10", P, Reason.INVALID_RECIPIENT),
    (NAMED, "550 5.2.0", P, Reason.INVALID_RECIPIENT),
    (NAMED, "550 5.2.1", P, Reason.INVALID_RECIPIENT),
    ((DATA, CONTENT), "550 5.7.1", P, Reason.REJECTED),
    ((DATA, CONTENT), "554 5.6.0", P, Reason.REJECTED),
    ((DATA, CONTENT), "550", P, Reason.REJECTED),
    ((RECIPIENT,), "550 5.4.1", P, Reason.INVALID_RECIPIENT),
    ((RECIPIENT,), "550 5.4.4", P, Reason.INVALID_RECIPIENT),
    ((RECIPIENT,), "550 5.4.310", P, Reason.INVALID_RECIPIENT),
    ((RECIPIENT,), "550", P, Reason.INVALID_RECIPIENT),
    ((RECIPIENT,), "551", P, Reason.INVALID_RECIPIENT),
    ((RECIPIENT,), "553", P, Reason.INVALID_RECIPIENT),
    ((RECIPIENT,), "556", P, Reason.INVALID_RECIPIENT),
    ((RECIPIENT,), "550 5.7.1", P, Reason.BLOCKED),
    ((RECIPIENT,), "554 5.7.510", P, Reason.BLOCKED),
    ((RECIPIENT,), "554", P, Reason.REJECTED),
    ((RECIPIENT,), "552 5.3.4", P, Reason.REJECTED),
    ((RECIPIENT,), "501 5.5.4", P, Reason.REJECTED),
    (EVERY, "450 4.2.1", T, Reason.RATE_LIMITED),
    (EVERY, "421 4.7.28", T, Reason.RATE_LIMITED),
    (EVERY, "451 4.7.500", T, Reason.RATE_LIMITED),
    (EVERY, "451 4.7.650", T, Reason.RATE_LIMITED),
    (NAMED, "454", T, Reason.RATE_LIMITED),
    ((OURS,), "454", T, Reason.UNAVAILABLE),
    (EVERY, "451 4.7.1", T, Reason.UNREACHABLE),
    (EVERY, "450 4.2.0", T, Reason.UNREACHABLE),
    (EVERY, "452 4.2.2", T, Reason.UNREACHABLE),
    (EVERY, "450 4.2.3", T, Reason.UNREACHABLE),
    (EVERY, "450", T, Reason.UNREACHABLE),
    ((RECIPIENT,), "450 4.1.2", T, Reason.UNREACHABLE),
    ((RECIPIENT,), "450 4.1.1", T, Reason.UNREACHABLE),
    ((RECIPIENT,), "451 4.4.3", T, Reason.UNREACHABLE),
    ((RECIPIENT,), "421 4.4.2", T, Reason.UNAVAILABLE),
    ((OURS,), "450 4.1.8", T, Reason.UNAVAILABLE),
    (EVERY, "421", T, Reason.UNAVAILABLE),
    (EVERY, "421 4.7.0", T, Reason.UNAVAILABLE),
    (EVERY, "451 4.3.0", T, Reason.UNAVAILABLE),
    (EVERY, "452", T, Reason.UNAVAILABLE),
    (EVERY, "452 4.3.1", T, Reason.UNAVAILABLE),
]
#: Seconds to wait, and whether everybody does.
WAITS = {
    "550 5.4.5": (QUOTA, True),
    "451 4.7.1": (LATER, False),
    "450 4.2.0": (LATER, False),
    "452 4.2.2": (LATER, False),
}


@pytest.mark.parametrize(
    ("phase", "answer", "kind", "reason"),
    [(phase, answer, kind, reason) for phases, answer, kind, reason in ROWS for phase in phases],
)
def test_an_answer_means(phase: Phase, answer: str, kind: type[DeliveryError], reason: Reason) -> None:
    code, _, enhanced = answer.partition(" ")
    error = refusal(phase, int(code), f"{enhanced} <ann@people.example> no")
    assert (type(error), error.reason, error.provider_code) == (kind, reason, answer)
    if isinstance(error, TransientError):
        assert (error.retry_after, error.whole_channel) == WAITS.get(answer, (None, False))


@pytest.mark.parametrize("answer", ["550 5.6.7", "501", "504", "553", "555"])
def test_a_server_that_cannot_name_a_mailbox_refuses_that_one_alone(answer: str) -> None:
    code, _, enhanced = answer.partition(" ")
    beyond = refusal(OURS, int(code), enhanced, ascii_only=False)
    plain = refusal(OURS, int(code), enhanced)
    assert (type(beyond), beyond.reason) == (P, Reason.INVALID_RECIPIENT)
    assert (type(plain), plain.reason) == (P, Reason.MISCONFIGURED)


@pytest.mark.parametrize("code", [535, 530, 550])
def test_a_refused_login_is_ours_whoever_the_mail_is_for(code: int) -> None:
    assert refusal(OURS, code, "5.7.8 no", ascii_only=False).reason is Reason.MISCONFIGURED


@pytest.mark.parametrize("code", [200, 250, 299, 334, 354])
def test_an_answer_that_does_not_belong_there_is_ambiguous_once_the_content_was_sent(code: int) -> None:
    assert [type(refusal(phase, code, "ok")) for phase in EVERY] == [T, T, T, A]


@given(
    st.sampled_from(EVERY), st.integers(200, 599), st.text(max_size=40) | st.from_regex(r"[245]\.\d{1,4}\.\d{1,4}.?")
)
def test_every_answer_means_something_and_none_of_its_text_is_kept(phase: Phase, code: int, text: str) -> None:
    error = refusal(phase, code, text)
    kinds: dict[int, set[type[DeliveryError]]] = {5: {P, T}, 4: {T}}
    assert type(error) in kinds.get(code // 100, {T, A})
    assert error.provider_code in {answer_code(code, text), None}
    assert len(error.provider_code or "") <= len("550 5.123.123")


@given(st.sampled_from(NAMED), st.integers(500, 599), st.from_regex(r"5\.[0-9]{1,3}\.[0-9]{1,3}", fullmatch=True))
def test_once_somebody_was_named_only_login_and_sender_are_the_whole_channels(
    phase: Phase, code: int, enhanced: str
) -> None:
    ours = code in {530, 534, 535, 538} or enhanced in {
        "5.1.7",
        "5.1.8",
        "5.7.8",
        "5.7.9",
        "5.7.11",
        *(f"5.7.{number}" for number in range(20, 28)),
    }
    error = refusal(phase, code, enhanced)
    assert (error.reason is Reason.MISCONFIGURED) == (ours and enhanced != "5.4.5")


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        ("5.1.1", Reason.INVALID_RECIPIENT),
        ("5.1.10", Reason.INVALID_RECIPIENT),
        ("5.2.1", Reason.INVALID_RECIPIENT),
        ("5.4.4", Reason.INVALID_RECIPIENT),
        ("5.4.310", Reason.INVALID_RECIPIENT),
        ("5.2.2", Reason.UNREACHABLE),
        ("4.2.2", Reason.UNREACHABLE),
        ("4.4.7", Reason.UNREACHABLE),
        ("5.4.7", Reason.UNREACHABLE),
        ("4.4.1", Reason.UNREACHABLE),
        ("5.7.1", Reason.BLOCKED),
        ("5.7.26", Reason.BLOCKED),
        ("5.1.8", Reason.REJECTED),
        ("5.2.3", Reason.REJECTED),
        ("5.3.0", Reason.REJECTED),
        ("5.6.1", Reason.REJECTED),
        ("5.0.0", Reason.UNKNOWN),
        ("2.0.0", Reason.UNKNOWN),
        ("", Reason.UNKNOWN),
    ],
)
def test_a_later_report_says_why_and_never_that_the_channel_is_wrong(status: str, reason: Reason) -> None:
    assert reported_reason(status) is reason


@given(st.from_regex(r"[245]\.[0-9]{1,3}\.[0-9]{1,3}", fullmatch=True))
def test_no_report_stops_a_channel(status: str) -> None:
    assert reported_reason(status) is not Reason.MISCONFIGURED

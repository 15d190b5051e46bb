"""Each event counts what it tells of, and no value from outside makes a series."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from channels.base import Reason
from gateway.api import examples
from gateway.config import LimitSettings
from gateway.delivery.lifecycle import AttemptOutcome
from gateway.events import metrics as module
from gateway.events.event import Event, EventName, event
from gateway.events.metrics import (
    DELIVERY_BUCKETS,
    KEY_REFUSALS,
    LIMITS,
    REFUSALS,
    SEND_BUCKETS,
    WEBHOOK_OUTCOMES,
    Metrics,
)
from tests.events.scraping import moved, samples, value

CHANNELS, SERVICES = ("sms", "email"), ("shop", "default")


@pytest.fixture
def metrics() -> Metrics:
    return fresh()


def fresh() -> Metrics:
    return Metrics(channels=CHANNELS, services=SERVICES, version="1.2.3")


def told(name: EventName, service: str = "shop", **details: Any) -> Event:
    return event(name, 1.0, service, **details)


@pytest.mark.parametrize(
    ("note", "expected"),
    [
        (told(EventName.VERIFICATION_CREATED, channel="sms"), {"verifications_created_total{shop}": 1}),
        (told(EventName.VERIFICATION_APPROVED), {"verifications_ended_total{shop,approved}": 1}),
        (
            told(EventName.VERIFICATION_MAX_ATTEMPTS_REACHED),
            {"verifications_ended_total{shop,max_attempts_reached}": 1},
        ),
        (told(EventName.VERIFICATION_CHECK_FAILED), {}),
        (told(EventName.VERIFICATION_RESENT, channel="sms"), {}),
        (told(EventName.MESSAGE_QUEUED, channel="sms"), {}),
        (told(EventName.MESSAGE_SENDING, channel="sms", attempt=1), {}),
        (
            told(EventName.MESSAGE_SENT, channel="sms", attempt=1, outcome=AttemptOutcome.SENT),
            {"attempts_total{sms,sent,none}": 1, "messages_ended_total{sms,sent}": 1},
        ),
        (
            told(EventName.MESSAGE_DELIVERED, channel="email", attempt=1),
            {"messages_ended_total{email,delivered}": 1},
        ),
        (
            told(EventName.MESSAGE_UNDELIVERED, channel="sms", attempt=1, reason=Reason.UNREACHABLE),
            {"messages_ended_total{sms,undelivered}": 1},
        ),
        (
            told(EventName.MESSAGE_RETRIED, channel="sms", attempt=1, outcome="transient", reason="unavailable"),
            {"attempts_total{sms,transient,unavailable}": 1},
        ),
        (
            told(EventName.MESSAGE_RETRIED, channel="sms", attempt=1, outcome="unknown", reason="timeout"),
            {"attempts_total{sms,unknown,timeout}": 1, "duplicate_possible_total{sms}": 1},
        ),
        (
            told(EventName.MESSAGE_RESCUED, channel="sms", attempt=1, outcome="unknown", reason="unknown"),
            {
                "attempts_total{sms,unknown,unknown}": 1,
                "duplicate_possible_total{sms}": 1,
                "leases_rescued_total{sms}": 1,
            },
        ),
        (
            told(EventName.MESSAGE_RETURNED, channel="sms", attempt=1, outcome="skipped", reason="unavailable"),
            {"attempts_total{sms,skipped,unavailable}": 1},
        ),
        (
            told(EventName.MESSAGE_FAILED, channel="sms", attempt=2, outcome="unknown", reason="timeout"),
            {"attempts_total{sms,unknown,timeout}": 1, "messages_ended_total{sms,failed}": 1},
        ),
        (told(EventName.MESSAGE_CANCELED, channel="sms"), {"messages_ended_total{sms,canceled}": 1}),
        (
            told(EventName.CHANNEL_OPENED, service="", channel="sms", reason="timeout"),
            {"channel_changes_total{opened,sms}": 1},
        ),
        (told(EventName.WEBHOOK_DISABLED), {"webhooks_total{disabled,shop}": 1}),
        (
            told(EventName.LIMIT_OBSERVED, channel="sms", reason="sends_per_hour"),
            {"limits_total{observed,sends_per_hour,shop}": 1},
        ),
        (
            told(EventName.LIMIT_REFUSED, channel="sms", reason="prefix_per_hour"),
            {"limits_total{skipped,prefix_per_hour,shop}": 1},
        ),
        (told(EventName.SUBSCRIBER_LINKED), {}),
    ],
    ids=lambda item: item.name if isinstance(item, Event) else "",
)
def test_an_event_counts_what_it_tells_of(metrics, note, expected):
    metrics.on_commit([note])
    assert moved(metrics) == expected
    metrics.on_commit([note])
    assert moved(metrics) == {name: 2 * number for name, number in expected.items()}


def test_notes_that_are_no_events_count_nothing(metrics):
    metrics.on_commit(["verification.created", None, 1])
    assert moved(metrics) == {}


def test_what_is_not_configured_is_other(metrics):
    metrics.on_commit([told(EventName.VERIFICATION_CREATED, service="gone")])
    metrics.on_commit([told(EventName.MESSAGE_FAILED, channel="gone", outcome="strange", reason="stranger")])
    metrics.refused("strange")
    metrics.webhook("gone", "strange")
    assert moved(metrics) == {
        "verifications_created_total{other}": 1,
        "attempts_total{other,other,other}": 1,
        "messages_ended_total{other,failed}": 1,
        "refusals_total{other}": 1,
        "webhooks_total{other,other}": 1,
    }


def test_refusals_and_webhooks_are_counted_by_word(metrics):
    metrics.refused("cooldown")
    metrics.webhook("shop", "delivered")
    assert moved(metrics) == {"refusals_total{cooldown}": 1, "webhooks_total{delivered,shop}": 1}


def test_every_problem_and_every_limit_is_counted_by_its_own_word():
    # A limit is counted by its key, not by the code that all of them share.
    codes = {problem.code for problem in examples.PROBLEMS.values()} - {"rate_limited"}
    assert set(LimitSettings.model_fields) - {"mode"} < LIMITS
    assert codes | LIMITS == REFUSALS


def test_times_are_counted_in_buckets(metrics):
    metrics.sent("sms", 0.2)
    metrics.sent("sms", 25.0)
    metrics.delivered("gone", 400.0)
    assert [value(metrics, "send_seconds_bucket", channel="sms", le=le) for le in ("0.1", "0.25", "20.0", "30.0")] == [
        *(0, 1, 1, 2)
    ]
    assert value(metrics, "send_seconds_sum", channel="sms") == 25.2
    assert value(metrics, "delivery_seconds_count", channel="other") == 1


def test_what_can_be_known_beforehand_begins_at_zero(metrics):
    assert value(metrics, "verifications_ended_total", service="shop", status="failed") == 0
    assert value(metrics, "messages_ended_total", channel="email", status="undelivered") == 0
    assert value(metrics, "leases_rescued_total", channel="sms") == 0
    assert value(metrics, "send_seconds_count", channel="email") == 0


def test_no_series_tells_when_another_was_made(metrics):
    assert [name for name, _ in samples(metrics) if name.endswith("_created")] == []


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("", "text/plain; version=0.0.4; charset=utf-8"),
        ("*/*", "text/plain; version=0.0.4; charset=utf-8"),
        ("text/plain; version=9; escaping=x", "text/plain; version=0.0.4; charset=utf-8"),
        ("Application/OpenMetrics-Text;version=nonsense", "application/openmetrics-text; version=1.0.0; charset=utf-8"),
        (
            "application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.3",
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
        ),
    ],
)
def test_the_text_is_of_the_format_that_is_asked_for(metrics, accept, media_type):
    body, told_type = metrics.render(accept)
    assert told_type == media_type
    assert body.endswith(b"# EOF\n") == media_type.startswith("application/openmetrics")


def test_openmetrics_are_well_formed(metrics):
    metrics.on_commit([told(EventName.VERIFICATION_CREATED)])
    text = metrics.render("application/openmetrics-text")[0].decode()
    assert "otp_gateway_verifications_created" in {family.name for family in text_string_to_metric_families(text)}


def most(channels: int, services: int) -> int:
    """How many series there can be, from the configuration alone; one more of each list is ``other``."""
    channels, services = channels + 1, services + 1
    outcomes, reasons = len(AttemptOutcome) + 1, len(Reason) + 2
    counters = services * (1 + 5 + len(WEBHOOK_OUTCOMES) + 1) + len(REFUSALS) + 1
    counters += len(KEY_REFUSALS) + 1
    counters += services * (len(LIMITS) + 1) * 2
    counters += channels * (outcomes * reasons + 6 + 1 + 1 + 4)
    return counters + channels * (len(SEND_BUCKETS) + len(DELIVERY_BUCKETS) + 6) + 1


WORDS = st.one_of(st.none(), st.text(max_size=8), st.sampled_from([*CHANNELS, *SERVICES, *AttemptOutcome, *Reason]))
EVENTS = st.builds(
    lambda name, service, channel, outcome, reason: Event(
        "evt", 1.0, name, service or "", channel=channel, outcome=outcome, reason=reason, provider_code=service
    ),
    st.sampled_from(list(EventName)),
    *(WORDS,) * 4,
)


@given(st.lists(EVENTS, max_size=40), st.lists(st.text(max_size=8), max_size=8))
def test_whatever_comes_in_the_number_of_series_is_bounded(notes, words):
    metrics = fresh()
    metrics.on_commit(notes)
    for word in words:
        metrics.refused(word)
        metrics.key_refused(word)
        metrics.webhook(word, word)
        metrics.sent(word, 1.0)
        metrics.delivered(word, 1.0)
    found = samples(metrics)
    assert len(found) <= most(len(CHANNELS), len(SERVICES))
    known = {
        *CHANNELS,
        *SERVICES,
        *AttemptOutcome,
        *Reason,
        *REFUSALS,
        *KEY_REFUSALS,
        *WEBHOOK_OUTCOMES,
        "other",
        "none",
    }
    known |= {name.value.rpartition(".")[2] for name in EventName} | {"1.2.3"}
    labels = {text for _, pairs in found for key, text in pairs if key not in {"le", "python"}}
    assert labels <= known


def test_kinds_of_events_are_remembered_up_to_a_bound(metrics, monkeypatch):
    monkeypatch.setattr(module, "_REMEMBERED", 3)
    for number in range(10):
        metrics.on_commit([told(EventName.VERIFICATION_CREATED, service=f"service-{number}")])
    assert len(metrics._steps) == 3
    assert moved(metrics) == {"verifications_created_total{other}": 10}

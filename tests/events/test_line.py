"""An event as a line: its keys, their order and its level."""

from __future__ import annotations

import logging

import pytest

from gateway.clock import rfc3339
from gateway.events.event import Event, EventName
from gateway.events.line import level_of, line_of

AT = 1_777_891_200.0


def test_a_line_has_every_known_key_in_order():
    item = Event(
        id="evt_1",
        at=AT + 0.5,
        name=EventName.MESSAGE_RETRIED,
        service="shop",
        verification_id="ver_1",
        message_id="msg_1",
        channel="sms",
        attempt=2,
        outcome="transient",
        reason="unavailable",
        provider_code="30003",
        recipient="+49•••••••678",
        milliseconds=12.3456,
    )
    assert list(line_of(item).items()) == [
        ("timestamp", "2026-05-04T10:40:00.500Z"),
        ("level", "info"),
        ("event", "message.retried"),
        ("service", "shop"),
        ("verification", "ver_1"),
        ("message", "msg_1"),
        ("channel", "sms"),
        ("attempt", 2),
        ("outcome", "transient"),
        ("reason", "unavailable"),
        ("provider_code", "30003"),
        ("recipient", "+49•••••••678"),
        ("milliseconds", 12.3),
    ]


def test_what_is_not_known_is_absent():
    line = line_of(Event("evt_1", AT, EventName.SUBSCRIBER_LINKED, "shop", milliseconds=0.0))
    assert line == {
        "timestamp": "2026-05-04T10:40:00.000Z",
        "level": "info",
        "event": "subscriber.linked",
        "service": "shop",
        "milliseconds": 0.0,
    }


@pytest.mark.parametrize(
    ("name", "outcome", "reason", "level"),
    [
        (EventName.VERIFICATION_CREATED, None, None, logging.INFO),
        (EventName.VERIFICATION_CHECK_FAILED, None, None, logging.INFO),
        (EventName.VERIFICATION_FAILED, None, None, logging.WARNING),
        (EventName.VERIFICATION_MAX_ATTEMPTS_REACHED, None, None, logging.WARNING),
        (EventName.MESSAGE_FAILED, "permanent", "blocked", logging.WARNING),
        (EventName.MESSAGE_UNDELIVERED, None, "unreachable", logging.WARNING),
        (EventName.MESSAGE_RESCUED, None, None, logging.WARNING),
        (EventName.MESSAGE_RETRIED, "transient", "misconfigured", logging.INFO),
        (EventName.MESSAGE_FAILED, "permanent", "misconfigured", logging.ERROR),
    ],
)
def test_a_level_says_how_much_it_matters(name, outcome, reason, level):
    assert level_of(Event("evt_1", AT, name, "shop", outcome=outcome, reason=reason)) == level


@pytest.mark.parametrize(("at", "text"), [(0.0, "1970-01-01T00:00:00.000Z"), (AT + 0.9999, "2026-05-04T10:40:00.999Z")])
def test_a_timestamp_is_rfc_3339_in_utc_with_milliseconds(at, text):
    assert rfc3339(at) == text

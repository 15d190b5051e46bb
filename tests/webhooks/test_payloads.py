"""What an application is told of each event."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.events.event import Event, EventName
from gateway.storage.ids import new_id
from gateway.webhooks.payloads import DELIVERED, FIRSTS, SENT, TOLD, notices

AT = 1_777_891_200.0
VERIFICATION = "ver_019c2d1e4f000001aabbccddeeff00112233"


def told(name: EventName, **fields: object) -> Event:
    values = {"verification_id": VERIFICATION, "channel": "sms", "recipient": "+49•••••••678", **fields}
    return Event("evt_019c2d1e4f100007aabbccddeeff00112233", AT, name, "shop", **values)  # type: ignore[arg-type]


def test_the_names_are_those_of_the_contract():
    names = {name.value for name in TOLD} | {name for names in FIRSTS.values() for name in names}
    assert names == {
        *(f"verification.{name}" for name in ("created", "sent", "delivered", "approved", "failed", "expired")),
        *(f"verification.{name}" for name in ("canceled", "max_attempts_reached", "reported")),
        *(f"message.{name}" for name in ("sent", "delivered", "undelivered", "failed")),
    }


@pytest.mark.parametrize("name", [name for name in EventName if name not in TOLD])
def test_of_other_events_nothing_is_told(name):
    assert list(notices(told(name))) == []


def test_a_verification_is_told_with_its_status():
    (notice,) = notices(told(EventName.VERIFICATION_APPROVED))
    assert (notice.id, notice.name) == ("whk_019c2d1e4f100007aabbccddeeff00112233", "verification.approved")
    assert json.loads(notice.body) == {
        "type": "verification.approved",
        "timestamp": "2026-05-04T10:40:00.000Z",
        "data": {
            "service": "shop",
            "verification": VERIFICATION,
            "status": "approved",
            "channel": "sms",
            "recipient": "+49•••••••678",
        },
    }


def test_a_report_moves_no_status_by_itself():
    (notice,) = notices(told(EventName.VERIFICATION_REPORTED))
    assert "status" not in json.loads(notice.body)["data"]


def test_a_message_is_told_with_its_attempt():
    failed = told(
        EventName.MESSAGE_FAILED,
        message_id="msg_1",
        attempt=2,
        outcome="permanent",
        reason="invalid_recipient",
        provider_code="21211",
        milliseconds=12.5,
    )
    (notice,) = notices(failed)
    assert json.loads(notice.body)["data"] == {
        "service": "shop",
        "verification": VERIFICATION,
        "message": "msg_1",
        "status": "failed",
        "channel": "sms",
        "recipient": "+49•••••••678",
        "attempt": 2,
        "reason": "invalid_recipient",
        "provider_code": "21211",
    }


def test_a_message_that_is_sent_tells_of_its_verification_too():
    assert [notice.name for notice in notices(told(EventName.MESSAGE_SENT))] == ["message.sent", SENT]


def test_what_arrives_has_left():
    found = list(notices(told(EventName.MESSAGE_DELIVERED, message_id="msg_1")))
    assert [notice.name for notice in found] == ["message.delivered", SENT, DELIVERED]
    assert json.loads(found[2].body)["data"] == {
        "service": "shop",
        "verification": VERIFICATION,
        "message": "msg_1",
        "channel": "sms",
        "recipient": "+49•••••••678",
    }


def test_what_is_told_once_of_a_verification_has_one_id_whoever_tells_it():
    sent, delivered = told(EventName.MESSAGE_SENT), told(EventName.MESSAGE_DELIVERED, channel="email")
    by_sent = {notice.name: notice.id for notice in notices(sent)}
    by_delivered = {notice.name: notice.id for notice in notices(delivered)}
    assert by_sent[SENT] == by_delivered[SENT] != by_delivered[DELIVERED]
    other = Event(new_id("evt", AT), AT, EventName.MESSAGE_SENT, "shop", verification_id=new_id("ver", AT))
    assert [notice.id for notice in notices(other)][1] != by_sent[SENT]


def test_a_message_of_no_verification_is_told_by_itself():
    alone = told(EventName.MESSAGE_SENT, verification_id=None)
    assert [notice.name for notice in notices(alone)] == ["message.sent"]


def test_ids_have_no_dot_and_the_length_of_ours():
    made = Event(new_id("evt", AT), AT, EventName.MESSAGE_DELIVERED, "shop", verification_id=new_id("ver", AT))
    for notice in notices(made):
        assert "." not in notice.id
        assert len(notice.id) == len(new_id("whk", AT))


@given(
    st.sampled_from(sorted(TOLD)),
    st.text(st.characters(codec="utf-8"), max_size=50_000),
    st.text(st.characters(codec="utf-8"), max_size=500),
)
def test_a_payload_stays_far_below_20_kilobytes(name, provider_code, recipient):
    event = told(name, provider_code=provider_code, recipient=recipient, reason=provider_code, message_id="msg_1")
    for notice in notices(event):
        assert len(notice.body.encode()) < 10_000
        assert json.loads(notice.body)["type"] == notice.name


def test_a_notice_does_not_show_its_body():
    (notice,) = notices(told(EventName.VERIFICATION_CREATED))
    assert "678" not in repr(notice)

"""Standing: how a message that may not be sent has ended, and what gives an attempt of a dead node back."""

from __future__ import annotations

import pytest

from gateway.delivery import statements as sql
from gateway.delivery.standing import LATE, ended_as, looked_at, rescued
from gateway.events.event import Event
from tests.delivery.messages import message

PENDING = {"status": "pending", "generation": 1, "followed_at": None}


@pytest.mark.parametrize(
    ("standing", "now", "status"),
    [
        ([PENDING], 299.0, "failed"),
        ([PENDING], 300.0, "expired"),
        ([PENDING | {"status": "expired"}], 10.0, "expired"),
        ([PENDING | {"status": "approved"}], 10.0, "canceled"),
        ([PENDING | {"generation": 2}], 10.0, "canceled"),
        ([PENDING | {"followed_at": 9.0}], 10.0, "canceled"),
        ([], 10.0, "canceled"),
    ],
)
def test_a_message_ends_as_its_code_did_else_as_what_took_its_place(standing, now, status):
    assert ended_as(message(), standing, now) == status


def test_an_attempt_whose_node_died_is_given_back_as_unknown_and_its_channel_woken():
    record = {"id": "m", "verification_id": "v", "service": "s", "channel": "sms", "attempts": 2, "recipient": "•"}
    move = rescued(record | {"lease": "node-a"}, 5.0)
    assert move.guard == (sql.RESCUE, ("m", "node-a", 2, 5.0))
    assert move.then[0] == (sql.ABANDON_ATTEMPT, ("m", 2, 5.0))
    [event] = move.notes
    assert isinstance(event, Event)
    assert (event.name, event.attempt, event.outcome) == ("message.rescued", 2, "unknown")
    assert move.wakes == ("message.sms",)


@pytest.mark.parametrize(("may", "lapses", "kinds"), [(True, 5.0, (1, 0)), (False, 5.0, (0, 1)), (True, 5.5, (0, 1))])
def test_of_attempts_that_are_not_rescued_the_first_is_written_to(may, lapses, kinds):
    record = {"id": "m", "verification_id": "v", "service": "s", "channel": "sms", "attempts": 2, "recipient": "•"}
    found = [record | {"lease": "node-a", "due_at": lapses}, record | {"id": "n", "lease": "node-a", "due_at": 6.0}]
    rescues, probes = looked_at(found, 5.0, may=may)
    assert (len(rescues), len(probes)) == kinds
    assert [move.guard for move in probes] == [(sql.PROBE, ("m", "node-a", 2, 5.0 + LATE))][: kinds[1]]

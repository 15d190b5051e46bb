"""Verifications are read back as they are told everywhere else."""

from __future__ import annotations

from gateway.events.event import Event, EventName
from gateway.events.line import line_of
from gateway.storage import models
from gateway.verification.reading import Reading
from tests.rows import put, row


async def test_how_long_a_thing_took_is_told_as_in_the_log(database, clock):
    told = Event("evt_1", clock.now(), EventName.MESSAGE_SENT, "shop", "ver_1", milliseconds=284.0499999)
    await put(
        database, models.Verification, row(models.Verification, id="ver_1", service="shop", route="[]", to_masked="{}")
    )
    kept = {"id": told.id, "at": told.at, "name": told.name.value, "service": "shop", "verification_id": "ver_1"}
    await put(
        database,
        models.Event,
        row(models.Event, **kept, milliseconds=told.milliseconds),
        row(models.Event, **{**kept, "id": "evt_2", "name": "message.queued"}),
    )
    events = (await Reading(database, clock).one("shop", "ver_1")).events or ()
    assert [event.details for event in events] == [{"milliseconds": 284.0}, {}]
    assert line_of(told)["milliseconds"] == 284.0

"""Verifications are read back as they are told everywhere else."""

from __future__ import annotations

from gateway.events.event import Event, EventName
from gateway.events.line import line_of
from gateway.storage import models
from gateway.verification import reading as module
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


async def pages_of(reading: Reading, status: str, limit: int) -> list[list[str]]:
    """Return the ids of every page, from the first to the last."""
    cursor: str | None = ""
    pages = []
    while cursor is not None:
        page = await reading.page("shop", status=status, cursor=cursor, limit=limit)
        pages.append([item.id for item in page.items])
        cursor = page.next_cursor
    return pages


async def test_of_a_rare_status_a_page_walks_so_far_and_leads_on(database, clock, monkeypatch):
    monkeypatch.setattr(module, "WALK", 2 * module.STRIDE)
    told = {"service": "shop", "status": "approved", "route": "[]", "to_masked": "{}"}
    ids = [f"ver_{number:05x}" for number in range(2 * module.STRIDE + 5)]
    rare = {ids[0], ids[3], ids[-1], ids[-2]}
    await put(
        database,
        models.Verification,
        *(
            row(models.Verification, **{**told, "id": each, "status": "failed" if each in rare else "approved"})
            for each in ids
        ),
    )
    reading = Reading(database, clock)
    newest_first = sorted(rare, reverse=True)
    # The first walk ends before it has come to the oldest five.
    assert await pages_of(reading, "failed", 3) == [newest_first[:2], newest_first[2:]]
    assert await pages_of(reading, "failed", 1) == [[each] for each in newest_first]
    assert await pages_of(reading, "canceled", 3) == [[], []]


async def test_of_one_person_only_the_service_s_own_are_told_however_often_they_are_named(database, clock):
    told = {"status": "approved", "route": "[]", "to_masked": "{}"}
    for each, service in (("ver_1", "shop"), ("ver_2", "bank"), ("ver_3", "shop")):
        await put(database, models.Verification, row(models.Verification, **told, id=each, service=service))
        for hashed in (b"phone", b"telegram"):
            await put(database, models.Address, row(models.Address, hash=hashed, verification_id=each))
    page = await Reading(database, clock).page("shop", to=[b"phone", b"telegram"], limit=1)
    assert ([item.id for item in page.items], page.next_cursor) == (["ver_3"], "ver_3")
    page = await Reading(database, clock).page("shop", to=[b"phone", b"telegram"], cursor="ver_3")
    assert ([item.id for item in page.items], page.next_cursor) == (["ver_1"], None)

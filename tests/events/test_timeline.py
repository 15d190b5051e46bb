"""Reading the timeline: order, filters, and following it while several nodes write."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, suppress
from typing import Any

import pytest

from gateway.events.event import Event, EventName, recorded
from gateway.events.timeline import OVERLAP, PAGE, Cursor, Filters, Timeline
from gateway.storage import models
from gateway.storage.database import Database
from gateway.storage.ids import new_id
from gateway.storage.statement import insert_into, row_of
from gateway.storage.unit import Move, StorageDamagedError, StorageError, StorageUnavailableError

AT = 1_777_891_200.0
ADDRESS = insert_into(models.Address)
EVENT = insert_into(models.Event)


def item(at: float, name: EventName = EventName.MESSAGE_SENT, service: str = "shop", **fields: Any) -> Event:
    """Return an event of that many seconds after the start, its id made as the product makes it."""
    return Event(new_id("evt", AT + at), AT + at, name, service, **fields)


async def add(database: Database, *events: Event) -> None:
    await database.write(recorded(None, (), events))


@pytest.fixture
def timeline(database) -> Timeline:
    return Timeline(database)


async def test_events_are_read_whole_and_in_order(database, timeline):
    late, early = item(2, milliseconds=1.5, attempt=3, recipient="+49•••••••678"), item(1)
    same = sorted([item(3), item(3)], key=lambda event: event.id)
    await add(database, *reversed(same), late, early)
    assert await timeline.read() == [early, late, *same]
    assert await timeline.latest() == [early, late, *same]


async def test_reading_goes_on_behind_a_cursor(database, timeline):
    events = sorted([item(1), item(1), item(1), item(2.0004), item(2.0001)], key=lambda event: (event.at, event.id))
    await add(database, *events)
    read: list[Event] = []
    cursor = Cursor()
    while page := await timeline.read(after=cursor, limit=2):
        read += page
        cursor = Cursor(page[-1].at, page[-1].id)
    assert read == events


async def test_the_latest_are_the_last_in_order(database, timeline):
    events = [item(number) for number in range(5)]
    await add(database, *events)
    assert await timeline.latest(limit=2) == events[3:]
    assert await timeline.latest(limit=0) == []


async def test_each_filter_lets_its_own_through(database, timeline):
    wanted = item(5, EventName.VERIFICATION_CHECK_FAILED, "shop", verification_id="ver_1")
    others = [
        item(1, EventName.VERIFICATION_CREATED, "other", verification_id="ver_2"),
        item(2, EventName.MESSAGE_QUEUED, "other", verification_id="ver_3"),
        item(3, EventName.SUBSCRIBER_CREATED, "other"),
    ]
    await add(database, wanted, *others)
    await database.write(Move(None, [(ADDRESS, (b"a" * 32, "ver_1")), (ADDRESS, (b"b" * 32, "ver_2"))]))
    for filters in (
        Filters(verification="ver_1"),
        Filters(service="shop"),
        Filters(prefix="verification.check_"),
        Filters(since=AT + 4),
        Filters(addresses=[b"a" * 32]),
        Filters(addresses=[b"c" * 32, b"a" * 32]),
        Filters(verification="ver_1", service="shop", prefix="ver", since=AT, addresses=[b"a" * 32]),
    ):
        assert (filters, await timeline.latest(filters=filters)) == (filters, [wanted])
        assert (filters, await timeline.read(filters=filters)) == (filters, [wanted])


async def test_what_nothing_matches_is_empty(database, timeline):
    await add(database, item(1, EventName.VERIFICATION_CHECK_FAILED, verification_id="ver_1"))
    for filters in (
        Filters(verification="ver_"),
        Filters(service=""),
        Filters(prefix="verification%"),
        Filters(prefix="verification_check"),
        Filters(addresses=[]),
        Filters(since=AT + 2),
    ):
        assert (filters, await timeline.latest(filters=filters)) == (filters, [])


async def test_an_event_a_newer_node_wrote_is_read_with_its_name(database, timeline):
    stored = models.Event(id=new_id("evt", AT), at=AT, name="message.teleported", service="shop")
    await database.write(Move(None, [(EVENT, row_of(models.Event)(stored))]))
    [found] = await timeline.latest()
    assert str(found.name) == "message.teleported"


class EnoughError(Exception):
    """Ends following."""


async def followed(timeline: Timeline, database: Database, *steps: list[Event], **options: Any) -> list[list[Event]]:
    """Follow, committing the events of one step before each look; return every batch that came."""
    waiting = list(steps)
    batches: list[list[Event]] = []

    async def pause() -> None:
        if not waiting:
            raise EnoughError
        await add(database, *waiting.pop(0))

    with suppress(EnoughError):
        async for batch in timeline.follow(pause=pause, **options):
            batches.append(batch)  # noqa: PERF401 - a comprehension would lose them when following ends
    return batches


async def test_following_begins_with_the_latest_and_goes_on_with_what_is_new(database, timeline):
    events = [item(number) for number in range(7)]
    await add(database, *events[:5])
    assert await followed(timeline, database, [], [events[6], events[5]], [], limit=2) == [events[3:5], events[5:]]


async def test_following_an_empty_timeline_waits_for_its_first_event(database, timeline):
    first = item(1)
    assert await followed(timeline, database, [], [first], []) == [[first]]


async def test_an_event_that_is_committed_late_comes_once(database, timeline):
    first, new = item(10), item(11)
    late, later, latest = item(11 - OVERLAP), item(11 - OVERLAP + 0.1), item(20)
    await add(database, first)
    batches = await followed(timeline, database, [new], [], [later], [late], [], [latest], [])
    assert batches == [[first], [new], [later], [late], [latest]]


async def test_an_event_of_long_ago_is_not_new(database, timeline):
    first = item(10)
    await add(database, first)
    assert await followed(timeline, database, [item(10 - OVERLAP - 0.1)]) == [[first]]


async def test_what_the_limit_left_out_is_not_new(database, timeline):
    new = item(1)
    await add(database, *(item(1) for _ in range(5)))
    assert await followed(timeline, database, [], [new], [], limit=0) == [[new]]


async def test_filters_hold_while_following(database, timeline):
    first, second = item(2), item(4)
    steps = [item(1, service="other")], [first], [item(3, service="other"), second]
    assert await followed(timeline, database, *steps, filters=Filters(service="shop")) == [[first], [second]]


async def test_many_events_between_two_looks_all_come(database, timeline):
    await add(database, first := item(0))
    many = [item(1 + number / 1000) for number in range(2 * PAGE + 1)]
    assert await followed(timeline, database, many) == [[first], many]


async def test_following_outlives_a_database_that_is_away_and_misses_nothing(database, timeline):
    first, meanwhile = item(1), item(2)
    await add(database, first)
    fetch = database.fetch
    told: list[StorageError | None] = []
    failures: list[StorageError] = [StorageUnavailableError(text) for text in ("gone", "gone still")]

    async def away(sql: str, **values: Any) -> Any:
        if failures:
            raise failures.pop(0)
        return await fetch(sql, **values)

    waiting = [[], [meanwhile], [], []]

    async def pause() -> None:
        if not waiting:
            raise EnoughError
        await add(database, *waiting.pop(0))
        database.fetch = away

    batches = []
    with suppress(EnoughError):
        async for batch in timeline.follow(pause=pause, away=told.append):
            batches.append(batch)  # noqa: PERF401 - a comprehension would lose them when following ends
    assert batches == [[first], [meanwhile]]
    assert [str(error) for error in told] == ["gone", "None"]


@pytest.mark.parametrize("error", [StorageDamagedError("damaged"), StorageError("a fault of ours")])
async def test_following_ends_where_waiting_does_not_help(database, timeline, error):
    await add(database, item(1))

    async def broken(sql: str, **values: Any) -> Any:
        raise error

    async def pause() -> None:
        database.fetch = broken

    with pytest.raises(type(error)):
        _ = [batch async for batch in timeline.follow(pause=pause)]


async def test_following_looks_again_by_itself(database, timeline):
    async with aclosing(timeline.follow()) as batches, asyncio.timeout(20):
        await add(database, first := item(1))
        assert await anext(batches) == [first]
        await add(database, second := item(2))
        assert await anext(batches) == [second]

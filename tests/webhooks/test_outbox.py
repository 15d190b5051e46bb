"""Webhooks are written with the move they tell of, or not at all."""

from __future__ import annotations

import asyncio
import json

import pytest

from gateway.events.event import EventName, event, recorded
from gateway.storage import models
from gateway.storage.database import Database
from gateway.storage.ids import new_id
from gateway.storage.statement import Statement, insert_into
from gateway.webhooks.outbox import Outbox
from gateway.webhooks.rows import TOPIC
from tests.conftest import START

VERIFICATION = new_id("ver", START)
#: A guard that never holds.
NEVER = Statement("never", {"id": "text"}, "DELETE FROM message WHERE id IN (SELECT id FROM r) RETURNING id", (0,))


@pytest.fixture
async def telling(make_engine, committed):
    """A database that is given webhooks to write."""
    outbox = Outbox({"shop", "bank"})
    async with Database(
        make_engine(), on_commit=committed.extend, alongside=outbox.alongside, alongside_wakes=(TOPIC,)
    ) as database:
        yield database


def told(name: EventName, at: float = START, service: str = "shop", verification: str | None = VERIFICATION):
    return event(name, at, service, verification_id=verification, message_id="msg_1", channel="sms")


async def written(database) -> list[str]:
    found = await database.fetch("SELECT name FROM webhook ORDER BY created_at, name")
    return [record["name"] for record in found]


async def test_a_move_writes_its_webhooks(telling):
    await telling.write(recorded(None, (), (told(EventName.VERIFICATION_CREATED),)))
    (row,) = await telling.fetch("SELECT * FROM webhook")
    assert (row["service"], row["name"], row["verification_id"]) == ("shop", "verification.created", VERIFICATION)
    assert (row["status"], row["tries"], row["due_at"], row["lease"]) == ("pending", 0, START, "")
    assert (row["created_at"], row["finished_at"], row["answer"], row["reason"]) == (START, None, None, None)
    assert json.loads(row["body"])["data"]["status"] == "pending"


async def test_a_move_whose_guard_fails_writes_none(telling):
    move = recorded((NEVER, ("msg_0",)), (), (told(EventName.MESSAGE_SENT),))
    assert not await telling.write(move)
    assert await written(telling) == []


async def test_a_work_that_is_undone_writes_none(telling):
    async def work(connection):
        await connection.apply(recorded(None, (), (told(EventName.MESSAGE_SENT),)))
        raise LookupError

    with pytest.raises(LookupError):
        await telling.run(work)
    assert await written(telling) == []


async def test_a_work_writes_those_of_its_moves(telling):
    await telling.run(lambda connection: connection.apply(recorded(None, (), (told(EventName.VERIFICATION_FAILED),))))
    assert await written(telling) == ["verification.failed"]


async def test_services_without_an_endpoint_are_told_nothing(telling):
    events = (told(EventName.MESSAGE_SENT, service="other"), told(EventName.CHANNEL_OPENED, service=""))
    await telling.write(recorded(None, (), events))
    assert await written(telling) == []


async def test_notes_that_are_no_events_are_passed_over():
    assert Outbox({"shop"}).alongside(["shop", None, told(EventName.MESSAGE_QUEUED)]) == []


@pytest.mark.parametrize("together", [True, False])
async def test_a_verification_is_told_to_have_left_and_arrived_once(telling, together):
    names = [EventName.MESSAGE_SENT, EventName.MESSAGE_SENT, EventName.MESSAGE_DELIVERED, EventName.MESSAGE_DELIVERED]
    moves = [recorded(None, (), (told(name, START + at),)) for at, name in enumerate(names)]
    if together:
        await asyncio.gather(*map(telling.write, moves))
    else:
        for move in moves:
            await telling.write(move)
    found = await written(telling)
    assert [found.count(name) for name in ("verification.sent", "verification.delivered")] == [1, 1]
    assert [found.count(name) for name in ("message.sent", "message.delivered")] == [2, 2]
    (sent,) = await telling.fetch("SELECT created_at FROM webhook WHERE name = 'verification.sent'")
    assert sent["created_at"] == START


async def test_two_of_one_move_are_one_too(telling):
    await telling.write(recorded(None, (), (told(EventName.MESSAGE_SENT), told(EventName.MESSAGE_DELIVERED))))
    assert (await written(telling)).count("verification.sent") == 1


async def test_two_nodes_that_settle_at_once_tell_it_once(make_engine):
    outbox = Outbox({"shop"})
    verifications = [new_id("ver", START) for _ in range(50)]
    async with (
        Database(make_engine(), alongside=outbox.alongside) as one,
        Database(make_engine(), alongside=outbox.alongside) as other,
    ):
        moves = [recorded(None, (), (told(EventName.MESSAGE_SENT, START, "shop", item),)) for item in verifications]
        again = [
            recorded(None, (), (told(EventName.MESSAGE_SENT, START, "shop", item),)) for item in reversed(verifications)
        ]
        await asyncio.gather(*map(one.write, moves), *map(other.write, again))
        assert (await written(one)).count("verification.sent") == 50


async def test_the_lane_is_woken_where_there_is_something_to_tell(telling):
    woken = []
    telling.wakes.subscribe(TOPIC, lambda: woken.append(True))
    await telling.write(recorded(None, (), (told(EventName.MESSAGE_QUEUED),)))
    assert woken == []
    await telling.write(recorded(None, (), (told(EventName.MESSAGE_SENT),)))
    assert woken == [True]


async def test_a_row_of_the_outbox_has_the_columns_of_the_table():
    ((statement, row), *_) = Outbox({"shop"}).alongside([told(EventName.MESSAGE_SENT)])
    assert statement.columns == insert_into(models.Webhook).columns
    assert len(row) == len(statement.columns)

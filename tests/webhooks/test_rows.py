"""The queue of webhooks on both databases: claimed by service, settled by who holds them, replayed, forgotten."""

from __future__ import annotations

import asyncio

import pytest

from gateway.events.event import EventName, event
from gateway.storage import models
from gateway.storage.database import Database
from gateway.storage.ids import new_id
from gateway.storage.statement import insert_into, row_of
from gateway.storage.unit import Move
from gateway.webhooks.rows import BITE, LEASE, Result, Webhook, Webhooks, WebhookStatus
from tests.conftest import START

INSERT, ROW = insert_into(models.Webhook), row_of(models.Webhook)
DAY = 86_400.0


def webhook(at: float = START, service: str = "shop", **fields: object) -> Webhook:
    values = {
        "id": new_id("whk", at),
        "service": service,
        "name": "message.sent",
        "verification_id": None,
        "body": '{"to":"+49•••••••678"}',
        "status": "pending",
        "tries": 0,
        "due_at": at,
        "lease": "",
        "created_at": at,
        "finished_at": None,
        "answer": None,
        "reason": None,
        **fields,
    }
    return Webhook(**values)  # type: ignore[arg-type]


async def add(database: Database, *items: Webhook) -> None:
    await asyncio.gather(*(database.write(Move(None, ((INSERT, ROW(item)),))) for item in items))


@pytest.fixture
def several_nodes(engine_name) -> bool:
    return bool(engine_name == "postgresql")


@pytest.fixture
def one(database, clock, several_nodes) -> Webhooks:
    return Webhooks(database, clock, node="one", several_nodes=several_nodes)


@pytest.fixture
def other(database, clock, several_nodes) -> Webhooks:
    return Webhooks(database, clock, node="other", several_nodes=several_nodes)


async def row(database, webhook_id: str):
    (found,) = await database.fetch("SELECT * FROM webhook WHERE id = :id", id=webhook_id)
    return found


async def test_what_waits_is_told_by_service_with_its_first_time(database, one):
    assert await one.waiting() == {}
    await add(database, webhook(START + 9), webhook(START + 3), webhook(START + 5, "bank"), webhook(status="failed"))
    assert await one.waiting() == {"shop": START + 3, "bank": START + 5}


async def test_each_service_gets_as_many_as_it_has_room_for_the_oldest_first(database, one, clock):
    items = [webhook(START - age, service) for age in range(5) for service in ("shop", "bank", "club")]
    await add(database, *items)
    claimed = await one.claim({"shop": 2, "bank": 1})
    assert {(item.service, item.created_at) for item in claimed} == {
        ("shop", START - 4),
        ("shop", START - 3),
        ("bank", START - 4),
    }
    assert {(item.lease, item.due_at, item.tries) for item in claimed} == {("one", START + LEASE, 0)}
    assert claimed[0].body == '{"to":"+49•••••••678"}'


async def test_what_is_not_due_is_not_claimed(database, one, clock):
    await add(database, webhook(START + 1), webhook(status="delivered"), webhook(status="dropped"))
    assert await one.claim({"shop": 9}) == []
    clock.advance(1)
    assert len(await one.claim({"shop": 9})) == 1


async def test_a_webhook_is_one_nodes_until_its_lease_ends(database, one, other, clock):
    await add(database, webhook())
    (held,) = await one.claim({"shop": 1})
    clock.advance(LEASE - 0.001)
    assert await other.claim({"shop": 1}) == []
    clock.advance(0.001)
    assert [item.id for item in await other.claim({"shop": 1})] == [held.id]


async def test_nodes_that_claim_at_once_get_different_ones(make_engine, clock, several_nodes):
    async with Database(make_engine()) as a, Database(make_engine()) as b:
        await add(a, *(webhook() for _ in range(100)))
        nodes = [
            Webhooks(database, clock, node=str(number), several_nodes=several_nodes)
            for number, database in enumerate((a, b, a, b))
        ]
        claimed = await asyncio.gather(*(node.claim({"shop": 20}) for node in nodes for _ in range(3)))
        ids = [item.id for items in claimed for item in items]
        assert len(ids) == len(set(ids))
        rest = [item.id for node in nodes for item in await node.claim({"shop": 100})]
        assert len({*ids, *rest}) == len([*ids, *rest]) == 100


async def test_what_another_node_is_claiming_is_passed_over(make_engine, clock, several_nodes):
    """Nobody waits for another node's claim to be committed."""
    if not several_nodes:
        pytest.skip("a SQLite file has one node")
    claimed, may_commit = asyncio.Event(), asyncio.Event()

    async def claim(connection) -> list[str]:
        found = await connection.fetch("SELECT id FROM webhook ORDER BY due_at LIMIT 2 FOR UPDATE")
        claimed.set()
        await may_commit.wait()
        return [record["id"] for record in found]

    async with Database(make_engine()) as here, Database(make_engine()) as there:
        await add(here, *(webhook(START - age) for age in range(5)))
        theirs = asyncio.create_task(there.run(claim))
        await claimed.wait()
        try:
            ours = await Webhooks(here, clock, node="one", several_nodes=True).claim({"shop": 4})
        finally:
            may_commit.set()
        assert [item.created_at - START for item in ours] == [-2, -1, 0]
        assert len({*(item.id for item in ours), *await theirs}) == 5


async def test_a_delivered_webhook_is_over(database, one, clock):
    await add(database, webhook())
    (held,) = await one.claim({"shop": 1})
    clock.advance(2)
    assert await one.deliver(held, Result(204))
    found = await row(database, held.id)
    assert (found["status"], found["tries"], found["answer"], found["reason"]) == ("delivered", 1, 204, None)
    assert (found["finished_at"], found["lease"]) == (START + 2, "")
    assert await one.waiting() == {}


async def test_a_failed_try_is_due_again_with_what_went_wrong(database, one, clock):
    await add(database, webhook())
    (held,) = await one.claim({"shop": 1})
    assert await one.again(held, START + 5, Result(500, "refused"))
    found = await row(database, held.id)
    assert (found["status"], found["tries"], found["due_at"]) == ("pending", 1, START + 5)
    assert (found["answer"], found["reason"], found["finished_at"]) == (500, "refused", None)
    assert await one.claim({"shop": 1}) == []
    clock.advance(5)
    assert [item.tries for item in await one.claim({"shop": 1})] == [1]


async def test_a_webhook_that_failed_for_good_is_told_of(database, one, committed):
    await add(database, webhook())
    (held,) = await one.claim({"shop": 1})
    told = event(EventName.WEBHOOK_FAILED, START, "shop", reason="timeout")
    assert await one.fail(held, Result(None, "timeout"), (told,))
    assert ((await row(database, held.id))["status"], committed) == ("failed", [told])


async def test_a_webhook_that_is_let_go_is_as_it_was(database, one, other, clock):
    await add(database, webhook(tries=3, answer=500, reason="refused"))
    (held,) = await one.claim({"shop": 1})
    clock.advance(1)
    assert await one.release(held)
    (again,) = await other.claim({"shop": 1})
    assert (again.tries, again.answer, again.reason) == (3, 500, "refused")


@pytest.mark.parametrize("settle", ["deliver", "fail", "again", "release"])
async def test_who_has_lost_a_webhook_settles_nothing(database, one, other, clock, settle, committed):
    await add(database, webhook())
    (lost,) = await one.claim({"shop": 1})
    clock.advance(LEASE)
    (held,) = await other.claim({"shop": 1})
    ends = {
        "deliver": lambda: one.deliver(lost, Result(200)),
        "fail": lambda: one.fail(lost, Result(500), (event(EventName.WEBHOOK_FAILED, START, "shop"),)),
        "again": lambda: one.again(lost, START, Result(500)),
        "release": lambda: one.release(lost),
    }
    before = dict(await row(database, held.id))
    assert not await ends[settle]()
    assert (dict(await row(database, held.id)), committed) == (before, [])
    assert await other.deliver(held, Result(200))
    assert not await ends[settle]()


async def test_a_node_that_has_tried_again_since_settles_the_old_try_no_more(database, one, clock):
    await add(database, webhook())
    (old,) = await one.claim({"shop": 1})
    await one.again(old, START, Result(500, "refused"))
    (new,) = await one.claim({"shop": 1})
    assert not await one.deliver(old, Result(200))
    assert await one.deliver(new, Result(200))


async def test_what_nobody_holds_of_a_service_is_dropped(database, one, clock):
    await add(database, webhook(), webhook(START + 3600), webhook(service="bank"), webhook(status="failed"))
    (held,) = await one.claim({"shop": 1})
    assert await one.drop("shop") == 1
    found = await database.fetch("SELECT status, reason, finished_at FROM webhook WHERE status = 'dropped'")
    assert [(item["reason"], item["finished_at"]) for item in found] == [("disabled", START)]
    assert (await row(database, held.id))["status"] == "pending"
    clock.advance(LEASE)
    assert await one.drop("shop") == 1
    assert await one.waiting() == {"bank": START}


async def test_dropping_goes_in_bites(database, one):
    await add(database, *(webhook() for _ in range(BITE + 1)))
    assert [await one.drop("shop") for _ in range(3)] == [BITE, 1, 0]


@pytest.mark.parametrize("status", ["delivered", "failed", "dropped"])
async def test_a_replayed_webhook_begins_anew_under_its_id(database, one, clock, status):
    old = webhook(START - DAY, status=status, tries=10, finished_at=START - 5, answer=500, reason="refused")
    await add(database, old)
    assert await one.replay([old.id]) == 1
    (held,) = await one.claim({"shop": 1})
    assert (held.id, held.tries, held.finished_at, held.answer, held.reason) == (old.id, 0, None, None, None)


async def test_a_waiting_webhook_is_replayed_and_one_under_way_is_not(database, one, other, clock):
    later = webhook(START + 3600, tries=4)
    await add(database, webhook(), later)
    (held,) = await one.claim({"shop": 1})
    assert await other.replay([held.id, later.id, "whk_unknown"]) == 1
    assert [item.id for item in await other.claim({"shop": 9})] == [later.id]
    clock.advance(LEASE)
    assert await other.replay([held.id]) == 1


async def test_a_replay_wakes_the_lane(database, one):
    item, woken = webhook(status="failed"), []
    await add(database, item)
    database.wakes.subscribe("webhook", lambda: woken.append(True))
    await one.replay([item.id])
    assert woken == [True]


async def test_the_latest_are_shown_newest_first(database, one):
    items = [
        webhook(START + at, service, status=status)
        for at, (service, status) in enumerate(
            [("shop", "failed"), ("bank", "failed"), ("shop", "delivered"), ("shop", "failed")]
        )
    ]
    await add(database, *items)
    assert await one.latest(limit=9) == items[::-1]
    assert await one.latest(limit=1) == items[3:]
    assert await one.latest(service="shop", status="failed", limit=9) == [items[3], items[0]]
    assert await one.latest(service="club", limit=9) == []


async def test_one_is_found_by_its_id(database, one):
    item = webhook()
    await add(database, item)
    assert await one.find(item.id) == item
    assert await one.find("whk_unknown") is None


async def test_ids_are_read_in_bites(database, one):
    items = [webhook(START, status="failed") for _ in range(BITE + 2)]
    await add(
        database, *items, webhook(START - 1, status="failed"), webhook(service="bank", status="failed"), webhook()
    )
    first = await one.ids("shop", WebhookStatus.FAILED, since=START)
    rest = await one.ids("shop", WebhookStatus.FAILED, since=START, after=first[-1])
    assert (len(first), [*first, *rest]) == (BITE, sorted(item.id for item in items))


async def test_what_ended_long_ago_is_forgotten(database, one):
    old = START - 30 * DAY
    items = [
        webhook(old - 10, status="delivered", finished_at=old - 1),
        webhook(old - 10, status="failed", finished_at=old + 1),
        webhook(old + 1, status="dropped", finished_at=old + 1),
        # Nobody tries it: its service has no endpoint any more.
        webhook(old - 10),
        webhook(old - 10, due_at=START + 60, tries=9),
    ]
    await add(database, *items)
    assert await one.forget(START, 30) == 2
    found = await database.fetch("SELECT id FROM webhook")
    assert {record["id"] for record in found} == {items[1].id, items[2].id, items[4].id}


async def test_forgetting_goes_in_bites(database, one):
    await add(
        database, *(webhook(START - 2 * DAY, status="delivered", finished_at=START - 2 * DAY) for _ in range(BITE + 1))
    )
    assert [await one.forget(START, 1) for _ in range(3)] == [BITE, 1, 0]
    assert await one.forget(1000.0, 30) == 0


def test_a_webhook_does_not_show_its_body():
    shown = repr(webhook(body='{"to":"somebody"}'))
    assert "somebody" not in shown
    assert "message.sent" in shown

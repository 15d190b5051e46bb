"""The guards of the queue's statements, one by one: each refuses what it must, whoever asks, on both engines."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from channels.base import Reason, Receipt
from gateway.delivery import statements as sql
from gateway.delivery.lifecycle import AttemptOutcome, MessageStatus
from gateway.delivery.message import LEASE, Message
from gateway.delivery.telling import Failure
from gateway.storage.database import Database
from gateway.storage.postgresql import PostgresqlEngine
from gateway.storage.statement import Row, Statement
from gateway.storage.unit import Move
from tests.world import EMAIL, PHONE, World, two_channels

BOTH = {"phone": PHONE, "email": EMAIL}
LOST = Failure(AttemptOutcome.UNKNOWN, Reason.TIMEOUT)
REFUSED = Failure(AttemptOutcome.PERMANENT, Reason.REJECTED)


@pytest.fixture
def world(database, clock, sealer, hasher) -> World:
    return World(database, clock, sealer, hasher, two_channels())


@pytest.fixture
def stranger(database, clock, sealer, hasher) -> World:
    """Another node, which holds nothing of what the first holds."""
    return World(database, clock, sealer, hasher, two_channels(), node="node-b")


#: What a node does with a message that it has begun.
SETTLEMENTS: dict[str, Callable[[World, Message], Any]] = {
    "accept": lambda side, message: side.queue.accept(message, Receipt("SM1"), 1.0),
    "retry": lambda side, message: side.queue.retry(message, LOST, 0.0),
    "give back": lambda side, message: side.queue.give_back(message),
    "move on": lambda side, message: side.queue.move_on(message, REFUSED, alive=True, leased=True),
}


async def test_the_lease_fences_a_begin(world, stranger):
    view = await world.start()
    assert await stranger.queue.begin(world.handed_over[0]) is None
    assert await world.statuses(view) == [("sms", "queued")]
    assert await world.queue.begin(world.handed_over[0]) is not None


async def test_the_lease_fences_a_begin_by_a_node_that_lost_the_message(world, stranger, clock):
    """Paused for longer than a lease, it wakes up with what another node has taken over by then."""
    await world.start()
    clock.advance(LEASE)
    assert await stranger.claim("sms") == 1
    assert await world.queue.begin(world.handed_over[0]) is None
    assert await stranger.queue.begin(stranger.handed_over[0]) is not None


@pytest.mark.parametrize("settlement", SETTLEMENTS)
async def test_the_lease_fences_the_end_of_an_attempt(world, stranger, settlement):
    view = await world.start(BOTH)
    message, _ = await world.queue.begin(world.handed_over[0])
    assert not await SETTLEMENTS[settlement](stranger, message)
    assert await world.statuses(view) == [("sms", "sending")]


async def test_the_lease_fences_a_drop_and_a_release(world, stranger):
    view = await world.start(BOTH)
    [message] = world.handed_over
    assert await stranger.queue.drop(message, Reason.UNAVAILABLE, leased=True) is None
    assert not await stranger.queue.release(message)
    assert await world.statuses(view) == [("sms", "queued")]
    assert await world.queue.begin(message) is not None


async def test_what_this_node_lost_and_has_claimed_anew_is_not_dropped(world, database):
    """Its copy of before could not be begun, for the lease was gone; the drop of that found a lease of this node's."""
    view = await world.start(BOTH)
    [lost] = world.handed_over
    await database.run(
        lambda on: on.fetch("UPDATE message SET lease = '', due_at = 0 WHERE status = 'queued' RETURNING id")
    )
    assert await world.queue.begin(lost) is None
    [again] = await world.queue.claim("sms", {lost.service: 1})
    assert await world.queue.drop(lost, None, leased=True) is None
    assert await world.statuses(view) == [("sms", "queued")]
    assert await world.queue.begin(again) is not None


async def test_what_could_not_be_begun_and_is_wanted_no_more_is_dropped(world, clock):
    view = await world.start(BOTH)
    [message] = world.handed_over
    clock.advance(message.expires_at - clock.now())
    assert await world.queue.begin(message) is None
    await world.queue.drop(message, None, leased=True)
    assert (await world.statuses(view))[0] == ("sms", "expired")


async def test_a_rescue_leaves_alone_what_another_node_holds_by_now(world, database, clock):
    """Between the look and the write the message may have been rescued, taken and begun by somebody else."""
    view = await world.start()
    message, _ = await world.queue.begin(world.handed_over[0])
    clock.advance(LEASE)
    rescue = (sql.RESCUE, (message.id, "node-b", 1, clock.now()))
    assert not await database.write(Move(rescue))
    assert await world.statuses(view) == [("sms", "sending")]


@pytest.mark.parametrize(("number", "waited"), [(2, LEASE), (1, LEASE - 0.1)])
async def test_a_rescue_takes_the_attempt_that_was_seen_and_whose_lease_is_over(world, database, clock, number, waited):
    view = await world.start()
    message, _ = await world.queue.begin(world.handed_over[0])
    clock.advance(waited)
    assert not await database.write(Move((sql.RESCUE, (message.id, "node-a", number, clock.now()))))
    assert await world.statuses(view) == [("sms", "sending")]


async def test_nothing_begins_once_its_code_is_dead(world, clock):
    """Its verification may still be pending: the sweep that ends it comes every few seconds."""
    view = await world.start(ttl=60)
    clock.advance(59.9)
    [message] = world.handed_over
    clock.advance(0.1)
    assert await world.queue.begin(message) is None
    assert (await world.look(view)).messages[0].attempts == ()


@pytest.mark.parametrize("column", ["status = 'approved'", "generation = 2"])
async def test_nothing_begins_that_is_not_wanted_any_more(world, database, column):
    await world.start()
    change = f"UPDATE verification SET {column} RETURNING id"
    await database.run(lambda connection: connection.fetch(change))
    assert await world.queue.begin(world.handed_over[0]) is None


async def test_nothing_begins_twice(world):
    await world.start()
    [message] = world.handed_over
    assert await world.queue.begin(message) is not None
    assert await world.queue.begin(message) is None


@pytest.mark.parametrize("settlement", SETTLEMENTS)
async def test_an_attempt_is_settled_while_it_is_under_way(world, clock, settlement):
    """The node itself may have lost it in the meantime, and hold the message for the next attempt."""
    view = await world.start(BOTH)
    message, _ = await world.queue.begin(world.handed_over.pop())
    clock.advance(LEASE)
    await world.queue.rescue()
    assert await world.claim("sms") == 1
    assert not await SETTLEMENTS[settlement](world, message)
    assert await world.statuses(view) == [("sms", "queued")]
    again, _ = await world.queue.begin(world.handed_over.pop())
    assert await world.queue.accept(again, Receipt("SM2"), 1.0)


@pytest.mark.parametrize("settlement", SETTLEMENTS)
async def test_an_attempt_is_settled_by_its_own_number(world, clock, settlement):
    view = await world.start(BOTH)
    message, _ = await world.queue.begin(world.handed_over.pop())
    clock.advance(LEASE)
    await world.queue.rescue()
    await world.claim("sms")
    await world.queue.begin(world.handed_over.pop())
    assert not await SETTLEMENTS[settlement](world, message)
    assert await world.statuses(view) == [("sms", "sending")]
    assert [attempt.outcome for attempt in (await world.look(view)).messages[0].attempts] == ["unknown", None]


@pytest.mark.parametrize("first", SETTLEMENTS)
@pytest.mark.parametrize("second", SETTLEMENTS)
async def test_an_attempt_ends_once(world, first, second):
    view = await world.start(BOTH)
    message, _ = await world.queue.begin(world.handed_over[0])
    assert await SETTLEMENTS[first](world, message)
    before = await world.look(view)
    assert not await SETTLEMENTS[second](world, message)
    assert await world.look(view) == before


async def test_the_end_of_an_attempt_is_written_once(world, database, clock):
    """Of what is committed in one batch, what follows on one move may be written after what follows on another."""
    await world.start()
    message, _ = await world.queue.begin(world.handed_over[0])
    for later, outcome in enumerate(("sent", "unknown")):
        end = (message.id, 1, clock.now() + later, outcome, None, None, None)
        await database.write(Move(None, [(sql.END_ATTEMPT, end)]))
    [row] = await database.fetch("SELECT outcome, finished_at FROM attempt")
    assert (row["outcome"], row["finished_at"]) == ("sent", clock.now())


async def test_a_claim_takes_nothing_that_is_not_due_or_not_asked_for(world, clock):
    world.has_room = False
    await world.start()
    assert await world.queue.claim("email", {"shop": 10}) == []
    assert await world.queue.claim("sms", {"other": 10, "shop": 0}) == []
    assert await world.queue.claim("sms", {}) == []
    [message] = await world.queue.claim("sms", {"other": 10, "shop": 10})
    assert await world.queue.release(message, clock.now() + 1.0)
    assert await world.queue.claim("sms", {"shop": 10}) == []
    clock.advance(1.0)
    assert len(await world.queue.claim("sms", {"shop": 10})) == 1


async def test_a_claim_skips_what_another_transaction_holds(world, database, request):
    """And does not wait for it: whoever holds it may be slow, and everybody else's codes are behind it."""
    if not isinstance(database._engine, PostgresqlEngine):
        pytest.skip("SQLite has one writer")
    import asyncpg

    world.has_room = False
    first = await world.start()
    second = await world.start({"phone": "+4915112345679"})
    connection = await asyncpg.connect(request.getfixturevalue("migrated_postgresql"))
    try:
        async with connection.transaction():
            await connection.execute("SELECT 1 FROM message WHERE verification_id = $1 FOR UPDATE", first.id)
            claimed = await world.queue.claim("sms", {"shop": 10})
    finally:
        await connection.close()
    assert [message.verification_id for message in claimed] == [second.id]


async def plan_of(database: Database, text: str, **values: object) -> str:
    """How the database goes about a statement, where no table is worth scanning."""
    if isinstance(database._engine, PostgresqlEngine):

        async def explain(connection):
            await connection.fetch("SET LOCAL enable_seqscan = off")
            return [row[0] for row in await connection.fetch(f"EXPLAIN {text}", **values)]

        return "\n".join(await database.run(explain))
    return "\n".join(row["detail"] for row in await database.fetch(f"EXPLAIN QUERY PLAN {text}", **values))


async def test_a_look_for_reports_that_did_not_come_reads_an_index(database, clock):
    assert "ix_message_confirm_by" in await plan_of(database, sql.UNCONFIRMED, now=clock.now())


async def test_a_look_for_what_may_have_left_reads_the_messages_of_its_verification_alone(database):
    plan = await plan_of(database, sql.MAY_HAVE_LEFT, verification_id="ver_1")
    assert "ix_message_verification_id" in plan
    assert "SCAN" not in plan.replace("SCAN CONSTANT ROW", "").replace("Index Scan", "")


async def test_a_claim_reads_an_index_of_its_service(database, clock):
    lease = {"node": "n", "until": clock.now(), "channel": "sms", "now": clock.now()}
    if isinstance(database._engine, PostgresqlEngine):
        plan = await plan_of(database, sql.CLAIM_POSTGRESQL, **lease, services=["shop"], numbers=[10])
    else:
        plan = await plan_of(database, sql.CLAIM_SQLITE, **lease, service="shop", number=10)
    assert "ix_message_queued_channel_service_due_at" in plan


def statements() -> list[Statement]:
    return [item for item in vars(sql).values() if isinstance(item, Statement)]


def test_every_statement_has_a_name_of_its_own():
    names = [statement.name for statement in statements()]
    assert sorted(set(names)) == sorted(names)


@pytest.mark.parametrize("status", [status for status in MessageStatus if status not in ("canceled", "expired")])
async def test_a_close_ends_nothing_as_anything_but_canceled_or_expired(world, database, clock, status):
    view = await world.start()
    await database.run(lambda connection: world.queue.close(connection, view.id, status, clock.now()))
    assert await world.statuses(view) == [("sms", "queued")]


#: A row of each statement that writes a held message, as another node would write it.
ROWS: dict[Statement, Callable[[str, float], Row]] = {
    sql.BEGIN: lambda item, now: (item, "node-b", 1, now, now + LEASE),
    sql.UNLEASE: lambda item, now: (item, "node-b", now),
    sql.END_QUEUED: lambda item, now: (item, "node-b", "failed", now, None),
}


@pytest.mark.parametrize("statement", ROWS, ids=lambda statement: statement.name)
async def test_a_message_that_nobody_holds_is_nobodys_to_move(world, database, clock, statement):
    world.has_room = False
    view = await world.start()
    [row] = await database.fetch("SELECT id FROM message")
    assert not await database.write(Move((statement, ROWS[statement](row["id"], clock.now()))))
    assert await world.statuses(view) == [("sms", "queued")]


async def test_an_attempt_begins_with_the_next_number(world, database, clock):
    await world.start()
    [message] = world.handed_over
    at = (clock.now(), clock.now() + LEASE)
    assert not await database.write(Move((sql.BEGIN, (message.id, "node-a", 2, *at))))
    begun, _ = await world.queue.begin(message)
    assert not await database.write(Move((sql.BEGIN, (message.id, "node-a", begun.attempts + 1, *at))))


async def test_what_is_under_way_is_neither_dropped_nor_released(world):
    view = await world.start(BOTH)
    message, _ = await world.queue.begin(world.handed_over.pop())
    assert await world.queue.drop(message, Reason.UNAVAILABLE, leased=True) is None
    assert not await world.queue.release(message)
    assert await world.statuses(view) == [("sms", "sending")]


async def test_a_lease_is_prolonged_by_whoever_has_it(world, stranger, clock):
    await world.start()
    [message] = world.handed_over
    clock.advance(LEASE / 2)
    await stranger.queue.renew([message.id])
    clock.advance(LEASE / 2)
    assert await stranger.claim("sms") == 1


@pytest.mark.parametrize(
    "change", ["status = 'undelivered'", "confirm_by = confirm_by + 60", "followed_at = 1", "status = 'sent'"]
)
async def test_nobody_follows_what_changed_since_it_was_looked_at(database, clock, sealer, hasher, change):
    world = World(database, clock, sealer, hasher, two_channels(), confirm_within=lambda *_: 15.0)
    await world.start(BOTH)
    attempt = await world.queue.begin(world.handed_over.pop())
    assert attempt is not None
    message, _ = attempt
    await world.queue.accept(message, Receipt("SM1"), 1.0)
    clock.advance(15.0)
    await database.run(lambda connection: connection.fetch(f"UPDATE message SET {change} RETURNING id"))
    followed = await database.write(Move((sql.UNCONFIRM, (message.id, clock.now()))))
    assert followed == (change == "status = 'sent'")

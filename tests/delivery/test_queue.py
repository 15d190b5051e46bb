"""The queue where nodes, providers and keys misbehave, on both engines."""

from __future__ import annotations

import asyncio

import pytest

from channels.base import AmbiguousError, Reason, Receipt, Report, ReportedStatus
from gateway.config import SealingKey
from gateway.delivery.lifecycle import AttemptOutcome
from gateway.delivery.queue import LEASE
from gateway.delivery.telling import Failure
from gateway.storage.database import Database
from gateway.storage.sealing import Sealer
from tests.world import EMAIL, PHONE, World, two_channels

BOTH = {"phone": PHONE, "email": EMAIL}
LOST = Failure(AttemptOutcome.UNKNOWN, Reason.TIMEOUT)


@pytest.fixture
def world(database, clock, sealer, hasher) -> World:
    return World(database, clock, sealer, hasher, two_channels())


async def attempts(world: World, view) -> list[tuple[str | None, str | None]]:
    return [(item.outcome, item.provider_id) for item in (await world.look(view)).messages[0].attempts]


async def test_what_a_node_lost_on_its_way_is_not_renewed(world, clock):
    """A caller that went away between the commit and the dispatcher must not hold the message until it expires."""
    await world.start()
    world.handed_over.clear()
    for _ in range(4):
        clock.advance(LEASE / 4)
        await world.queue.renew([message.id for message in world.handed_over])
    assert await world.claim("sms") == 1


async def test_an_attempt_that_could_not_be_settled_is_rescued_by_the_node_itself(world, clock):
    await world.start()
    await world.queue.begin(world.handed_over.pop())
    for _ in range(4):
        clock.advance(LEASE / 4)
        await world.queue.renew([])
    assert await world.queue.rescue() == 1


async def test_a_lapsed_lease_is_not_renewed(world, clock):
    await world.start()
    clock.advance(LEASE)
    await world.queue.renew([message.id for message in world.handed_over])
    assert await world.claim("sms") == 1


async def test_a_claim_takes_the_oldest_first(world, clock):
    world.has_room = False
    ids = []
    for number in range(5):
        view = await world.start({"phone": f"+49151123456{number:02}"})
        ids.append(view.messages[0].id)
        clock.advance(1.0)
    assert await world.claim("sms") == 5
    assert [message.id for message in world.handed_over] == ids


async def test_a_message_that_nobody_can_open_fails_and_holds_up_nobody(world, database, clock, hasher):
    world.has_room = False
    view = await world.start()
    stranger = World(database, clock, Sealer([SealingKey("k9", b"9" * 32)]), hasher, two_channels(), node="node-b")
    stranger.has_room = False
    other = await stranger.start({"phone": "+4915112345679"})
    assert await stranger.claim("sms") == 1
    assert await world.statuses(view) == [("sms", "failed")]
    assert (await world.look(view)).status == "failed"
    assert (await world.look(view)).events[-2].details["reason"] == "misconfigured"
    await stranger.attempt()
    assert await world.statuses(other) == [("sms", "sent")]


async def test_a_message_whose_addresses_were_erased_fails(world, database):
    world.has_room = False
    view = await world.start()
    await database.run(lambda connection: connection.fetch("UPDATE verification SET route_sealed = NULL RETURNING id"))
    assert await world.claim("sms") == 0
    assert await world.statuses(view) == [("sms", "failed")]


async def test_a_report_settles_an_attempt_whose_answer_was_lost(world, clock):
    world.channels["sms"].script = [AmbiguousError(Reason.TIMEOUT)]
    view = await world.start()
    await world.attempt()
    token = world.channels["sms"].sent[0].attempt_token
    assert await world.queue.report(Report(token, ReportedStatus.DELIVERED, provider_id="SM1"))
    assert await world.statuses(view) == [("sms", "delivered")]
    assert await attempts(world, view) == [("sent", "SM1")]
    clock.advance(5)
    assert await world.claim("sms") == 0


async def test_a_report_that_overtakes_the_answer_settles_the_attempt(world):
    view = await world.start()
    message, token = await world.queue.begin(world.handed_over.pop())
    assert await world.queue.report(Report(token, ReportedStatus.DELIVERED, provider_id="SM1"))
    assert await world.queue.accept(message, Receipt("SM1"), 1.0) is False
    assert await world.statuses(view) == [("sms", "delivered")]
    assert await attempts(world, view) == [("sent", "SM1")]


async def test_a_report_of_something_else_leaves_a_known_attempt_alone(world):
    view = await world.start()
    await world.attempt()
    token = world.channels["sms"].sent[0].attempt_token
    await world.queue.report(Report(token, ReportedStatus.DELIVERED, provider_id="other"))
    assert await attempts(world, view) == [("sent", "sms-1")]


async def test_reports_at_once_are_told_once(world):
    view = await world.start()
    await world.attempt()
    report = Report(world.channels["sms"].sent[0].attempt_token, ReportedStatus.DELIVERED)
    moved = await asyncio.gather(*(world.queue.report(report) for _ in range(10)))
    assert sum(moved) == 1
    assert (await world.events(view)).count("message.delivered") == 1


async def test_of_two_nodes_that_begin_at_once_one_begins(world, make_engine, clock, sealer, hasher):
    async with Database(make_engine()) as second:
        other = World(second, clock, sealer, hasher, two_channels(), node="node-b")
        await world.start()
        [message] = world.handed_over
        begun = await asyncio.gather(*(side.queue.begin(message) for side in (world, other) for _ in range(5)))
    assert len([item for item in begun if item]) == 1


async def test_of_several_nodes_one_settles_what_lapsed(world, make_engine, clock, sealer, hasher):
    async with Database(make_engine()) as second:
        other = World(second, clock, sealer, hasher, two_channels(), node="node-b")
        for number in range(20):
            await world.start({"phone": f"+49151123456{number:02}"})
        for message in world.handed_over:
            await world.queue.begin(message)
        clock.advance(LEASE)
        rescued = await asyncio.gather(*(side.queue.rescue() for side in (world, other, world, other)))
        claimed = await asyncio.gather(*(side.claim("sms") for side in (world, other)))
    assert sum(rescued) == 20
    assert sum(claimed) == 20


async def test_a_cancel_and_a_begin_at_once_leave_one_truth(world, make_engine, clock, sealer, hasher):
    """Either the message was begun first and is left to its attempt, or it is canceled and never begun."""
    async with Database(make_engine()) as second:
        other = World(second, clock, sealer, hasher, two_channels(), node="node-a")
        for number in range(15):
            view = await world.start({"phone": f"+49151123456{number:02}"})
            message = world.handed_over.pop()
            begun, _ = await asyncio.gather(other.queue.begin(message), world.checking.cancel("shop", view.id))
            assert await world.statuses(view) == [("sms", "sending" if begun else "canceled")]


async def test_a_settled_attempt_cannot_be_settled_again(world):
    view = await world.start(BOTH)
    message, _ = await world.queue.begin(world.handed_over.pop())
    assert await world.queue.accept(message, Receipt("a"), 1.0)
    assert not await world.queue.accept(message, Receipt("b"), 1.0)
    assert not await world.queue.retry(message, LOST, 0.0)
    assert not await world.queue.give_back(message)
    assert await world.queue.move_on(message, LOST, alive=True, leased=True) is None
    assert await world.statuses(view) == [("sms", "sent")]


async def test_a_next_channels_message_may_be_left_to_others(world):
    view = await world.start(BOTH)
    message, _ = await world.queue.begin(world.handed_over.pop())
    assert await world.queue.move_on(message, LOST, alive=True, leased=False) is None
    assert await world.statuses(view) == [("sms", "failed"), ("email", "queued")]
    assert await world.claim("email") == 1


async def test_an_ended_verification_is_not_followed_by_another_channel(world):
    view = await world.start(BOTH)
    message, _ = await world.queue.begin(world.handed_over.pop())
    await world.checking.cancel("shop", view.id)
    assert await world.queue.move_on(message, LOST, alive=True, leased=True) is None
    assert await world.statuses(view) == [("sms", "failed")]
    assert (await world.look(view)).status == "canceled"


async def test_a_message_of_an_older_code_is_canceled(world, database):
    view = await world.start()
    await database.run(lambda connection: connection.fetch("UPDATE verification SET generation = 2 RETURNING id"))
    await world.attempt()
    assert world.channels["sms"].sent == []
    assert await world.statuses(view) == [("sms", "canceled")]

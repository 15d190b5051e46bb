"""Births: a message that is born under way is written whole, taken up by a worker, given back where none comes in time."""

from __future__ import annotations

import asyncio

import pytest

from channels.base import Receipt
from gateway.delivery.births import Begun
from gateway.delivery.dispatching.lane import KEPT
from gateway.delivery.message import LEASE
from gateway.events.event import recorded
from tests.world import World, two_channels

SENT = ["verification.created", "message.queued", "message.sending", "message.sent"]


@pytest.fixture
def world(database, clock, sealer, hasher) -> World:
    return World(database, clock, sealer, hasher, two_channels(concurrency=1))


async def born(world: World):
    """A verification whose message is made anew, born under way."""
    view = await world.start()
    message = world.handed_over.pop()

    async def unmade(connection):
        await connection.fetch("DELETE FROM event WHERE message_id = :id", id=message.id)
        await connection.fetch("DELETE FROM message WHERE id = :id", id=message.id)

    await world.database.run(unmade)
    birth = world.queue.born_under_way(message, world.clock.now())
    await world.database.write(recorded(None, birth.writes, birth.events))
    return view, birth.begun


async def idle(world: World) -> None:
    """Start the dispatcher and wait until a worker waits for a message."""
    world.dispatcher.start()
    while not world.dispatcher._lanes["sms"]._idle:  # noqa: ASYNC110 - a worker that waits tells nobody
        await asyncio.sleep(0)


async def test_the_first_attempt_is_written_with_the_message(world, clock):
    view, begun = await born(world)
    assert await world.statuses(view) == [("sms", "sending")]
    assert await world.events(view) == SENT[:1] + SENT[1:3]
    [attempt] = (await world.look(view)).messages[0].attempts
    assert (attempt.number, attempt.outcome) == (1, None)
    assert (begun.message.attempts, begun.message.started_at) == (1, clock.now())
    assert begun.token not in repr(begun)


async def test_a_worker_that_waits_goes_on_with_it(world):
    done = asyncio.Event()
    world.dispatcher._queue.paid = lambda _: done.set()
    await idle(world)
    assert world.dispatcher.reserve("sms")
    view, begun = await born(world)
    world.dispatcher.hand_over_begun(begun)
    async with asyncio.timeout(5):
        await done.wait()
    await world.dispatcher.stop()
    assert await world.statuses(view) == [("sms", "sent")]
    assert await world.events(view) == SENT
    [attempt] = (await world.look(view)).messages[0].attempts
    assert (attempt.number, attempt.outcome) == (1, "sent")
    assert [envelope.attempt_token for envelope in world.channels["sms"].sent] == [begun.token]


async def test_a_place_is_promised_once_and_for_a_moment(world, clock):
    assert not world.dispatcher.reserve("sms")
    await idle(world)
    assert [world.dispatcher.reserve("sms"), world.dispatcher.reserve("sms")] == [True, False]
    clock.advance(KEPT)
    assert world.dispatcher.reserve("sms")
    await world.dispatcher.stop()
    assert not world.dispatcher.reserve("sms")


async def test_no_place_is_promised_on_a_channel_that_rests(world, clock):
    await idle(world)
    world.dispatcher._lanes["sms"].pacer.pause_for(60.0)
    assert not world.dispatcher.reserve("sms")
    await world.dispatcher.stop()


@pytest.mark.parametrize("late", ["a worker comes late", "the channel rests meanwhile"])
async def test_what_could_not_go_on_at_once_is_given_back_and_asked_for_anew(world, clock, late):
    view, begun = await born(world)
    lane = world.dispatcher._lanes["sms"]
    lane.put_begun(begun)
    if late == "a worker comes late":
        clock.advance(KEPT + 0.01)
    else:
        lane.pacer.pause_for(60.0)
    [(taken, since)] = [lane.take_begun()]
    assert not await world.dispatcher._go_on(lane, taken, since)
    assert (await world.statuses(view), world.channels["sms"].sent) == ([("sms", "queued")], [])
    assert (await world.events(view))[-1] == "message.returned"
    [attempt] = (await world.look(view)).messages[0].attempts
    assert attempt.outcome == "skipped"
    assert await world.claim("sms") == 1
    assert world.handed_over[0].tries == 0


async def test_a_stop_gives_back_what_no_worker_has_taken_up(world):
    view, begun = await born(world)
    world.dispatcher.hand_over_begun(begun)
    await world.dispatcher.stop()
    assert await world.statuses(view) == [("sms", "queued")]
    assert world.dispatcher.held == 0


async def test_one_whose_node_died_is_rescued_and_made_again(world, clock):
    view, _ = await born(world)
    clock.advance(LEASE)
    assert await world.queue.rescue() == 1
    assert await world.claim("sms") == 1
    await world.attempt()
    assert await world.statuses(view) == [("sms", "sent")]
    outcomes = [attempt.outcome for attempt in (await world.look(view)).messages[0].attempts]
    assert outcomes == ["unknown", "sent"]


async def test_it_goes_before_what_waits(world):
    order: list[str] = []

    async def deliver(envelope):
        order.append(envelope.message_id)
        return Receipt("1")

    world.channels["sms"].act = deliver
    other = (await world.start({"phone": "+4915112345679"})).messages[0].id
    _, begun = await born(world)
    both = asyncio.Event()
    world.dispatcher._queue.paid = lambda _: both.set() if len(order) == 2 else None
    world.dispatcher.hand_over(world.handed_over.pop())
    world.dispatcher.hand_over_begun(begun)
    world.dispatcher.start()
    async with asyncio.timeout(5):
        await both.wait()
    await world.dispatcher.stop()
    assert order == [begun.message.id, other]


def test_what_has_begun_is_a_value():
    assert Begun.hidden == {"token"}

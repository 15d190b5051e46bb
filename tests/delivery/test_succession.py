"""What comes after a message: the next channel or the end, and nothing twice, on both engines."""

from __future__ import annotations

import pytest

from channels.base import Reason, Receipt
from gateway.delivery.lifecycle import AttemptOutcome
from gateway.delivery.message import LEASE
from gateway.delivery.payload import Stop
from gateway.delivery.rows import comes_back
from gateway.delivery.telling import Failure
from tests.world import EMAIL, PHONE, World, two_channels

BOTH = {"phone": PHONE, "email": EMAIL}
LOST = Failure(AttemptOutcome.UNKNOWN, Reason.TIMEOUT)
REFUSED = Failure(AttemptOutcome.PERMANENT, Reason.REJECTED)
REPEATED = Failure(AttemptOutcome.TRANSIENT, Reason.UNAVAILABLE)


@pytest.fixture
def world(database, clock, sealer, hasher) -> World:
    return World(database, clock, sealer, hasher, two_channels())


async def begun(world: World):
    attempt = await world.queue.begin(world.handed_over.pop(0))
    assert attempt is not None
    return attempt[0]


async def crossing(world: World, clock, to=BOTH, **asked):
    """Begin an attempt, then have the code asked for once more; return the attempt's message."""
    view = await world.start(to, **asked)
    message = await begun(world)
    clock.advance(30.0)
    await world.queue.renew([message.id])
    await world.verifications.resend("shop", view.id, None)
    return view, message


async def test_the_next_channel_follows_a_refusal_with_the_same_code(world):
    view = await world.start(BOTH)
    message = await begun(world)
    successor = await world.queue.move_on(message, REFUSED, alive=True, leased=True)
    assert (successor.channel, successor.code, successor.unknowns) == ("email", message.code, 0)
    assert await world.statuses(view) == [("sms", "failed"), ("email", "queued")]


async def test_a_channel_that_rests_is_passed_over_at_once(world):
    view = await world.start(BOTH)
    successor = await world.queue.drop(world.handed_over.pop(), Reason.UNAVAILABLE, leased=True)
    assert successor.channel == "email"
    assert await world.statuses(view) == [("sms", "failed"), ("email", "queued")]


async def test_no_channel_follows_a_message_whose_place_a_resend_took(world, clock):
    """The newer one goes its way along the route by itself: the person would get two mails."""
    view, message = await crossing(world, clock)
    assert await world.queue.move_on(message, REFUSED, alive=True, leased=True) is None
    assert await world.statuses(view) == [("sms", "failed"), ("sms", "queued")]
    newer = await begun(world)
    successor = await world.queue.move_on(newer, REFUSED, alive=True, leased=True)
    assert successor.channel == "email"


async def test_a_message_whose_place_a_resend_took_is_not_tried_again(world, clock):
    view, message = await crossing(world, clock)
    assert await world.queue.retry(message, REPEATED, clock.now())
    [again] = await world.queue.claim("sms", {"shop": 10})
    assert await world.queue.begin(again) is None
    assert await world.queue.drop(again, Reason.UNKNOWN, leased=True) is None
    assert await world.statuses(view) == [("sms", "canceled"), ("sms", "queued")]
    assert await world.queue.begin(world.handed_over.pop()) is not None


async def test_a_resend_is_not_stopped_by_the_clock_of_the_node_that_made_the_first_message(world, clock):
    """Ids order by the clock of who made them, and clocks may be an hour apart: no id says which message is newer."""
    view = await world.start()
    await world.queue.accept(await begun(world), Receipt("SM1"), 1.0)
    clock.advance(-3600.0)
    await world.database.run(lambda c: c.fetch("UPDATE verification SET resend_at = 0 RETURNING id"))
    await world.database.run(lambda c: c.fetch("DELETE FROM cooldown RETURNING hash"))
    await world.verifications.resend("shop", view.id, None)
    assert await world.queue.begin(world.handed_over.pop()) is not None


async def test_the_last_message_to_end_ends_the_route_though_a_resend_took_its_place(world, clock):
    view, message = await crossing(world, clock, {"phone": PHONE})
    await world.queue.move_on(await begun(world), REFUSED, alive=True, leased=True)
    assert (await world.look(view)).status == "pending"
    await world.queue.move_on(message, REFUSED, alive=True, leased=True)
    assert (await world.look(view)).status == "failed"


async def test_a_message_that_is_canceled_last_ends_the_route(world, clock):
    view, message = await crossing(world, clock, {"phone": PHONE})
    await world.queue.retry(message, REPEATED, clock.now())
    await world.queue.move_on(await begun(world), REFUSED, alive=True, leased=True)
    assert (await world.look(view)).status == "pending"
    [again] = await world.queue.claim("sms", {"shop": 10})
    assert await world.queue.drop(again, Reason.UNKNOWN, leased=True) is None
    assert (await world.look(view)).status == "failed"


async def test_a_code_that_dies_soon_is_not_sent_by_another_channel(world, clock):
    view = await world.start(BOTH)
    message = await begun(world)
    assert await world.queue.move_on(message, REPEATED, alive=False, leased=True) is None
    assert await world.statuses(view) == [("sms", "expired")]
    assert (await world.look(view)).status == "failed"


async def test_a_route_that_ended_after_its_time_expires_and_does_not_fail(world, clock):
    view = await world.start(ttl=10)
    message = await begun(world)
    clock.advance(10.0)
    await world.queue.move_on(message, REFUSED, alive=False, leased=True)
    await world.checking.expire_overdue()
    assert (await world.look(view)).status == "expired"
    assert "verification.failed" not in await world.events(view)


@pytest.mark.parametrize("rescued", [True, False])
async def test_a_route_that_ended_in_a_lost_answer_stays_pending(world, clock, rescued):
    view = await world.start()
    message = await begun(world)
    if rescued:
        clock.advance(LEASE)
        await world.queue.rescue()
        await world.claim("sms")
        await world.queue.move_on(await begun(world), REFUSED, alive=True, leased=True)
    else:
        await world.queue.move_on(message, LOST, alive=True, leased=True)
    assert await world.statuses(view) == [("sms", "failed")]
    assert (await world.look(view)).status == "pending"


async def test_a_route_that_cannot_be_opened_ends(world, database):
    view = await world.start(BOTH)
    message = await begun(world)
    await database.run(lambda connection: connection.fetch("UPDATE verification SET route_sealed = NULL RETURNING id"))
    assert await world.queue.move_on(message, REFUSED, alive=True, leased=True) is None
    assert await world.statuses(view) == [("sms", "failed")]
    assert (await world.look(view)).status == "failed"


NUMBER, CHAT, MAILBOX = (Stop("sms", "+49", "", "a"), Stop("bot", "7", "", "a"), Stop("email", "a@b", "", "b"))


@pytest.mark.parametrize(
    ("stops", "step", "expected"),
    [
        ([NUMBER, MAILBOX], 0, False),
        ([NUMBER, CHAT, MAILBOX], 1, False),
        ([NUMBER, NUMBER], 0, True),
        ([NUMBER, CHAT, NUMBER], 0, True),
        ([NUMBER, CHAT, NUMBER], 1, True),
        ([CHAT, NUMBER, NUMBER], 0, False),
        ([NUMBER, NUMBER, MAILBOX], 1, False),
    ],
)
def test_a_route_comes_back_where_it_leads_to_an_address_that_it_led_to_before(stops, step, expected):
    assert comes_back(stops, step) == expected


# -- who is told that something became due


@pytest.fixture
def woken(database) -> list[str]:
    heard: list[str] = []
    for channel in ("sms", "email"):
        database.wakes.subscribe(f"message.{channel}", lambda channel=channel: heard.append(channel))
    return heard


async def test_what_is_born_in_a_nodes_hands_wakes_nobody(world, woken):
    await world.start(BOTH)
    await world.queue.move_on(await begun(world), REFUSED, alive=True, leased=True)
    assert woken == []


async def test_what_is_left_to_others_wakes_them(world, woken):
    await world.start(BOTH)
    await world.queue.move_on(await begun(world), REFUSED, alive=True, leased=False)
    assert woken == ["email"]


@pytest.mark.parametrize(("wait", "heard"), [(0.0, ["sms"]), (1.0, [])])
async def test_what_is_due_at_once_wakes_and_what_is_due_later_does_not(world, clock, woken, wait, heard):
    await world.start()
    await world.queue.retry(await begun(world), LOST, clock.now() + wait)
    assert woken == heard
    clock.advance(wait)
    await world.claim("sms")
    woken.clear()
    await world.queue.release(world.handed_over.pop(), clock.now() + wait)
    assert woken == heard


async def test_what_is_given_back_or_released_or_rescued_wakes(world, clock, woken):
    await world.start()
    await world.queue.give_back(await begun(world))
    assert woken == ["sms"]
    await world.claim("sms")
    await world.queue.release(world.handed_over.pop())
    assert woken == ["sms"] * 2
    await world.claim("sms")
    await begun(world)
    clock.advance(LEASE)
    await world.queue.rescue()
    assert woken == ["sms"] * 3


# -- lost answers are counted


async def test_lost_answers_and_crashes_are_counted_and_refusals_are_not(world, clock):
    """Of either the person may have the code: what follows a crash is not repeated where its own answer is lost."""
    await world.start()
    counted = []
    for failure in (LOST, REPEATED, None, LOST):
        message = await begun(world)
        if failure is None:
            clock.advance(LEASE)
            await world.queue.rescue()
        else:
            await world.queue.retry(message, failure, clock.now())
        await world.claim("sms")
        counted.append(world.handed_over[0].unknowns)
    assert counted == [1, 1, 2, 3]

"""What is heard of a message after it was sent, in any order, on both engines."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from channels.base import Reason, Receipt, Report, ReportedStatus
from channels.callback import ForgedCallbackError
from gateway.delivery.lifecycle import AttemptOutcome
from gateway.delivery.message import LEASE
from gateway.delivery.receipts import UNDELIVERED_LIFE
from gateway.delivery.telling import Failure
from gateway.errors import Cooldown
from gateway.storage.database import Database
from tests.world import EMAIL, PHONE, World, two_channels

BOTH = {"phone": PHONE, "email": EMAIL}
LOST = Failure(AttemptOutcome.UNKNOWN, Reason.TIMEOUT)
REFUSED = Failure(AttemptOutcome.PERMANENT, Reason.REJECTED)
REPEATED = Failure(AttemptOutcome.TRANSIENT, Reason.UNAVAILABLE)


@pytest.fixture
def make_world(database, clock, sealer, hasher):
    """Makes a node; its service gives SMS 15 s to report a delivery where it is ``asked`` to."""

    def make(database: Database = database, *, asked: bool = False, **fields: Any) -> World:
        if asked:
            fields["confirm_within"] = lambda service, _, channel: {("shop", "sms"): 15.0}.get((service, channel))
        return World(database, clock, sealer, hasher, two_channels(), **fields)

    return make


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    return make_world()


async def begin(world: World):
    """Begin an attempt at the oldest message handed over; return the message and what reports of it."""
    attempt = await world.queue.begin(world.handed_over.pop(0))
    assert attempt is not None
    message, token = attempt

    async def report(status: str, **told: Any) -> bool:
        return await world.queue.report(message.channel, Report(token, ReportedStatus(status), **told))

    return message, report


async def send(world: World):
    """Have an attempt accepted; return what reports of it."""
    message, report = await begin(world)
    assert await world.queue.accept(message, Receipt("SM1"), 1.0)
    return report


async def outcomes(world: World, view, place: int = 0) -> list[str | None]:
    return [attempt.outcome for attempt in (await world.look(view)).messages[place].attempts]


# -- reports


@pytest.mark.parametrize("status", ["delivered", "undelivered"])
async def test_a_report_of_a_sent_message_is_told_with_the_providers_code(world, status):
    view = await world.start()
    report = await send(world)
    assert await report(status, provider_code="30003", reason=Reason.UNREACHABLE)
    assert await world.statuses(view) == [("sms", status)]
    told = next(event for event in (await world.look(view)).events if event.name == f"message.{status}")
    assert told.details["provider_code"] == "30003"
    assert told.details["attempt"] == 1


@pytest.mark.parametrize("status", ["sent", "delivered", "undelivered"])
async def test_a_repeated_report_changes_nothing(world, status):
    view = await world.start(BOTH)
    message, report = await begin(world)
    await world.queue.retry(message, LOST, 0.0)
    assert await report(status)
    before = await world.look(view)
    assert not await report(status)
    assert await world.look(view) == before


async def test_delivered_wins_over_what_is_reported_before_and_after(world):
    view = await world.start()
    report = await send(world)
    assert await report("undelivered")
    assert await report("delivered")
    assert not await report("undelivered")
    assert not await report("sent")
    assert await world.statuses(view) == [("sms", "delivered")]


async def test_a_report_of_an_unknown_attempt_changes_nothing(world):
    view = await world.start()
    await send(world)
    before = await world.look(view)
    for status in ReportedStatus:
        assert not await world.queue.report("sms", Report("ab" * 16, status))
    assert await world.look(view) == before


@pytest.mark.parametrize("status", list(ReportedStatus))
async def test_a_report_by_another_channel_than_the_messages_changes_nothing(world, status):
    """A provider, or whoever posts bounces, can say something of what it was given alone."""
    view = await world.start(BOTH)
    _, token = await world.queue.begin(world.handed_over.pop(0))
    before = await world.look(view)
    assert not await world.queue.report("email", Report(token, status))
    assert await world.look(view) == before
    assert await world.queue.report("sms", Report(token, status))


@pytest.mark.parametrize("status", ["sent", "delivered", "undelivered"])
@pytest.mark.parametrize("before", [[], ["delivered"]])
async def test_a_report_that_names_another_message_is_refused_and_changes_nothing(world, status, before):
    """Signed for one attempt, it could else be sent to another one's address, and end that one's verification."""
    view = await world.start()
    report = await send(world)
    for each in before:
        assert await report(each, provider_id="SM1")
    shown = await world.look(view)
    with pytest.raises(ForgedCallbackError):
        await report(status, provider_id="SM2")
    assert await world.look(view) == shown


@pytest.mark.parametrize("told", [{}, {"provider_id": None}, {"provider_id": "SM1"}])
async def test_a_report_that_names_no_message_or_its_own_is_taken_in(world, told):
    await world.start()
    report = await send(world)
    assert await report("undelivered", **told)


async def test_sent_settles_an_attempt_whose_answer_was_lost_and_it_is_not_repeated(world, clock):
    view = await world.start()
    message, report = await begin(world)
    await world.queue.retry(message, LOST, clock.now() + 3.0)
    assert await report("sent", provider_id="SM7")
    clock.advance(3.0)
    assert await world.claim("sms") == 0
    assert await world.statuses(view) == [("sms", "sent")]
    assert await outcomes(world, view) == ["sent"]
    assert await world.events(view) == [
        "verification.created",
        "message.queued",
        "message.sending",
        "message.retried",
        "message.sent",
    ]


async def test_sent_settles_a_message_that_a_node_has_taken_to_repeat_it(world, clock):
    await world.start()
    message, report = await begin(world)
    await world.queue.retry(message, LOST, clock.now())
    assert await world.claim("sms") == 1
    assert await report("sent")
    assert await world.queue.begin(world.handed_over.pop()) is None


async def test_sent_settles_an_attempt_whose_node_died(world, clock):
    view = await world.start()
    _, report = await begin(world)
    clock.advance(LEASE)
    assert await world.queue.rescue() == 1
    assert await report("sent")
    assert await world.claim("sms") == 0
    assert await world.statuses(view) == [("sms", "sent")]


async def test_sent_that_overtakes_the_answer_stands_whatever_the_answer_is(world):
    view = await world.start()
    message, report = await begin(world)
    assert await report("sent")
    assert not await world.queue.retry(message, LOST, 0.0)
    assert not await world.queue.accept(message, Receipt("SM1"), 1.0)
    assert await world.statuses(view) == [("sms", "sent")]
    assert await outcomes(world, view) == ["sent"]


@pytest.mark.parametrize("status", ["sent", "delivered"])
async def test_a_report_of_an_earlier_attempt_settles_the_message_though_a_later_one_is_under_way(world, status):
    view = await world.start()
    message, report = await begin(world)
    await world.queue.retry(message, LOST, 0.0)
    await world.claim("sms")
    again, _ = await begin(world)
    assert await report(status)
    assert not await world.queue.accept(again, Receipt("SM2"), 1.0)
    assert await world.statuses(view) == [("sms", status)]
    assert await outcomes(world, view) == ["sent", "unknown"]


@pytest.mark.parametrize("status", ["sent", "undelivered"])
async def test_only_delivered_settles_what_the_provider_had_refused(world, status):
    view = await world.start()
    message, report = await begin(world)
    await world.queue.retry(message, REPEATED, 0.0)
    assert not await report(status)
    assert await world.statuses(view) == [("sms", "queued")]
    assert await report("delivered")


async def test_sent_changes_nothing_about_a_message_that_ended(world):
    view = await world.start(BOTH)
    message, report = await begin(world)
    await world.queue.move_on(message, LOST, alive=True, leased=True)
    assert not await report("sent")
    assert await world.statuses(view) == [("sms", "failed"), ("email", "queued")]


async def test_undelivered_is_followed_by_the_next_channel(world):
    view = await world.start(BOTH)
    report = await send(world)
    assert await report("undelivered")
    assert await world.statuses(view) == [("sms", "undelivered"), ("email", "queued")]
    assert (await world.look(view)).status == "pending"
    assert await world.claim("email") == 1


async def test_both_channels_carry_the_same_code(world):
    await world.start(BOTH)
    code = world.handed_over[0].code
    report = await send(world)
    await report("undelivered")
    await world.claim("email")
    assert world.handed_over[0].code == code


@pytest.mark.parametrize("lost", [True, False])
async def test_undelivered_ends_an_attempt_nobody_knew_of_and_the_next_channel_follows(world, clock, lost):
    view = await world.start(BOTH)
    message, report = await begin(world)
    if lost:
        await world.queue.retry(message, LOST, clock.now() + 3.0)
    assert await report("undelivered")
    assert not await world.queue.accept(message, Receipt("SM1"), 1.0)
    assert await world.statuses(view) == [("sms", "undelivered"), ("email", "queued")]


async def test_undelivered_of_what_was_given_back_later_counts(world, clock):
    """An attempt that a shutdown stopped before anything left says nothing of the one before it."""
    view = await world.start(BOTH)
    message, report = await begin(world)
    await world.queue.retry(message, LOST, 0.0)
    await world.claim("sms")
    await world.queue.give_back((await begin(world))[0])
    assert await report("undelivered")
    assert await world.statuses(view) == [("sms", "undelivered"), ("email", "queued")]


@pytest.mark.parametrize("how", ["under way", "refused", "accepted"])
async def test_undelivered_of_an_earlier_attempt_leaves_the_later_one_alone(world, clock, how):
    view = await world.start(BOTH)
    message, report = await begin(world)
    await world.queue.retry(message, LOST, 0.0)
    await world.claim("sms")
    again, report_again = await begin(world)
    if how == "refused":
        await world.queue.retry(again, REPEATED, clock.now() + 1.0)
    elif how == "accepted":
        await world.queue.accept(again, Receipt("SM2"), 1.0)
    before = await world.statuses(view)
    assert not await report("undelivered")
    assert await world.statuses(view) == before
    assert await report_again("delivered")


async def test_undelivered_of_the_accepted_attempt_counts_though_one_before_was_lost(world, clock):
    view = await world.start(BOTH)
    message, _ = await begin(world)
    await world.queue.retry(message, LOST, 0.0)
    await world.claim("sms")
    report = await send(world)
    assert await report("undelivered")
    assert await world.statuses(view) == [("sms", "undelivered"), ("email", "queued")]


@pytest.mark.parametrize(("left", "followed"), [(UNDELIVERED_LIFE, True), (UNDELIVERED_LIFE - 0.5, False)])
async def test_undelivered_is_followed_while_a_minute_of_the_code_remains(world, clock, left, followed):
    view = await world.start(BOTH, ttl=300)
    report = await send(world)
    clock.advance(300 - left)
    assert await report("undelivered")
    expected = [("sms", "undelivered"), *([("email", "queued")] if followed else [])]
    assert await world.statuses(view) == expected
    assert (await world.look(view)).status == ("pending" if followed else "failed")


async def test_undelivered_is_not_followed_where_the_code_was_used(world):
    view = await world.start(BOTH)
    code = world.handed_over[0].code
    report = await send(world)
    await world.checking.check("shop", view.id, code)
    assert await report("undelivered")
    assert await world.statuses(view) == [("sms", "undelivered")]
    assert (await world.look(view)).status == "approved"


async def test_undelivered_is_not_followed_where_a_newer_code_replaced_it(world, database):
    view = await world.start(BOTH)
    report = await send(world)
    await database.run(lambda connection: connection.fetch("UPDATE verification SET generation = 2 RETURNING id"))
    assert await report("undelivered")
    assert await world.statuses(view) == [("sms", "undelivered")]


async def test_undelivered_reports_at_once_are_followed_once(world, make_engine, make_world):
    async with Database(make_engine()) as second:
        other = make_world(second, node="node-b")
        view = await world.start(BOTH)
        message, token = await world.queue.begin(world.handed_over.pop())
        await world.queue.accept(message, Receipt("SM1"), 1.0)
        report = Report(token, ReportedStatus.UNDELIVERED)
        changed = await asyncio.gather(*(side.queue.report("sms", report) for side in (world, other) for _ in range(5)))
    assert sum(changed) == 1
    assert await world.statuses(view) == [("sms", "undelivered"), ("email", "queued")]


async def test_undelivered_of_a_message_whose_place_a_resend_took_is_not_followed(world, clock):
    """The newer message of the same channel goes on by itself; both would bring the person two mails."""
    view = await world.start(BOTH)
    report = await send(world)
    clock.advance(30.0)
    await world.verifications.resend("shop", view.id, None)
    newer = await send(world)
    assert await report("undelivered")
    assert await world.statuses(view) == [("sms", "undelivered"), ("sms", "sent")]
    assert await newer("undelivered")
    assert await world.statuses(view) == [("sms", "undelivered"), ("sms", "undelivered"), ("email", "queued")]


async def test_undelivered_of_a_message_that_cannot_be_opened_counts_and_ends_the_route(world, database):
    view = await world.start(BOTH)
    report = await send(world)
    await database.run(lambda connection: connection.fetch("UPDATE verification SET route_sealed = NULL RETURNING id"))
    assert await report("undelivered")
    assert await world.statuses(view) == [("sms", "undelivered")]
    assert (await world.look(view)).status == "failed"


async def test_a_next_channel_that_a_report_brings_is_announced(world, database):
    woken = []
    database.wakes.subscribe("message.email", lambda: woken.append("email"))
    await world.start(BOTH)
    report = await send(world)
    await report("undelivered")
    assert woken == ["email"]


# -- the end of a route


async def test_a_route_whose_last_channel_did_not_deliver_fails(world):
    view = await world.start()
    report = await send(world)
    assert await report("undelivered")
    assert (await world.look(view)).status == "failed"
    assert (await world.events(view))[-2:] == ["message.undelivered", "verification.failed"]


async def test_a_route_does_not_fail_while_another_message_is_sent(world, clock):
    view = await world.start()
    report = await send(world)
    clock.advance(30.0)
    await world.verifications.resend("shop", view.id, None)
    newer = await send(world)
    assert await report("undelivered")
    assert (await world.look(view)).status == "pending"
    assert await newer("undelivered")
    assert (await world.look(view)).status == "failed"


async def test_a_lost_answer_anywhere_keeps_a_route_from_failing(world, clock):
    view = await world.start()
    message, _ = await begin(world)
    await world.queue.retry(message, LOST, 0.0)
    await world.claim("sms")
    report = await send(world)
    assert await report("undelivered")
    assert (await world.look(view)).status == "pending"
    clock.advance(300.0)
    await world.checking.expire_overdue()
    assert (await world.look(view)).status == "expired"


async def test_a_failed_verification_stays_failed_when_a_delivery_is_reported_after_all(world):
    view = await world.start()
    report = await send(world)
    await report("undelivered")
    assert await report("delivered")
    assert await world.statuses(view) == [("sms", "delivered")]
    assert (await world.look(view)).status == "failed"


async def test_of_two_messages_that_end_at_once_the_second_ends_the_route(world, make_engine, make_world, clock):
    async with Database(make_engine()) as second:
        other = make_world(second, node="node-b")
        for number in range(10):
            view = await world.start({"phone": f"+49151123456{number:02}"})
            report = await send(world)
            clock.advance(30.0)
            await other.verifications.resend("shop", view.id, None)
            report_other = await send(other)
            assert list(await asyncio.gather(report("undelivered"), report_other("undelivered"))) == [True, True]
            assert (await world.look(view)).status == "failed"


# -- reports that do not come


async def test_what_is_not_reported_in_time_is_followed_by_the_next_channel(make_world, clock):
    world = make_world(asked=True)
    view = await world.start(BOTH)
    await send(world)
    clock.advance(14.9)
    assert await world.queue.unconfirmed() == []
    clock.advance(0.1)
    [message] = await world.queue.unconfirmed()
    assert (message.channel, message.attempts, message.generation) == ("email", 0, 1)
    assert await world.queue.unconfirmed() == []
    assert await world.statuses(view) == [("sms", "sent"), ("email", "queued")]
    assert (await world.events(view))[-2:] == ["message.unconfirmed", "message.queued"]
    assert await world.claim("email") == 0
    assert await world.queue.begin(message) is not None


async def test_a_node_that_stops_leaves_the_next_channel_to_others(make_world, clock, database):
    woken = []
    database.wakes.subscribe("message.email", lambda: woken.append("email"))
    world = make_world(asked=True)
    await world.start(BOTH)
    await send(world)
    clock.advance(15.0)
    assert await world.queue.unconfirmed(leased=False) == []
    assert woken == ["email"]
    assert await world.claim("email") == 1


@pytest.mark.parametrize("status", ["delivered", "undelivered"])
async def test_what_is_reported_in_time_is_waited_for_no_more(make_world, clock, status):
    world = make_world(asked=True)
    view = await world.start(BOTH)
    report = await send(world)
    await report(status)
    before = await world.statuses(view)
    clock.advance(15.0)
    assert await world.queue.unconfirmed() == []
    assert await world.statuses(view) == before


async def test_a_message_that_a_report_says_was_sent_is_waited_for_as_well(make_world, clock):
    world = make_world(asked=True)
    view = await world.start(BOTH)
    message, report = await begin(world)
    await world.queue.retry(message, LOST, clock.now() + 3.0)
    await report("sent")
    clock.advance(15.0)
    assert [message.channel for message in await world.queue.unconfirmed()] == ["email"]
    assert await world.statuses(view) == [("sms", "sent"), ("email", "queued")]


async def waited_for(database) -> int:
    return len(await database.fetch("SELECT id FROM message WHERE confirm_by IS NOT NULL"))


@pytest.mark.parametrize("case", ["no channel follows", "not asked", "delivered at once", "dies before"])
async def test_a_report_is_waited_for_only_where_another_channel_could_still_follow(make_world, database, case):
    world = make_world(asked=case != "not asked")
    to = {"phone": PHONE} if case == "no channel follows" else BOTH
    await world.start(to, ttl=19 if case == "dies before" else 300)
    message, _ = await begin(world)
    await world.queue.accept(message, Receipt("SM1", delivered=case == "delivered at once"), 1.0)
    assert await waited_for(database) == 0


@pytest.mark.parametrize("case", ["used", "canceled", "resent", "newer code", "erased", "dies"])
async def test_nobody_follows_what_is_not_wanted_any_more(make_world, database, clock, case):
    world = make_world(asked=True)
    view = await world.start(BOTH, ttl=60)
    code = world.handed_over[0].code
    await send(world)
    if case == "used":
        await world.checking.check("shop", view.id, code)
    elif case == "canceled":
        await world.checking.cancel("shop", view.id)
    elif case == "resent":
        clock.advance(30.0)
        await world.verifications.resend("shop", view.id, "email")
        world.handed_over.clear()
    elif case == "newer code":
        await database.run(lambda connection: connection.fetch("UPDATE verification SET generation = 2 RETURNING id"))
    elif case == "erased":
        await database.run(lambda c: c.fetch("UPDATE verification SET route_sealed = NULL RETURNING id"))
    clock.advance(46.0 if case == "dies" else 15.0)
    before = await world.statuses(view)
    assert await world.queue.unconfirmed() == []
    assert await world.statuses(view) == before
    assert "message.unconfirmed" not in await world.events(view)
    assert await waited_for(database) == 0


async def test_what_is_not_reported_is_followed_once_over_all_nodes(make_world, make_engine, clock):
    async with Database(make_engine()) as second:
        sides = make_world(asked=True), make_world(second, asked=True, node="node-b")
        for number in range(20):
            await sides[0].start({"phone": f"+49151123456{number:02}", "email": f"ann{number}@example.org"})
            await send(sides[0])
        clock.advance(15.0)
        taken = await asyncio.gather(*(side.queue.unconfirmed() for side in sides for _ in range(3)))
    assert sum(len(messages) for messages in taken) == 20
    assert len({message.verification_id for messages in taken for message in messages}) == 20


async def test_a_report_after_the_next_channel_took_over_is_told_and_followed_by_nothing(make_world, clock):
    world = make_world(asked=True)
    view = await world.start(BOTH)
    report = await send(world)
    clock.advance(15.0)
    [message] = await world.queue.unconfirmed()
    assert await report("undelivered")
    assert await world.statuses(view) == [("sms", "undelivered"), ("email", "queued")]
    begun, _ = await world.queue.begin(message)
    await world.queue.move_on(begun, REFUSED, alive=True, leased=True)
    assert (await world.look(view)).status == "failed"


async def test_a_route_whose_later_channel_failed_waits_for_the_report_of_the_earlier(make_world, clock):
    world = make_world(asked=True)
    view = await world.start(BOTH)
    report = await send(world)
    clock.advance(15.0)
    [message] = await world.queue.unconfirmed()
    begun, _ = await world.queue.begin(message)
    await world.queue.move_on(begun, REFUSED, alive=True, leased=True)
    assert (await world.look(view)).status == "pending"
    await report("undelivered")
    assert (await world.look(view)).status == "failed"


async def test_a_report_and_the_end_of_its_time_at_once_bring_one_next_message(make_world, make_engine, clock):
    async with Database(make_engine()) as second:
        sides = make_world(asked=True), make_world(second, asked=True, node="node-b")
        for number in range(10):
            to = {"phone": f"+49151123456{number:02}", "email": f"ann{number}@example.org"}
            view = await sides[0].start(to)
            report = await send(sides[0])
            clock.advance(15.0)
            await asyncio.gather(report("undelivered"), sides[1].queue.unconfirmed())
            assert await sides[0].statuses(view) == [("sms", "undelivered"), ("email", "queued")]


# -- how long things took


async def test_how_long_sending_and_delivering_took_is_told_once(make_world, clock):
    heard = []
    world = make_world(
        on_sent=lambda channel, seconds: heard.append(("sent", channel, seconds)),
        on_delivered=lambda channel, seconds: heard.append(("delivered", channel, seconds)),
    )
    await world.start()
    clock.advance(2.0)
    message, report = await begin(world)
    await world.queue.accept(message, Receipt("SM1"), 1.0)
    await world.queue.accept(message, Receipt("SM1"), 1.0)
    clock.advance(3.0)
    await report("delivered")
    await report("delivered")
    assert heard == [("sent", "sms", 2.0), ("delivered", "sms", 3.0)]


async def test_what_a_report_settles_is_told_as_well(make_world, clock):
    heard = []
    world = make_world(
        on_sent=lambda channel, seconds: heard.append(("sent", seconds)),
        on_delivered=lambda channel, seconds: heard.append(("delivered", seconds)),
    )
    await world.start()
    message, report = await begin(world)
    clock.advance(2.0)
    await world.queue.retry(message, LOST, clock.now() + 3.0)
    await report("sent")
    await report("undelivered")
    clock.advance(1.0)
    await report("delivered")
    # Of what was reported as undelivered before, the time since it was sent is not known: it is that of the attempt.
    assert heard == [("sent", 2.0), ("delivered", 3.0)]


async def test_a_number_that_is_never_reached_is_not_sent_to_again_at_once(world):
    view = await world.start({"phone": PHONE})
    report = await send(world)
    assert await report("undelivered") is True
    assert (await world.look(view)).status == "failed"
    with pytest.raises(Cooldown):
        await world.start({"phone": PHONE})

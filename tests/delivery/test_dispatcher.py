"""What follows from each outcome of an attempt, on both engines."""

from __future__ import annotations

import asyncio

import pytest

from channels.base import AmbiguousError, Reason, Receipt, Report, ReportedStatus, TransientError
from gateway.delivery.queue import LEASE
from gateway.errors import TemplateError
from tests.world import EMAIL, PHONE, World, refused, two_channels

BOTH = {"phone": PHONE, "email": EMAIL}


@pytest.fixture
def world(database, clock, sealer, hasher) -> World:
    return World(database, clock, sealer, hasher, two_channels())


async def test_an_accepted_message_is_sent_and_told(world):
    view = await world.start()
    await world.attempt()
    assert await world.statuses(view) == [("sms", "sent")]
    assert await world.events(view) == ["verification.created", "message.queued", "message.sending", "message.sent"]
    [attempt] = (await world.look(view)).messages[0].attempts
    assert (attempt.number, attempt.outcome, attempt.provider_id) == (1, "sent", "sms-1")


async def test_a_receipt_that_says_delivered_is_believed(world):
    world.channels["sms"].script = [Receipt("x", delivered=True)]
    view = await world.start()
    await world.attempt()
    assert await world.statuses(view) == [("sms", "delivered")]


async def test_a_transient_failure_is_retried_with_the_same_code_after_its_backoff(world, clock):
    world.channels["sms"].script = [TransientError(Reason.UNAVAILABLE)]
    view = await world.start()
    await world.attempt()
    assert await world.statuses(view) == [("sms", "queued")]
    assert await world.claim("sms") == 0
    clock.advance(1.0)
    assert await world.claim("sms") == 1
    await world.attempt()
    assert await world.statuses(view) == [("sms", "sent")]
    first, second = world.channels["sms"].sent
    assert first.code == second.code
    assert first.message_id == second.message_id
    assert first.attempt_token != second.attempt_token


async def test_a_provider_that_says_when_is_not_asked_before(world, clock):
    world.channels["sms"].script = [TransientError(Reason.RATE_LIMITED, retry_after=20.0)]
    await world.start()
    await world.attempt()
    clock.advance(19.9)
    assert await world.claim("sms") == 0
    clock.advance(0.1)
    assert await world.claim("sms") == 1


async def test_a_wait_longer_than_the_channels_share_moves_on_at_once(world):
    world.channels["sms"].script = [TransientError(Reason.RATE_LIMITED, retry_after=20.0)]
    view = await world.start(BOTH)
    await world.attempt()
    await world.attempt()
    assert await world.statuses(view) == [("sms", "failed"), ("email", "sent")]


async def test_a_permanent_failure_moves_on_at_once_with_the_same_code(world):
    world.channels["sms"].script = [refused()]
    view = await world.start(BOTH)
    await world.attempt()
    await world.attempt()
    assert await world.statuses(view) == [("sms", "failed"), ("email", "sent")]
    assert world.channels["sms"].sent[0].code == world.channels["email"].sent[0].code
    assert world.channels["email"].sent[0].address == EMAIL


async def test_a_channel_gets_four_tries_then_the_next_takes_over(world, clock):
    world.service = world.service
    world.channels["sms"].script = [TransientError(Reason.UNAVAILABLE)] * 9
    view = await world.start()
    for _ in range(4):
        await world.attempt()
        clock.advance(20.0)
        await world.claim("sms")
    assert world.handed_over == []
    assert await world.statuses(view) == [("sms", "failed")]
    assert len(world.channels["sms"].sent) == 4


async def test_a_route_without_any_success_fails_the_verification(world):
    world.channels["sms"].script = [refused()]
    world.channels["email"].script = [refused(Reason.BLOCKED)]
    view = await world.start(BOTH)
    await world.attempt()
    await world.attempt()
    assert (await world.look(view)).status == "failed"
    assert (await world.events(view))[-1] == "verification.failed"


async def test_a_route_that_ends_in_doubt_stays_pending(world, clock):
    world.channels["sms"].script = [AmbiguousError(Reason.TIMEOUT)] * 4
    view = await world.start()
    for _ in range(4):
        await world.attempt()
        clock.advance(20.0)
        await world.claim("sms")
    assert (await world.look(view)).status == "pending"
    assert [attempt.outcome for attempt in (await world.look(view)).messages[0].attempts] == ["unknown"] * 4


async def test_nothing_is_retried_when_too_little_life_is_left(world, clock):
    world.channels["sms"].script = [TransientError(Reason.UNAVAILABLE)]
    view = await world.start(ttl=40)
    clock.advance(31.0)
    await world.queue.renew([message.id for message in world.handed_over])
    await world.attempt()
    assert await world.statuses(view) == [("sms", "expired")]


async def test_nothing_is_sent_after_the_code_died(world, clock):
    view = await world.start(ttl=5)
    clock.advance(5.0)
    await world.attempt()
    assert world.channels["sms"].sent == []
    assert await world.statuses(view) == [("sms", "expired")]


async def test_nothing_is_sent_after_a_cancel(world):
    view = await world.start()
    await world.checking.cancel("shop", view.id)
    await world.attempt()
    assert world.channels["sms"].sent == []
    assert await world.statuses(view) == [("sms", "canceled")]


async def test_a_retry_of_a_canceled_verification_is_not_sent(world, clock):
    world.channels["sms"].script = [TransientError(Reason.UNAVAILABLE)]
    view = await world.start()
    await world.attempt()
    await world.checking.cancel("shop", view.id)
    clock.advance(5)
    assert await world.claim("sms") == 0
    assert await world.statuses(view) == [("sms", "canceled")]


async def test_a_cancel_during_an_attempt_stops_its_retry(world, clock):
    view = await world.start()
    message, _ = await world.queue.begin(world.handed_over.pop())
    await world.checking.cancel("shop", view.id)
    from gateway.delivery.lifecycle import AttemptOutcome
    from gateway.delivery.telling import Failure

    assert await world.queue.retry(message, Failure(AttemptOutcome.TRANSIENT, Reason.UNAVAILABLE), clock.now())
    assert await world.claim("sms") == 1
    await world.attempt()
    assert world.channels["sms"].sent == []
    assert await world.statuses(view) == [("sms", "canceled")]


async def test_an_adapters_own_fault_is_transient_and_told_without_values(world, caplog):
    world.channels["sms"].script = [ValueError(f"bad {PHONE}")]
    view = await world.start()
    await world.attempt()
    assert await world.statuses(view) == [("sms", "queued")]
    assert "ValueError at deliver" in caplog.text
    assert PHONE not in caplog.text


async def test_a_stalling_channel_is_left_at_its_timeout(database, clock, sealer, hasher):
    world = World(database, clock, sealer, hasher, two_channels(timeout=0.01))
    never = asyncio.Event()
    world.channels["sms"].deliver = lambda _: never.wait()
    view = await world.start()
    await world.attempt()
    [attempt] = (await world.look(view)).messages[0].attempts
    assert (attempt.outcome, attempt.reason) == ("unknown", "timeout")


async def test_a_broken_template_moves_on(world):
    def broken(message, channel, lifetime):
        if channel.name == "sms":
            raise TemplateError("sms/verification/body.txt:1: no such value")
        return "Shop", {"body.txt": message.code}

    world.dispatcher._render = broken
    view = await world.start(BOTH)
    await world.attempt()
    await world.attempt()
    assert await world.statuses(view) == [("sms", "failed"), ("email", "sent")]


async def test_a_channel_wide_429_pauses_the_channel(world):
    world.channels["sms"].script = [TransientError(Reason.RATE_LIMITED, retry_after=30.0, whole_channel=True)]
    await world.start(BOTH)
    await world.attempt()
    other = await world.start({"phone": "+4915112345679", "email": "bob@example.org"})
    world.handed_over.pop(0)
    await world.attempt()
    await world.attempt()
    assert len(world.channels["sms"].sent) == 1
    assert await world.statuses(other) == [("sms", "failed"), ("email", "sent")]


async def test_a_fresh_message_is_nobody_elses_until_its_lease_lapses(world, clock):
    await world.start()
    clock.advance(LEASE - 0.1)
    assert await world.claim("sms") == 0
    clock.advance(0.1)
    assert await world.claim("sms") == 1


async def test_a_message_born_without_a_lease_is_due_at_once(world):
    world.has_room = False
    view = await world.start()
    assert world.handed_over == []
    assert await world.claim("sms") == 1
    await world.attempt()
    assert await world.statuses(view) == [("sms", "sent")]
    assert world.code == world.channels["sms"].sent[0].code


async def test_a_renewed_lease_lasts_longer(world, clock):
    await world.start()
    clock.advance(LEASE - 1)
    await world.queue.renew([message.id for message in world.handed_over])
    clock.advance(LEASE - 1)
    assert await world.claim("sms") == 0


async def test_another_node_takes_over_and_the_first_is_fenced(world, database, clock, sealer, hasher):
    other = World(database, clock, sealer, hasher, two_channels(), node="node-b")
    view = await world.start()
    clock.advance(LEASE)
    assert await other.claim("sms") == 1
    await world.attempt()
    assert world.channels["sms"].sent == []
    await other.attempt()
    assert await other.statuses(view) == [("sms", "sent")]


async def test_an_attempt_whose_node_died_is_recorded_as_unknown_and_made_again(world, clock):
    view = await world.start()
    begun = await world.queue.begin(world.handed_over.pop())
    assert begun is not None
    assert await world.queue.rescue() == 0
    clock.advance(LEASE)
    assert await world.queue.rescue() == 1
    assert await world.claim("sms") == 1
    await world.attempt()
    attempts = (await world.look(view)).messages[0].attempts
    assert [attempt.outcome for attempt in attempts] == ["unknown", "sent"]
    assert await world.queue.accept(begun[0], Receipt("late"), 1.0) is False


async def test_a_message_rescued_after_four_tries_is_given_up(world, clock):
    view = await world.start()
    for _ in range(4):
        await world.queue.begin(world.handed_over.pop())
        clock.advance(LEASE)
        await world.queue.rescue()
        await world.claim("sms")
    await world.attempt()
    assert world.channels["sms"].sent == []
    assert await world.statuses(view) == [("sms", "failed")]


async def test_two_nodes_claim_disjoint_sets(world, database, clock, sealer, hasher):
    other = World(database, clock, sealer, hasher, two_channels(), node="node-b")
    world.has_room = False
    for number in range(30):
        await world.start({"phone": f"+49151123456{number:02}"})
    claimed = await asyncio.gather(*(side.claim("sms") for side in (world, other)))
    assert sum(claimed) == 30
    ids = [message.id for message in [*world.handed_over, *other.handed_over]]
    assert len(set(ids)) == 30


async def test_an_attempt_given_back_counts_for_nothing(world):
    view = await world.start()
    message, _ = await world.queue.begin(world.handed_over.pop())
    assert await world.queue.give_back(message)
    assert await world.claim("sms") == 1
    assert world.handed_over[0].tries == 0
    await world.attempt()
    attempts = (await world.look(view)).messages[0].attempts
    assert [attempt.outcome for attempt in attempts] == ["skipped", "sent"]


@pytest.mark.parametrize(
    ("reports", "status"),
    [
        ([ReportedStatus.DELIVERED], "delivered"),
        ([ReportedStatus.UNDELIVERED], "undelivered"),
        ([ReportedStatus.UNDELIVERED, ReportedStatus.DELIVERED], "delivered"),
        ([ReportedStatus.DELIVERED, ReportedStatus.UNDELIVERED], "delivered"),
        ([ReportedStatus.DELIVERED, ReportedStatus.DELIVERED], "delivered"),
        ([ReportedStatus.SENT], "sent"),
    ],
)
async def test_a_late_report_settles_a_sent_message_and_delivered_wins(world, reports, status):
    view = await world.start()
    await world.attempt()
    token = world.channels["sms"].sent[0].attempt_token
    for reported in reports:
        await world.queue.report(Report(token, reported, provider_id="SM1"))
    assert await world.statuses(view) == [("sms", status)]


async def test_a_report_of_an_unknown_attempt_changes_nothing(world):
    assert await world.queue.report(Report("no such token", ReportedStatus.DELIVERED)) is False


async def test_a_stop_finishes_what_is_under_way_and_gives_the_rest_back(world):
    gate, entered = asyncio.Event(), asyncio.Event()

    async def slow(envelope):
        world.channels["sms"].sent.append(envelope)
        entered.set()
        await gate.wait()
        return Receipt("done")

    world.channels["sms"].deliver = slow
    world.dispatcher.start()
    first = await world.start()
    world.dispatcher.hand_over(world.handed_over.pop())
    await entered.wait()
    stopping = asyncio.ensure_future(world.dispatcher.stop())
    await asyncio.sleep(0)
    assert world.dispatcher.has_room("sms") is False
    gate.set()
    await stopping
    assert await world.statuses(first) == [("sms", "sent")]
    second = await world.start({"phone": "+4915112345679"})
    assert await world.statuses(second) == [("sms", "queued")]


async def test_a_started_dispatcher_finds_what_is_due_by_itself(world):
    world.has_room = False
    done = asyncio.Event()

    async def deliver(envelope):
        done.set()
        return Receipt("found")

    world.channels["sms"].deliver = deliver
    await world.start()
    world.dispatcher.start()
    async with asyncio.timeout(5):
        await done.wait()
    await world.dispatcher.stop()

"""What follows from each outcome of an attempt, on both engines."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from channels.base import AmbiguousError, Reason, Receipt, Report, ReportedStatus, TransientError
from gateway.delivery.dispatching.breaker import ENOUGH, OPEN_TIME, STOP_TIME, Verdict
from gateway.delivery.dispatching.lane import BUFFER, LOW, TICK
from gateway.delivery.dispatching.pacing import Pacer, pacers
from gateway.delivery.dispatching.triage import PROBE_WAIT, SPREAD
from gateway.delivery.queue import LEASE
from gateway.delivery.retry import CHANNEL_SHARE
from gateway.delivery.writing.rendering import Rendered
from gateway.errors import TemplateError
from gateway.storage.database import Database
from gateway.storage.pauses import Pauses
from gateway.storage.unit import StorageUnavailableError
from tests.delivery.messages import message
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
    world.channels["sms"].script = [AmbiguousError(Reason.TIMEOUT)] * 2
    view = await world.start()
    for _ in range(2):
        await world.attempt()
        clock.advance(20.0)
        await world.claim("sms")
    assert world.handed_over == []
    assert (await world.look(view)).status == "pending"
    assert [attempt.outcome for attempt in (await world.look(view)).messages[0].attempts] == ["unknown"] * 2


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
    world.channels["sms"].act = lambda _: never.wait()
    view = await world.start()
    await world.attempt()
    [attempt] = (await world.look(view)).messages[0].attempts
    assert (attempt.outcome, attempt.reason) == ("unknown", "timeout")


async def test_an_adapter_that_knows_what_had_left_at_its_timeout_is_believed(database, clock, sealer, hasher):
    """Cut off at the same moment, it could not say so, and a message that never left would pass for one in doubt."""
    world = World(database, clock, sealer, hasher, two_channels(timeout=0.01))
    never = asyncio.Event()

    async def connect(_):
        try:
            async with asyncio.timeout(0.01):
                await never.wait()
        except TimeoutError:
            raise TransientError(Reason.UNAVAILABLE) from None

    world.channels["sms"].act = connect
    view = await world.start()
    await world.attempt()
    [attempt] = (await world.look(view)).messages[0].attempts
    assert (attempt.outcome, attempt.reason) == ("transient", "unavailable")


async def test_a_channel_is_cut_off_when_its_code_dies(world, clock):
    never = asyncio.Event()
    world.channels["sms"].act = lambda _: never.wait()
    view = await world.start(ttl=5)
    clock.advance(4.99)
    async with asyncio.timeout(5):
        await world.attempt()
    [attempt] = (await world.look(view)).messages[0].attempts
    assert (attempt.outcome, attempt.reason) == ("unknown", "timeout")


async def test_a_broken_template_moves_on(world):
    def broken(message, channel, lifetime):
        if channel.name == "sms":
            raise TemplateError("sms/verification/body.txt:1: no such value")
        return Rendered("Shop", {"body.txt": message.code})

    world.dispatcher._caller._render = broken
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
        await world.queue.report("sms", Report(token, reported, provider_id="sms-1"))
    assert await world.statuses(view) == [("sms", status)]


async def test_a_report_of_an_unknown_attempt_changes_nothing(world):
    assert await world.queue.report("sms", Report("no such token", ReportedStatus.DELIVERED)) is False


async def test_a_stop_finishes_what_is_under_way_and_gives_the_rest_back(world):
    gate, entered = asyncio.Event(), asyncio.Event()

    async def slow(envelope):
        entered.set()
        await gate.wait()
        return Receipt("done")

    world.channels["sms"].act = slow
    world.dispatcher.start()
    first = await world.start()
    world.dispatcher.hand_over(world.handed_over.pop())
    await entered.wait()
    stopping = asyncio.ensure_future(world.dispatcher.stop())
    await asyncio.sleep(0)
    assert world.dispatcher.has_room("sms", "shop") is False
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

    world.channels["sms"].act = deliver
    view = await world.start()
    world.dispatcher.start()
    async with asyncio.timeout(5):
        await done.wait()
    await world.dispatcher.stop()
    assert await world.statuses(view) == [("sms", "sent")]


async def test_a_long_pause_is_waited_for_in_the_database(world, clock):
    """Those behind it may have another channel to go to."""
    view = await world.start()
    lane = world.dispatcher._lanes["sms"]
    lane.pacer.pause_for(30.0)
    await world.attempt()
    assert lane.held == 0
    assert await world.statuses(view) == [("sms", "queued")]
    clock.advance(29.9)
    assert await world.claim("sms") == 0
    assert lane.until_next(1.0) == pytest.approx(0.1)
    clock.advance(0.2)
    assert await world.claim("sms") == 1
    await world.attempt()
    assert await world.statuses(view) == [("sms", "sent")]


async def test_what_comes_during_a_pause_is_held_by_nobody_and_claimed_at_its_end(world, clock):
    """Born in a node's hands it would only be given back: a second write for each."""
    world.verifications._drafting._has_room = world.dispatcher.has_room
    lane = world.dispatcher._lanes["sms"]
    lane.pacer.pause_for(30.0)
    views = [await world.start({"phone": f"+4915112345{number:03}"}) for number in range(2)]
    assert (world.handed_over, lane.behind) == ([], {})
    assert await world.dispatcher.look_once("sms") == 0
    clock.advance(29.9)
    assert lane.until_next(1.0) == pytest.approx(0.1, abs=TICK)
    clock.advance(0.1 + TICK)
    assert await world.claim("sms") == 2
    for view in views:
        await world.attempt()
        assert await world.statuses(view) == [("sms", "sent")]


async def test_what_came_during_a_pause_is_sent_by_whichever_node_looks_first(world, database, clock, sealer, hasher):
    """At the end of the pause each looks, who took the message on or not."""
    other = World(database, clock, sealer, hasher, two_channels(), node="node-b")
    for node in (world, other):
        node.verifications._drafting._has_room = node.dispatcher.has_room
        node.dispatcher._lanes["sms"].pacer.pause_for(30.0)
    view = await world.start()
    clock.advance(29.5)
    assert other.dispatcher._lanes["sms"].until_next(1.0) == pytest.approx(0.5, abs=2 * TICK)
    clock.advance(0.5 + TICK)
    done = asyncio.Event()
    other.queue.paid = lambda _: done.set()
    other.dispatcher.start()
    async with asyncio.timeout(5):
        await done.wait()
    await other.dispatcher.stop()
    assert await world.statuses(view) == [("sms", "sent")]
    assert len(other.channels["sms"].sent) == 1


async def test_what_comes_while_its_channel_is_shut_goes_on_by_the_next_at_once(world, clock):
    world.verifications._drafting._has_room = world.dispatcher.has_room
    lane = world.dispatcher._lanes["sms"]
    lane.pacer.pause_for(CHANNEL_SHARE + 1)
    waits = await world.start({"phone": "+4915112345679"})
    world.dispatcher.announce("sms")
    assert not lane.wake.is_set()
    view = await world.start(BOTH)
    world.dispatcher.announce("sms")
    assert lane.wake.is_set()
    assert await world.claim("sms") == 1
    await world.attempt()
    await world.attempt()
    assert await world.statuses(view) == [("sms", "failed"), ("email", "sent")]
    assert await world.statuses(waits) == [("sms", "queued")]


async def test_a_code_that_dies_before_its_channel_is_back_ends_at_once(world, clock):
    world.verifications._drafting._has_room = world.dispatcher.has_room
    world.dispatcher._lanes["sms"].pacer.pause_for(600.0)
    view = await world.start(ttl=60)
    assert await world.claim("sms") == 1
    await world.attempt()
    assert await world.statuses(view) == [("sms", "failed")]


async def test_a_channel_whose_share_is_over_is_not_called(world, clock):
    world.channels["sms"].script = [TransientError(Reason.UNAVAILABLE)]
    view = await world.start(BOTH)
    await world.attempt()
    clock.advance(CHANNEL_SHARE)
    assert await world.claim("sms") == 1
    await world.attempt()
    await world.attempt()
    assert len(world.channels["sms"].sent) == 1
    assert await world.statuses(view) == [("sms", "failed"), ("email", "sent")]
    attempts = (await world.look(view)).messages[0].attempts
    assert [(item.outcome, item.reason) for item in attempts] == [
        ("transient", "unavailable"),
        ("transient", "timeout"),
    ]


async def test_a_code_that_dies_while_it_is_rendered_is_not_sent(world, clock):
    render = world.dispatcher._caller._render

    def slowly(message, channel, lifetime):
        clock.advance(300)
        return render(message, channel, lifetime)

    world.dispatcher._caller._render = slowly
    view = await world.start()
    await world.attempt()
    assert world.channels["sms"].sent == []
    assert await world.statuses(view) == [("sms", "expired")]


class Away:
    """A database whose next writes fail, in front of the real one."""

    def __init__(self, database, failures: int = 0) -> None:
        self.database = database
        self.failures = failures
        self.error: Exception = StorageUnavailableError("SQLite: database is locked")
        self.before_write: Callable[[], None] = lambda: None

    def __getattr__(self, name):
        return getattr(self.database, name)

    def submit(self, move):
        self.before_write()
        if not self.failures:
            return self.database.submit(move)
        self.failures -= 1
        failed = asyncio.get_running_loop().create_future()
        failed.set_exception(self.error)
        return failed

    async def write(self, move):
        return bool(await self.submit(move))


@pytest.fixture
def away(database) -> Away:
    return Away(database)


@pytest.fixture
def shaky(away, clock, sealer, hasher) -> World:
    """A world whose database may be away."""
    return World(away, clock, sealer, hasher, two_channels())


async def test_an_outcome_is_written_once_the_database_is_back(shaky, away):
    async def deliver(envelope):
        away.failures = 3
        return Receipt("accepted")

    shaky.channels["sms"].act = deliver
    view = await shaky.start()
    await shaky.attempt()
    assert await shaky.statuses(view) == [("sms", "sent")]


async def test_an_attempt_waits_to_begin_until_the_database_is_back(shaky, away):
    view = await shaky.start()
    away.failures = 3
    await shaky.attempt()
    assert len(shaky.channels["sms"].sent) == 1
    assert await shaky.statuses(view) == [("sms", "sent")]


async def test_a_database_that_stays_away_ends_the_attempt_and_not_the_worker(shaky, away, caplog):
    await shaky.start()
    away.failures = 99
    await shaky.attempt()
    assert shaky.channels["sms"].sent == []
    assert "a message could not be settled" in caplog.messages
    assert shaky.dispatcher.held == 0


async def test_a_fault_of_ours_ends_the_attempt_and_not_the_worker(shaky, away, caplog):
    await shaky.start()
    away.failures, away.error = 1, ZeroDivisionError(PHONE)
    await shaky.attempt()
    assert "ZeroDivisionError at begin" in caplog.text
    assert PHONE not in caplog.text


async def test_a_stop_outlives_a_database_that_is_away(shaky, away, caplog):
    await shaky.start()
    shaky.dispatcher.hand_over(shaky.handed_over[0])
    away.failures = 1
    await shaky.dispatcher.stop()
    assert "a message could not be released" in caplog.messages


async def test_claims_go_on_after_a_fault(shaky, away, caplog):
    shaky.has_room = False
    await shaky.start()
    done = asyncio.Event()
    run, faults = away.database.run, [ZeroDivisionError(PHONE)]

    async def once_broken(work):
        if faults:
            shaky.dispatcher.announce("sms")
            raise faults.pop()
        return await run(work)

    async def deliver(_):
        done.set()
        return Receipt("found")

    away.run = once_broken
    shaky.channels["sms"].act = deliver
    shaky.dispatcher.start()
    async with asyncio.timeout(5):
        await done.wait()
    await shaky.dispatcher.stop()
    assert "claiming failed: ZeroDivisionError" in caplog.text
    assert PHONE not in caplog.text


async def test_an_answer_after_another_node_took_over_is_told(world, clock, caplog):
    view = await world.start()

    async def slow(envelope):
        clock.advance(LEASE)
        await world.queue.rescue()
        return Receipt("late")

    world.channels["sms"].act = slow
    await world.attempt()
    assert await world.statuses(view) == [("sms", "queued")]
    assert "an answer came after the message was settled" in caplog.messages


async def test_a_stop_gives_back_what_waits_in_memory(database, clock, sealer, hasher):
    world = World(database, clock, sealer, hasher, two_channels(concurrency=1))
    gate, entered = asyncio.Event(), asyncio.Event()

    async def slow(_):
        entered.set()
        await gate.wait()
        return Receipt("done")

    world.channels["sms"].act = slow
    world.dispatcher.start()
    views = [await world.start({"phone": f"+491511234567{number}"}) for number in range(3)]
    for item in world.handed_over:
        world.dispatcher.hand_over(item)
    await entered.wait()
    stopping = asyncio.ensure_future(world.dispatcher.stop())
    await asyncio.sleep(0)
    gate.set()
    await stopping
    assert [(await world.statuses(view))[0][1] for view in views] == ["sent", "queued", "queued"]
    world.handed_over.clear()
    assert await world.claim("sms") == 2


async def test_a_stop_gives_back_who_waits_for_a_pause(database, clock, sealer, hasher):
    world = World(database, clock, sealer, hasher, two_channels())
    sleeping, never = asyncio.Event(), asyncio.Event()

    async def sleep(_):
        sleeping.set()
        await never.wait()

    lane = world.dispatcher._lanes["sms"]
    lane._sleep = sleep
    lane.pacer.pause_for(0.5)
    world.dispatcher.start()
    await world.start()
    world.dispatcher.hand_over(world.handed_over.pop())
    await sleeping.wait()
    await world.dispatcher.stop()
    assert await world.claim("sms") == 1


async def test_an_attempt_cut_off_by_a_stop_is_in_doubt_and_free_at_once(database, clock, sealer, hasher):
    world = World(database, clock, sealer, hasher, two_channels(), grace=0.01)
    entered, never = asyncio.Event(), asyncio.Event()

    async def stuck(_):
        entered.set()
        await never.wait()

    world.channels["sms"].act = stuck
    world.dispatcher.start()
    view = await world.start()
    world.dispatcher.hand_over(world.handed_over.pop())
    await entered.wait()
    await world.dispatcher.stop()
    assert await world.statuses(view) == [("sms", "queued")]
    [attempt] = (await world.look(view)).messages[0].attempts
    assert (attempt.outcome, attempt.reason) == ("unknown", "timeout")
    assert await world.claim("sms") == 1


async def test_an_attempt_begun_while_stopping_is_given_back(shaky, away):
    view = await shaky.start()
    shaky.dispatcher.start()
    stopping: list[asyncio.Future[None]] = []
    begun = asyncio.Event()

    def stop() -> None:
        # The stop comes while the attempt is being written down.
        if not stopping:
            stopping.append(asyncio.ensure_future(shaky.dispatcher.stop()))
            begun.set()

    away.before_write = stop
    shaky.dispatcher.hand_over(shaky.handed_over.pop())
    async with asyncio.timeout(5):
        await begun.wait()
        await stopping[0]
    assert shaky.channels["sms"].sent == []
    assert await shaky.statuses(view) == [("sms", "queued")]
    [attempt] = (await shaky.look(view)).messages[0].attempts
    assert attempt.outcome == "skipped"


async def test_an_announced_message_is_looked_for_at_once(world):
    world.has_room = False
    done = asyncio.Event()

    async def deliver(_):
        done.set()
        return Receipt("found")

    world.channels["sms"].act = deliver
    world.dispatcher.start()
    await asyncio.sleep(0)
    view = await world.start()
    world.dispatcher.announce("sms")
    world.dispatcher.announce("no such channel")
    async with asyncio.timeout(5):
        await done.wait()
    await world.dispatcher.stop()
    assert await world.statuses(view) == [("sms", "sent")]


async def test_of_a_service_with_much_to_do_nothing_more_is_claimed(world):
    world.has_room = False
    await world.start()
    lane = world.dispatcher._lanes["sms"]
    for number in range(LOW + 1):
        lane.put(message(str(number)))
    assert await world.dispatcher.look_once("sms") == 0
    lane.drain()
    assert await world.dispatcher.look_once("sms") == 1


async def test_a_node_does_not_rescue_what_it_has_under_way_itself(world, clock):
    view = await world.start()
    message, _ = await world.queue.begin(world.handed_over.pop())
    clock.advance(LEASE)
    assert await world.queue.rescue({message.id}) == 0
    assert await world.queue.accept(message, Receipt("late"), 1.0) is True
    assert await world.statuses(view) == [("sms", "sent")]


async def test_a_backlog_is_fetched_as_soon_as_there_is_room(world):
    world.has_room = False
    for number in range(3):
        await world.start({"phone": f"+4915112345{number:03}"})
    lane = world.dispatcher._lanes["sms"]
    lane.behind["shop"] = 3
    assert await world.dispatcher.look_once("sms") == 3
    assert lane.behind == {}
    lane.behind["shop"] = 1
    lane.wake.clear()
    await lane.take()
    assert lane.wake.is_set()


async def test_a_channel_is_busy_while_codes_wait_for_it(world):
    assert world.dispatcher.busy("sms") is False
    await world.start()
    world.dispatcher.hand_over(world.handed_over[0])
    assert world.dispatcher.busy("sms") is True
    assert world.dispatcher.busy("email") is False


async def test_a_channel_that_rests_is_busy(world, clock):
    world.dispatcher._lanes["sms"].pacer.pause_for(3.0)
    assert world.dispatcher.busy("sms") is True
    clock.advance(3.0)
    assert world.dispatcher.busy("sms") is False


# -- what others ask of it


async def test_what_comes_while_more_waits_in_the_database_goes_behind_it(world):
    assert world.dispatcher.has_room("sms", "shop") is True
    lane = world.dispatcher._lanes["sms"]
    lane.behind["shop"] = 7
    assert world.dispatcher.has_room("sms", "shop") is False
    assert (lane.behind, world.dispatcher.has_room("email", "shop")) == ({"shop": 7}, True)
    assert world.dispatcher.has_room("sms", "bank") is True


async def test_a_full_buffer_has_no_room_and_counts_what_it_left_in_the_database(world):
    lane = world.dispatcher._lanes["sms"]
    for number in range(BUFFER):
        lane.put(message(str(number)))
    assert world.dispatcher.has_room("sms", "shop") is False
    assert lane.behind == {"shop": 0}
    world.dispatcher.left(message("more", channel="sms"))
    assert lane.behind == {"shop": 1}
    assert world.dispatcher.has_room("sms", "bank") is True


async def test_it_tells_how_each_channel_is(world, clock):
    assert world.dispatcher.states() == {"sms": "ok", "email": "ok"}
    world.dispatcher._lanes["email"].pacer.pause_for(30.0)
    breaker = world.dispatcher._lanes["sms"].breaker
    for _ in range(ENOUGH):
        breaker.record(Verdict.FAILED, clock.monotonic())
    assert world.dispatcher.states() == {"sms": "open", "email": "paused"}
    clock.advance(OPEN_TIME)
    breaker.admit(clock.monotonic())
    assert world.dispatcher.states()["sms"] == "probing"
    breaker.record(Verdict.WORKED, clock.monotonic(), probe=True)
    assert world.dispatcher.states()["sms"] == "ramping"
    clock.advance(20.0)
    assert world.dispatcher.states() == {"sms": "ok", "email": "ok"}
    breaker.record(Verdict.REFUSED, clock.monotonic())
    assert world.dispatcher.states()["sms"] == "stopped"


async def test_a_channel_is_usable_unless_it_passes_messages_on(world, clock):
    sms, email = (world.dispatcher._lanes[name] for name in ("sms", "email"))
    sms.pacer.pause_for(CHANNEL_SHARE)
    email.pacer.pause_for(CHANNEL_SHARE + 1)
    assert [world.dispatcher.outlook.usable(name) for name in ("sms", "email")] == [True, False]
    sms.breaker.record(Verdict.REFUSED, clock.monotonic())
    assert world.dispatcher.outlook.usable("sms") is False
    assert world.dispatcher.busy("sms") is True


async def test_it_expects_no_wait_while_nothing_waits(world, clock):
    assert world.dispatcher.outlook.wait("sms", "shop") == 0.0
    lane = world.dispatcher._lanes["sms"]
    for number in range(lane.channel.settings.concurrency + 1):
        lane.put(message(str(number)))
    clock.advance(1.0)
    assert world.dispatcher.outlook.wait("sms", "shop") == pytest.approx(1.1)
    assert world.dispatcher.urgent("sms") is True
    assert world.dispatcher.urgent("email") is False


# -- what a provider asks for


async def test_one_recipient_who_is_to_be_spared_holds_up_nobody_else(world, clock):
    world.channels["sms"].script = [TransientError(Reason.RATE_LIMITED, retry_after=20.0)]
    await world.start()
    await world.attempt()
    clock.advance(5.0)
    lane = world.dispatcher._lanes["sms"]
    assert (lane.pacer.rests_for(PHONE), lane.pacer.paused_for) == (15.0, 0.0)
    other = await world.start({"phone": "+4915112345679"})
    await world.attempt()
    assert await world.statuses(other) == [("sms", "sent")]


async def test_a_pause_that_comes_while_an_attempt_is_written_down_is_obeyed(shaky, away):
    """Whoever was in flight may have been; this one was not yet."""
    view = await shaky.start()
    away.before_write = lambda: shaky.dispatcher._lanes["sms"].pacer.pause_for(30.0)
    await shaky.attempt()
    assert shaky.channels["sms"].sent == []
    assert await shaky.statuses(view) == [("sms", "queued")]
    [attempt] = (await shaky.look(view)).messages[0].attempts
    assert attempt.outcome == "skipped"


async def test_a_message_whose_share_is_nearly_over_waits_for_no_pause(world, clock):
    world.channels["sms"].script = [TransientError(Reason.UNAVAILABLE)]
    view = await world.start(BOTH)
    await world.attempt()
    clock.advance(6.0)
    assert await world.claim("sms") == 1
    world.dispatcher._lanes["sms"].pacer.pause_for(3.0)
    await world.attempt()
    await world.attempt()
    assert await world.statuses(view) == [("sms", "failed"), ("email", "sent")]
    [record] = await world.database.fetch("SELECT reason FROM message WHERE status = 'failed'")
    assert record["reason"] == "rate_limited"


async def test_a_code_too_old_for_the_next_channel_waits_for_its_own(world, clock):
    """A first attempt needs only a code that lives; a fallback needs one that lives long enough."""
    view = await world.start(BOTH, ttl=60)
    clock.advance(46.0)
    await world.queue.renew([item.id for item in world.handed_over])
    world.dispatcher._lanes["sms"].pacer.pause_for(10.0)
    await world.attempt()
    assert await world.statuses(view) == [("sms", "queued")]
    clock.advance(10.0)
    assert await world.claim("sms") == 1
    await world.attempt()
    assert await world.statuses(view) == [("sms", "sent")]


# -- probes


def fail(world: World, clock: Any) -> Any:
    breaker = world.dispatcher._lanes["sms"].breaker
    for _ in range(ENOUGH):
        breaker.record(Verdict.FAILED, clock.monotonic())
    return breaker


async def test_a_probe_that_is_not_sent_is_left_to_the_next_message(world, clock):
    view = await world.start()
    breaker = fail(world, clock)
    clock.advance(OPEN_TIME)
    await world.checking.cancel("shop", view.id)
    await world.attempt()
    assert breaker.state == "open"
    other = await world.start({"phone": "+4915112345679"})
    await world.attempt()
    assert await world.statuses(other) == [("sms", "sent")]
    assert breaker.state == "ramping"


async def test_a_broken_template_does_not_spend_a_stopped_channels_probe(world, clock):
    sound = world.dispatcher._caller._render

    def broken(message, channel, lifetime):
        raise TemplateError("sms/verification/body.txt:1: no such value")

    breaker = world.dispatcher._lanes["sms"].breaker
    breaker.record(Verdict.REFUSED, clock.monotonic())
    clock.advance(STOP_TIME)
    world.dispatcher._caller._render = broken
    view = await world.start()
    await world.attempt()
    assert (await world.statuses(view), breaker.state) == ([("sms", "failed")], "stopped")
    world.dispatcher._caller._render = sound
    other = await world.start({"phone": "+4915112345679"})
    await world.attempt()
    assert (await world.statuses(other), breaker.state) == ([("sms", "sent")], "ramping")


async def test_of_those_that_wait_for_a_probe_one_comes_first_and_the_others_after_it(world, clock):
    fail(world, clock)
    for number in range(3):
        await world.start({"phone": f"+4915112345{number:03}"})
        await world.attempt()
    found = await world.database.fetch("SELECT due_at FROM message ORDER BY due_at")
    now = clock.now()
    assert [record["due_at"] - now for record in found] == [OPEN_TIME, OPEN_TIME + SPREAD, OPEN_TIME + SPREAD]


async def test_those_that_come_while_a_channel_is_down_are_born_for_the_probe_and_after_it(world, clock):
    world.verifications._drafting._has_room = world.dispatcher.has_room
    fail(world, clock)
    for number in range(3):
        await world.start({"phone": f"+4915112345{number:03}"})
    found = await world.database.fetch("SELECT due_at, lease FROM message ORDER BY due_at")
    waits = [(record["due_at"] - clock.now(), record["lease"]) for record in found]
    assert waits == [(OPEN_TIME, ""), (OPEN_TIME + SPREAD, ""), (OPEN_TIME + SPREAD, "")]
    assert world.dispatcher._lanes["sms"].until_next(60.0) == OPEN_TIME


async def test_those_that_come_while_the_probe_is_under_way_wait_a_little(world, clock):
    breaker = fail(world, clock)
    clock.advance(OPEN_TIME)
    breaker.admit(clock.monotonic())
    await world.start()
    await world.attempt()
    [record] = await world.database.fetch("SELECT due_at FROM message")
    assert record["due_at"] - clock.now() == PROBE_WAIT + SPREAD


async def test_a_failure_that_opens_the_breaker_goes_to_the_next_channel_at_once(world, clock):
    breaker = world.dispatcher._lanes["sms"].breaker
    for _ in range(ENOUGH - 1):
        breaker.record(Verdict.FAILED, clock.monotonic())
    world.channels["sms"].script = [TransientError(Reason.UNAVAILABLE)]
    view = await world.start(BOTH)
    await world.attempt()
    await world.attempt()
    assert await world.statuses(view) == [("sms", "failed"), ("email", "sent")]


async def test_a_lost_answer_that_opens_the_breaker_is_waited_for_all_the_same(world, clock):
    breaker = world.dispatcher._lanes["sms"].breaker
    for _ in range(ENOUGH - 1):
        breaker.record(Verdict.FAILED, clock.monotonic())
    world.channels["sms"].script = [AmbiguousError(Reason.TIMEOUT)]
    view = await world.start(BOTH)
    await world.attempt()
    assert (world.handed_over, breaker.state) == ([], "open")
    assert await world.statuses(view) == [("sms", "queued")]


async def test_a_timeout_shorter_than_the_channels_own_says_nothing_of_the_channel(world, clock):
    never = asyncio.Event()
    world.channels["sms"].act = lambda _: never.wait()
    breaker = world.dispatcher._lanes["sms"].breaker
    for _ in range(ENOUGH - 1):
        breaker.record(Verdict.FAILED, clock.monotonic())
    await world.start(ttl=5)
    clock.advance(4.99)
    async with asyncio.timeout(5):
        await world.attempt()
    assert breaker.state == "ok"


async def test_a_probe_that_failed_counts_though_it_could_not_be_written_down(shaky, away, clock):
    breaker = fail(shaky, clock)
    clock.advance(OPEN_TIME)
    await shaky.start()

    async def deliver(_):
        away.failures = 99
        raise TransientError(Reason.UNAVAILABLE)

    shaky.channels["sms"].act = deliver
    await shaky.attempt()
    assert (breaker.state, breaker.wait(clock.monotonic())) == ("open", OPEN_TIME)


async def test_what_follows_for_a_channel_that_is_not_here_is_left_to_others(world, clock):
    del world.dispatcher._lanes["email"]
    world.channels["sms"].script = [refused()]
    view = await world.start(BOTH)
    await world.attempt()
    assert await world.statuses(view) == [("sms", "failed"), ("email", "queued")]
    clock.advance(LEASE)
    assert await world.claim("email") == 1


# -- its duties


async def test_what_was_not_confirmed_goes_on_by_the_next_channel(database, clock, sealer, hasher):
    world = World(database, clock, sealer, hasher, two_channels(), confirm_within=lambda *_: 20.0)
    sent = asyncio.Event()

    async def deliver(_):
        sent.set()
        return Receipt("found")

    world.channels["email"].act = deliver
    view = await world.start(BOTH)
    await world.attempt()
    clock.advance(20.0)
    world.dispatcher.start()
    async with asyncio.timeout(5):
        await sent.wait()
    await world.dispatcher.stop()
    assert await world.statuses(view) == [("sms", "sent"), ("email", "sent")]


class LatePauses(Pauses):
    """Pauses of a database that is away for the first looks."""

    def __init__(self, database: Database, failures: int) -> None:
        super().__init__(database)
        self.failures = failures
        self.looks = 0
        self.found = asyncio.Event()

    async def until(self, channel: str) -> float:
        self.looks += 1
        if self.looks <= self.failures:
            raise StorageUnavailableError("SQLite: database is locked")
        self.found.set()
        return await super().until(channel)


async def test_nothing_is_sent_before_it_is_known_whether_the_channel_is_paused(
    database, clock, sealer, hasher, caplog
):
    channels = two_channels(concurrency=1)
    pauses = LatePauses(database, failures=1)
    own = Pacer("sms", 0.0, 0.0, clock, pauses=pauses)
    paces = {"sms": own, "email": Pacer("email", 0.0, 0.0, clock)}
    world = World(database, clock, sealer, hasher, channels, dispatching={"paces": paces})
    sent = asyncio.Event()

    async def deliver(_):
        sent.set()
        return Receipt("found")

    channels["sms"].act = deliver
    await world.start()
    world.dispatcher.hand_over(world.handed_over.pop())
    world.dispatcher.start()
    for _ in range(20):
        await asyncio.sleep(0)
    assert not sent.is_set()
    assert "a channel's pace is not known: StorageUnavailableError" in caplog.text
    world.dispatcher.pause_told("sms")
    world.dispatcher.pause_told("no such channel")
    async with asyncio.timeout(5):
        await sent.wait()
    await world.dispatcher.stop()


async def test_a_share_that_cannot_be_given_back_is_told(database, clock, sealer, hasher, caplog):
    class Shares:
        async def take(self, channel: str, rate: float, now: float, /) -> float:
            return rate

        async def give(self, channel: str, /) -> None:
            raise StorageUnavailableError("SQLite: database is locked")

    channels = two_channels(rate=5.0)
    paces = pacers(channels, clock, shares=Shares())
    world = World(database, clock, sealer, hasher, channels, dispatching={"paces": paces})
    await world.dispatcher.stop()
    assert caplog.messages.count("a share could not be given back: SQLite: database is locked") == 2

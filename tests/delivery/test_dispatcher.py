"""What follows from each outcome of an attempt, on both engines."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from channels.base import AmbiguousError, Reason, Receipt, Report, ReportedStatus, TransientError
from gateway.delivery.dispatcher import CLAIM
from gateway.delivery.queue import LEASE
from gateway.delivery.rendering import Rendered
from gateway.delivery.retry import CHANNEL_SHARE
from gateway.errors import TemplateError
from gateway.storage.unit import StorageUnavailableError
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
    lane.pause(30.0)
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
    render = world.dispatcher._render

    def slowly(message, channel, lifetime):
        clock.advance(300)
        return render(message, channel, lifetime)

    world.dispatcher._render = slowly
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

    async def write(self, move):
        self.before_write()
        if self.failures:
            self.failures -= 1
            raise self.error
        return await self.database.write(move)


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
    assert "ZeroDivisionError at write" in caplog.text
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
    for message in world.handed_over:
        world.dispatcher.hand_over(message)
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
    lane.pause(0.5)
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


async def test_a_lane_with_much_to_do_claims_nothing(world):
    world.has_room = False
    await world.start()
    lane = world.dispatcher._lanes["sms"]
    lane._held.update(str(number) for number in range(CLAIM + 1))
    assert await world.dispatcher.look_once("sms") == 0
    lane._held.clear()
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
    lane.behind = True
    assert await world.dispatcher.look_once("sms") == 3
    assert lane.behind is False
    lane.behind = True
    lane.wake.clear()
    lane.done(lane.drain()[0])
    assert lane.wake.is_set()


async def test_a_channel_is_busy_while_codes_wait_for_it(world):
    assert world.dispatcher.busy("sms") is False
    await world.start()
    world.dispatcher.hand_over(world.handed_over[0])
    assert world.dispatcher.busy("sms") is True
    assert world.dispatcher.busy("email") is False


async def test_a_channel_that_rests_is_busy(world, clock):
    world.dispatcher._lanes["sms"].pause(3.0)
    assert world.dispatcher.busy("sms") is True
    clock.advance(3.0)
    assert world.dispatcher.busy("sms") is False

"""The queue where nodes, providers and keys misbehave, on both engines."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from channels.base import AmbiguousError, PermanentError, Reason, Receipt, Report, ReportedStatus
from channels.callback import ForgedCallbackError
from gateway.config import SealingKey
from gateway.delivery.lifecycle import AttemptOutcome
from gateway.delivery.payload import Owner, open_route, seal_route
from gateway.delivery.queue import LEASE
from gateway.delivery.telling import Failure
from gateway.storage.database import Database
from gateway.storage.sealing import Sealer
from tests.delivery.conftest import CHAT
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


async def test_a_claim_takes_of_each_service_what_there_is_room_for(world, database, clock, sealer, hasher):
    """However many older messages another service has: each gets its own oldest."""
    flood = World(database, clock, sealer, hasher, two_channels(), name="flood")
    ids = []
    for side, count in ((flood, 4), (world, 3)):
        side.has_room = False
        for number in range(count):
            ids.append((await side.start({"phone": f"+49151123456{number:02}"})).messages[0].id)
            clock.advance(1.0)
    claimed = await world.queue.claim("sms", {"shop": 2, "flood": 3})
    assert [message.id for message in claimed] == [*ids[:3], *ids[4:6]]
    assert [message.service for message in await world.queue.claim("sms", {"flood": 9})] == ["flood"]


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
    assert await world.queue.report("sms", Report(token, ReportedStatus.DELIVERED, provider_id="SM1"))
    assert await world.statuses(view) == [("sms", "delivered")]
    assert await attempts(world, view) == [("sent", "SM1")]
    clock.advance(5)
    assert await world.claim("sms") == 0


async def test_a_report_that_overtakes_the_answer_settles_the_attempt(world):
    view = await world.start()
    message, token = await world.queue.begin(world.handed_over.pop())
    assert await world.queue.report("sms", Report(token, ReportedStatus.DELIVERED, provider_id="SM1"))
    assert await world.queue.accept(message, Receipt("SM1"), 1.0) is False
    assert await world.statuses(view) == [("sms", "delivered")]
    assert await attempts(world, view) == [("sent", "SM1")]


async def test_a_report_of_something_else_leaves_a_known_attempt_alone(world):
    view = await world.start()
    await world.attempt()
    token = world.channels["sms"].sent[0].attempt_token
    with pytest.raises(ForgedCallbackError):
        await world.queue.report("sms", Report(token, ReportedStatus.DELIVERED, provider_id="other"))
    assert await attempts(world, view) == [("sent", "sms-1")]
    assert await world.statuses(view) == [("sms", "sent")]


async def test_reports_at_once_are_told_once(world):
    view = await world.start()
    await world.attempt()
    report = Report(world.channels["sms"].sent[0].attempt_token, ReportedStatus.DELIVERED)
    moved = await asyncio.gather(*(world.queue.report("sms", report) for _ in range(10)))
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


# -- people in chats


async def blocked_by(make_chatty, ask, script):
    """Send one message to a chat; return the world, the verification and what was heard of blocked chats."""
    heard: list[tuple[str, str, str]] = []

    async def on_blocked(connection, channel, address, now, /):
        # Within the queue's transaction: what it settled is seen.
        [row] = await connection.fetch("SELECT status FROM message WHERE channel = 'telegram'")
        heard.append((channel, address, row["status"]))

    world = make_chatty(on_blocked=on_blocked)
    world.channels["telegram"].script = script
    view = await world.start({"telegram": "user-1", "phone": PHONE}, channels=("telegram", "sms"))
    await world.attempt()
    return world, view, heard


async def test_a_chat_that_blocks_the_bot_is_told_and_the_route_goes_on_at_once(make_chatty, ask):
    world, view, heard = await blocked_by(make_chatty, ask, [PermanentError(Reason.BLOCKED)])
    assert heard == [("telegram", CHAT, "failed")]
    await world.attempt()
    assert await world.statuses(view) == [("telegram", "failed"), ("sms", "sent")]


async def test_another_refusal_says_nothing_of_the_chat(make_chatty, ask):
    _, _, heard = await blocked_by(make_chatty, ask, [PermanentError(Reason.REJECTED)])
    assert heard == []


async def test_a_person_who_opted_out_elsewhere_blocks_no_chat(make_chatty):
    async def on_blocked(connection, channel, address, now, /):
        raise AssertionError("no chat")

    world = make_chatty(on_blocked=on_blocked)
    world.channels["sms"].script = [PermanentError(Reason.BLOCKED)]
    view = await world.start()
    await world.attempt()
    assert await world.statuses(view) == [("sms", "failed")]


async def test_an_answer_after_the_message_was_settled_blocks_nobody(make_chatty, ask):
    heard: list[str] = []

    async def on_blocked(connection, channel, address, now, /):
        heard.append(address)

    world = make_chatty(on_blocked=on_blocked)
    await ask(world, sent=False)
    message, _ = await world.queue.begin(world.handed_over.pop())
    assert await world.queue.accept(message, Receipt("71"), 1.0)
    failure = Failure(AttemptOutcome.PERMANENT, Reason.BLOCKED)
    assert await world.queue.move_on(message, failure, alive=True, leased=True) is None
    assert heard == []


async def test_a_message_is_in_the_language_of_who_is_reached_there(database, chatty, sealer):
    """The next channel's is in that of who is reached by it, else in the verification's."""
    chatty.has_room = False
    to = {"telegram": "user-1", "phone": PHONE, "email": EMAIL}
    view = await chatty.start(to, channels=("telegram", "sms", "email"), locale="en-GB")
    owner = Owner(view.id, "shop", "verification")
    [record] = await database.fetch("SELECT route_sealed FROM verification")
    first, second, third = open_route(sealer, owner, record["route_sealed"])
    blob = seal_route(sealer, owner, [replace(first, locale="de"), second, replace(third, locale="fr")])
    change = "UPDATE verification SET route_sealed = :blob"
    await database.run(lambda connection: connection.fetch(change, blob=blob))
    await chatty.claim("telegram")
    for name in ("telegram", "sms"):
        chatty.channels[name].script = [PermanentError(Reason.REJECTED)]
    for _ in range(3):
        await chatty.attempt()
    assert [chatty.channels[name].sent[0].locale for name in ("telegram", "sms", "email")] == ["de", "en-GB", "fr"]


class Watched:
    """A database that notes down which statements the moves written to it are made of."""

    def __init__(self, database) -> None:
        self.database = database
        self._engine = database._engine
        self.moves: list[list[str]] = []

    def __getattr__(self, name):
        return getattr(self.database, name)

    def submit(self, move):
        self.moves.append([statement.name for statement, _ in (move.guard, *move.then)])
        return self.database.submit(move)


async def test_a_channel_that_cannot_revise_pays_nothing_for_those_that_can(make_chatty, database):
    watched = Watched(database)
    world = make_chatty(watched)
    await world.start()
    watched.moves.clear()
    await world.attempt()
    assert watched.moves == [
        ["message.begin", "attempt.insert", "event.insert"],
        ["message.finish", "attempt.end", "event.insert"],
    ]


async def test_a_channel_that_can_pays_one_statement(make_chatty, database, ask):
    watched = Watched(database)
    world = make_chatty(watched)
    await ask(world, sent=False)
    watched.moves.clear()
    await world.attempt()
    assert watched.moves[1] == ["message.finish_revisable", "attempt.end", "message.supersede", "event.insert"]


async def test_an_end_writes_nothing_where_nothing_can_be_revised(world):
    assert world.queue.revised("ver_1", 0.0) == ()

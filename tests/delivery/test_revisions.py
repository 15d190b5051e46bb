"""When a message in a chat is due to be put right, and who holds it, on both engines."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from channels.base import Reason, Receipt
from gateway.config import CodeSettings, LimitSettings, SealingKey, ServiceSettings
from gateway.delivery.lifecycle import VerificationStatus
from gateway.delivery.payload import Owner, open_route, seal_route
from gateway.delivery.queue import LOOK_AFTER
from gateway.delivery.revisions import HOLD, Revision, Step, decide, outcome
from gateway.events.event import EventName
from gateway.storage.database import Database
from gateway.storage.sealing import Sealer
from gateway.verification import ending
from tests.conftest import START
from tests.delivery.conftest import CHAT
from tests.world import PHONE, World

SECONDS = 300.0


def revision(**fields) -> Revision:
    return replace(
        Revision(
            message_id="msg_1",
            verification_id="ver_1",
            service="shop",
            channel="pigeon",
            recipient="us•••",
            held=START + HOLD,
            revisions=1,
            sent_at=START,
            expires_at=START + SECONDS,
            status="pending",
            newer=False,
            locale="en",
            address=CHAT,
            provider_id="71",
        ),
        **fields,
    )


async def due(database: Database) -> list[float | None]:
    return [row["revise_at"] for row in await database.fetch("SELECT revise_at FROM message ORDER BY id")]


async def finished(world: World, view, status: VerificationStatus) -> None:
    """End a verification in one way or another."""

    async def work(connection):
        await ending.end(connection, world.queue, view.id, "shop", status, world.clock.now())

    await world.database.run(work)


# -- what is to be done


@pytest.mark.parametrize(
    ("status", "newer", "left", "step"),
    [
        ("pending", False, 1.0, Step.WAIT),
        ("pending", True, 1.0, Step.REMOVE),
        ("pending", False, 0.0, Step.EDIT),
        ("pending", True, 0.0, Step.REMOVE),
        ("approved", False, 1.0, Step.EDIT),
        ("canceled", False, 1.0, Step.EDIT),
        ("approved", True, 1.0, Step.REMOVE),
        ("expired", False, -1.0, Step.EDIT),
    ],
)
def test_a_message_is_edited_once_its_code_is_over_and_removed_where_a_newer_one_is(status, newer, left, step):
    item = revision(status=status, newer=newer)
    assert decide(item, item.expires_at - left) is step


@given(st.sampled_from(VerificationStatus), st.booleans(), st.floats(0, 2e9))
def test_there_is_always_something_to_be_done_and_only_a_living_code_is_waited_for(status, newer, now):
    step = decide(revision(status=status.value, newer=newer), now)
    lives = status is VerificationStatus.PENDING and now < START + SECONDS
    assert (step is Step.WAIT) == (lives and not newer)


@pytest.mark.parametrize("status", [status for status in VerificationStatus if status != "pending"])
def test_an_outcome_is_how_the_verification_ended(status):
    assert outcome(revision(status=status.value)) == status


def test_a_code_that_died_before_anybody_wrote_it_down_is_expired():
    assert outcome(revision()) == "expired"


def test_a_revision_shows_neither_chat_nor_message():
    assert CHAT not in repr(revision())
    assert "71" not in repr(revision())


# -- when it is due


async def test_a_message_is_looked_at_soon_after_it_was_sent(revisions, ask, clock):
    view = await ask()
    clock.advance(LOOK_AFTER - 0.1)
    assert await revisions.claim("telegram", 20) == []
    clock.advance(0.1)
    [found] = await revisions.claim("telegram", 20)
    assert found == revision(
        message_id=view.messages[0].id,
        verification_id=view.id,
        channel="telegram",
        recipient=found.recipient,
        held=clock.now() + HOLD,
        provider_id="telegram-1",
    )


async def test_the_look_comes_with_the_codes_death_where_that_is_sooner(database, chatty, ask, clock):
    await ask(ttl=5, sent=False)
    clock.advance(2)
    await chatty.attempt()
    assert await due(database) == [START + 5]


@pytest.mark.parametrize("status", [status for status in VerificationStatus if status != "pending"])
async def test_every_end_makes_it_due_at_once(chatty, revisions, ask, clock, status):
    view = await ask()
    clock.advance(1)
    assert await revisions.claim("telegram", 20) == []
    await finished(chatty, view, status)
    [found] = await revisions.claim("telegram", 20)
    assert found.status == status


async def test_a_message_that_was_accepted_after_the_end_is_due_at_once(chatty, revisions, ask):
    view = await ask(sent=False)
    message, _ = await chatty.queue.begin(chatty.handed_over.pop())
    await chatty.checking.cancel("shop", view.id)
    assert await chatty.queue.accept(message, Receipt("71"), 1.0)
    [found] = await revisions.claim("telegram", 20)
    assert (found.status, found.provider_id) == ("canceled", "71")


async def test_a_newer_message_makes_the_older_one_due(chatty, revisions, ask, clock):
    view = await ask()
    clock.advance(30)
    await chatty.verifications.resend("shop", view.id, None)
    await chatty.attempt()
    first, second = (await chatty.look(view)).messages
    found = await revisions.claim("telegram", 20)
    assert [(item.message_id, item.newer) for item in found] == [(first.id, True)]
    clock.advance(LOOK_AFTER)
    found = await revisions.claim("telegram", 20)
    assert [(item.message_id, item.newer) for item in found] == [(second.id, False)]


async def test_a_newer_message_elsewhere_is_in_nobodys_way(chatty, revisions, clock):
    view = await chatty.start({"telegram": "user-1", "phone": PHONE}, channels=("telegram", "sms"))
    await chatty.attempt()
    clock.advance(30)
    await chatty.verifications.resend("shop", view.id, "sms")
    await chatty.attempt()
    [found] = await revisions.claim("telegram", 20)
    assert found.newer is False


async def test_an_older_message_that_arrives_after_the_newer_one_is_removed_at_the_look(chatty, revisions, ask, clock):
    view = await ask(sent=False)
    older, _ = await chatty.queue.begin(chatty.handed_over.pop())
    clock.advance(30)
    await chatty.verifications.resend("shop", view.id, None)
    await chatty.attempt()
    assert await chatty.queue.accept(older, Receipt("71"), 1.0)
    clock.advance(LOOK_AFTER)
    found = await revisions.claim("telegram", 20)
    assert [(item.message_id == older.id, item.newer) for item in found] == [(True, True), (False, False)]


async def test_a_message_whose_code_was_replaced_is_due_at_once(make_chatty, revisions, ask, clock):
    renewing = ServiceSettings(
        name="Shop", channels=("telegram",), code=CodeSettings(resend="new"), limits=LimitSettings(cooldown=30)
    )
    world = make_chatty(service=renewing)
    view = await ask(world, sent=False)
    older, _ = await world.queue.begin(world.handed_over.pop())
    clock.advance(30)
    await world.verifications.resend("shop", view.id, None)
    assert await world.queue.accept(older, Receipt("71"), 1.0)
    [found] = await revisions.claim("telegram", 20)
    assert (found.message_id, found.newer, found.status) == (older.id, True, "pending")


async def test_a_channel_that_cannot_revise_has_nothing_due(chatty, database):
    view = await chatty.start()
    await chatty.attempt()
    assert await due(database) == [None]
    await chatty.checking.cancel("shop", view.id)
    assert await due(database) == [None]


async def test_a_message_without_an_id_cannot_be_put_right(chatty, database, bot, ask):
    bot.script = [Receipt()]
    await ask()
    assert await due(database) == [None]


async def test_a_message_that_was_not_sent_has_nothing_due(chatty, database, ask):
    view = await ask(sent=False)
    await chatty.checking.cancel("shop", view.id)
    assert await due(database) == [None]


async def test_an_end_and_an_accept_at_once_leave_no_code_as_it_is(make_chatty, make_engine, revisions, ask, clock):
    """Neither sees the other's row where they cross on two nodes; the look does."""
    async with Database(make_engine()) as second:
        ending_node, sending_node = make_chatty(), make_chatty(second)
        for number in range(15):
            view = await ending_node.start({"telegram": f"user-{number}"}, channels=("telegram",))
            message, _ = await sending_node.queue.begin(ending_node.handed_over.pop())
            await asyncio.gather(
                sending_node.queue.accept(message, Receipt(f"{number}"), 1.0),
                ending_node.checking.cancel("shop", view.id),
            )
        clock.advance(LOOK_AFTER)
        found = await revisions.claim("telegram", 20)
    assert {item.status for item in found} == {"canceled"}
    assert len(found) == 15


async def test_an_end_takes_a_held_message_from_its_holder(chatty, revisions, ask, clock):
    view = await ask()
    clock.advance(LOOK_AFTER)
    [held] = await revisions.claim("telegram", 20)
    await chatty.checking.cancel("shop", view.id)
    assert await revisions.wait(held, held.expires_at, tried=False) is False
    [found] = await revisions.claim("telegram", 20)
    assert found.status == "canceled"


# -- who holds it


async def test_a_claim_takes_so_many_of_one_channel(revisions, chatty, clock):
    for number in range(3):
        await chatty.start({"telegram": f"user-{number}"}, channels=("telegram",))
        await chatty.attempt()
    clock.advance(LOOK_AFTER)
    assert await revisions.claim("sms", 20) == []
    assert len(await revisions.claim("telegram", 2)) == 2
    assert len(await revisions.claim("telegram", 2)) == 1
    assert await revisions.claim("telegram", 2) == []


async def test_two_nodes_take_disjoint_sets(make_engine, make_revisions, chatty, clock):
    """Held till the same moment, they are told apart by their ids."""
    for number in range(20):
        await chatty.start({"telegram": f"user-{number}"}, channels=("telegram",))
        await chatty.attempt()
    clock.advance(LOOK_AFTER)
    async with Database(make_engine()) as second:
        nodes = [make_revisions(), make_revisions(second)]
        found = await asyncio.gather(*(node.claim("telegram", 7) for node in nodes * 2))
    ids = [item.message_id for items in found for item in items]
    assert len(ids) == len(set(ids)) == 20


async def test_what_a_dead_node_held_is_taken_again_and_the_dead_node_is_fenced(revisions, ask, clock):
    await ask()
    clock.advance(LOOK_AFTER)
    [first] = await revisions.claim("telegram", 20)
    clock.advance(HOLD - 0.1)
    assert await revisions.claim("telegram", 20) == []
    clock.advance(0.1)
    [second] = await revisions.claim("telegram", 20)
    assert (first.revisions, second.revisions) == (1, 2)
    assert await revisions.settle(first, EventName.MESSAGE_EDITED) is False
    assert await revisions.wait(first, START) is False
    assert await revisions.settle(second, EventName.MESSAGE_EDITED) is True


async def test_what_is_settled_is_told_once_and_never_due_again(chatty, revisions, ask, clock):
    view = await ask()
    clock.advance(LOOK_AFTER)
    [held] = await revisions.claim("telegram", 20)
    assert await revisions.settle(held, EventName.MESSAGE_LEFT, Reason.BLOCKED) is True
    assert await revisions.settle(held, EventName.MESSAGE_LEFT, Reason.BLOCKED) is False
    *_, told = (await chatty.look(view)).events
    assert (told.name, told.details["reason"]) == ("message.left", "blocked")
    await chatty.checking.cancel("shop", view.id)
    clock.advance(SECONDS)
    assert await revisions.claim("telegram", 20) == []


async def test_what_waits_is_due_then_and_counts_as_a_try_only_if_it_was_one(revisions, ask, clock):
    await ask()
    clock.advance(LOOK_AFTER)
    [first] = await revisions.claim("telegram", 20)
    assert await revisions.wait(first, clock.now() + 10, tried=False)
    clock.advance(9.9)
    assert await revisions.claim("telegram", 20) == []
    clock.advance(0.1)
    [second] = await revisions.claim("telegram", 20)
    assert await revisions.wait(second, clock.now())
    [third] = await revisions.claim("telegram", 20)
    assert [item.revisions for item in (first, second, third)] == [1, 1, 2]


async def test_a_message_is_put_right_in_its_persons_language(database, chatty, revisions, ask, sealer, clock):
    view = await ask()
    owner = Owner(view.id, "shop", "verification")
    [record] = await database.fetch("SELECT route_sealed FROM verification")
    [stop] = open_route(sealer, owner, record["route_sealed"])
    blob = seal_route(sealer, owner, [replace(stop, locale="de")])
    change = "UPDATE verification SET route_sealed = :blob"
    await database.run(lambda connection: connection.fetch(change, blob=blob))
    clock.advance(LOOK_AFTER)
    [found] = await revisions.claim("telegram", 20)
    assert found.locale == "de"


async def test_a_message_whose_addresses_were_erased_is_left_as_it_is(database, chatty, revisions, ask, clock, caplog):
    view = await ask()
    await database.run(lambda connection: connection.fetch("UPDATE verification SET route_sealed = NULL"))
    clock.advance(LOOK_AFTER)
    assert await revisions.claim("telegram", 20) == []
    assert await due(database) == [None]
    assert (await chatty.events(view))[-1] == "message.left"
    assert "a message cannot be put right" in caplog.text


async def test_a_message_whose_key_has_left_the_ring_holds_up_no_other(chatty, make_revisions, database, ask, clock):
    view = await ask()
    clock.advance(LOOK_AFTER)
    stranger = make_revisions(sealer=Sealer([SealingKey("k9", bytes(32))]))
    assert await stranger.claim("telegram", 20) == []
    assert (await chatty.events(view))[-1] == "message.left"
    assert await due(database) == [None]

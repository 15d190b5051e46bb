"""*Not me*: whoever got a code may end it, once, and nobody else; on both engines."""

from __future__ import annotations

import asyncio

import pytest

from gateway.delivery.person import Reach, Reported
from gateway.errors import AlreadyApproved, Gone, Problem
from gateway.storage.sealing import Sealer
from gateway.verification.reporting import Reporting
from tests.world import EMAIL, Scripted, Talker, World

CHAT = "4242"


async def linked(*_: object) -> Reach:
    return Reach(CHAT)


@pytest.fixture
def world(database, clock, sealer, hasher) -> World:
    channels = {"bot": Talker("bot", ["telegram"]), "email": Scripted("email", ["email"])}
    return World(database, clock, sealer, hasher, channels, resolve=linked)


@pytest.fixture
async def sent(world):
    view = await world.start({"telegram": "user-42", "email": EMAIL}, channels=["bot", "email"])
    await world.attempt()
    return view


def pressed(world, verification_id, chat=CHAT):
    async def work(connection):
        return await world.reporting.report(connection, verification_id, chat, world.clock.now())

    return world.database.run(work)


async def test_who_did_not_ask_for_a_code_ends_it(world, sent):
    assert await pressed(world, sent.id) == Reported("shop", canceled=True)
    assert (await world.events(sent))[-2:] == ["verification.reported", "verification.canceled"]
    with pytest.raises(Gone) as caught:
        await world.checking.check("shop", sent.id, world.code)
    assert caught.value.code == "canceled"


async def test_the_report_tells_by_which_chat_masked(world, sent):
    await pressed(world, sent.id)
    [told] = [event for event in (await world.look(sent)).events if event.name == "verification.reported"]
    assert told.details == {"channel": "bot", "recipient": "u•••2"}


@pytest.mark.parametrize("chat", ["4243", "424", "", EMAIL.upper(), "\u0664242"])
async def test_a_chat_that_did_not_get_it_ends_nothing(world, sent, chat):
    assert await pressed(world, sent.id, chat) is None
    assert (await world.look(sent)).status == "pending"
    assert "verification.reported" not in await world.events(sent)


@pytest.mark.parametrize("given", ["ver_none", f"ver_{'0' * 36}", "", "ver_\0", "\ud800"])
async def test_a_verification_that_is_not_there_cannot_be_reported(world, given):
    assert await pressed(world, given) is None


async def test_a_used_code_is_reported_once_and_stays_used(world, sent):
    await world.checking.check("shop", sent.id, world.code)
    for _ in range(2):
        assert await pressed(world, sent.id) == Reported("shop", canceled=False)
    assert (await world.look(sent)).status == "approved"
    assert (await world.events(sent)).count("verification.reported") == 1


async def test_an_expired_code_stays_expired(world, sent, clock):
    clock.advance(300)
    assert await pressed(world, sent.id) == Reported("shop", canceled=False)
    assert (await world.look(sent)).status == "expired"


async def test_of_presses_at_once_one_is_written_down(world, sent):
    answers = await asyncio.gather(*(pressed(world, sent.id) for _ in range(8)))
    assert [answer.canceled for answer in answers] == [True] * 8
    events = await world.events(sent)
    assert (events.count("verification.reported"), events.count("verification.canceled")) == (1, 1)


async def checked(world: World, verification_id: str, code: str) -> str | None:
    """Check a code and return why it was refused."""
    try:
        await world.checking.check("shop", verification_id, code)
    except Problem as problem:
        return problem.code
    return None


async def test_a_press_and_a_check_at_once_agree(world, sent, make_engine, clock, sealer, hasher):
    from gateway.storage.database import Database

    async with Database(make_engine()) as database:
        other = World(database, clock, sealer, hasher, world.channels, node="node-b")
        checking = asyncio.create_task(checked(other, sent.id, world.code))
        answer = await pressed(world, sent.id)
        told = await checking
    status = (await world.look(sent)).status
    if answer.canceled:
        assert (status, told) == ("canceled", "canceled")
    else:
        assert (status, told) == ("approved", None)
    with pytest.raises((Gone, AlreadyApproved)):
        await world.checking.check("shop", sent.id, world.code)


async def test_what_cannot_be_opened_cannot_be_reported_and_is_logged(world, sent, database, caplog):
    from gateway.config import SealingKey

    stranger = Reporting(Sealer((SealingKey("k2", b"2" * 32),)), world.queue)
    answer = await database.run(lambda connection: stranger.report(connection, sent.id, CHAT, world.clock.now()))
    assert answer is None
    [record] = [record for record in caplog.records if record.name == "gateway.verification.reporting"]
    assert (record.levelname, record.verification_id) == ("ERROR", sent.id)
    assert CHAT not in caplog.text


async def test_who_was_erased_cannot_report(world, sent, database):
    erase = "UPDATE verification SET route_sealed = NULL WHERE id = :id RETURNING id"
    await database.run(lambda connection: connection.fetch(erase, id=sent.id))
    assert await pressed(world, sent.id) is None

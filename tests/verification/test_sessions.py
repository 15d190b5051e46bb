"""Sessions: what is bound to one ends with it, and nothing else does."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gateway.config import LimitSettings, ServiceSettings
from gateway.errors import AlreadyApproved, Gone
from gateway.verification.sessions import Sessions
from tests.world import Talker, World, two_channels


@pytest.fixture
def world(database, clock, sealer, hasher) -> World:
    service = ServiceSettings(channels=("sms", "email"), limits=LimitSettings(cooldown=0, prefix_per_hour=0))
    return World(database, clock, sealer, hasher, two_channels(), service=service)


def to(number: int) -> dict[str, str]:
    return {"phone": f"+49151123456{number:02d}"}


async def test_what_is_bound_to_a_session_ends_with_it(world):
    bound = [await world.start(to(number), bind={"session": "s-91"}) for number in range(3)]
    others = [await world.start(to(10), bind={"session": "s-92"}), await world.start(to(11), bind={"amount": "s-91"})]
    assert await world.sessions.end("shop", "s-91") == 3
    assert [(await world.look(view)).status for view in bound] == ["canceled"] * 3
    assert [(await world.look(view)).status for view in others] == ["pending"] * 2
    assert await world.sessions.end("shop", "s-91") == 0


async def test_nothing_is_sent_afterwards_and_no_code_of_it_works(world):
    view = await world.start(bind={"session": "s-91"})
    code = world.handed_over[-1].code
    await world.sessions.end("shop", "s-91")
    await world.attempt()
    assert world.channels["sms"].sent == []
    with pytest.raises(Gone) as caught:
        await world.checking.check("shop", view.id, code, {"session": "s-91"})
    assert caught.value.code == "canceled"


async def test_the_timeline_says_why(world):
    view = await world.start(bind={"session": "s-91"})
    await world.sessions.end("shop", "s-91")
    [event] = [item for item in (await world.look(view)).events if item.name == "verification.canceled"]
    assert event.details == {"reason": "session"}


async def test_a_session_of_another_service_is_another_session(world):
    view = await world.start(bind={"session": "s-91"})
    assert await world.sessions.end("bank", "s-91") == 0
    assert (await world.look(view)).status == "pending"


async def test_what_is_over_stays_as_it_ended(world, clock):
    used = await world.start(to(1), bind={"session": "s-91"})
    await world.attempt()
    await world.checking.check("shop", used.id, world.code, {"session": "s-91"})
    await world.start(to(2), bind={"session": "s-91"})
    clock.advance(300)
    assert await world.sessions.end("shop", "s-91") == 0
    assert (await world.look(used)).status == "approved"


async def test_a_reverse_verification_ends_with_its_session_too(database, clock, sealer, hasher):
    channels = {"bot": Talker("bot", ["phone"])}
    service = ServiceSettings(channels=("bot",), limits=LimitSettings(cooldown=0, prefix_per_hour=0))
    world = World(database, clock, sealer, hasher, channels, service=service)
    view = await world.start(mode="inbound", bind={"session": "s-91", "amount": "12.00 EUR"})
    assert await world.sessions.end("shop", "s-91") == 1
    assert (await world.look(view)).status == "canceled"


async def test_many_end_in_small_bites(world, database, clock, hasher):
    for number in range(5):
        await world.start(to(number), bind={"session": "s-91"})
    sessions = Sessions(database, world.queue, hasher, clock, bite=2)
    assert await sessions.end("shop", "s-91") == 5


async def test_a_check_at_the_same_moment_is_approved_or_canceled_never_both(world):
    view = await world.start(bind={"session": "s-91"})
    await world.attempt()
    check = world.checking.check("shop", view.id, world.code, {"session": "s-91"})
    outcomes: tuple[Any, Any] = await asyncio.gather(check, world.sessions.end("shop", "s-91"), return_exceptions=True)
    checked, ended = outcomes
    status = (await world.look(view)).status
    if isinstance(checked, str):
        assert (status, ended) == ("approved", 0)
    else:
        assert (status, ended, checked.code) == ("canceled", 1, "canceled")
    with pytest.raises((AlreadyApproved, Gone)):
        await world.checking.check("shop", view.id, world.code, {"session": "s-91"})

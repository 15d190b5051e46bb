"""What wrong codes have locked somebody out by is lifted, told, and nothing else is."""

from __future__ import annotations

from typing import Any

import pytest

from channels.kinds import KINDS
from gateway.config import LimitSettings, ServiceSettings
from gateway.config.services import LockoutSettings
from gateway.errors import RateLimited, WrongCode
from gateway.events.event import Event
from gateway.storage import models
from gateway.verification.limits.unlocking import Guesses, Lifted, unlock
from tests.conftest import START
from tests.rows import put, row
from tests.world import EMAIL, PHONE, World, two_channels

ADDRESS = KINDS["phone"](PHONE)
LOCKOUT = LockoutSettings.model_validate({"after": 3, "for": 600})


@pytest.fixture
def world(database, clock, sealer, hasher) -> World:
    limits = LimitSettings(cooldown=0, lockout=LOCKOUT)
    service = ServiceSettings(name="Shop", channels=("sms", "email"), limits=limits)
    return World(database, clock, sealer, hasher, two_channels(), service=service)


async def guess_wrong(world: World, times: int) -> None:
    view = await world.start()
    await world.attempt()
    for _ in range(times):
        with pytest.raises(WrongCode):
            await world.checking.check("shop", view.id, f"{(int(world.code) + 1) % 1_000_000:06}")


async def lift(world: World, service: str = "") -> Lifted:
    return await unlock(world.database, world.hasher, ADDRESS, service, world.clock.now())


async def test_who_is_locked_out_may_ask_again_at_once(world, clock):
    await guess_wrong(world, 3)
    with pytest.raises(RateLimited):
        await world.start()
    found = await lift(world)
    assert found == Lifted(
        ADDRESS.masked,
        wrong=3,
        guesses=[Guesses("shop", "verification", "", 3, 3, START + 600)],
        block_sends=1,
        block_approved=0,
    )
    assert (await world.start()).status == "pending"


async def test_it_is_an_event_with_a_masked_address(world, committed):
    await guess_wrong(world, 1)
    await lift(world, "shop")
    [told] = [note for note in committed if isinstance(note, Event) and note.name == "recipient.unlocked"]
    assert (told.service, told.recipient, told.verification_id) == ("shop", ADDRESS.masked, None)


async def test_where_there_is_nothing_nothing_is_told(world, committed):
    found = await lift(world)
    assert (found.recipient, found.wrong, list(found.guesses), found.anything) == (ADDRESS.masked, 0, [], False)
    assert committed == []


async def test_it_lifts_nothing_of_others(world, database):
    await guess_wrong(world, 1)
    other = KINDS["email"](EMAIL)
    assert not (await unlock(database, world.hasher, other, "", START)).anything
    assert (await lift(world)).wrong == 1


async def test_of_one_service_it_leaves_the_guesses_of_the_others(world, database, hasher):
    await guess_wrong(world, 1)
    known = {"hash": hasher.hash("phone", PHONE), "purpose": "login", "hour_until": START - 1, "day": 2}
    trusted = {"context": "ip:203.0.113.9", "day_until": START + 9, "locked_until": START - 9}
    await put(database, models.Guess, row(models.Guess, service="desk", **known, **trusted))
    assert [item.service for item in (await lift(world, "shop")).guesses] == ["shop"]
    assert (await lift(world)).guesses == [Guesses("desk", "login", "ip:203.0.113.9", 0, 2, None)]


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        ({"until": START + 9, "rests_until": START + 99}, (25, 1, START + 99)),
        ({"until": START - 9, "rests_until": START + 99}, (0, 0, START + 99)),
        ({"until": START + 9, "rests_until": START - 9}, (25, 1, None)),
        ({"until": START + 9}, (25, 1, None)),
        ({"until": START - 9, "rests_until": START - 9}, (0, 0, None)),
    ],
)
async def test_a_block_of_numbers_rests_no_more_and_begins_anew(
    world, database, hasher, known: dict[str, Any], expected
):
    block = hasher.hash("block", str(ADDRESS.block))
    await put(database, models.Block, row(models.Block, hash=block, sends=25, approved=1, **known))
    found = await lift(world)
    assert (found.block_sends, found.block_approved, found.rests_until) == expected
    assert found.anything == (expected != (0, 0, None))
    assert not (await lift(world)).anything


async def test_what_was_sent_counts_on(world):
    for _ in range(5):
        view = await world.start()
        await world.attempt()
        await world.checking.cancel("shop", view.id)
    await lift(world)
    with pytest.raises(RateLimited) as caught:
        await world.start()
    assert caught.value.extra["limit"] == "sends_per_10m"


def test_what_was_lifted_hides_where_it_came_from():
    assert "203.0.113.9" not in repr(Guesses("shop", "login", "ip:203.0.113.9", 1, 1, None))

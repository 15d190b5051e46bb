"""Attempts to guess more often at the moment in which a verification ends, and by clocks that differ."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from gateway.config import CodeSettings
from gateway.errors import Gone, RateLimited, WrongCode
from gateway.storage.database import Database
from gateway.verification.request import Asked
from tests.conftest import HandClock
from tests.verification.limits.test_limits import guess, sent, wrong
from tests.world import PHONE, World

OFF = dict.fromkeys(("sends_per_10m", "sends_per_hour", "sends_per_day"), 0)


async def compared(world: World, view: Any, code: str, times: int) -> int:
    """Return how many of so many guesses at once were compared."""
    checks = (world.checking.check("shop", view.id, wrong(code)) for _ in range(times))
    return sum(isinstance(item, WrongCode) for item in await asyncio.gather(*checks, return_exceptions=True))


async def test_checks_that_wait_beside_a_create_are_not_both_compared_and_given_away(make_world, clock):
    world = make_world(guesses_per_hour=5, **OFF)
    view = await sent(world)
    code = world.code
    clock.advance(view.expires_at - clock.now() + 0.001)
    prepared = await world.verifications.prepare("shop", Asked(to={"phone": PHONE}))
    # Asked for a moment before that, and written with it.
    clock.advance(-0.002)
    checks = asyncio.create_task(compared(world, view, code, 5))
    create = asyncio.create_task(world.verifications.start(prepared))
    made = await checks
    clock.advance(0.002)
    with suppress(RateLimited):
        fresh = await create
        await world.attempt()
        await guess(world, fresh, fresh.checks_left)
        made += fresh.checks_left
    assert made == 5


async def test_a_check_that_waited_for_the_database_is_of_the_time_at_which_it_is_made(make_world, clock):
    world = make_world(guesses_per_hour=5, **OFF)
    view = await sent(world)
    await guess(world, view, 1)
    clock.advance(view.expires_at - clock.now() - 0.001)
    before = world.database.run(lambda _: _later(clock, 3.0))
    check = world.checking.check("shop", view.id, wrong(world.code))
    assert isinstance((await asyncio.gather(before, check, return_exceptions=True))[1], Gone)


async def _later(clock: HandClock, seconds: float) -> None:
    clock.advance(seconds)


async def test_a_node_whose_clock_is_behind_compares_nothing_that_another_gave_away(make_engine, make_world, clock):
    lockout: dict[str, Any] = {"lockout": (3, 600), "code": CodeSettings(max_checks=3), **OFF}
    async with Database(make_engine()) as one, Database(make_engine()) as other:
        node, behind = make_world(on=one, **lockout), make_world(on=other, **lockout)
        late = HandClock(clock.now() - 1.0)
        behind.checking._clock = late
        view = await sent(node)
        code = node.code
        clock.advance(view.expires_at - clock.now() + 0.2)
        late.advance(view.expires_at - late.now() - 0.8)
        fresh = await sent(node)
        made = await compared(behind, view, code, 3) + await compared(node, fresh, node.code, 3)
        assert made == 3


async def test_without_a_cooldown_a_node_whose_clock_is_behind_resends(make_world, clock):
    """With an end of the very moment, it would be refused until its clock is past the one that made the verification."""
    world = make_world(cooldown=0, **OFF)
    view = await sent(world)
    clock.advance(-0.01)
    for _ in range(2):
        await world.verifications.resend("shop", view.id, None)
    found = await world.database.fetch("SELECT status FROM message ORDER BY status")
    assert [item["status"] for item in found] == ["canceled", "queued", "sent"]

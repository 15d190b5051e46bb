"""Attempts of who has the key of a service that brings its own codes: to know a code is not to have read it."""

from __future__ import annotations

import pytest

from gateway.config import CodeSettings
from gateway.errors import RateLimited
from gateway.verification.limits.windows import DAY, MOST_WRONG
from tests.verification.limits.test_limits import guess, sent

UNBOUND = {"sends_per_10m": 0, "sends_per_hour": 0, "sends_per_day": 0, "cooldown": 0}
FREE = {**UNBOUND, "guesses_per_hour": 0, "guesses_per_day": 0, "prefix_per_hour": 0}
OWN = CodeSettings(custom=True)


async def test_numbers_of_a_block_are_not_approved_by_codes_that_their_service_brought(make_world):
    world = make_world(code=OWN, prefix_per_hour=5)
    for number in range(5):
        view = await sent(world, {"phone": f"+4915112345{600 + number}"}, value=f"{100_000 + number}")
        await world.checking.check("shop", view.id, f"{100_000 + number}")
    with pytest.raises(RateLimited, match="prefix_per_hour"):
        await sent(world, {"phone": "+4915112345620"}, value="100020")


async def test_a_code_that_another_service_brought_forgives_no_wrong_codes_in_a_row(make_world, clock):
    shop, bank = make_world(**FREE), make_world("bank", code=OWN, **FREE)
    for _ in range(MOST_WRONG // 5):
        await guess(shop, await sent(shop), 5)
    clock.advance(DAY)
    view = await sent(bank, value="271828")
    await bank.checking.check("bank", view.id, "271828")
    # That was the one of the day.
    with pytest.raises(RateLimited, match="in a row"):
        await sent(shop)


async def test_a_code_that_was_made_here_is_read_even_where_its_service_may_bring_its_own(make_world):
    world = make_world(code=CodeSettings(custom=True, resend="new"), **{**FREE, "prefix_per_hour": 2})
    made = await sent(world)
    await world.checking.check("shop", made.id, world.code)
    brought = await sent(world, value="271828")
    await world.verifications.resend("shop", brought.id, None)
    await world.attempt()
    await world.checking.check("shop", brought.id, world.code)
    assert await sent(world)

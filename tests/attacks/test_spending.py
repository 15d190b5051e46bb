"""Attempts to spend more than a service may in a day."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest

from gateway.config import LimitSettings, ServiceSettings
from gateway.errors import Cooldown, RateLimited
from gateway.verification.limits.allowances import Allowances
from gateway.verification.limits.prices import Prices
from gateway.verification.limits.tallies import Tallies
from gateway.verification.request import Asked
from tests.world import PHONE, Scripted, World

PEOPLE = [f"+49151123456{number:02d}" for number in range(10, 30)]


@pytest.fixture
def engine_name() -> str:
    """What is about to be spent is in memory."""
    return "sqlite"


@pytest.fixture
def world(database, clock, sealer, hasher) -> World:
    """A gateway whose service may spend what five SMS cost."""
    settings = ServiceSettings(name="Shop", channels=("sms",), limits=LimitSettings(spend_per_day=0.5))
    channels = {"sms": Scripted("sms", ["phone"], prices={"DE": 0.1})}
    tallies = Tallies(database, "a", channels, alone=True)
    allowances = Allowances({"shop": settings}, clock, tallies, Prices(channels).of)
    return World(database, clock, sealer, hasher, channels, service=settings, allowances=allowances)


async def prepared(world: World, people: list[str]) -> list[Any]:
    """Prepare all before any is written, as a batch does; leave out what is refused."""
    found = []
    for person in people:
        with suppress(RateLimited):
            found.append(await world.verifications.prepare("shop", Asked(to={"phone": person})))
    return found


async def test_of_many_that_are_prepared_at_once_no_more_pass_than_there_is_money_for(world):
    assert len(await prepared(world, PEOPLE)) == 5


async def test_what_is_refused_or_dropped_gives_its_money_back(world):
    await world.start({"phone": PHONE})
    for _ in range(3):
        for item in await prepared(world, [PHONE] * 4):
            with pytest.raises(Cooldown):
                await world.verifications.start(item)
    for item in await prepared(world, PEOPLE[:4]):
        world.verifications.dropped(item)
    assert len(await prepared(world, PEOPLE)) == 4

"""Attempts to guess more often than the limits say."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from channels.base import Reason
from gateway.errors import RateLimited
from gateway.storage.database import Database
from tests.verification.limits.test_limits import approve, guess, sent
from tests.world import EMAIL, PHONE, World, refused

#: An attacker's own number, and the person whose codes they are after.
MINE, THEIRS = {"phone": PHONE}, {"email": EMAIL}
BOTH = {**MINE, **THEIRS}


async def tries(world: World, clock: Any, number: int, **asked: Any) -> int:
    """Guess at whom a route turns to after the attacker's own number, as often as the limits let them; how often."""
    made = 0
    for _ in range(number):
        world.channels["sms"].script = [refused(Reason.BLOCKED)]
        view = await sent(world, BOTH, **asked)
        if world.handed_over:
            await world.attempt()
            left = (await world.look(view)).checks_left
            await guess(world, view, left)
            made += left
        clock.advance(31)
    return made


async def test_a_context_that_one_address_trusts_has_no_budget_of_guesses_at_another(make_world, clock):
    world = make_world(sends_per_10m=0, sends_per_hour=0, sends_per_day=0, guesses_per_hour=10)
    for device in ("a", "b", "c"):
        await approve(world, await sent(world, MINE, client_reference=device))
        clock.advance(31)
    made = 0
    for device in ("a", "b", "c"):
        made += await tries(world, clock, 2, client_reference=device)
    assert made == 10


async def test_an_approval_of_a_code_that_two_addresses_had_forgives_and_trusts_neither(make_world, database, clock):
    world = make_world(cooldown=1)
    await guess(world, await sent(world, THEIRS), 5)
    clock.advance(5)
    view = await sent(world, BOTH, client_reference="mine")
    clock.advance(5)
    await world.verifications.resend("shop", view.id, "email")
    await world.attempt()
    await approve(world, view)
    email = world.hasher.hash("email", EMAIL)
    assert [row["hour"] for row in await database.fetch("SELECT hour FROM guess WHERE hash = :h", h=email)] == [5]
    assert await database.fetch("SELECT * FROM trusted WHERE hash = :h", h=email) == []


async def test_a_hundred_wrong_codes_in_a_row_stop_a_route_that_turns_to_that_person(make_world, database, clock):
    world = make_world()
    await sent(world, THEIRS)
    await database.run(lambda connection: connection.fetch("UPDATE recipient SET wrong = 100 RETURNING hash"))
    clock.advance(31)
    assert await tries(world, clock, 1) == 0


async def test_nor_has_it_where_the_code_is_sent_again_by_another_channel(make_world, clock, database):
    world = make_world(sends_per_10m=0, guesses_per_hour=5, cooldown=1)
    await approve(world, await sent(world, MINE, client_reference="mine"))
    view = await sent(world, BOTH, client_reference="mine")
    clock.advance(5)
    await world.verifications.resend("shop", view.id, "email")
    clock.advance(5)
    await guess(world, view, 5)
    assert [item["context"] for item in await database.fetch("SELECT DISTINCT context FROM guess")] == [""]
    with pytest.raises(RateLimited):
        await world.start(THEIRS)


async def test_a_context_that_both_addresses_trust_keeps_its_budget_on_the_way(make_world, clock, database):
    world = make_world(cooldown=1)
    for address in (MINE, THEIRS):
        await approve(world, await sent(world, address, client_reference="mine"))
    view = await sent(world, BOTH, client_reference="mine")
    clock.advance(5)
    await world.verifications.resend("shop", view.id, "email")
    await guess(world, view, 1)
    contexts = [item["context"] for item in await database.fetch("SELECT context FROM guess")]
    assert contexts == ["reference:mine"] * 2


async def test_a_lock_out_stops_a_route_that_turns_to_that_person(make_world, clock):
    world = make_world(lockout=(3, 600))
    await guess(world, await sent(world, THEIRS), 3)
    clock.advance(31)
    assert await tries(world, clock, 1) == 0


async def test_parallel_requests_get_no_more_tries_than_are_left_before_a_lock_out(make_engine, make_world):
    off = dict.fromkeys(("cooldown", "sends_per_10m", "sends_per_hour", "guesses_per_hour", "guesses_per_day"), 0)
    async with Database(make_engine()) as one, Database(make_engine()) as other:
        nodes = [make_world(on=database, lockout=(3, 600), **off) for database in (one, other)]
        found = await asyncio.gather(*(nodes[n % 2].start(THEIRS) for n in range(12)), return_exceptions=True)
    assert [view.checks_left for view in found if not isinstance(view, BaseException)] == [3]
    assert {type(item) for item in found if isinstance(item, BaseException)} == {RateLimited}


async def test_a_route_that_turns_to_another_brings_no_more_tries_than_are_left_before_a_lock_out(make_world, clock):
    world = make_world(lockout=(3, 600))
    await guess(world, await sent(world, THEIRS), 2)
    clock.advance(301)
    assert await tries(world, clock, 1) <= 1

"""Attempts to make cheap requests cost much."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from gateway.errors import Problem
from gateway.storage.database import Database
from gateway.storage.unit import Connection
from gateway.verification.request import Asked
from tests.world import World


async def written(world: World, people: Sequence[str]) -> list[str]:
    """Write what a batch under a key does, in one transaction; return an id or a refusal's code for each."""
    prepared = [await world.verifications.prepare("shop", Asked(to={"email": person})) for person in people]

    async def work(connection: Connection) -> list[str]:
        found = []
        await world.verifications.hold_within(connection, prepared)
        for item in prepared:
            try:
                found.append((await world.verifications.start_within(connection, item)).view.id[:3])
            except Problem as problem:
                found.append(problem.code)
        return found

    return await world.database.run(work)


async def test_batches_that_name_the_same_people_in_opposite_orders_hold_nobody_up(make_engine, make_world):
    people = [f"u{number}@example.org" for number in range(12)]
    async with Database(make_engine()) as one, Database(make_engine()) as other:
        nodes = make_world(on=one), make_world(on=other)
        found = await asyncio.gather(written(nodes[0], people), written(nodes[1], people[::-1]))
    # Locked crosswise, one of them would have failed after seconds in which its node writes nothing else.
    assert sorted(found) == [["cooldown"] * 12, ["ver"] * 12]

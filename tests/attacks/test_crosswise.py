"""Attempts to have nodes wait for each other: PostgreSQL finds a deadlock after a second, in which nobody writes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

import pytest

from gateway.config import CodeSettings
from gateway.errors import AlreadyApproved, Gone, RateLimited
from gateway.storage.database import Database
from gateway.storage.unit import Connection
from gateway.verification.request import Asked
from tests.verification.limits.test_limits import sent
from tests.world import World

#: As many sends as are wanted.
UNBOUND = {"cooldown": 0, "sends_per_10m": 0, "sends_per_hour": 0, "sends_per_day": 0, "prefix_per_hour": 0}

Nodes = tuple[World, World]
#: Makes two nodes on one database.
Make = Callable[..., Nodes]


@pytest.fixture
async def make_nodes(make_engine, make_world) -> AsyncIterator[Make]:
    async with Database(make_engine()) as one, Database(make_engine()) as other:

        def make(**limits: Any) -> Nodes:
            return make_world(on=one, **limits), make_world(on=other, **limits)

        yield make


async def deadlocks(nodes: Nodes) -> int:
    """Return how many the server found; 0 of one that has none."""

    async def told(connection: Connection) -> None:
        await connection.fetch("SELECT pg_stat_force_next_flush()")

    if "sqlite" in type(nodes[0].database._engine).__module__:
        return 0
    for node in nodes:
        await node.database.run(told)
    found = await nodes[0].database.fetch("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
    return int(found[0]["deadlocks"])


def asked(person: str, visitor: int) -> Mapping[str, Any]:
    return {
        "to": {"email": f"{person}@example.org"},
        "channels": ["email"],
        "client_ip": f"2001:db8::{visitor:x}:0:0:0:1",
    }


async def test_creates_of_the_same_visitors_on_two_nodes_never_lock_each_other_out(make_nodes):
    nodes = make_nodes()
    before = await deadlocks(nodes)

    async def start(node: World, person: str, visitor: int) -> None:
        await node.verifications.start(await node.verifications.prepare("shop", Asked(**asked(person, visitor))))

    for turn in range(4):
        # On one node in this order, on the other in that.
        mine = [start(nodes[0], f"a{turn}.{n}", 8 * turn + n) for n in range(8)]
        theirs = [start(nodes[1], f"b{turn}.{n}", 8 * turn + n) for n in reversed(range(8))]
        assert await asyncio.gather(*mine, *theirs) == [None] * 16
    assert await deadlocks(nodes) == before


async def test_batches_under_a_key_for_the_same_visitors_on_two_nodes_never_lock_each_other_out(make_nodes):
    nodes = make_nodes()
    before = await deadlocks(nodes)

    async def batch(node: World, name: str, visitors: list[int]) -> int:
        wanted = [Asked(**asked(f"{name}{visitor}", visitor)) for visitor in visitors]
        prepared = [await node.verifications.prepare("shop", item) for item in wanted]

        async def work(connection: Connection) -> int:
            await node.verifications.hold_within(connection, prepared)
            return len([await node.verifications.start_within(connection, item) for item in prepared])

        return await node.database.run(work)

    for turn in range(3):
        visitors = list(range(8 * turn, 8 * turn + 8))
        both = (batch(nodes[0], f"a{turn}.", visitors), batch(nodes[1], f"b{turn}.", visitors[::-1]))
        assert list(await asyncio.gather(*both)) == [8, 8]
    assert await deadlocks(nodes) == before


async def test_nobody_is_told_canceled_of_what_was_approved_on_another_node(make_nodes, clock):
    one, other = make_nodes(**UNBOUND)
    for turns in range(8):
        view = await sent(one)

        async def later(verification_id: str = view.id, turns: int = turns) -> None:
            for _ in range(turns):
                await asyncio.sleep(0)
            await other.checking.cancel("shop", verification_id)

        acts: list[Awaitable[Any]] = [one.checking.check("shop", view.id, one.code), later()]
        checked, canceled = await asyncio.gather(*acts, return_exceptions=True)
        if (await one.look(view)).status == "approved":
            assert (type(checked), type(canceled)) == (str, AlreadyApproved)
        else:
            assert (type(checked), canceled) == (Gone, None)
        clock.advance(1)


#: Any number of sends, guesses and checks that are held back.
UNGUARDED = {**UNBOUND, "guesses_per_hour": 0, "guesses_per_day": 0}


async def later(node: World, to: Mapping[str, str], turns: int) -> None:
    """Start a verification some turns of the loop from now."""
    for _ in range(turns):
        await asyncio.sleep(0)
    await node.start(to, channels=["email"])


@pytest.mark.parametrize("people", [4, 32])
async def test_right_codes_beside_creates_for_the_same_people_never_lock_each_other_out(make_nodes, clock, people):
    nodes = one, other = make_nodes(**{**UNGUARDED, "cooldown": 1})
    before = await deadlocks(nodes)
    for turn in range(8):
        codes = {}
        for person in range(people):
            view = await sent(one, {"email": f"p{turn}.{person}@example.org"}, channels=["email"])
            codes[view.id] = one.code
        # A wrong one is forgiven with the right one: a row more.
        await asyncio.gather(*(one.checking.check("shop", each, "99999999") for each in codes), return_exceptions=True)
        clock.advance(2)
        acts: list[Awaitable[Any]] = [one.checking.check("shop", each, code) for each, code in codes.items()]
        acts += [
            other.start({"email": f"p{turn}.{n}@example.org"}, channels=["email"]) for n in reversed(range(people))
        ]
        outcomes = await asyncio.gather(*acts)
        assert all(isinstance(proof, str) for proof in outcomes[:people])
    assert await deadlocks(nodes) == before


@pytest.mark.parametrize("limits", [{}, {"lockout": (3, 600)}])
async def test_a_right_code_beside_a_resend_or_a_create_never_lock_each_other_out(make_nodes, clock, limits):
    nodes = one, other = make_nodes(**UNGUARDED, **limits)
    before = await deadlocks(nodes)
    for turn in range(12):
        to = {"email": f"p{turn}@example.org"}
        view = await sent(one, to, channels=["email"])
        clock.advance(1)

        async def again(turn: int = turn, to: Any = to, verification_id: str = view.id) -> None:
            for _ in range(turn % 6):
                await asyncio.sleep(0)
            if turn % 2:
                await other.start(to, channels=["email"])
            else:
                await other.verifications.resend("shop", verification_id, None)

        acts: list[Awaitable[Any]] = [one.checking.check("shop", view.id, one.code), again()]
        checked, repeated = await asyncio.gather(*acts, return_exceptions=True)
        assert isinstance(checked, str)
        assert repeated is None or isinstance(repeated, AlreadyApproved)
        one.handed_over.clear()
        other.handed_over.clear()
        clock.advance(1)
    assert await deadlocks(nodes) == before


async def test_wrong_codes_that_share_a_batch_with_a_create_count_for_it(make_world, database, clock):
    most = 4
    world = make_world(**{**UNBOUND, "cooldown": 1}, guesses_per_hour=20, code=CodeSettings(max_checks=most))
    views = []
    with suppress(RateLimited):
        while True:
            views.append(await sent(world))
            clock.advance(2)
    assert len(views) == 5

    async def keeps_the_writer(connection: Connection) -> None:
        # What is asked meanwhile comes in one batch.
        for _ in range(100):
            await connection.fetch("SELECT 1 AS number")

    for _ in range(most):
        kept = asyncio.create_task(database.run(keeps_the_writer))
        await asyncio.sleep(0)
        guesses: list[Awaitable[Any]] = [world.checking.check("shop", view.id, "99999999") for view in views]
        *_, one_more = await asyncio.gather(*guesses, world.start(), return_exceptions=True)
        await kept
        clock.advance(2)
        if not isinstance(one_more, BaseException):
            await world.attempt()
            views.append(one_more)
    [counted] = await database.fetch("SELECT hour FROM guess")
    assert counted["hour"] <= 20

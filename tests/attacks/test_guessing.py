"""Attempts to guess more often than the limits say."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from typing import Any

import pytest

from channels.base import Reason
from gateway.config import CodeSettings
from gateway.errors import Problem, RateLimited, WrongCode
from gateway.storage.database import Database
from gateway.storage.unit import Connection
from gateway.verification.limits.windows import DAY
from gateway.verification.request import Asked
from tests.verification.limits.test_limits import approve, guess, sent
from tests.world import EMAIL, PHONE, World, refused

#: By recipient: what was wrong in a row from anywhere, and what may be.
_WRONG_OR_HELD = """SELECT held.hash, CAST(held.checks AS bigint) AS held,
        COALESCE((SELECT g.streak FROM guess g WHERE g.hash = held.hash AND g.context = ''), 0) AS wrong
    FROM (SELECT m.recipient_hash AS hash, SUM(v.max_checks - v.checks) AS checks FROM verification v
        JOIN (SELECT DISTINCT verification_id, recipient_hash FROM message) m ON m.verification_id = v.id
        WHERE v.status = 'pending' AND v.context IS NULL GROUP BY m.recipient_hash) held"""

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
    assert {item["context"] for item in await database.fetch("SELECT context FROM guess")} == {"", "reference:mine"}
    with pytest.raises(RateLimited):
        await world.start(THEIRS)


async def guessed_for_an_hour(world: World, clock: Any, **asked: Any) -> int:
    """Guess at one's own number by verifications that then turn to somebody new each; return how often."""
    made, end = 0, clock.now() + 3600
    while clock.now() < end:
        try:
            view = await sent(world, {**MINE, "email": f"{made}{len(asked)}@example.org"}, **asked)
            clock.advance(2)
            await world.verifications.resend("shop", view.id, "email")
            await world.attempt()
            await guess(world, view, 5)
            made += 5
            clock.advance(31)
        except RateLimited as refusal:
            clock.advance(min(int(refusal.headers["Retry-After"]), 900))
    return made


async def test_to_turn_to_others_takes_no_guess_out_of_the_budget_it_is_made_in(make_world, clock, database):
    off = dict.fromkeys(("sends_per_10m", "sends_per_hour", "sends_per_day", "guesses_per_day"), 0)
    world = make_world(cooldown=1, **off)
    await approve(world, await sent(world, MINE, client_reference="mine"))
    clock.advance(31)
    assert await guessed_for_an_hour(world, clock, client_reference="mine") == 10
    counted = "SELECT context, hour FROM guess WHERE hash = :h ORDER BY context"
    mine = world.hasher.hash("phone", PHONE)
    assert [(row["context"], row["hour"]) for row in await database.fetch(counted, h=mine)] == [("reference:mine", 10)]
    assert await guessed_for_an_hour(world, clock) == 20


async def test_trust_that_ends_while_a_code_is_alive_moves_no_check_to_another_budget(make_world, clock, database):
    world = make_world(cooldown=1)
    await approve(world, await sent(world, MINE, client_reference="mine"))
    clock.advance(30 * DAY - 5)
    view = await sent(world, MINE, client_reference="mine")
    clock.advance(10)
    await world.verifications.resend("shop", view.id, None)
    await guess(world, view, 1)
    assert [item["context"] for item in await database.fetch("SELECT context FROM guess")] == ["reference:mine"]


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
        made = [view for view in found if not isinstance(view, BaseException)]
        assert [view.checks_left for view in made] == [3, 2, 1]
        assert [(await nodes[0].look(view)).checks_left for view in made] == [1, 1, 1]
        assert {type(item) for item in found if isinstance(item, BaseException)} == {RateLimited}


async def test_guesses_at_all_verifications_at_once_are_no_more_than_lock_out(make_engine, make_world, clock):
    async with Database(make_engine()) as one, Database(make_engine()) as other:
        nodes = [make_world(on=database, lockout=(3, 600), cooldown=1) for database in (one, other)]
        views = []
        for number in range(3):
            views.append(await nodes[number % 2].start(THEIRS))
            clock.advance(2)
        checks = [nodes[n % 2].checking.check("shop", views[n % 3].id, "000000") for n in range(18)]
        found = await asyncio.gather(*checks, return_exceptions=True)
        assert sum(isinstance(item, WrongCode) for item in found) == 3
        with pytest.raises(RateLimited) as caught:
            await nodes[0].start(THEIRS)
    assert (caught.value.extra["limit"], caught.value.headers["Retry-After"]) == ("lockout", "600")


async def test_a_route_that_turns_to_another_brings_no_more_tries_than_are_left_before_a_lock_out(make_world, clock):
    world = make_world(lockout=(3, 600))
    await guess(world, await sent(world, THEIRS), 2)
    clock.advance(301)
    assert await tries(world, clock, 1) <= 1


async def test_checks_that_other_services_hold_back_count_to_the_hundred_in_a_row(make_world, clock, database):
    shop, bank = make_world(cooldown=1), make_world("bank", cooldown=1)
    await sent(shop)
    await database.run(lambda connection: connection.fetch("UPDATE recipient SET wrong = 91 RETURNING hash"))
    clock.advance(2)
    # 91 were wrong, and the first verification's 5 may be: 4 are left.
    with pytest.raises(RateLimited) as refused:
        await bank.start()
    assert (refused.value.extra["limit"], refused.value.headers["Retry-After"]) == ("consecutive_wrong", "300")
    clock.advance(300)
    assert (await bank.start()).checks_left == 5


async def test_in_a_storm_no_more_wrong_codes_in_a_row_are_given_or_held_back_than_lock(make_engine, make_world, clock):
    rng, off = random.Random(3), dict.fromkeys(("cooldown", "sends_per_10m", "sends_per_hour", "sends_per_day"), 0)
    known = {"lockout": (3, 600), "code": CodeSettings(max_checks=3), "guesses_per_hour": 0, "guesses_per_day": 0}
    async with Database(make_engine()) as one, Database(make_engine()) as other:
        nodes = [make_world(on=database, **known, **off) for database in (one, other)]
        await approve(nodes[0], await sent(nodes[0], THEIRS, client_reference="mine"))
        clock.advance(1)
        views: list[Any] = []

        async def create() -> None:
            to, reference = rng.choice([MINE, THEIRS, BOTH]), rng.choice([None, "mine"])
            views.append(await rng.choice(nodes).start(to, client_reference=reference))

        async def check() -> None:
            await rng.choice(nodes).checking.check("shop", rng.choice(views).id, "0000000")

        async def resend() -> None:
            await rng.choice(nodes).verifications.resend("shop", rng.choice(views).id, rng.choice(["sms", "email"]))

        async def attempt() -> None:
            node = rng.choice(nodes)
            if node.handed_over:
                node.channels["sms"].script = [refused()] * rng.randrange(2)
                await node.attempt()

        for _ in range(4):
            acts = [rng.choice([create, check, check, resend, attempt] if views else [create]) for _ in range(8)]
            for item in await asyncio.gather(*(act() for act in acts), return_exceptions=True):
                assert item is None or isinstance(item, Problem)
            clock.advance(1)
            for row in await one.fetch(_WRONG_OR_HELD):
                assert row["wrong"] + row["held"] <= 3


async def test_batches_on_two_nodes_hold_back_no_more_than_lock_and_send_no_more_than_is_limited(
    make_engine, make_world
):
    known = {"lockout": (3, 600), "sends_per_10m": 2, "cooldown": 0, "code": CodeSettings(max_checks=3)}

    async def batch(world: World, people: list[dict[str, str]]) -> None:
        prepared = [await world.verifications.prepare("shop", Asked(to=to)) for to in people]

        async def work(connection: Connection) -> None:
            await world.verifications.hold_within(connection, prepared)
            for item in prepared:
                with suppress(Problem):
                    await world.verifications.start_within(connection, item)

        await world.database.run(work)

    async with Database(make_engine()) as one, Database(make_engine()) as other:
        nodes = [make_world(on=database, **known) for database in (one, other)]
        await asyncio.gather(
            batch(nodes[0], [MINE, THEIRS, MINE, BOTH, THEIRS]), batch(nodes[1], [THEIRS, MINE, BOTH, THEIRS, MINE])
        )
        assert [row["held"] for row in await one.fetch(_WRONG_OR_HELD)] == [3, 3]
        assert [row["ten_minutes"] for row in await one.fetch("SELECT ten_minutes FROM recipient")] == [2, 2]


async def test_who_is_on_a_route_of_a_trusted_device_leaves_its_verification_a_check(make_world, clock):
    world = make_world(cooldown=1, lockout=(3, 600), code=CodeSettings(max_checks=3))
    await approve(world, await sent(world, MINE, client_reference="mine"))
    clock.advance(2)
    view = await sent(world, BOTH, client_reference="mine")
    clock.advance(2)
    await world.verifications.resend("shop", view.id, "email")
    await world.attempt()
    clock.advance(2)
    await sent(world, THEIRS)
    assert (await world.look(view)).checks_left == 1

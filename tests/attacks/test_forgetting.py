"""Attempts to have guesses forgotten, or to keep a person locked out for longer than the limits say."""

from __future__ import annotations

from typing import Any

import pytest

from channels.base import Address
from gateway.config import CodeSettings, LimitSettings, ServiceSettings
from gateway.delivery.person import Reach, Verdict
from gateway.errors import RateLimited, WrongCode
from gateway.verification.limits.counting import Forgetting
from gateway.verification.limits.windows import DAY, TRUSTED_FOR
from tests.verification.limits.test_limits import approve, guess, sent
from tests.world import PHONE, Scripted, Talker, World

CHAT = b"c" * 32
#: No limit but the one of a hundred wrong codes in a row, and the sends.
UNGUARDED: dict[str, Any] = {"cooldown": 0, "guesses_per_hour": 0, "guesses_per_day": 0, "prefix_per_hour": 0}


async def test_after_a_hundred_wrong_codes_a_code_that_is_guessed_at_before_it_leaves_is_the_days_only_one(
    make_world, database, clock
):
    world = make_world(**UNGUARDED)
    await sent(world)
    await database.run(lambda connection: connection.fetch("UPDATE recipient SET wrong = 98 RETURNING hash"))
    clock.advance(DAY)
    await guess(world, await world.start(), 5)
    clock.advance(601)
    with pytest.raises(RateLimited) as refused:
        await world.start()
    assert refused.value.extra["limit"] == "consecutive_wrong"
    clock.advance(DAY - 601)
    assert (await world.start()).checks_left == 5


async def test_wrong_codes_of_a_time_without_lock_out_lock_nobody_out_for_a_day_once_there_is_one(make_world, clock):
    watched = make_world(mode="observe", lockout=(3, 600))
    await guess(watched, await sent(watched), 5)
    clock.advance(31)
    world = make_world(lockout=(3, 600), code=CodeSettings(max_checks=3))
    view = await sent(world)
    assert view.checks_left == 1
    await guess(world, view, 1)
    with pytest.raises(RateLimited) as refused:
        await world.start()
    assert (refused.value.extra["limit"], refused.value.headers["Retry-After"]) == ("lockout", "600")
    clock.advance(600)
    assert (await world.start()).checks_left == 3


async def test_somebody_elses_reference_beside_an_own_phone_is_neither_forgiven_nor_trusted(
    database, clock, sealer, hasher
):
    async def stranger(_service: str, _address: Address) -> Reach:
        return Reach()

    service = ServiceSettings(name="Shop", channels=("bot",))
    channels = {"bot": Talker("bot", ["telegram", "phone"])}
    world = World(database, clock, sealer, hasher, channels, service=service, resolve=stranger)
    theirs, mine = {"telegram": "user-42"}, bytes(hasher.hash("phone", PHONE))
    waiting = await world.start(theirs)
    for _ in range(5):
        with pytest.raises(WrongCode):
            await world.checking.check("shop", waiting.id, "0" * 7)
    view = await world.start({**theirs, "phone": PHONE}, mode="inbound", client_reference="mine")

    async def answered(connection: Any) -> Verdict:
        token = str(view.link).rpartition("=")[2]
        await world.reverse.open(connection, token, CHAT, mine, clock.now())
        return await world.reverse.answer(connection, view.id, CHAT, mine, clock.now())

    assert await database.run(answered) is Verdict.APPROVED
    assert [item["hour"] for item in await database.fetch("SELECT hour FROM guess")] == [5]
    assert [bytes(item["hash"]) for item in await database.fetch("SELECT hash FROM trusted")] == [mine]


async def test_a_context_whose_trust_ends_while_its_verification_is_pending_pays_with_its_own_budget(
    make_world, clock, database
):
    world = make_world(cooldown=1)
    await approve(world, await sent(world, client_reference="mine"))
    clock.advance(TRUSTED_FOR - 5)
    view = await sent(world, client_reference="mine")
    clock.advance(view.expires_at - clock.now() - 1)
    await Forgetting(database, clock).trusted()
    await guess(world, view, 1)
    assert [item["context"] for item in await database.fetch("SELECT context FROM guess")] == ["reference:mine"]


async def test_nobody_is_refused_an_invitation_for_checks_that_the_write_would_take_over(
    database, clock, sealer, hasher
):
    limits = LimitSettings.model_validate({"cooldown": 0, "lockout": {"after": 3, "for": 600}, "guesses_per_hour": 5})
    service = ServiceSettings(name="Shop", channels=("chat",), limits=limits, code=CodeSettings(max_checks=3))
    bot = {"chat": Scripted("chat", ["telegram"], needs_subscriber=True)}
    world = World(database, clock, sealer, hasher, bot, service=service)
    assert [(await world.start({"telegram": "user-42"})).checks_left for _ in range(3)] == [3, 2, 1]
    with pytest.raises(RateLimited):
        await world.start({"telegram": "user-42"})

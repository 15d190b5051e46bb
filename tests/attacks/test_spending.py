"""Attempts to spend more than a service may in a day."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from typing import Any

import pytest

from channels.base import PermanentError, Reason
from gateway.config import LimitSettings, ServiceSettings
from gateway.config.services import PurposeLimits, PurposeSettings
from gateway.delivery.person import Reach
from gateway.errors import Cooldown, RateLimited
from gateway.storage.unit import StorageUnavailableError
from gateway.verification.limits.allowances import Allowances
from gateway.verification.limits.prices import Prices
from gateway.verification.limits.tallies import Tallies
from gateway.verification.request import Asked
from tests.api.conftest import build
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


async def test_what_runs_twice_and_is_refused_gives_its_place_back_once(database, clock, sealer, hasher):
    settings = ServiceSettings(name="Shop", channels=("sms",), limits=LimitSettings(requests_per_second=3))
    allowances = Allowances({"shop": settings}, clock, Tallies(database, "a", {}, alone=True), lambda *_: 0.0)
    channels = {"sms": Scripted("sms", ["phone"])}
    world = World(database, clock, sealer, hasher, channels, service=settings, allowances=allowances)
    await world.start({"phone": PHONE})
    [again] = await prepared(world, [PHONE])
    for _ in range(2):
        with pytest.raises(Cooldown):
            await database.run(lambda connection: world.verifications.start_within(connection, again))
    world.verifications.dropped(again)
    assert len(await prepared(world, PEOPLE)) == 2


@pytest.mark.parametrize("path", ["/v1/verifications", "/v1/verifications/batch"])
async def test_of_two_bodies_under_one_key_at_once_the_refused_one_gives_its_place_back(
    database, sealer, hasher, clock, path
):
    settings = ServiceSettings(channels=("email",), limits=LimitSettings(requests_per_second=3))
    api = await build(database, sealer, hasher, clock)
    allowances = Allowances({"default": settings}, clock, Tallies(database, "a", {}, alone=True), lambda *_: 0.0)
    api.parts.verifications._allowances = allowances

    async def post(client: Any, number: int, key: str) -> int:
        item = {"to": f"p{number}@example.org"}
        body: object = {"items": [item]} if path.endswith("batch") else item
        answer = await client.post(path, json=body, headers={"Idempotency-Key": key})
        return int(answer.json()["items"][0]["status"] if answer.status_code == 207 else answer.status_code)

    async with api.client() as client:
        together = await asyncio.gather(*(post(client, number, "same") for number in range(3)))
        assert sorted(together) == [201, 422, 422]
        assert [await post(client, number, f"key {number}") for number in range(4, 7)] == [201, 201, 429]


def behind_a_free_one(database: Any, clock: Any, sealer: Any, hasher: Any, mode: str = "enforce") -> World:
    """A gateway whose routes begin with a mail, which costs nothing, and whose service may spend what five SMS cost."""
    limits = LimitSettings(spend_per_day=0.5, mode=mode, prefix_per_hour=0)
    settings = ServiceSettings(name="Shop", channels=("email", "sms"), limits=limits)
    channels = {"email": Scripted("email", ["email"]), "sms": Scripted("sms", ["phone"], prices={"DE": 0.1})}
    tallies = Tallies(database, "a", channels, alone=True)
    allowances = Allowances({"shop": settings}, clock, tallies, Prices(channels).of)
    return World(database, clock, sealer, hasher, channels, service=settings, allowances=allowances)


class _UndoneError(Exception):
    """Rolls a work back that has done everything."""


async def cut_off(run: Any, work: Any) -> None:
    """Do a work whole, and lose the database as it is committed."""

    async def lost(connection: Any) -> None:
        await work(connection)
        raise StorageUnavailableError("gone")

    await run(lost)


async def twice(run: Any, work: Any) -> Any:
    """Do a work, undo it, and do it again, as a transaction that met another one is."""

    async def undone(connection: Any) -> None:
        await work(connection)
        raise _UndoneError

    with suppress(_UndoneError):
        await run(undone)
    return await run(work)


async def limits_told(database: Any) -> list[tuple[str, str]]:
    sql = "SELECT name, reason FROM event WHERE name LIKE 'limit.%' ORDER BY id"
    return [(record["name"], record["reason"]) for record in await database.fetch(sql)]


@pytest.mark.parametrize(("mode", "paid"), [("enforce", 5), ("observe", 8)])
async def test_a_resend_behind_a_channel_that_costs_nothing_is_asked_what_a_create_is(
    database, clock, sealer, hasher, mode, paid
):
    """A stolen key would else have a day's allowance spent as often as it likes: the create costs nothing."""
    world = behind_a_free_one(database, clock, sealer, hasher, mode)
    views = [await world.start({"email": f"me{n}@own.example", "phone": PEOPLE[n]}) for n in range(8)]
    clock.advance(60)
    refused = []
    for view in views:
        try:
            await world.verifications.resend("shop", view.id, "sms")
        except RateLimited as error:
            refused.append(error.extra["limit"])
    assert refused == ["spend_per_day"] * (8 - paid)
    assert await limits_told(database) == [("limit.observed", "spend_per_day")] * (paid - 5)


async def test_of_resends_at_once_no_more_are_paid_than_there_is_money_for(database, clock, sealer, hasher):
    """They are one batch: each would else find the money that none of the others has spent yet."""
    world = behind_a_free_one(database, clock, sealer, hasher)
    views = [await world.start({"email": f"me{n}@own.example", "phone": PEOPLE[n]}) for n in range(12)]
    clock.advance(60)
    resends = [world.verifications.resend("shop", view.id, "sms") for view in views]
    refused = [error for error in await asyncio.gather(*resends, return_exceptions=True) if error is not None]
    assert [error.extra["limit"] for error in refused if isinstance(error, RateLimited)] == ["spend_per_day"] * 7
    assert len(refused) == 7


async def test_a_resend_that_is_refused_or_not_kept_gives_its_money_back(database, clock, sealer, hasher):
    world = behind_a_free_one(database, clock, sealer, hasher)
    views = [await world.start({"email": f"me{n}@own.example", "phone": PEOPLE[n]}) for n in range(6)]
    clock.advance(60)
    real, database.run = database.run, partial(cut_off, database.run)
    for view in views:
        with pytest.raises(StorageUnavailableError):
            await world.verifications.resend("shop", view.id, "sms")
    database.run = real
    await world.verifications.resend("shop", views[0].id, "sms")
    for _ in range(8):
        with pytest.raises(Cooldown):
            await world.verifications.resend("shop", views[0].id, "sms")
    for view in views[1:5]:
        await world.verifications.resend("shop", view.id, "sms")
    with pytest.raises(RateLimited, match="spend_per_day"):
        await world.verifications.resend("shop", views[5].id, "sms")


async def test_the_price_of_a_resend_whose_work_runs_twice_is_reckoned_with_once(database, clock, sealer, hasher):
    world = behind_a_free_one(database, clock, sealer, hasher)
    views = [await world.start({"email": f"me{n}@own.example", "phone": PEOPLE[n]}) for n in range(6)]
    clock.advance(60)
    real, database.run = database.run, partial(twice, database.run)
    for view in views[:5]:
        await world.verifications.resend("shop", view.id, "sms")
    database.run = real
    with pytest.raises(RateLimited, match="spend_per_day"):
        await world.verifications.resend("shop", views[5].id, "sms")


@pytest.mark.parametrize(("mode", "paid"), [("enforce", 5), ("observe", 8)])
async def test_a_fallback_from_a_channel_that_costs_nothing_is_asked_what_a_create_is(
    database, clock, sealer, hasher, mode, paid
):
    """A stranger's form with a mailbox that refuses would else have as many SMS paid as there are numbers."""
    world = behind_a_free_one(database, clock, sealer, hasher, mode)
    channels: Any = world.channels
    channels["email"].script = [PermanentError(Reason.INVALID_RECIPIENT) for _ in range(8)]
    for n in range(8):
        await world.start({"email": f"dead{n}@own.example", "phone": PEOPLE[n]})
    while world.handed_over:
        await world.attempt()
    assert len(channels["sms"].sent) == paid
    name = "limit.refused" if mode == "enforce" else "limit.observed"
    assert await limits_told(database) == [(name, "spend_per_day")] * 3


def two_providers(
    database: Any, clock: Any, sealer: Any, hasher: Any, mode: str = "enforce", flat: float = 0.0
) -> World:
    """A gateway whose first provider of SMS is paid ``flat`` a message, and whose service may spend what five by the other cost."""
    limits = LimitSettings(spend_per_day=0.5, mode=mode)
    settings = ServiceSettings(name="Shop", channels=("flat", "sms"), limits=limits)
    prices = {"flat": {"DE": flat} if flat else {}, "sms": {"DE": 0.1}}
    channels = {name: Scripted(name, ["phone"], prices=price) for name, price in prices.items()}
    allowances = Allowances(
        {"shop": settings}, clock, Tallies(database, "a", channels, alone=True), Prices(channels).of
    )
    return World(database, clock, sealer, hasher, channels, service=settings, allowances=allowances)


async def turned(world: World, people: int) -> int:
    """Have the first provider refuse so many people's numbers, each in a block of its own; return how many SMS the other sent."""
    channels: Any = world.channels
    channels["flat"].script = [PermanentError(Reason.INVALID_RECIPIENT) for _ in range(people)]
    for n in range(people):
        await world.start({"phone": f"+4915112{n:02d}5678"})
    while world.handed_over:
        await world.attempt()
    return len(channels["sms"].sent)


@pytest.mark.parametrize(("mode", "paid"), [("enforce", 5), ("observe", 8)])
async def test_a_provider_that_is_paid_behind_one_that_is_not_is_asked_for_its_money(
    database, clock, sealer, hasher, mode, paid
):
    """Whoever has numbers that a flat rate does not serve would else have the other provider paid without a bound."""
    world = two_providers(database, clock, sealer, hasher, mode)
    assert await turned(world, 8) == paid
    name = "limit.refused" if mode == "enforce" else "limit.observed"
    assert await limits_told(database) == [(name, "spend_per_day")] * 3


async def test_what_was_let_through_at_its_price_is_sent_by_another_provider_though_the_day_is_spent(
    database, clock, sealer, hasher
):
    world = two_providers(database, clock, sealer, hasher, flat=0.1)
    assert await turned(world, 5) == 5
    assert await limits_told(database) == []


async def test_a_number_that_takes_over_from_its_chat_is_asked_for_its_money_where_blocks_are_not_counted(
    database, clock, sealer, hasher
):
    limits = LimitSettings(spend_per_day=0.5, prefix_per_hour=0)
    settings = ServiceSettings(name="Shop", channels=("bot", "sms"), limits=limits)
    bot, sms = Scripted("bot", ["phone"], needs_subscriber=True), Scripted("sms", ["phone"], prices={"DE": 0.1})
    bot.script = [PermanentError(Reason.BLOCKED) for _ in range(8)]
    channels = {"bot": bot, "sms": sms}
    allowances = Allowances(
        {"shop": settings}, clock, Tallies(database, "a", channels, alone=True), Prices(channels).of
    )

    async def everybody(*_: Any) -> Reach:
        return Reach("4242")

    world = World(database, clock, sealer, hasher, channels, service=settings, allowances=allowances, resolve=everybody)
    for n in range(8):
        await world.start({"phone": PEOPLE[n]})
    while world.handed_over:
        await world.attempt()
    assert (len(bot.script), len(sms.sent)) == (0, 5)


async def test_what_was_queued_for_a_service_that_is_gone_goes_on_to_its_next_channel(database, clock, sealer, hasher):
    """Nobody knows its allowance any more."""
    world = two_providers(database, clock, sealer, hasher)
    assert world.allowances is not None
    channels: Any = world.channels
    channels["flat"].script = [PermanentError(Reason.INVALID_RECIPIENT)]
    await world.start({"phone": PHONE})
    world.allowances._accounts.clear()
    while world.handed_over:
        await world.attempt()
    assert len(channels["sms"].sent) == 1


async def test_what_was_let_through_at_its_price_is_sent_again_though_the_day_is_spent(world, clock):
    views = [await world.start({"phone": person}) for person in PEOPLE[:5]]
    clock.advance(60)
    await world.verifications.resend("shop", views[0].id, None)
    with pytest.raises(RateLimited):
        await world.start({"phone": PEOPLE[9]})


async def test_a_route_that_begins_with_a_chat_nobody_opened_is_asked_for_the_money_of_what_is_sent(
    database, clock, sealer, hasher
):
    """A form that names its own reference beside the number would else have any number of SMS paid."""
    settings = ServiceSettings(name="Shop", channels=("bot", "sms"), limits=LimitSettings(spend_per_day=0.5))
    bot, sms = Scripted("bot", ["telegram"], needs_subscriber=True), Scripted("sms", ["phone"], prices={"DE": 0.1})
    channels = {"bot": bot, "sms": sms}
    allowances = Allowances(
        {"shop": settings}, clock, Tallies(database, "a", channels, alone=True), Prices(channels).of
    )
    world = World(database, clock, sealer, hasher, channels, service=settings, allowances=allowances)
    begun = []
    for n in range(8):
        with suppress(RateLimited):
            begun.append(await world.start({"telegram": f"customer-{n}", "phone": PEOPLE[n]}))
    assert [(view.channel, view.next_channels) for view in begun] == [("sms", [])] * 5


@pytest.mark.parametrize("spend_per_day", [0.0, 100.0])
async def test_of_many_that_are_prepared_at_once_no_more_pass_than_the_queue_has_room_for(
    database, clock, sealer, hasher, spend_per_day
):
    limits = LimitSettings(queue_depth=5, spend_per_day=spend_per_day)
    settings = ServiceSettings(name="Shop", channels=("sms",), limits=limits)
    channels = {"sms": Scripted("sms", ["phone"])}
    allowances = Allowances({"shop": settings}, clock, Tallies(database, "a", {}, alone=True), lambda *_: 0.0)
    world = World(database, clock, sealer, hasher, channels, service=settings, allowances=allowances)
    found = await prepared(world, PEOPLE)
    assert len(found) == 5
    for item in found:
        world.verifications.dropped(item)
    assert len(await prepared(world, PEOPLE)) == 5


@pytest.mark.parametrize("way", ["resend", "fallback", "provider"])
async def test_a_purpose_that_observes_its_limits_lifts_no_allowance_of_its_service(
    database, clock, sealer, hasher, way
):
    limits = LimitSettings(spend_per_day=0.5, prefix_per_hour=0)
    names = ("flat", "sms") if way == "provider" else ("email", "sms")
    promo = PurposeSettings(channels=names, limits=PurposeLimits(mode="observe", prefix_per_hour=0))
    settings = ServiceSettings(name="Shop", channels=names, limits=limits, purposes={"promo": promo})
    free = Scripted("flat", ["phone"]) if way == "provider" else Scripted("email", ["email"])
    free.script = [PermanentError(Reason.INVALID_RECIPIENT) for _ in range(0 if way == "resend" else 8)]
    sms = Scripted("sms", ["phone"], prices={"DE": 0.1})
    channels = {names[0]: free, "sms": sms}
    allowances = Allowances(
        {"shop": settings}, clock, Tallies(database, "a", channels, alone=True), Prices(channels).of
    )
    world = World(database, clock, sealer, hasher, channels, service=settings, allowances=allowances)
    to = [
        {"phone": PEOPLE[n]} if way == "provider" else {"email": f"me{n}@own.example", "phone": PEOPLE[n]}
        for n in range(8)
    ]
    views = [await world.start(each, purpose="promo") for each in to]
    if way == "resend":
        for view in views:
            with suppress(RateLimited):
                await world.verifications.resend("shop", view.id, "sms")
    while world.handed_over:
        await world.attempt()
    assert len(sms.sent) == 5

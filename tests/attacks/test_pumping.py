"""Attempts to have more messages paid for, and sent to one person, than the limits count."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest

from channels.base import Address, Envelope, PermanentError, Reason
from gateway.config import CodeSettings, LimitSettings, ServiceSettings
from gateway.delivery.person import Reach
from gateway.errors import Problem, RateLimited
from gateway.storage.database import Database
from tests.verification.limits.test_limits import sent
from tests.world import EMAIL, PHONE, Scripted, Talker, World, refused

BLOCK = [f"+4915112345{number:03d}" for number in range(30)]
OFF = dict.fromkeys(("sends_per_10m", "sends_per_hour", "sends_per_day", "guesses_per_hour", "guesses_per_day"), 0)


def paid(world: World) -> int:
    """Return how many messages went to numbers."""
    return sum(len(channel.sent) for name, channel in world.channels.items() if name.startswith("sms"))


@pytest.mark.parametrize("order", [("sms", "email"), ("email", "sms")], ids=["number first", "mailbox first"])
async def test_an_own_mailbox_approves_nothing_that_went_to_rented_numbers(make_world, clock, order):
    world = make_world(cooldown=1, prefix_per_hour=4)
    with suppress(RateLimited):
        for number in BLOCK:
            view = await sent(world, {"phone": number, "email": f"me{number[1:]}@example.org"}, channels=order)
            clock.advance(2)
            await world.verifications.resend("shop", view.id, order[1])
            await world.attempt()
            await world.checking.check("shop", view.id, world.channels["email"].sent[-1].code)
            clock.advance(2)
    assert paid(world) == 4


def two_providers(make_world: Callable[..., World], **limits: Any) -> World:
    """Return a gateway that turns to another provider of SMS where the first one's are not reported for 20 s."""
    world = make_world(channels={name: Scripted(name, ["phone"]) for name in ("sms", "sms2")}, cooldown=1, **limits)
    world.service = world.service.model_copy(update={"channels": ("sms", "sms2")})
    world.confirm_within = lambda *_: 20.0
    world.__post_init__()
    return world


async def unreported(world: World, clock: Any, number: str) -> None:
    """Send to a number whose carrier reports nothing."""
    await sent(world, {"phone": number})
    clock.advance(21)
    for message in await world.queue.unconfirmed():
        await world.dispatcher.attempt(message)


def with_a_chat_between(make_world: Callable[..., World], **limits: Any) -> World:
    """Return the same with a chat of the person's between the two providers."""
    world = two_providers(make_world, **limits)
    world.channels = {"sms": world.channels["sms"], "bot": Talker("bot", ["phone"]), "sms2": world.channels["sms2"]}
    world.service = world.service.model_copy(update={"channels": tuple(world.channels)})
    world.resolve = chat
    world.__post_init__()
    return world


async def unreported_still(world: World, clock: Any) -> None:
    """Go on to whatever is left of a route."""
    while world.handed_over:
        await world.attempt()
    clock.advance(21)
    for message in await world.queue.unconfirmed():
        await world.dispatcher.attempt(message)


async def test_a_carrier_that_reports_nothing_is_paid_for_no_more_sends_than_a_block_may_have(make_world, clock):
    world = two_providers(make_world, prefix_per_hour=4)
    with suppress(RateLimited):
        for number in BLOCK:
            await unreported(world, clock, number)
    assert paid(world) == 4


async def test_a_person_is_sent_no_more_by_a_route_of_two_providers(make_world, clock):
    world = two_providers(make_world, guesses_per_hour=0, guesses_per_day=0, prefix_per_hour=0)
    with suppress(RateLimited):
        for _ in range(6):
            await unreported(world, clock, PHONE)
    assert paid(world) == 5


@pytest.mark.parametrize("blocked", [True, False], ids=["chat fails", "chat takes it"])
@pytest.mark.parametrize("limit", ["sends_per_10m", "prefix_per_hour"])
async def test_a_person_is_sent_no_more_by_a_route_with_a_chat_between_two_providers(make_world, clock, limit, blocked):
    world = with_a_chat_between(make_world, **{**OFF, "prefix_per_hour": 0, limit: 5})
    with suppress(RateLimited):
        for _ in range(6):
            world.channels["bot"].script = [refused(Reason.BLOCKED)] * blocked
            await unreported(world, clock, PHONE)
            await unreported_still(world, clock)
    assert paid(world) == 5


async def test_a_resend_that_never_left_gives_its_place_to_another_provider_though_a_chat_is_between(
    make_world, clock, database
):
    world = with_a_chat_between(make_world, **{**OFF, "sends_per_10m": 2})
    view = await sent(world)
    clock.advance(2)
    for name in ("sms", "bot"):
        world.channels[name].script = [refused(Reason.BLOCKED)]
    await world.verifications.resend("shop", view.id, "sms")
    while world.handed_over:
        await world.attempt()
    statuses = [("sms", "sent"), ("sms", "failed"), ("bot", "failed"), ("sms2", "sent")]
    assert await world.statuses(view) == statuses
    assert [row["hour"] for row in await database.fetch("SELECT hour FROM recipient")] == [2]


async def test_an_approval_of_what_then_never_left_makes_no_room_in_its_block(make_world, clock, database):
    world = make_world(cooldown=1)
    for number in BLOCK[:2]:
        view = await world.start({"phone": number})

        async def approved_and_refused(envelope: Envelope, view: Any = view) -> None:
            await world.checking.check("shop", view.id, envelope.code)
            raise PermanentError(Reason.INVALID_RECIPIENT)

        world.channels["sms"].act = approved_and_refused
        await world.attempt()
    assert [dict(row) for row in await database.fetch("SELECT sends, approved FROM block")] == [
        {"sends": 0, "approved": 0}
    ]


async def chat(_service: str, address: Address) -> Reach:
    return Reach(chat=f"c{address.value}") if address.kind == "phone" else Reach()


async def test_in_a_storm_over_chats_numbers_and_mail_every_paid_send_is_counted_in_its_block_once(
    make_engine, clock, sealer, hasher
):
    rng = random.Random(1)
    service = ServiceSettings(
        name="Shop",
        channels=("bot", "sms", "sms2", "email"),
        limits=LimitSettings(cooldown=0, prefix_per_hour=20, **OFF),
        code=CodeSettings(resend="new"),
    )
    async with Database(make_engine()) as one, Database(make_engine()) as other:
        known: dict[str, Any] = {"service": service, "resolve": chat}
        nodes = [
            World(database, clock, sealer, hasher, _channels(), node=name, **known)
            for name, database in (("a", one), ("b", other))
        ]
        storm = Storm(nodes, rng)
        for _ in range(8):
            choices = [storm.create] * 3 + ([storm.attempt] * 8 + [storm.resend, storm.cancel] * 2) * bool(storm.views)
            await storm.at_once([rng.choice(choices) for _ in range(12)])
            clock.advance(1)
        [block] = await one.fetch("SELECT sends, approved FROM block")
        [counted] = await one.fetch("SELECT count(*) AS n FROM message WHERE counted > 0 AND block_hash IS NOT NULL")
        [sends] = await one.fetch("SELECT count(*) AS n FROM message WHERE counted = 1")
        [recipients] = await one.fetch("SELECT sum(hour) AS n FROM recipient")
        paid_for = """SELECT m.verification_id FROM message m JOIN attempt a ON a.message_id = m.id
            WHERE a.outcome = 'sent' AND m.channel IN ('sms', 'sms2') AND NOT EXISTS (SELECT 1 FROM message c
                WHERE c.verification_id = m.verification_id AND c.counted > 0 AND c.block_hash IS NOT NULL)"""
        assert await one.fetch(paid_for) == []
        assert (block["sends"], int(recipients["n"])) == (counted["n"], sends["n"])
        assert block["sends"] - block["approved"] <= 20


def _channels() -> dict[str, Scripted]:
    numbers = {name: Scripted(name, ["phone"]) for name in ("sms", "sms2")}
    return {"bot": Talker("bot", ["phone"]), **numbers, "email": Scripted("email", ["email"])}


class Storm:
    """What many do at once, by two nodes."""

    def __init__(self, nodes: list[World], rng: random.Random) -> None:
        self._nodes = nodes
        self._rng = rng
        self.views: list[Any] = []

    async def at_once(self, acts: list[Callable[[], Awaitable[None]]]) -> None:
        for item in await asyncio.gather(*(act() for act in acts), return_exceptions=True):
            if isinstance(item, BaseException) and not isinstance(item, Problem):
                raise item

    async def create(self) -> None:
        to = {"phone": f"+491511234{self._rng.randrange(5678, 5690)}"}
        route = self._rng.choice([("bot", "sms"), ("bot", "sms", "sms2"), ("sms", "bot", "sms2"), ("sms", "sms2")])
        if self._rng.random() < 0.4:
            to["email"] = EMAIL
            route = (*route, "email")
        self.views.append(await self._rng.choice(self._nodes).start(to, channels=route))

    async def attempt(self) -> None:
        node = self._rng.choice(self._nodes)
        if node.handed_over:
            fails = self._rng.random() < 0.7
            for channel in node.channels.values():
                channel.script = [PermanentError(Reason.INVALID_RECIPIENT)] if fails else []
            await node.attempt()

    async def resend(self) -> None:
        channel = self._rng.choice(["bot", "sms", "sms2", "email", None])
        await self._rng.choice(self._nodes).verifications.resend("shop", self._rng.choice(self.views).id, channel)

    async def cancel(self) -> None:
        await self._rng.choice(self._nodes).checking.cancel("shop", self._rng.choice(self.views).id)

"""Attempts through a reference, which each service gives to people of its own: the same one elsewhere is somebody else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from channels.kinds import KINDS
from gateway.delivery.person import Question, Reach, Verdict
from gateway.errors import RateLimited, WrongCode
from gateway.storage.unit import Connection
from gateway.verification.limits.unlocking import unlock
from gateway.verification.limits.windows import DAY, MOST_WRONG
from tests.api.conftest import client, shop
from tests.verification.limits.conftest import limited
from tests.world import Talker, World

__all__ = ["client", "shop"]

#: Who customer 42 is, each service says for itself.
TO = {"telegram": "42"}
UNBOUND = {"sends_per_10m": 0, "sends_per_hour": 0, "sends_per_day": 0, "cooldown": 0}
FREE = {**UNBOUND, "guesses_per_hour": 0, "guesses_per_day": 0}

Make = Callable[..., World]


@pytest.fixture
def make_service(database, clock, sealer, hasher) -> Make:
    """Make a service whose customer 42 is in a chat of their own."""

    def make(name: str, **limits: Any) -> World:
        async def in_chat(*_: Any) -> Reach:
            return Reach(chat=str(sum(name.encode())))

        bot: Any = {"telegram": Talker("telegram", ("telegram", "phone"))}
        return World(database, clock, sealer, hasher, bot, name=name, service=limited(**limits), resolve=in_chat)

    return make


async def sent(world: World) -> Any:
    view = await world.start(TO, channels=["telegram"])
    await world.attempt()
    return view


async def wrong_in_a_row(make_service: Make, clock: Any, name: str) -> World:
    """Give a hundred wrong codes for a service's customer 42; a day later nothing but those is in the way."""
    world = make_service(name, **FREE)
    for _ in range(MOST_WRONG // 5):
        view = await sent(world)
        for _ in range(5):
            with pytest.raises(WrongCode):
                await world.checking.check(name, view.id, f"{(int(world.code) + 1) % 10**6:06d}")
    clock.advance(DAY)
    return world


async def is_one_a_day(world: World) -> None:
    await sent(world)
    with pytest.raises(RateLimited, match="in a row"):
        await sent(world)


async def test_what_a_service_sends_to_its_own_customer_takes_no_send_from_anothers_of_that_number(make_service, clock):
    bank, shop = make_service("bank"), make_service("shop")
    for left in (4, 3, 2, 1, 0):
        view = await sent(bank)
        assert (left, left) == (view.sends_left, (await bank.look(view)).sends_left)
        await bank.checking.cancel("bank", view.id)
        clock.advance(31)
    assert (await shop.start(TO, channels=["telegram"])).sends_left == 4


async def test_a_hundred_wrong_codes_are_their_services_own_and_no_other_ends_them(make_service, clock, hasher):
    shop, bank = await wrong_in_a_row(make_service, clock, "shop"), make_service("bank", **UNBOUND)
    view = await sent(bank)
    await bank.checking.check("bank", view.id, bank.code)
    await is_one_a_day(shop)
    address, owners = KINDS["telegram"]("42"), ("bank", "shop")
    assert not (await unlock(shop.database, hasher, address, "bank", clock.now(), owners)).anything
    assert (await unlock(shop.database, hasher, address, "", clock.now(), owners)).wrong == MOST_WRONG
    assert await sent(shop)


async def linked(world: World) -> None:
    """Link a service's customer 42 to chat 7."""
    hashed, chat = world.hasher.hash("telegram", "42"), world.hasher.hash("chat", "7")
    columns = "id, service, reference_hash, person_sealed, status, chat_hash, created_at"
    insert = f"INSERT INTO subscriber ({columns}) VALUES (:id, :service, :hash, :hash, 'linked', :chat, 0) RETURNING id"

    async def work(connection: Connection) -> None:
        await connection.fetch(insert, id=f"sub_{world.name}", service=world.name, hash=hashed, chat=chat)

    await world.database.run(work)


async def approved_in_chat(world: World) -> None:
    """Have a service's customer 42 approve a reverse verification in chat 7."""
    view = await world.start(TO, channels=["telegram"], mode="inbound")
    chat, token = world.hasher.hash("chat", "7"), str(view.link).rpartition("=")[2]

    async def work(connection: Connection) -> Verdict:
        opened = await world.reverse.open(connection, token, chat, None, world.clock.now())
        assert isinstance(opened, Question)
        return await world.reverse.answer(connection, view.id, chat, None, world.clock.now())

    assert await world.database.run(work) is Verdict.APPROVED


async def test_an_approval_in_the_chat_forgives_what_was_given_at_its_own_service_alone(make_service, clock):
    shop, bank = await wrong_in_a_row(make_service, clock, "shop"), make_service("bank", **UNBOUND)
    for world in (bank, shop):
        await linked(world)
    await approved_in_chat(bank)
    await is_one_a_day(shop)
    await approved_in_chat(shop)
    assert await sent(shop)


async def test_who_erases_an_own_reference_deletes_nothing_that_another_service_counts(world, client, shop):
    for caller in (client, shop):
        assert (await caller.post("/v1/verifications", json={"to": TO})).status_code == 201
    both = await world.database.fetch("SELECT hash FROM recipient")
    assert (await shop.request("DELETE", "/v1/recipients", json={"to": TO})).json()["verifications"] == 1
    left = await world.database.fetch("SELECT hash FROM recipient")
    assert (len(both), len(left)) == (2, 1)
    hashes = {bytes(row["hash"]) for row in await world.database.fetch("SELECT hash FROM address")}
    assert hashes == {bytes(left[0]["hash"]), world.parts.hasher.hash("telegram", "42")}

"""Every sealed column, filled by the gateway itself, is sealed anew and opens with the new key alone."""

from __future__ import annotations

from channels.chat import Reply
from channels.kinds import KINDS
from gateway.config import SealingKey
from gateway.conversation import chats
from gateway.storage.answers import Answers, Source
from gateway.storage.resealing import SEALED, Progress, Resealing
from gateway.storage.sealing import Sealer
from gateway.storage.secret import index_key
from gateway.storage.unit import Move
from gateway.verification.authenticators.parts import built
from gateway.verification.authenticators.view import Wanted
from tests.conftest import START
from tests.world import PHONE

NEW = SealingKey("k2", bytes(reversed(range(32))))


async def instantly() -> None:
    """Rest for no time."""


async def filled(talk) -> None:
    """Have something sealed in every column there is."""
    world = talk.world
    await index_key(world.database, world.sealer, START, reseal=True)
    await world.signing_keys.rotate()
    await talk.link(phone=PHONE)
    await talk.turned(lambda turn: chats.prove(turn, KINDS["phone"](PHONE)))
    _, write = talk.replies.write("bot", "7001", Reply("Hello"), START)
    await world.database.write(Move(None, [write]))
    await world.start({"telegram": "user-42"}, channels=["bot"], params={"name": "Ann"}, bind={"amount": "12 EUR"})
    authenticators = built(world.database, world.sealer, world.hasher, world.clock, {"shop": "Shop"})
    await authenticators.enrolling.create(authenticators.enrolling.prepare("shop", Wanted("totp", "user-42", "ann")))

    async def create(_) -> bytes:
        return b"{}"

    await Answers(world.database, world.sealer, world.clock).once("shop", Source("POST", "/", "k"), b"f", create)


async def blobs(talk) -> dict[str, list[bytes]]:
    return {
        f"{table.name}.{column.name}": [
            bytes(row[column.name]) for row in await talk.rows(table.name) if row[column.name]
        ]
        for table in SEALED
        for column in table.columns
    }


async def resealed(talk, *ring: SealingKey) -> Progress:
    """Seal everything anew by the first key of a ring."""
    return [progress async for progress in Resealing(talk.world.database, Sealer(ring)).run(instantly)][-1]


async def test_every_sealed_column_opens_with_the_new_key_alone_afterwards(talk, ring):
    await filled(talk)
    before = await blobs(talk)
    assert [name for name, found in before.items() if not found] == []
    latest = await resealed(talk, NEW, *ring)
    assert (sum(map(len, before.values())), {}, {}) == (latest.sealed, latest.unreadable, latest.left)
    assert latest.rows == latest.looked_at
    # Opened once more, by the new key alone, in the places they are in.
    latest = await resealed(talk, SealingKey("k3", bytes(range(1, 33))), NEW)
    assert latest.unreadable == {}

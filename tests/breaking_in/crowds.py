"""A caller who asks for much in one moment: a session's end many times over, and batches that are kept under their keys."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from tests.breaking_in.beside import beside
from tests.breaking_in.world import PATIENCE, SENDS_FREELY, SETTLE, Stage, World, every, tally

#: Codes of one session in batches as large as may be, and how many ask at once for its end.
CODES, BATCH, ENDS = 2_000, 1_000, 20
#: Batches at once under keys of their own, and codes of each.
BATCHES, EACH = 12, 200

_BATCH = "/v1/verifications/batch"


async def crowds(stage: Stage) -> None:
    """Play the caller."""
    async with stage.world(SENDS_FREELY) as world:
        await ended(world)
        await kept(world)


async def ended(world: World) -> None:
    """Have another service's codes wait for a large session, by asking for its end many times at once."""
    for first in range(0, CODES, BATCH):
        items = [
            {"to": f"ended{number}@example.org", "bind": {"session": "S"}} for number in range(first, first + BATCH)
        ]
        status, refused = await world.ours("POST", _BATCH, {"items": items})
        assert status == 207, (status, refused.get("code"))
    await world.scene.until(lambda: len(world.scene.inbox.letters) >= CODES, PATIENCE)
    async with beside(world, world.theirs) as found:
        told = await every(world.ours("DELETE", "/v1/sessions/S") for _ in range(ENDS))
    canceled = [each.get("canceled", 0) for _, each in told]
    left = len((await world.ours("GET", "/v1/verifications?status=pending&limit=1"))[1]["items"])
    ends = await world.scene.store.count("SELECT count(*) FROM event WHERE name = 'verification.canceled'")
    world.verdict(
        f"a session of {CODES} codes that is ended {ENDS} times at once holds nobody up, and each code ends once",
        found.served
        and {status for status, _ in told} == {200}
        and (left, ends) == (0, CODES)
        # Who asks beside somebody else may be told of what both ended.
        and max(canceled) <= CODES <= sum(canceled),
        f"{found}; {tally(told)}, {left} left, {ends} ends, told {sorted(set(canceled))}",
    )


async def kept(world: World) -> None:
    """Have another service's codes wait for batches whose answers are kept, and have a code sent twice or none by asking again."""
    async with beside(world, world.theirs) as found:
        told = await every(_keyed(world, number) for number in range(BATCHES))
    again = await every(_keyed(world, number) for number in range(BATCHES))
    await world.scene.until(lambda: sum(_letters(world).values()) >= BATCHES * EACH, PATIENCE)
    await asyncio.sleep(SETTLE)
    letters = _letters(world)
    items = Counter(
        (each["status"], each["body"].get("detail")) for _, batch in told for each in batch.get("items", ())
    )
    world.verdict(
        f"{BATCHES} batches of {EACH} at once under keys of their own hold nobody up; none is refused, no code sent twice",
        found.served
        and dict(items) == {(201, None): BATCHES * EACH}
        and again == told
        and (len(letters), max(letters.values(), default=0)) == (BATCHES * EACH, 1),
        f"{found}; {tally(told)} of {dict(items)}, again the same {again == told}, {len(letters)} mailboxes, "
        f"{sum(number > 1 for number in letters.values())} of them mailed twice",
    )


async def _keyed(world: World, number: int) -> tuple[int, dict[str, Any]]:
    """Make one of the batches, under a key of its own."""
    items = [{"to": f"kept{number}x{place}@example.org"} for place in range(EACH)]
    return await world.ours("POST", _BATCH, {"items": items}, **{"Idempotency-Key": f"kept-{number}"})


def _letters(world: World) -> Counter[str]:
    """Return how many letters came to each mailbox of the batches."""
    return Counter(letter.to for letter in world.scene.inbox.letters if letter.to.startswith("kept"))

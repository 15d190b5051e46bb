"""A caller whose key was taken away, and one who has a key that is nearly right."""

from __future__ import annotations

import asyncio
import time

from tests.breaking_in.world import SENDS_FREELY, Stage, World, every, taken

#: Seconds within which every node refuses a revoked key, seconds it is tried, and requests at once to each node.
WITHIN, TRIED, AT_ONCE = 5.0, 8.0, 5
#: Seconds a key lives that is made to end.
LIVES = 6.0

_LIST = "/v1/verifications"


async def keys(stage: Stage) -> None:
    """Play the one whose key is no longer, or never was, any good."""
    async with stage.world(SENDS_FREELY) as world:
        await revoked(world)
        await ended(world)
        await nearly(world)


async def used(world: World, key: str) -> float:
    """Use a key all the time, so that no node forgets it; return after how many seconds it was let in last."""
    began, last, nodes = time.monotonic(), 0.0, range(len(world.nodes))
    while (now := time.monotonic() - began) < TRIED:
        if taken(await every(world.call(key, "GET", _LIST, node=node) for node in nodes for _ in range(AT_ONCE))):
            last = now
        await asyncio.sleep(0.1)
    return last


async def revoked(world: World) -> None:
    """Use a key all the time after it was revoked."""
    key = await world.new_key("--name", "revoked")
    first = [(await world.call(key, "GET", _LIST, node=node))[0] for node in range(len(world.nodes))]
    await world.nodes[0].run("keys", "revoke", key.split("_")[1])
    last = await used(world, key)
    world.verdict(
        f"a revoked key is refused by every node within {WITHIN:.0f} s, though it is used all the time",
        first == [200] * len(world.nodes) and last < WITHIN,
        f"last let in {last:.1f} s after",
    )


async def ended(world: World) -> None:
    """Use a key all the time, over its end."""
    key = await world.new_key("--name", "ending", "--expires", f"{LIVES:.0f}s")
    last = await used(world, key)
    # It was made a little before we were given it.
    world.verdict(
        "a key ends at its time on every node, though it is used all the time",
        0 < last < LIVES,
        f"last let in {last:.1f} s of {LIVES:.0f} s after",
    )


async def nearly(world: World) -> None:
    """Use keys that differ from a right one by a letter, by case, by what stands around them."""
    key = world.keys[0]
    another = key[:30] + ("a" if key[30] != "a" else "b") + key[31:]
    near = [another, key.swapcase(), f"{key},{key}", f"{key} {key}", key[:13] + "_" + "A" * 49, key[:13], key[:40]]
    found = [(await world.call(each, "GET", _LIST))[0] for each in near]
    control = (await world.call(key, "GET", _LIST))[0]
    world.verdict(
        "a key that is nearly right opens nothing",
        all(400 <= status < 500 for status in found) and control == 200,
        found,
    )

"""A caller with a key and somebody's authenticator: app codes, key fobs and recovery codes, twice, at once, and guessed."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any

from tests.breaking_in.world import Stage, World, compared, every, failed, one_time, taken, tally

#: Requests at once; failures before an authenticator's person is locked; seconds a code of an app lives.
AT_ONCE, FAILURES, STEP = 100, 5, 30
#: Recovery codes in one list.
CODES = 10


@dataclass(frozen=True, slots=True)
class Device:
    """An enrolled authenticator, as its application knows it."""

    id: str
    secret: str

    @property
    def path(self) -> str:
        """Where it is asked about."""
        return f"/v1/authenticators/{self.id}"

    @property
    def check(self) -> str:
        """Where its codes are checked."""
        return f"{self.path}/check"

    @property
    def now(self) -> dict[str, str]:
        """The code its app shows now, as a body."""
        return {"code": one_time(self.secret, int(time.time() // STEP))}


async def devices(stage: Stage) -> None:
    """Play the one who has the devices, or guesses what they show."""
    async with stage.world() as world:
        device = await app_code(world)
        await renewed(world, device, await recovery_code(world, device))
        await guessed(world)
        await counted(world)


async def enrolled(world: World, reference: str, kind: str = "totp") -> Device:
    """Enrol a device of the service ``default``."""
    body = {"type": kind, "reference": reference, "account": reference}
    status, told = await world.ours("POST", "/v1/authenticators", body)
    assert status == 201, (status, told.get("code"))
    return Device(told["id"], told["secret"])


async def app_code(world: World) -> Device:
    """Use one code of an app many times at once."""
    device = await enrolled(world, "person-1")
    code = device.now
    found = await every(world.ours("POST", device.check, code) for _ in range(AT_ONCE))
    right = taken(found) == 1 and not failed(found)
    world.verdict(f"an app's code {AT_ONCE} times at once: right once", right, tally(found))
    # The others were wrong codes, and locked it.
    await world.unlocked(device.id)
    return device


async def recovery_code(world: World, device: Device) -> list[str]:
    """Use one recovery code many times at once; return the others of its list."""
    status, told = await world.ours("POST", f"{device.path}/recovery-codes")
    assert status == 201, (status, told.get("code"))
    first, *others = told["codes"]
    spelt = [first, first.lower(), first.replace("-", "")]
    bodies = [{"recovery_code": world.chance.choice(spelt)} for _ in range(AT_ONCE)]
    found = await every(world.ours("POST", device.check, body) for body in bodies)
    right = taken(found) == 1 and not failed(found)
    world.verdict(f"a recovery code {AT_ONCE} times at once, in three spellings: right once", right, tally(found))
    await world.unlocked(device.id)
    return [str(each) for each in others]


async def renewed(world: World, device: Device, codes: list[str]) -> None:
    """Renew the list many times at once, beside the use of the old one, and try all of them."""

    async def tried(code: str) -> bool:
        status, _ = await world.ours("POST", device.check, {"recovery_code": code})
        if status != 200:
            await world.unlocked(device.id)
        return status == 200

    calls = [world.ours("POST", f"{device.path}/recovery-codes") for _ in range(6)]
    calls += [world.ours("POST", device.check, {"recovery_code": code}) for code in codes[:3] for _ in range(5)]
    world.chance.shuffle(calls)
    lists = [told["codes"] for status, told in await every(calls) if status == 201]
    rows = await world.scene.store.count(f"SELECT count(*) FROM recovery_code WHERE authenticator_id = '{device.id}'")
    await world.unlocked(device.id)
    old = [await tried(code) for code in codes[3:6]]
    new = [await tried(each[0]) for each in lists]
    world.verdict(
        "recovery codes renewed six times at once: one list is alive, the old codes are dead",
        not any(old) and new.count(True) == 1 and rows <= CODES,
        f"old ones right {old.count(True)}, of {len(new)} lists alive {new.count(True)}, rows {rows}",
    )


async def guessed(world: World) -> None:
    """Guess over two devices and the recovery codes of one person, and unlock by enrolling anew."""
    first, second = await enrolled(world, "person-2"), await enrolled(world, "person-2")

    def guess() -> dict[str, str]:
        tail = "".join(world.chance.choices("2345", k=4))
        return world.chance.choice([{"code": world.guess()}, {"recovery_code": f"CFGH-{tail}"}])

    found = await every(world.ours("POST", world.chance.choice([first, second]).check, guess()) for _ in range(AT_ONCE))
    after = (await world.ours("POST", first.check, first.now))[0]
    world.verdict(
        f"{AT_ONCE} wrong codes at once over two devices of one person: {FAILURES} are compared",
        (compared(found), taken(found), after) == (FAILURES, 0, 429) and not failed(found),
        f"{tally(found)}, the right one then {after}",
    )
    await world.ours("DELETE", first.path)
    third = await enrolled(world, "person-2")
    status = (await world.ours("POST", third.check, third.now))[0]
    world.verdict("enrolling anew does not unlock", status == 429, status)


async def counted(world: World) -> None:
    """Use a key fob's counters twice, and ask about it as another service."""
    device = await enrolled(world, "person-3", "hotp")

    def body(counter: int) -> dict[str, str]:
        return {"code": one_time(device.secret, counter)}

    counters = [0] * 60 + [1] * 40
    found = await every(world.ours("POST", device.check, body(counter)) for counter in counters)
    per_counter = [taken(found[:60]), taken(found[60:])]
    await world.unlocked(device.id)
    again = [await world.ours("POST", device.check, body(counter)) for counter in (0, 1, 0, 1)]
    # Of the second counter nothing was right where the lock came first; then it is right once, now.
    per_counter[1] += taken(again)
    world.verdict(
        f"two counters of a key fob, {AT_ONCE} times at once and again: each is right once",
        max(per_counter) <= 1 and sum(per_counter) >= 1 and not failed([*found, *again]),
        f"{per_counter}, {tally(found)}, then {tally(again)}",
    )
    await anothers(world, device)


async def anothers(world: World, device: Device) -> None:
    """Ask about another service's device, in every way, and about one that never was."""
    unknown = device.id[:20] + "0" * (len(device.id) - 20)
    asked: list[tuple[str, str, Any]] = [
        ("GET", "", None),
        ("DELETE", "", None),
        ("POST", "/check", device.now),
        ("POST", "/check", {"recovery_code": "CFGH-2345"}),
        ("POST", "/recovery-codes", None),
    ]
    told_apart = []
    for method, path, body in asked:
        both = [
            (status, json.dumps(told).replace(number, "ID"))
            for number in (device.id, unknown)
            for status, told in [await world.theirs(method, f"/v1/authenticators/{number}{path}", body)]
        ]
        if both[0] != both[1] or both[0][0] != 404:
            told_apart.append((method, path, both[0][0], both[1][0]))
    status = (await world.ours("GET", device.path))[0]
    world.verdict("another service's device is not there", not told_apart and status == 200, told_apart)

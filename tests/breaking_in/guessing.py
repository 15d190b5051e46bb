"""A caller with a key guesses another person's code: all at once, by odd spellings, over every way to get more checks."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from tests.breaking_in.world import SENDS_FREELY, Calls, Stage, Told, World, compared, every, failed, taken, tally

#: Requests at once, and the checks one verification has (``max_checks``).
AT_ONCE, CHECKS = 100, 5
#: Rounds in which a right code is checked beside what ends it.
ROUNDS = 20
#: Seconds the storm lasts, callers of each service in it, and the wrong codes an hour that each may bring.
STORM, CALLERS, AN_HOUR = 20.0, 20, 20

#: One mailbox, in spellings.
_SPELT = ("victim@example.org", "VICTIM@example.org", "victim+a@Example.org", "victim+zz@example.ORG")


async def guessing(stage: Stage) -> None:
    """Play the guesser."""
    async with stage.world() as world:
        await all_wrong(world)
        await all_right(world)
        await spelt_oddly(world)
        await beside_its_end(world)
    async with stage.world(SENDS_FREELY) as world:
        await storm(world)


async def all_wrong(world: World) -> None:
    """Guess at once as often as the limits would never allow one after the other."""
    to = "wrong@example.org"
    begun, code = await world.started(to), await world.code(to)
    found = await every(world.check(begun, world.wrong(code)) for _ in range(AT_ONCE))
    after = (await world.check(begun, code))[0]
    world.verdict(
        f"{AT_ONCE} wrong codes at once: {CHECKS} are compared, and the right one is too late",
        (compared(found), taken(found), after) == (CHECKS, 0, 410) and not failed(found),
        f"{tally(found)}, then the right one {after}",
    )


async def all_right(world: World) -> None:
    """Get a second approval out of one code."""
    to = "right@example.org"
    begun, code = await world.started(to), await world.code(to)
    found = await every(world.check(begun, code) for _ in range(AT_ONCE))
    world.verdict(f"{AT_ONCE} right codes at once: one approval", taken(found) == 1 and not failed(found), tally(found))


async def spelt_oddly(world: World) -> None:
    """Send what only looks like the code, or might be read as any code."""
    to = "odd@example.org"
    begun, code = await world.started(to), await world.code(to)
    wide, arabic = ("".join(chr(base + int(digit)) for digit in code) for base in (0xFF10, 0x660))
    odd = [wide, arabic, [code], {"$ne": ""}, int(code), True, None, "", " ", code + "\n", "\u200b" + code]
    odd += [code + "\0", code[:5], code + "0", "*" * 6, "%" * 6, "_" * 6, "' OR '1'='1", f"{code},{code}"]
    found = [await world.check(begun, each) for each in odd]
    now = await world.fetched(begun)
    world.verdict(
        "what only looks like the code approves nothing",
        taken(found) == failed(found) == 0 and now["status"] != "approved",
        f"{tally(found)}, then {now['status']}",
    )


async def beside_its_end(world: World) -> None:
    """Check the right code in the moment in which it is canceled, resent, and its session ends."""
    seen: Counter[tuple[int, bool, bool, bool]] = Counter()
    for number in range(ROUNDS):
        to, session = f"beside{number}@example.org", f"s{number}"
        begun = await world.started(to, bind={"session": session})
        code, path = await world.code(to), f"/v1/verifications/{begun['id']}"
        bound = {"session": session}
        calls = [("right", world.check(begun, code, bind=bound)) for _ in range(8)] + [
            ("canceled", world.ours("POST", path + "/cancel")),
            ("ended", world.ours("DELETE", f"/v1/sessions/{session}")),
            ("resent", world.ours("POST", path + "/resend")),
            ("unbound", world.check(begun, code)),
            ("wrong", world.check(begun, world.wrong(code), bind=bound)),
        ]
        world.chance.shuffle(calls)
        found = await every(call for _, call in calls)
        by = [(what, *answer) for (what, _), answer in zip(calls, found, strict=True)]
        right = sum(status == 200 for what, status, _ in by if what == "right")
        over = any(status == 200 for what, status, _ in by if what == "canceled")
        over |= any(bool(told.get("canceled")) for what, _, told in by if what == "ended")
        unbound = any(status == 200 for what, status, _ in by if what == "unbound")
        seen[right, over, unbound, failed(found) > 0] += 1
    world.verdict(
        "a right code beside its cancel, its session's end, a resend and a check without its bind: one outcome",
        all(right + over <= 1 and not unbound and not broken for right, over, unbound, broken in seen),
        f"(approvals, canceled, unbound, failed): times {dict(seen)}",
    )


@dataclass
class Guesser:
    """One service in the storm: what it began, and what was compared."""

    world: World
    call: Calls
    ids: list[str] = field(default_factory=list)
    compared: int = 0
    failed: int = 0

    async def guess(self, until: float) -> None:
        """Begin, cancel, resend and guess, by chance, until a moment of the monotonic clock."""
        while time.monotonic() < until:
            if self.world.chance.random() < 0.3 or not self.ids:
                status, told = await self._begin()
                made = [told["id"]] if status == 201 else []
                made += [each["body"]["id"] for each in told.get("items", ()) if each["status"] == 201]
                self.ids += made
                await asyncio.sleep(0.05 if status == 429 else 0)
            else:
                status, told = await self._go_on(self.world.chance.choice(self.ids[-8:]))
            self.failed += status >= 500

    async def _begin(self) -> Told:
        chance, more = self.world.chance, dict[str, Any]()
        to: object = chance.choice(_SPELT)
        how = chance.random()
        if how < 0.3:
            return await self.call("POST", "/v1/verifications/batch", {"items": [{"to": each} for each in _SPELT]})
        if how < 0.45:
            to, more = {"email": to, "phone": "+4915112345678"}, {"channels": ["email", "sms"]}
        elif how < 0.6:
            more = {"ttl": 5}
        else:
            ip = f"203.0.113.{chance.randrange(200)}"
            more = {"client": {"reference": f"device{chance.randrange(9)}", "ip": ip}}
        return await self.call("POST", "/v1/verifications", {"to": to, **more})

    async def _go_on(self, number: str) -> Told:
        chance, path = self.world.chance, f"/v1/verifications/{number}"
        how = chance.random()
        if how < 0.15:
            return await self.call("POST", path + "/cancel")
        if how < 0.3:
            by = chance.choice([None, {"channel": "email"}, {"channel": "sms"}])
            return await self.call("POST", path + "/resend", by)
        found = await self.call("POST", path + "/check", {"code": self.world.guess()})
        # One that is right was compared, too.
        self.compared += found[0] == 200 or found[1].get("code") == "wrong_code"
        return found


async def storm(world: World) -> None:
    """Guess one mailbox's code over creates, spellings, channels, batches, devices, services and nodes."""
    guessers = [Guesser(world, world.ours), Guesser(world, world.theirs)]
    until = time.monotonic() + STORM
    await asyncio.gather(*(guesser.guess(until) for guesser in guessers for _ in range(CALLERS)))
    world.verdict(
        f"a storm of {2 * CALLERS} over two services: {AN_HOUR} compared an hour and service",
        all(0 < each.compared <= AN_HOUR and not each.failed for each in guessers),
        [f"{each.compared} compared of {len(each.ids)} verifications" for each in guessers],
    )

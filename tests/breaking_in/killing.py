"""A caller who guesses and approves while nodes are killed: nothing that was counted is forgotten."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field

import aiohttp

from tests.breaking_in.world import SENDS_FREELY, SETTLE, Calls, Stage, World

#: Seconds it lasts, the last of them without a kill; guessers of each service, and people who approve.
LASTS, CALM, GUESSERS, PEOPLE = 30.0, 6.0, 10, 3
#: Wrong codes an hour, by service and recipient; checks of one right code at once.
AN_HOUR, AT_ONCE = 20, 6
#: Seconds a letter is waited for.
WAIT = 5.0

_CREATE = "/v1/verifications"


async def killing(stage: Stage) -> None:
    """Play the guesser and the people, and the machine that fails them."""
    async with stage.world(SENDS_FREELY) as world:
        until = time.monotonic() + LASTS
        guessers = [Guesser(world, world.ours), Guesser(world, world.theirs)]
        people = [Approver(world, f"p{number}") for number in range(PEOPLE)]
        kills = asyncio.create_task(killed(world, until - CALM))
        await asyncio.gather(
            *(guesser.run(until) for guesser in guessers for _ in range(GUESSERS)),
            *(each.run(until) for each in people),
        )
        await asyncio.sleep(SETTLE)
        await judged(world, await kills, guessers, people)


async def killed(world: World, until: float) -> int:
    """Kill a node every few seconds and start it again; return how often."""
    kills = 0
    while time.monotonic() < until:
        await asyncio.sleep(world.chance.uniform(1.5, 3))
        node = world.chance.choice(world.nodes)
        await node.kill()
        await node.start()
        kills += 1
    return kills


@dataclass
class Guesser:
    """One service that guesses one mailbox's code."""

    world: World
    call: Calls
    ids: list[str] = field(default_factory=list)
    answers: Counter[int] = field(default_factory=Counter)

    async def run(self, until: float) -> None:
        """Begin, cancel, resend and guess until then; a request that nobody answers is made anew."""
        while time.monotonic() < until:
            try:
                self.answers[await self._one()] += 1
            except (aiohttp.ClientError, TimeoutError):
                # The node died meanwhile: answer 0.
                self.answers[0] += 1
                await asyncio.sleep(0.05)

    async def _one(self) -> int:
        chance = self.world.chance
        how = chance.random()
        if how < 0.3 or not self.ids:
            body = {"to": "victim@example.org", "client": {"reference": f"device{chance.randrange(3)}"}}
            status, told = await self.call("POST", _CREATE, body)
            self.ids += [told["id"]] if status == 201 else []
            await asyncio.sleep(0.03)
            return status
        path = f"{_CREATE}/{chance.choice(self.ids[-6:])}"
        if how < 0.5:
            return (await self.call("POST", path + ("/cancel" if how < 0.42 else "/resend")))[0]
        return (await self.call("POST", f"{path}/check", {"code": self.world.guess()}))[0]


@dataclass
class Approver:
    """One application whose people enter the right code, several times at once."""

    world: World
    name: str
    #: How often a code was approved so many times.
    approvals: Counter[int] = field(default_factory=Counter)

    async def run(self, until: float) -> None:
        """Approve one verification after the other until then."""
        number = 0
        while time.monotonic() < until:
            number += 1
            try:
                await self._one(f"{self.name}x{number}@example.org")
            except (aiohttp.ClientError, TimeoutError):
                # The node died before it answered; this one is not gone on with.
                await asyncio.sleep(0.05)

    async def _one(self, to: str) -> None:
        status, told = await self.world.ours("POST", _CREATE, {"to": to}, **{"Idempotency-Key": to})
        if status != 201:
            await asyncio.sleep(0.1)
            return
        await self.world.scene.until(lambda: bool(self.world.letters(to)), WAIT)
        if not self.world.letters(to):
            # It was under way when its node died: it comes later than this is to last.
            return
        code = await self.world.code(to)
        found = await asyncio.gather(*(self.world.check(told, code) for _ in range(AT_ONCE)), return_exceptions=True)
        self.approvals[sum(not isinstance(each, BaseException) and each[0] == 200 for each in found)] += 1


async def judged(world: World, kills: int, guessers: list[Guesser], people: list[Approver]) -> None:
    """See what the database says was compared, whatever was answered."""
    compared = []
    for guesser in guessers:
        ids = ", ".join(f"'{each}'" for each in guesser.ids) or "''"
        compared.append(await world.scene.store.count(f"SELECT sum(checks) FROM verification WHERE id IN ({ids})"))
    approvals = sum((each.approvals for each in people), Counter[int]())
    answers = sum((each.answers for each in guessers), Counter[int]())
    world.verdict(
        f"guesses while nodes are killed: {AN_HOUR} compared an hour and service",
        all(0 < each <= AN_HOUR for each in compared) and not answers[500],
        f"compared {compared}, {kills} kills, answers {dict(answers)}",
    )
    world.verdict(
        "right codes while nodes are killed: one approval each",
        approvals[1] > 0 and max(approvals) <= 1,
        f"codes by approvals {dict(approvals)}",
    )

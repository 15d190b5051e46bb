"""Two nodes and one bot: only one may listen, and whichever dies, nobody's message is lost or counted twice."""

from __future__ import annotations

import asyncio
import time

from gateway.sandbox.telegram import TelegramSandbox
from tests.faults.figures import Figures
from tests.faults.scene import Scene
from tests.faults.trial import POSTGRESQL, trial
from tests.journeys.node import by_bot

#: People who write, and how many a second.
WRITERS, RATE = 60, 30.0


@trial(
    "F-27",
    "two nodes poll one bot",
    inject="two nodes with one bot that answers 409 to a second poller; the one that polls is killed, people writing on",
    accept="at most one conflict, every update takes effect once, everybody is answered within 30 s",
    engines=(POSTGRESQL,),
    patient=True,
)
async def two_pollers(scene: Scene) -> Figures:
    async with TelegramSandbox(scene.inbox) as telegram:
        environ = scene.by_email(by_bot(telegram))
        first = await scene.started(environ)
        await scene.until(lambda: telegram.requests["getUpdates"] > 0, 20)
        second = await scene.started(environ)
        for number in range(WRITERS):
            if number == WRITERS // 2:
                await first.kill()
            telegram.person(1000 + number, f"Person {number}").write("/help")
            await asyncio.sleep(1 / RATE)
        killed = time.monotonic()
        people = {str(1000 + number) for number in range(WRITERS)}
        await scene.until(lambda: people <= {letter.to for letter in scene.inbox.letters}, 35)
        recovery = time.monotonic() - killed
        heard = await scene.store.count("SELECT count(*) FROM heard")
        answered = [letter.to for letter in scene.inbox.letters]
        return Figures(
            lost=len(people - set(answered)),
            duplicated=len(answered) - len(set(answered)),
            excused=1,
            recovery=recovery,
            recovery_within=30.0,
            others={"conflicts": telegram.conflicts, "updates that took effect": heard},
            held={
                "at most one conflict": telegram.conflicts <= 1,
                "every update takes effect once": heard == WRITERS,
                "the other node lives": second.runs,
            },
        )

"""Clocks that jump and clocks that disagree."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path

from gateway.sandbox.shapes import code_of
from tests.faults.figures import Figures, figures
from tests.faults.load import Load
from tests.faults.needs import FAKETIME, CannotInjectError, faketime_library
from tests.faults.scene import Scene
from tests.faults.trial import POSTGRESQL, trial

#: Seconds a clock is moved by.
HOURS = 7200


def shifted(offset: str, file: Path | None = None) -> dict[str, str]:
    """Return the variables that shift a process's clock; with a file, by what that says at any time."""
    library = faketime_library()
    if library is None:
        raise CannotInjectError("there is no libfaketime")
    if file is not None:
        file.write_text(offset)
    told = {"FAKETIME_TIMESTAMP_FILE": str(file)} if file is not None else {"FAKETIME": offset}
    # Monotonic clocks do not jump, so they are left alone.
    unmoved = {"DONT_FAKE_MONOTONIC": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1", "FAKETIME_NO_CACHE": "1"}
    return {"LD_PRELOAD": str(library), **told, **unmoved}


@trial(
    "F-23",
    "the machine's clock jumps",
    inject="libfaketime: 2 h ahead, 2 h back, a second back, under load; codes made before are checked after",
    accept="no code dies early or lives on, none sent twice or late, a warning is logged",
    needs=(FAKETIME,),
    patient=True,
)
async def a_jumping_clock(scene: Scene) -> Figures:
    file = scene.folder / "offset"
    node = await scene.started(more=shifted("+0", file))
    load = await scene.load(node)
    asking = asyncio.create_task(load.run(200, rate=20))
    held = {}
    for number, (name, offset) in enumerate((("ahead", f"+{HOURS}"), ("back", f"-{HOURS}"), ("a second back", "-1"))):
        long, short = 1000 + number, 2000 + number
        await load.ask(long)
        await load.ask(short, ttl=5)
        await scene.arrived(load, 20)
        file.write_text(offset)
        held[f"a code made before the jump ({name}) is good"] = await check(scene, load, long) == 200
        await asyncio.sleep(1)
        held[f"a fresh code after it ({name}) is good"] = await fresh(scene, load, 3000 + number) == 200
        await asyncio.sleep(4.2)
        held[f"a code of 5 s is dead after them ({name})"] = await check(scene, load, short) == 410
        file.write_text("+0")
    await asking
    recovery = await scene.arrived(load, 20)
    warned = '"level":"warning"' in node.said_in_log() and "clock" in node.said_in_log()
    return figures(
        load.promises.values(),
        scene.inbox.letters,
        recovery=recovery,
        recovery_within=20.0,
        others={"jumps": 6},
        held={**held, "a warning is logged": warned, "nothing odd": not load.odd},
    )


async def check(scene: Scene, load: Load, number: int) -> int:
    """Check the code that person got; return the HTTP status."""
    promise = load.promises[load.to(number)]
    assert scene.inbox.to(promise.to), "the code to be checked never came"
    status, _ = await load.post(
        f"/v1/verifications/{promise.id}/check", {"code": code_of(scene.inbox.to(promise.to)[-1])}
    )
    return status


async def fresh(scene: Scene, load: Load, number: int) -> int:
    """Ask for a code and check it; return the HTTP status of the check."""
    await load.ask(number)
    await scene.until(lambda: bool(scene.inbox.to(load.to(number))), 20)
    return await check(scene, load, number)


@trial(
    "F-24",
    "two nodes disagree about the time",
    inject="libfaketime: one node an hour ahead, one an hour behind, on one database",
    accept="twice 0, late 0, no code dies early: the database's clock counts",
    engines=(POSTGRESQL,),
    needs=(FAKETIME,),
)
async def disagreeing_clocks(scene: Scene) -> Figures:
    environ = scene.by_email(CHANNELS__EMAIL__RATE="60")
    nodes = [scene.node(environ, more=shifted("+3600")), scene.node(environ, more=shifted("-3600"))]
    await asyncio.gather(*(node.start() for node in nodes))
    turn = itertools.count()
    load = await scene.load(lambda: nodes[next(turn) % 2].url, ttl=60)
    asking = asyncio.create_task(load.run(400, rate=60))
    # A dead node's messages are taken by the one whose clock is two hours behind: when their leases lapse, not before.
    await asyncio.sleep(3)
    await nodes[0].kill()
    await nodes[0].start()
    await asking
    recovery = await scene.arrived(load, 28)
    lives = [promise.expires_at - promise.at for promise in load.promises.values()]
    crossed = [await check(scene, load, number) for number in range(380, 400)]
    return figures(
        load.promises.values(),
        scene.inbox.letters,
        excused=await scene.store.count("SELECT count(*) FROM attempt WHERE outcome = 'unknown'"),
        recovery=recovery,
        others={"shortest life s": round(min(lives), 1), "longest life s": round(max(lives), 1)},
        held={
            "every code lives for about its 60 s": min(lives) > 30 and max(lives) < 90,
            "codes of one node are good at the other": crossed == [200] * 20,
        },
    )

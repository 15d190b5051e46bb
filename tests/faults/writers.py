"""The process that writes long batches beside a gateway (SQLite) dies or stands still, alone or with its gateway.

It takes no part in what a careful application sends one by one: a crowd of callers at once, without keys, is what it is for.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path

from gateway.storage.sqlite_beside import TIMEOUT, several_cores
from tests.faults.crashes import MARGIN, RECOVERY
from tests.faults.disks import intact
from tests.faults.figures import Figures, figures, summed
from tests.faults.load import Load
from tests.faults.needs import Need
from tests.faults.nodes import PATIENCE, Node
from tests.faults.scene import Scene
from tests.faults.trial import SQLITE, trial

#: Callers at once, and seconds they call for before and after the fault.
CALLERS, BEFORE, AFTER = 48, 1.0, 4.0
#: Seconds a process has to end whose gateway is gone, and one to be started in the place of another.
SOON = 5.0
_PROGRAM = b"gateway.storage.sqlite_child"

CORES = Need("cores", lambda: None if several_cores() else "a second core, without which nothing is written beside")


def writer_of(node: Node) -> int | None:
    """Return the number of the process that writes beside a gateway (proc(5)); ``None`` where none does."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and _is_writer(entry, node.pid):
            return int(entry.name)
    return None


def _is_writer(entry: Path, parent: int) -> bool:
    try:
        # The name, in brackets, may hold anything; behind it come the state and the parent.
        told = (entry / "stat").read_text().rpartition(")")[2].split()
        return int(told[1]) == parent and told[0] != "Z" and _PROGRAM in (entry / "cmdline").read_bytes()
    except OSError:
        # It has ended meanwhile.
        return False


def lives(process: int) -> bool:
    """Whether a process is there and has not ended."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def end(process: int) -> None:
    """End a process without a word, unless it has ended by itself."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)


@dataclass
class Crowd:
    """Callers who ask without a pause, each time for somebody else, until they are told to stop."""

    load: Load
    node: Node
    _next: int = 0
    _stopped: bool = False

    async def run(self) -> None:
        """Ask until ``stop``; return once every caller has its last answer."""
        await asyncio.gather(*(self._call() for _ in range(CALLERS)))

    def stop(self) -> None:
        """Ask for nothing more."""
        self._stopped = True

    async def writer(self) -> int:
        """Wait until a process writes beside the gateway; return its number."""
        waited = time.monotonic()
        while (found := writer_of(self.node)) is None:
            assert time.monotonic() - waited < PATIENCE, "no process writes beside the gateway"
            await asyncio.sleep(0.05)
        return found

    async def _call(self) -> None:
        while not self._stopped:
            number, self._next = self._next, self._next + 1
            if (wait := await self.load.once(number)) is not None:
                # A 503's wait is for callers who give up nothing; these are to keep the gateway busy.
                await asyncio.sleep(min(wait, 0.2))


#: Does the harm: to the crowd's gateway, and the process that writes beside it.
_Harm = Callable[[Crowd, int], Awaitable[None]]


async def harmed(scene: Scene, harm: _Harm, *, after: float = AFTER, within: float = SOON) -> Figures:
    """Have a crowd ask, do the harm, and see what became of what was promised; ``within`` is the recovery's bound."""
    node = await scene.started()
    load = await scene.load(node)
    crowd = Crowd(load, node)
    asking = asyncio.create_task(crowd.run())
    writer = await crowd.writer()
    await asyncio.sleep(BEFORE)
    before, began = len(load.promises), time.monotonic()
    await harm(crowd, writer)
    done = time.monotonic()
    await scene.until(lambda: any(at > done for at in load.acknowledged), within + MARGIN)
    recovery = min((at for at in load.acknowledged if at > done), default=float("inf")) - began
    await asyncio.sleep(after)
    another = await scene.until(lambda: writer_of(node) not in {None, writer}, SOON + MARGIN)
    crowd.stop()
    await asking
    await scene.arrived(load, RECOVERY + MARGIN)
    return await _judged(
        scene, crowd, writer, before, recovery, within, held={"another writes": another < SOON + MARGIN}
    )


async def _judged(
    scene: Scene, crowd: Crowd, writer: int, before: int, recovery: float, within: float, *, held: dict[str, bool]
) -> Figures:
    load, node = crowd.load, crowd.node
    ids = {found[0] for found in await scene.store.rows("SELECT id FROM verification")}
    absent = [promise.id for promise in load.promises.values() if promise.id not in ids]
    unsettled = await scene.store.count("SELECT count(*) FROM attempt WHERE outcome = 'unknown'")
    latest = writer_of(node)
    code = await node.end()
    return figures(
        load.promises.values(),
        scene.inbox.letters,
        excused=unsettled,
        recovery=recovery,
        recovery_within=within,
        others={"codes": len(load.promises), "503": load.answers[503], "no answer": load.unanswered},
        held={
            "it was at work": before > 0 and not lives(writer),
            "no acknowledged row missing": not absent,
            "503 always with Retry-After": load.unguided == 0,
            "nothing but 201 and 503": not load.odd,
            "a stop ends both": code == 0 and (latest is None or not lives(latest)),
            "the file is intact": await intact(scene),
            **held,
        },
    )


@trial(
    "F-40",
    "what writes beside the gateway is killed",
    inject="SIGKILL to the second writer while 48 callers ask without a pause",
    accept="no acknowledged row missing, at most 503, accepted again ≤ 5 s, another writer takes over; lost 0",
    engines=(SQLITE,),
    needs=(CORES,),
)
async def a_killed_writer(scene: Scene) -> Figures:
    async def harm(_: Crowd, writer: int) -> None:
        end(writer)

    return await harmed(scene, harm)


@trial(
    "F-40",
    "what writes beside the gateway stands still",
    inject="SIGSTOP to the second writer while 48 callers ask without a pause",
    accept=f"ended within {TIMEOUT:g} s and replaced; no acknowledged row missing; lost 0",
    engines=(SQLITE,),
    needs=(CORES,),
)
async def a_stopped_writer(scene: Scene) -> Figures:
    async def harm(_: Crowd, writer: int) -> None:
        os.kill(writer, signal.SIGSTOP)
        await scene.until(lambda: not lives(writer), TIMEOUT + SOON)

    return await harmed(scene, harm, within=TIMEOUT + SOON)


@trial(
    "F-40",
    "what writes beside the gateway pauses",
    inject="SIGSTOP to the second writer for 0.8 s while 48 callers ask without a pause, then SIGCONT",
    accept="whoever asked meanwhile waits and is answered, at most 503; the same writer goes on; lost 0, twice 0",
    engines=(SQLITE,),
    needs=(CORES,),
)
async def a_paused_writer(scene: Scene) -> Figures:
    node = await scene.started()
    load = await scene.load(node)
    crowd = Crowd(load, node)
    asking = asyncio.create_task(crowd.run())
    writer = await crowd.writer()
    await asyncio.sleep(BEFORE)
    before = len(load.promises)
    os.kill(writer, signal.SIGSTOP)
    await asyncio.sleep(0.8)
    os.kill(writer, signal.SIGCONT)
    went_on = time.monotonic()
    await asyncio.sleep(BEFORE)
    same = writer_of(node) == writer
    crowd.stop()
    await asking
    await scene.arrived(load, RECOVERY + MARGIN)
    recovery = min((at for at in load.acknowledged if at > went_on), default=float("inf")) - went_on
    end(writer)
    held = {"the same writes on": same, "everybody was answered": not load.unanswered}
    return await _judged(scene, crowd, writer, before, recovery, SOON, held=held)


@trial(
    "F-40",
    "the gateway and what writes beside it are killed",
    inject="SIGKILL to the gateway alone, then to both at once, while 48 callers ask without a pause; started again",
    accept="the second writer ends with its gateway; no acknowledged row missing; lost 0, recovery ≤ 25 s",
    engines=(SQLITE,),
    needs=(CORES,),
)
async def killed_together(scene: Scene) -> Figures:
    async def alone(crowd: Crowd, _: int) -> None:
        await crowd.node.kill()

    async def both(crowd: Crowd, writer: int) -> None:
        end(writer)
        await crowd.node.kill()

    runs = []
    for harm in (alone, both) * scene.scale:
        async with scene.again() as fresh:
            runs.append(await _killed(fresh, harm))
    return summed(runs)


async def _killed(scene: Scene, harm: _Harm) -> Figures:
    async def restarted(crowd: Crowd, writer: int) -> None:
        await harm(crowd, writer)
        gone.append(await scene.until(lambda: not lives(writer), SOON))
        await crowd.node.start()

    gone: list[float] = []
    found = await harmed(scene, restarted, within=RECOVERY)
    return replace(found, held={**found.held, "the second writer ended with its gateway": gone[0] < SOON})

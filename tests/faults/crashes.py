"""A gateway dies, is paused or is told to stop, at the worst of moments."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections.abc import Mapping

from gateway.sandbox.inbox import Letter
from tests.faults.figures import Figures, figures, summed
from tests.faults.proxy import Proxy
from tests.faults.scene import Scene
from tests.faults.trial import POSTGRESQL, trial

#: Seconds after which whatever a dead node held must have been sent, and a margin to see that it was not.
RECOVERY, MARGIN = 25.0, 5.0
#: Requests per second, and kills of a sampled run.
RATE, KILLS = 40.0, 4


@trial(
    "F-01",
    "the process is killed again and again",
    inject="SIGKILL every 2 to 4 s under load, started again at once",
    accept="lost 0, late 0, twice only what was under way at a kill and then with the same code, recovery ≤ 25 s",
    patient=True,
)
async def kills(scene: Scene) -> Figures:
    # Slower than the requests come, and in no hurry: each kill finds a queue in memory and mails under way.
    slow = await scene.stack.enter_async_context(Proxy(scene.smtp.port))
    slow.delay = 0.03
    node = await scene.started(scene.by_email(port=slow.port, CHANNELS__EMAIL__RATE="30"))
    load = await scene.load(node)
    number = KILLS * scene.scale
    chance = random.Random(17)
    asking = asyncio.create_task(load.run(int(number * 4 * RATE * 0.6), RATE * 0.6))
    for _ in range(number):
        await asyncio.sleep(chance.uniform(2, 4))
        await node.kill()
        await node.start()
    restarted = time.monotonic()
    await asking
    await scene.arrived(load, RECOVERY + MARGIN)
    # From the last restart, or from the last request where that came later: nothing could be there before.
    recovery = time.monotonic() - max(restarted, *load.acknowledged)
    unsettled = await scene.store.count("SELECT count(*) FROM attempt WHERE outcome = 'unknown'")
    return figures(
        load.promises.values(),
        scene.inbox.letters,
        excused=unsettled,
        recovery=recovery,
        others={"kills": number, "codes": len(load.promises), "attempts under way at a kill": unsettled},
        held={
            "nothing but 201, 429 and 503": not load.odd,
            "no more under way at a kill than the channel's concurrency": unsettled <= 10 * number,
        },
    )


@trial(
    "F-02",
    "death between the provider's yes and our note of it",
    inject="the mail server kills the gateway once it has the mail, before it says so",
    accept="one send more, with the same code; lost 0",
    patient=True,
)
async def death_before_the_settling(scene: Scene) -> Figures:
    node = await scene.started()
    load = await scene.load(node, ttl=120)
    killed: list[str] = []

    def kill(letter: Letter) -> None:
        if not killed:
            killed.append(letter.to)
            os.kill(node.pid, signal.SIGKILL)

    scene.when_received(kill)
    await load.ask(0)
    await scene.until(lambda: not node.runs, 5)
    await node.start()
    restarted = time.monotonic()
    await scene.until(lambda: len(scene.inbox.to(killed[0])) > 1, RECOVERY + MARGIN)
    recovery = time.monotonic() - restarted
    await scene.until(lambda: _none_left(scene), MARGIN)
    return figures(
        load.promises.values(),
        scene.inbox.letters,
        excused=1,
        recovery=recovery,
        held={"exactly one send more": len(scene.inbox.to(killed[0])) == 2},
    )


async def _none_left(scene: Scene) -> bool:
    return not await scene.store.left()


@trial(
    "F-03",
    "death between the commit and the answer",
    inject="a proxy kills the gateway at the first byte of its answer and swallows it; the caller asks again",
    accept="one verification for an Idempotency-Key; lost 0",
    patient=True,
)
async def death_before_the_answer(scene: Scene) -> Figures:
    node = await scene.started()
    killed: list[float] = []

    def kill(_: bytes) -> bool:
        if not killed:
            killed.append(time.monotonic())
            os.kill(node.pid, signal.SIGKILL)
            return True
        return False

    async with Proxy(int(node.url.rpartition(":")[2])) as proxy:
        proxy.on_answer = kill
        load = await scene.load(lambda: proxy.url if not killed else node.url, ttl=120)
        asking = asyncio.create_task(load.run(1, 1))
        await scene.until(lambda: not node.runs, 5)
        await node.start()
        restarted = time.monotonic()
        await asking
        await scene.arrived(load, RECOVERY + MARGIN)
        recovery = time.monotonic() - restarted
        await scene.until(lambda: _none_left(scene), MARGIN)
    verifications = await scene.store.count("SELECT count(*) FROM verification")
    return figures(
        load.promises.values(),
        scene.inbox.letters,
        # It may have been sent in the instant before the process was gone.
        excused=await scene.store.count("SELECT count(*) FROM attempt WHERE outcome = 'unknown'"),
        recovery=recovery,
        others={"verifications": verifications},
        held={"killed": bool(killed), "one verification": verifications == 1},
    )


async def stopped(scene: Scene, environ: Mapping[str, str]) -> Figures:
    """Stop a gateway under load, start it again, and see what became of what it had promised."""
    node = await scene.started(environ)
    load = await scene.load(node)
    asking = asyncio.create_task(load.run(60, rate=60))
    await asyncio.sleep(0.5)
    began = time.monotonic()
    code = await node.end(signal.SIGTERM)
    took = time.monotonic() - began
    await node.start()
    restarted = time.monotonic()
    await asking
    await scene.arrived(load, 10)
    recovery = time.monotonic() - restarted
    await scene.until(lambda: _none_left(scene), 5)
    return figures(
        load.promises.values(),
        scene.inbox.letters,
        recovery=recovery,
        recovery_within=10.0,
        others={"longest stop s": round(took, 1)},
        held={"ended with 0": code == 0, "in 15 s": took <= 15},
    )


@trial(
    "F-22",
    "a stop under load",
    inject="SIGTERM while codes are being sent, then a start",
    accept="lost 0, twice 0, ends with 0 within 15 s",
    fast=True,
)
async def a_stop(scene: Scene) -> Figures:
    return await stopped(scene, scene.by_email())


@trial(
    "F-22",
    "stops under load, one after the other",
    inject="SIGTERM at different moments, with a mail server that takes 0.2 s",
    accept="lost 0, twice 0, ends with 0 within 15 s each time",
    patient=True,
)
async def stops(scene: Scene) -> Figures:
    runs = []
    for _ in range(3 * scene.scale):
        async with scene.again() as fresh, Proxy(fresh.smtp.port) as slow:
            slow.delay = 0.05
            runs.append(await stopped(fresh, fresh.by_email(port=slow.port)))
    return summed(runs)


@trial(
    "F-22",
    "a second stop while the first waits",
    inject="SIGTERM twice, the mail server holding its answer back",
    accept="ends at once; what it held is sent by the next start within 25 s, the one without an answer once more",
    patient=True,
)
async def an_impatient_stop(scene: Scene) -> Figures:
    async with Proxy(scene.smtp.port) as slow:
        node = await scene.started(scene.by_email(port=slow.port))
        load = await scene.load(node, ttl=120)
        slow.on_answer = lambda chunk: _hold(slow, chunk)
        await load.run(5, rate=50)
        await asyncio.sleep(0.5)
        os.kill(node.pid, signal.SIGTERM)
        await asyncio.sleep(0.5)
        began = time.monotonic()
        await node.end(signal.SIGTERM)
        took = time.monotonic() - began
        slow.on_answer, slow.swallow = lambda _: False, False
        await node.start()
        restarted = time.monotonic()
        await scene.arrived(load, RECOVERY + MARGIN)
        await scene.until(lambda: _none_left(scene), RECOVERY)
        recovery = time.monotonic() - restarted
    return figures(
        load.promises.values(),
        scene.inbox.letters,
        excused=await scene.store.count("SELECT count(*) FROM attempt WHERE outcome = 'unknown'"),
        recovery=recovery,
        others={"second stop s": round(took, 1)},
        held={"the second ends it at once": took < 2},
    )


def _hold(proxy: Proxy, chunk: bytes) -> bool:
    # The answer to the final dot names the queue id; from there on the network is a black hole.
    if b"queued as" in chunk:
        proxy.swallow = True
    return False


@trial(
    "F-26",
    "a node sleeps longer than its leases",
    inject="SIGSTOP one of two nodes for 24 s with codes in its hands, then SIGCONT",
    accept="lost 0; twice only what had been handed to a provider; what it lost is not sent or written by it",
    engines=(POSTGRESQL,),
    patient=True,
)
async def a_zombie(scene: Scene) -> Figures:
    # The sleeper sends 2 a second: most of what it holds has not been begun when it falls asleep.
    sleeper, other = await asyncio.gather(
        scene.started(scene.by_email(CHANNELS__EMAIL__RATE="2")), scene.started(scene.by_email())
    )
    load = await scene.load(sleeper, ttl=120)
    await load.run(20, rate=40)
    begun = await scene.store.count("SELECT count(*) FROM message WHERE status = 'sending'")
    sleeper.pause()
    slept = time.monotonic()
    took = await scene.arrived(load, RECOVERY + MARGIN)
    await asyncio.sleep(max(0.0, 24 - (time.monotonic() - slept)))
    sleeper.resume()
    await asyncio.sleep(4)
    return figures(
        load.promises.values(),
        scene.inbox.letters,
        excused=await scene.store.count("SELECT count(*) FROM attempt WHERE outcome = 'unknown'"),
        recovery=took,
        others={"under way when it fell asleep": begun},
        held={
            "both nodes live": sleeper.runs and other.runs,
            "nothing is left": not await scene.store.left(),
            "the awakened node serves": (await load.fetch("/readyz"))[0] == 200,
        },
    )

"""The application that wants to be told is dead, slow or gone."""

from __future__ import annotations

import asyncio
import base64
import time
from collections import defaultdict
from typing import Self

from aiohttp import web

from tests.faults.figures import Figures, figures
from tests.faults.load import percentile
from tests.faults.providers import latencies
from tests.faults.scene import Scene
from tests.faults.trial import trial

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()


class Receiver:
    """An application's endpoint. Open it with ``async with``; ``status`` is what it answers, ``delay`` when."""

    def __init__(self) -> None:
        self.status = 204
        self.delay = 0.0
        #: The monotonic seconds of each delivery, by its ``webhook-id``.
        self.deliveries: defaultdict[str, list[float]] = defaultdict(list)
        self.bodies: list[str] = []
        self.url = ""

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_post("/hook", self._take)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/hook"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    @property
    def calls(self) -> int:
        """How many requests came."""
        return sum(map(len, self.deliveries.values()))

    def settings(self) -> dict[str, str]:
        """Return the settings of a service that is told here."""
        return {
            "SERVICES__DEFAULT__WEBHOOK_URL": self.url,
            "SERVICES__DEFAULT__WEBHOOK_SECRET": SECRET,
            "WEBHOOKS__ALLOW_PRIVATE": "true",
        }

    async def _take(self, request: web.Request) -> web.Response:
        self.deliveries[request.headers["webhook-id"]].append(time.monotonic())
        self.bodies.append(await request.text())
        await asyncio.sleep(self.delay)
        return web.Response(status=self.status)


@trial(
    "F-31",
    "the application's endpoint hangs",
    inject="an endpoint that answers nothing for 60 s, 20 codes a second beside it",
    accept="the codes' p95 stays within twice what it was, and 0.1 s",
)
async def a_hanging_endpoint(scene: Scene) -> Figures:
    async with Receiver() as receiver:
        node = await scene.started(scene.by_email(receiver.settings()))
        before_load = await scene.load(node, name="before")
        await before_load.run(100, rate=20)
        await scene.arrived(before_load, 10)
        receiver.delay = 60.0
        beside = await scene.load(node, name="beside", to=lambda n: f"beside{n}@example.org")
        await beside.run(200, rate=20)
        await scene.arrived(beside, 10)
        before, after = (percentile(latencies(scene, load), 0.95) for load in (before_load, beside))
        return figures(
            [*before_load.promises.values(), *beside.promises.values()],
            scene.inbox.letters,
            others={
                "p95 before ms": round(before * 1000),
                "p95 beside ms": round(after * 1000),
                "told before": receiver.calls,
            },
            held={
                "codes are as quick": after <= 2 * before + 0.1,
                "it was told of those before": receiver.calls >= 100,
            },
        )


@trial(
    "F-31",
    "the application's endpoint fails, then recovers",
    inject="500 to the first deliveries, 204 from then on",
    accept="each is delivered again after 5 s, under the same webhook-id; none is lost",
    patient=True,
)
async def a_failing_endpoint(scene: Scene) -> Figures:
    async with Receiver() as receiver:
        receiver.status = 500
        node = await scene.started(scene.by_email(receiver.settings()))
        load = await scene.load(node)
        await load.run(5, rate=20)
        await scene.arrived(load, 10)
        await scene.until(lambda: receiver.calls >= 5, 10)
        receiver.status = 204
        failed = dict(receiver.deliveries)
        took = await scene.until(lambda: all(len(receiver.deliveries[name]) > 1 for name in failed), 20)
        waits = [times[1] - times[0] for name in failed if len(times := receiver.deliveries[name]) > 1]

        async def told() -> bool:
            return not await scene.store.count("SELECT count(*) FROM webhook WHERE status = 'pending'")

        settled = await scene.until(told, 20)
        return figures(
            load.promises.values(),
            scene.inbox.letters,
            others={"failed first": len(failed), "shortest wait s": round(min(waits, default=0.0), 1)},
            held={
                "each comes again under its id": took < 20,
                "after 5 s and not before": min(waits, default=0.0) >= 4.5,
                "nothing is left": settled < 20,
            },
        )


@trial(
    "F-31",
    "the application's endpoint is gone",
    inject="410 to every delivery",
    accept="disabled: nothing is sent to it any more, codes are",
    fast=True,
)
async def a_gone_endpoint(scene: Scene) -> Figures:
    async with Receiver() as receiver:
        receiver.status = 410
        node = await scene.started(scene.by_email(receiver.settings()))
        load = await scene.load(node)
        await load.ask(0)

        async def disabled() -> bool:
            return await scene.store.count("SELECT count(*) FROM endpoint") == 1

        took = await scene.until(disabled, 15)
        calls = receiver.calls
        await load.run(20, rate=50, first=1)
        await scene.arrived(load, 10)
        await asyncio.sleep(2)
        return figures(
            load.promises.values(),
            scene.inbox.letters,
            others={"deliveries before": calls, "afterwards": receiver.calls - calls},
            held={"disabled": took < 15, "nothing is sent to it any more": receiver.calls == calls},
        )


@trial(
    "F-31",
    "the process is killed while it tells",
    inject="SIGKILL while deliveries are under way, then a start",
    accept="every event is told at least once within 30 s, under one id",
    patient=True,
)
async def killed_while_telling(scene: Scene) -> Figures:
    async with Receiver() as receiver:
        receiver.delay = 1.0
        node = await scene.started(scene.by_email(receiver.settings()))
        load = await scene.load(node)
        await load.run(20, rate=50)
        await scene.until(lambda: receiver.calls > 3, 10)
        await node.kill()
        receiver.delay = 0.0
        await node.start()
        restarted = time.monotonic()

        async def told() -> bool:
            return not await scene.store.count("SELECT count(*) FROM webhook WHERE status = 'pending'")

        await scene.arrived(load, 28)
        await scene.until(told, 30)
        recovery = time.monotonic() - restarted
        rows = await scene.store.rows("SELECT id, status FROM webhook")
        return figures(
            load.promises.values(),
            scene.inbox.letters,
            excused=await scene.store.count("SELECT count(*) FROM attempt WHERE outcome = 'unknown'"),
            recovery=recovery,
            recovery_within=30.0,
            others={"events": len(rows), "deliveries": receiver.calls},
            held={
                "each was delivered": all(status == "delivered" for _, status in rows) and bool(rows),
                "each came here": {name for name, _ in rows} <= receiver.deliveries.keys(),
            },
        )

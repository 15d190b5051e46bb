"""Codes that are replaced, canceled, used or dead while something still waits to send them."""

from __future__ import annotations

import asyncio
import time

from aiohttp import web

from gateway.sandbox.inbox import Letter
from gateway.sandbox.shapes import code_of
from tests.faults import stub
from tests.faults.figures import Figures, figures
from tests.faults.load import Load, mobile, percentile
from tests.faults.providers import latencies
from tests.faults.scene import Scene
from tests.faults.stub import Call, Provider
from tests.faults.trial import SQLITE, trial

#: Seconds a busy machine may take over what is done at once.
PATIENCE = 20.0


async def failing_first(provider: Provider, call: Call) -> web.Response:
    """Refuse the first request to each recipient for the moment, take the others."""
    answer = stub.refused(503, 20503) if call.number == 1 else stub.accepted
    return await answer(provider, call)


async def failing(provider: Provider, call: Call) -> web.Response:
    """Refuse every request for the moment."""
    return await stub.refused(503, 20503)(provider, call)


async def asked_and_called(scene: Scene, load: Load, provider: Provider, number: int) -> None:
    """Ask for codes and wait until each was tried once."""
    await load.run(number, rate=100)
    await scene.until(lambda: len({call.to for call in provider.calls}) >= number, PATIENCE)


@trial(
    "F-28",
    "a new code overtakes the old one",
    inject="the first send fails and waits for its repeat; meanwhile a resend makes a new code (resend = new)",
    accept="the old code is not sent again and no longer good; the newest is",
    fast=True,
)
async def a_new_code(scene: Scene) -> Figures:
    async with Provider(scene.inbox, failing_first) as provider:
        node = await scene.started(
            scene.by_email(
                provider.settings("sms"),
                SERVICES__DEFAULT__CHANNELS='["sms"]',
                SERVICES__DEFAULT__CODE__RESEND="new",
            )
        )
        load = await scene.load(node, to=mobile, ttl=120)
        await asked_and_called(scene, load, provider, 10)
        for promise in load.promises.values():
            status, told = await load.post(f"/v1/verifications/{promise.id}/resend", {})
            assert status == 202, told
        await scene.arrived(load, PATIENCE)
        # Longer than the longest backoff after one failure.
        await asyncio.sleep(2)
        codes = {to: [_code(call) for call in provider.calls if call.to == to] for to in load.promises}
        stale = [to for to, sent in codes.items() if sent.count(sent[0]) > 1]
        newest = [await _check(load, to, sent[-1]) for to, sent in codes.items()]
        return figures(
            load.promises.values(),
            scene.inbox.letters,
            others={"resends": len(codes)},
            held={
                "no old code is sent after the new one": not stale,
                "the newest is good": newest == [200] * len(codes),
            },
        )


def _code(call: Call) -> str | None:
    return code_of(Letter("twilio", call.to, call.body, b"", {}, call.at, call.sid))


async def _check(load: Load, to: str, code: str | None) -> int:
    status, _ = await load.post(f"/v1/verifications/{load.promises[to].id}/check", {"code": code})
    return status


@trial(
    "F-29",
    "canceled or used while a repeat waits",
    inject="every first send fails; half are canceled while the repeat waits; of the rest the answer was lost and the "
    "person enters the code",
    accept="nothing is sent after a cancel or an approval",
)
async def an_end_while_waiting(scene: Scene) -> Figures:
    async def first_lost(provider: Provider, call: Call) -> web.Response:
        if int(call.to[-1]) % 2:
            return await failing_first(provider, call)
        provider.take(call)
        return await (stub.refused(500, 20500) if call.number == 1 else stub.accepted)(provider, call)

    async with Provider(scene.inbox, first_lost) as provider:
        node = await scene.started(
            scene.by_email(provider.settings("sms"), SERVICES__DEFAULT__CHANNELS='["sms", "email"]')
        )
        load = await scene.load(node, to=mobile, ttl=120)
        await asked_and_called(scene, load, provider, 20)
        over = {}
        for to, promise in load.promises.items():
            if letters := scene.inbox.to(to):
                status = await _check(load, to, code_of(letters[0]))
            else:
                status, _ = await load.post(f"/v1/verifications/{promise.id}/cancel", {})
            over[to] = (status, time.time())
        await asyncio.sleep(5)
        after = [call for call in provider.calls if call.at > over[call.to][1]]
        return figures(
            [],
            [],
            others={"ended": len(over), "sends afterwards": len(after)},
            held={
                "each was canceled or approved": all(status == 200 for status, _ in over.values()),
                "nothing is sent afterwards": not after,
                "nothing goes on along the route": not scene.smtp.deliveries,
            },
        )


@trial(
    "F-30",
    "the provider is back when the code is dead",
    inject="503 to everything until the codes of 10 s have died, then 201",
    accept="late 0; the verification is expired or failed",
    patient=True,
)
async def back_too_late(scene: Scene) -> Figures:
    async with Provider(scene.inbox, failing) as provider:
        node = await scene.started(scene.by_email(provider.settings("sms"), SERVICES__DEFAULT__CHANNELS='["sms"]'))
        load = await scene.load(node, to=mobile, ttl=10)
        await load.run(20, rate=20)
        await asyncio.sleep(max(0.0, max(promise.expires_at for promise in load.promises.values()) - time.time()))
        provider.answer = stub.accepted
        await asyncio.sleep(8)
        statuses = {(await load.fetch(f"/v1/verifications/{p.id}"))[1]["status"] for p in load.promises.values()}
        return figures(
            load.promises.values(),
            scene.inbox.letters,
            expected_silent=list(load.promises),
            others={"ended as": " and ".join(sorted(statuses))},
            held={
                "expired or failed, each": statuses <= {"expired", "failed"},
                "nothing was sent": not scene.inbox.letters,
            },
        )


@trial(
    "F-32",
    "messages that fail whatever is done",
    inject="50 recipients whose every send is answered 503, among 400 others at 80/s",
    accept="the others' p95 stays within twice what it was, and 0.5 s; the 50 end as failed and are listed",
    engines=(SQLITE,),
)
async def poison(scene: Scene) -> Figures:
    poisoned = {mobile(n) for n in range(5000, 5050)}

    async def some_fail(provider: Provider, call: Call) -> web.Response:
        answer = stub.refused(503, 20503) if call.to in poisoned else stub.accepted
        return await answer(provider, call)

    async with Provider(scene.inbox, some_fail) as provider:
        node = await scene.started(scene.by_email(provider.settings("sms"), SERVICES__DEFAULT__CHANNELS='["sms"]'))
        alone = await scene.load(node, to=mobile, name="alone", ttl=120)
        await alone.run(160, rate=80)
        await scene.arrived(alone, PATIENCE)
        before = percentile(latencies(scene, alone), 0.95)
        bad = await scene.load(node, to=lambda n: mobile(5000 + n), name="bad", ttl=120)
        beside = await scene.load(node, to=lambda n: mobile(1000 + n), name="beside", ttl=120)
        await asyncio.gather(bad.run(50, rate=12.5), beside.run(400, rate=80))
        await scene.arrived(beside, PATIENCE)
        after = percentile(latencies(scene, beside), 0.95)

        async def failed() -> bool:
            return await scene.store.count("SELECT count(*) FROM verification WHERE status = 'failed'") >= 50

        took = await scene.until(failed, 40)
        _, listed = await bad.fetch("/v1/verifications?status=failed&limit=100")
        return figures(
            [*alone.promises.values(), *beside.promises.values()],
            scene.inbox.letters,
            others={"p95 before ms": round(before * 1000), "p95 beside ms": round(after * 1000)},
            held={
                "the others are as quick": after <= 2 * before + 0.5,
                "the 50 end": took < 40,
                "and are listed": len(listed["items"]) >= 50,
            },
        )


@trial(
    "F-33",
    "more requests than can be sent",
    inject="3,000 requests at once where 20 a second can be sent (codes of 60 s), another service asking once a second",
    accept="503 with Retry-After instead of codes that die waiting; the other service is served; lost 0, late 0",
    engines=(SQLITE,),
)
async def a_burst(scene: Scene) -> Figures:
    environ = scene.by_email(CHANNELS__EMAIL__RATE="20", SERVICES__SHOP__NAME="Shop")
    node = scene.node(environ)
    key = (await node.run("keys", "create", "--service", "shop")).strip()
    await node.start()
    burst = await scene.load(node, name="burst", ttl=60, obey=60.0)
    shop = await scene.stack.enter_async_context(
        Load(key, lambda: node.url, ttl=60, name="shop", to=lambda n: f"shop{n}@example.org", obey=60.0)
    )
    asking = asyncio.create_task(burst.run(3000, rate=600))
    await asyncio.sleep(3)
    asked = asyncio.create_task(shop.run(20, rate=1))
    await asyncio.sleep(25)
    refused = burst.answers[503]
    asking.cancel()
    await asyncio.wait([asking])
    await asked
    await scene.arrived(shop, 30)
    await scene.arrived(burst, 60)
    waits = latencies(scene, shop)
    return figures(
        [*burst.promises.values(), *shop.promises.values()],
        scene.inbox.letters,
        others={
            "accepted of 3,000": len(burst.promises),
            "503": refused,
            "the other service's longest wait s": round(max(waits, default=0.0), 1),
        },
        held={
            "refused instead of accepted to die": refused > 0,
            "503 always with Retry-After": burst.unguided == 0,
            "the other service has every code within 15 s": len(waits) == 20 and max(waits) <= 15,
            "nothing odd": not burst.odd and not shop.odd,
        },
    )

"""Providers that are slow, silent, wrong, overloaded or away."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass
from email.utils import formatdate

from aiohttp import web

from gateway.sandbox.fault import Fault
from tests.faults import stub
from tests.faults.figures import Figures, figures
from tests.faults.load import Load, mobile, percentile
from tests.faults.nodes import free_port
from tests.faults.proxy import Proxy
from tests.faults.scene import Scene
from tests.faults.stub import Call, Provider
from tests.faults.trial import SQLITE, trial

#: Seconds a channel has while another follows it, and what a busy machine adds.
SHARE, SLACK = 8.0, 1.5


@trial(
    "F-04",
    "an answer is lost, its receipt is not",
    inject="the provider takes the message, never answers, and reports it delivered after 1 s",
    accept="delivered; at most one repeat; no fallback",
    fast=True,
)
async def a_lost_answer(scene: Scene) -> Figures:
    async def silent(provider: Provider, call: Call) -> web.Response:
        provider.take(call)
        if call.number == 1:
            provider.later(1.0, call, "delivered")
            await asyncio.sleep(60)
        return stub.taken(call)

    async with Provider(scene.inbox, silent) as provider:
        port = free_port()
        node = await scene.started(
            scene.by_email(
                provider.settings("sms"),
                CHANNELS__SMS__TIMEOUT="2",
                SERVER__PUBLIC_URL=f"http://127.0.0.1:{port}",
                SERVICES__DEFAULT__CHANNELS='["sms", "email"]',
            ),
            port=port,
        )
        load = await scene.load(node, to=mobile, ttl=60)
        promise = await load.ask(0, to={"phone": mobile(0), "email": "ann@example.org"})
        assert promise is not None

        async def told() -> bool:
            return ("sms", "delivered") in await load.statuses(promise)

        took = await scene.until(told, 6)
        await asyncio.sleep(1.5)
        statuses = await load.statuses(promise)
        return figures(
            load.promises.values(),
            scene.inbox.letters,
            excused=1,
            others={"requests": len(provider.calls), "delivered after s": round(took, 1)},
            held={
                "delivered by its receipt": statuses == [("sms", "delivered")],
                "at most one repeat": len(provider.calls) <= 2,
                "no fallback": not scene.inbox.to("ann@example.org"),
            },
        )


@trial(
    "F-05",
    "a provider is a black hole",
    inject="a proxy that accepts connections and passes nothing on; a route that goes on by e-mail",
    accept="the person has the code by the next channel within 8 s",
    engines=(SQLITE,),
)
async def a_black_hole(scene: Scene) -> Figures:
    async with Provider(scene.inbox) as provider, Proxy(int(provider.url.rpartition(":")[2])) as hole:
        hole.swallow = True
        node = await scene.started(
            scene.by_email(
                {**provider.settings("sms"), "CHANNELS__SMS__BASE_URL": hole.url},
                SERVICES__DEFAULT__CHANNELS='["sms", "email"]',
            )
        )
        took = await fallbacks(scene, node.url, 8)
        return figures(
            [],
            scene.inbox.letters,
            others={"slowest fallback s": round(max(took), 1)},
            held={
                "all by the next channel within 8 s": max(took) <= SHARE + SLACK,
                "none by the dead one": not provider.calls,
            },
        )


async def fallbacks(scene: Scene, url: str, number: int) -> list[float]:
    """Ask for codes by SMS and then e-mail; return the seconds each took to arrive by e-mail."""
    load = await scene.load(lambda: url, to=mobile)
    asked = time.time()
    await asyncio.gather(
        *(load.ask(n, to={"phone": mobile(n), "email": f"fallback{n}@example.org"}) for n in range(number))
    )
    await scene.until(lambda: all(scene.inbox.to(f"fallback{n}@example.org") for n in range(number)), 15)
    arrived = [scene.inbox.to(f"fallback{n}@example.org") for n in range(number)]
    return [letters[0].received_at - asked if letters else float("inf") for letters in arrived]


@trial(
    "F-12",
    "one channel is dead, the others are not",
    inject="SMS into a black hole at 20/s, e-mail at 20/s beside it",
    accept="e-mail's p95 from the request to the mailbox stays within twice what it was, and 0.1 s",
    engines=(SQLITE,),
)
async def a_dead_channel(scene: Scene) -> Figures:
    async with Provider(scene.inbox) as provider, Proxy(int(provider.url.rpartition(":")[2])) as hole:
        hole.swallow = True
        node = await scene.started(
            scene.by_email(
                {**provider.settings("sms"), "CHANNELS__SMS__BASE_URL": hole.url},
                SERVICES__DEFAULT__CHANNELS='["sms", "email"]',
            )
        )
        alone = await scene.load(node, name="alone")
        await alone.run(80, rate=20, channels=["email"])
        await scene.arrived(alone, 5)
        before = percentile(latencies(scene, alone), 0.95)
        dead = await scene.load(node, to=mobile, name="dead")
        beside = await scene.load(node, to=lambda n: f"beside{n}@example.org", name="beside")
        asking = asyncio.create_task(dead.run(100, rate=20, channels=["sms"]))
        await asyncio.sleep(1)
        await beside.run(80, rate=20, channels=["email"])
        await scene.arrived(beside, 5)
        after = percentile(latencies(scene, beside), 0.95)
        asking.cancel()
        return figures(
            [*alone.promises.values(), *beside.promises.values()],
            scene.inbox.letters,
            others={"p95 before ms": round(before * 1000), "p95 beside ms": round(after * 1000)},
            held={"e-mail is as quick as before": after <= 2 * before + 0.1},
        )


def latencies(scene: Scene, load: Load) -> list[float]:
    """Return the seconds between each acknowledgement and its first letter, negative where the letter was first."""
    first: dict[str, float] = {}
    for letter in scene.inbox.letters:
        first.setdefault(letter.to, letter.received_at)
    return [first[to] - promise.at for to, promise in load.promises.items() if to in first]


@trial(
    "F-08",
    "answers that are wrong in every way",
    inject="5xx, an HTML page, JSON cut short, an error in a 200, a reset; SMTP: 451, a reset and rubbish after the dot",
    accept="rejected, transient and ambiguous told apart; every code arrives, an ambiguous one is repeated once",
    engines=(SQLITE,),
    fast=True,
)
async def wrong_answers(scene: Scene) -> Figures:
    numbers = {mobile(place): wrong for place, wrong in enumerate(WRONG_HTTP)}

    async def wrong(provider: Provider, call: Call) -> web.Response:
        return await (numbers[call.to].answer if call.number == 1 else stub.accepted)(provider, call)

    for to, (fault, _) in WRONG_MAIL.items():
        scene.smtp.faults.set(fault, times=1, recipient=to)
    expected = {to: (wrong.name, wrong.outcome) for to, wrong in numbers.items()}
    expected |= {to: (fault.value, outcome) for to, (fault, outcome) in WRONG_MAIL.items()}
    async with Provider(scene.inbox, wrong) as provider:
        node = await scene.started(
            scene.by_email(provider.settings("sms"), SERVICES__DEFAULT__CHANNELS='["sms", "email"]')
        )
        load = await scene.load(node, to=list(expected).__getitem__)
        await load.run(len(expected), rate=50)
        recovery = await scene.arrived(load, 10)
        await scene.until(lambda: _all_sent(scene), 3)
        held = {}
        for to, (name, outcome) in expected.items():
            found = [attempt[1] for attempt in await load.outcomes(load.promises[to])]
            held[f"{name}: {outcome}, then sent (was {', '.join(map(str, found))})"] = found == [outcome, "sent"]
        return figures(
            load.promises.values(),
            scene.inbox.letters,
            recovery=recovery,
            recovery_within=8.0,
            held=held,
            others={"kinds": len(expected)},
        )


@dataclass(frozen=True, slots=True)
class Wrong:
    """One wrong answer by HTTP, and what an attempt that meets it counts as."""

    name: str
    answer: stub.Answer
    outcome: str


WRONG_HTTP = (
    Wrong("503", stub.refused(503, 20503), "transient"),
    Wrong("HTML with 200", stub.raw(b"<html>It works!</html>"), "unknown"),
    Wrong("JSON cut short", stub.raw(b'{"sid": "SM', 201, "application/json"), "unknown"),
    Wrong("an error in a 200", stub.raw(b'{"code": 30001, "message": "no"}', 200, "application/json"), "unknown"),
    Wrong("500", stub.refused(500, 20500), "unknown"),
)
#: The same by SMTP, by recipient.
WRONG_MAIL = {
    "defer@example.org": (Fault.DEFER, "transient"),
    "reset@example.org": (Fault.RESET, "unknown"),
    "garble@example.org": (Fault.GARBLE, "unknown"),
}


async def _all_sent(scene: Scene) -> bool:
    return not await scene.store.left()


#: What a provider may write into Retry-After, and whether the same channel may still deliver within its 8 s.
RETRY_AFTER = {"0": True, "2": True, "30": False, "3600": False, "-5": True, "soon": True, "date": True}


@trial(
    "F-09",
    "a storm of 429",
    inject="every request refused with 429 and Retry-After of 0, 2, 30, 3600, -5, a word and a date",
    accept="no request while told to wait, those under way excepted; the next channel where the wait is too long",
    engines=(SQLITE,),
)
async def a_storm_of_429(scene: Scene) -> Figures:
    providers = [await scene.stack.enter_async_context(Provider(scene.inbox, limited(value))) for value in RETRY_AFTER]
    names = [f"sms{place}" for place in range(len(providers))]
    node = await scene.started(
        scene.by_email(
            *(provider.settings(name) for name, provider in zip(names, providers, strict=True)),
            SERVICES__DEFAULT__CHANNELS='["' + '", "'.join([*names, "email"]) + '"]',
        )
    )
    load = await scene.load(node, to=mobile)
    # Each channel has five people of its own, and they have an address for e-mail as well.
    people = {place * 100 + number: names[place] for place in range(len(names)) for number in range(5)}
    for person, name in people.items():
        to = {"phone": mobile(person), "email": f"p{person}@example.org"}
        await load.ask(person, channels=[name, "email"], to=to)

    def reached(person: int) -> bool:
        return bool(scene.inbox.to(mobile(person)) or scene.inbox.to(f"p{person}@example.org"))

    took = await scene.until(lambda: all(map(reached, people)), 12)
    disobeyed = sum(early(provider, value) for provider, value in zip(providers, RETRY_AFTER, strict=True))
    held = {"everybody has a code": took < 12, "none while told to wait": disobeyed == 0}
    for name, (value, patient) in zip(names, RETRY_AFTER.items(), strict=True):
        by_mail = [person for person, own in people.items() if own == name and scene.inbox.to(f"p{person}@example.org")]
        held[f"Retry-After {value}: {'the same' if patient else 'the next'} channel"] = (not by_mail) == patient
    return figures(
        [], [], others={"requests while told to wait": disobeyed, "all sent after s": round(took, 1)}, held=held
    )


def limited(value: str) -> stub.Answer:
    """Return an answer that refuses a provider's first request with that Retry-After, and what comes within it."""
    begun: list[float] = []

    async def answer(provider: Provider, call: Call) -> web.Response:
        begun.append(call.monotonic)
        if call.monotonic < begun[0] + max(seconds(value), 0.3):
            shown = formatdate(time.time() + 2, usegmt=True) if value == "date" else value
            return await stub.refused(429, 20429, **{"Retry-After": shown})(provider, call)
        return await stub.accepted(provider, call)

    return answer


def seconds(value: str) -> float:
    """Return how long a Retry-After asks to wait; 0 where it says nothing."""
    # A date has whole seconds: up to one is cut off.
    return 1.0 if value == "date" else max(0.0, float(value)) if value.lstrip("-").isdigit() else 0.0


def early(provider: Provider, value: str) -> int:
    """Return how many requests came while the provider had asked to wait; 0.1 s of them were under way."""
    first = provider.calls[0].monotonic if provider.calls else 0.0
    return sum(first + 0.1 < call.monotonic < first + seconds(value) - 0.05 for call in provider.calls)


@trial(
    "F-10",
    "one request in ten fails",
    inject="503 to a random tenth of the requests, 600 codes at 100/s",
    accept="every code arrives in its life; at most 1.16 attempts a code (1.11 expected)",
    engines=(SQLITE,),
)
async def a_tenth_fails(scene: Scene) -> Figures:
    chance = random.Random(23)

    async def flaky(provider: Provider, call: Call) -> web.Response:
        answer = stub.refused(503, 20503) if chance.random() < 0.1 else stub.accepted
        return await answer(provider, call)

    async with Provider(scene.inbox, flaky) as provider:
        node = await scene.started(scene.by_email(provider.settings("sms"), SERVICES__DEFAULT__CHANNELS='["sms"]'))
        load = await scene.load(node, to=mobile, ttl=120)
        await load.run(600, rate=100)
        recovery = await scene.arrived(load, 25)
        mean = len(provider.calls) / max(1, len(load.promises))
        return figures(
            load.promises.values(),
            scene.inbox.letters,
            recovery=recovery,
            others={"attempts a code": round(mean, 2)},
            held={"at most 1.16 attempts a code": mean <= 1.16},
        )


@trial(
    "F-11",
    "a total outage, then a herd",
    inject="a mail server that cuts every connection for 20 s (--long: 3 min) at 15/s, then works again",
    accept="late 0, lost 0; afterwards not faster than the configured 20/s",
    engines=(SQLITE,),
)
async def an_outage(scene: Scene) -> Figures:
    outage, rate = (20.0 if scene.scale == 1 else 180.0), 20.0
    async with Proxy(scene.smtp.port) as proxy:
        node = await scene.started(scene.by_email(port=proxy.port, CHANNELS__EMAIL__RATE=f"{rate:g}"))
        load = await scene.load(node, ttl=300)
        proxy.refuse = True
        # What the gateway cannot take it refuses with 503: a careful caller comes again.
        asking = asyncio.create_task(load.run(int(outage * 15 / 2), rate=15 / 2))
        await asyncio.sleep(outage)
        proxy.refuse = False
        healed = time.time()
        await asking
        failed = await scene.told(load)
        recovery = await scene.arrived(load, 60, silent=failed)
        failed = await scene.told(load)
        sends = sorted(letter.received_at for letter in scene.inbox.letters if letter.received_at >= healed)
        peak = max((sum(at <= other < at + 1 for other in sends) for at in sends), default=0)
        return figures(
            load.promises.values(),
            scene.inbox.letters,
            expected_silent=failed,
            recovery=recovery,
            recovery_within=60.0,
            others={
                "outage s": round(outage),
                "codes": len(load.promises),
                "told to have failed": len(failed),
                "peak sends a second": peak,
                "503": load.answers[503],
            },
            held={
                "not faster than configured": peak <= rate * 1.1 + 1,
                # Those that had used up their four tries before the breaker opened.
                "at most a quarter failed": len(failed) <= len(load.promises) / 4,
            },
        )

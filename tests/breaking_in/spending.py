"""A caller who pumps money: past what a service may spend in a day, and into a block of numbers that is paid for.

Not to be played over midnight UTC, when the day's allowance begins anew.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from gateway.sandbox import magic
from gateway.sandbox.fault import Fault
from tests.breaking_in.world import OPEN, SENDS_FREELY, SETTLE, Stage, World, every

#: SMS that a day's 2.0 pays for at 0.1; what two nodes let through before they hear of each other is as much again.
PAID = 20
#: Rounds of creates at once, and creates in one.
ROUNDS, AT_ONCE = 8, 25
#: Numbers of one block that are asked for, those of them behind mailboxes of the pump's own, and sends the block takes
#: an hour without approvals (``prefix_per_hour``).
NEIGHBOURS, OWN, BLOCK = 150, 12, 20
#: Numbers behind a mail, which costs nothing, and SMS that a day's 1.0 pays for on one node.
BEHIND, PAID_BEHIND = 40, 10
#: Messages a service may have waiting, and creates at once.
ROOM, CROWD = 20, 120

_CREATE = "/v1/verifications"
_BY_SMS = {"channel": "sms"}
_BLOCK = "+491511234"


async def spending(stage: Stage) -> None:
    """Play the pump."""
    async with stage.world(f"{SENDS_FREELY}\nspend_per_day = 2.0") as world:
        await overspent(world)
    async with stage.world("cooldown = 0\nip_per_hour = 0") as world:
        await neighbours(world)
    for attempt in (resent, resent_at_once, fallen_back, turned, unlinked):
        async with stage.world(f"{OPEN}\nspend_per_day = 1.0") as world:
            await attempt(world)
    async with stage.world(f"{SENDS_FREELY}\nqueue_depth = {ROOM}") as world:
        await crowded(world)


@dataclass
class Pump:
    """Creates that cost, mixed with cancels of them."""

    world: World
    ids: list[str] = field(default_factory=list)
    answers: Counter[int] = field(default_factory=Counter)

    def number(self) -> str:
        """Return somebody's number."""
        return f"+491511{self.world.chance.randrange(10**7):07d}"

    async def one(self, place: int) -> None:
        """Make one request."""
        ours, way = self.world.ours, place % 5
        if way == 0:
            items = [{"to": self.number(), "channels": ["sms"]} for _ in range(3)]
            status, told = await ours("POST", f"{_CREATE}/batch", {"items": items})
            self.ids += [each["body"]["id"] for each in told.get("items", ()) if each["status"] == 201]
        elif way == 1:
            # The mail is free; the number on its route is not sent to.
            to: dict[str, Any] = {"phone": self.number(), "email": f"person{self.world.guess()}@example.org"}
            status, told = await ours("POST", _CREATE, {"to": to, "channels": ["email", "sms"]})
        elif way == 2 and self.ids:
            status, told = await ours("POST", f"{_CREATE}/{self.world.chance.choice(self.ids)}/cancel")
        else:
            status, told = await ours("POST", _CREATE, {"to": self.number(), "channels": ["sms"]})
            self.ids += [told["id"]] if status == 201 else []
        self.answers[status] += 1

    async def run(self, rounds: int) -> None:
        """Make requests in rounds, with time between for nodes to tell each other."""
        for _ in range(rounds):
            await asyncio.gather(*(self.one(place) for place in range(AT_ONCE)))
            await asyncio.sleep(0.3)


async def overspent(world: World) -> None:
    """Spend more than the day's allowance, with cancels, batches, and nodes that die and come back."""
    pump, nodes = Pump(world), len(world.nodes)
    await pump.run(ROUNDS)
    for node in world.nodes:
        await node.kill()
        await node.start()
        await pump.run(ROUNDS // 4)
    await asyncio.sleep(3 * SETTLE)
    sent, to = world.texts(), {"to": pump.number(), "channels": ["sms"]}
    after = [await world.call(world.keys[0], "POST", _CREATE, to, node=node) for node in range(nodes)]
    limits = [told.get("limit") for _, told in after]
    world.verdict(
        f"what a day's allowance pays for: {PAID} SMS on one node, on two at most as many again, then none",
        PAID <= sent <= PAID * nodes and limits == ["spend_per_day"] * nodes,
        f"{sent} SMS, answers {dict(pump.answers)}, then {limits}",
    )


async def neighbours(world: World) -> None:
    """Approve by one's own mailbox what numbers of one block were sent, then send to more of it over two services."""
    answers: Counter[tuple[str, int]] = Counter()

    async def own(place: int) -> None:
        mailbox = f"own{place}@example.org"
        both = {"to": {"phone": f"{_BLOCK}{place:04d}", "email": mailbox}, "channels": ["email", "sms"]}
        status, told = await world.ours("POST", _CREATE, both)
        assert status == 201, status
        code = await world.code(mailbox)
        answers["resent", (await world.ours("POST", f"{_CREATE}/{told['id']}/resend", _BY_SMS))[0]] += 1
        answers["approved", (await world.check(told, code))[0]] += 1

    async def begun(place: int) -> None:
        call = (world.ours, world.theirs)[place % 2]
        only = {"to": {"phone": f"{_BLOCK}{place:04d}"}, "channels": ["sms"]}
        answers["begun", (await call("POST", _CREATE, only))[0]] += 1

    await asyncio.gather(*(own(place) for place in range(OWN)))
    await asyncio.gather(*(begun(place) for place in range(OWN, NEIGHBOURS)))
    await asyncio.sleep(3 * SETTLE)
    sent = world.texts()
    world.verdict(
        f"{NEIGHBOURS} neighbouring numbers over two services, {OWN} of them approved by own mailboxes: {BLOCK} SMS",
        0 < sent <= BLOCK and answers["approved", 200] > 0 and not any(status >= 500 for _, status in answers),
        f"{sent} SMS, {dict(answers)}",
    )


async def resent(world: World) -> None:
    """Have an SMS paid behind a mail to oneself, which costs nothing, for one number after the other."""
    pump, answers = Pump(world), Counter[object]()
    for place in range(BEHIND):
        to = {"phone": pump.number(), "email": f"own{place}@example.org"}
        told = await world.started(to, channels=["email", "sms"])
        status, refused = await world.ours("POST", f"{_CREATE}/{told['id']}/resend", _BY_SMS)
        answers[refused.get("limit", status)] += 1
    await paid(world, "resends by SMS behind a mail are paid by the day's allowance", answers)


async def resent_at_once(world: World) -> None:
    """The same, with all that is to be paid asked for in one moment."""
    pump = Pump(world)
    tos = [{"phone": pump.number(), "email": f"own{place}@example.org"} for place in range(BEHIND)]
    begun = await asyncio.gather(*(world.started(to, channels=["email", "sms"]) for to in tos))
    told = await every(world.ours("POST", f"{_CREATE}/{each['id']}/resend", _BY_SMS) for each in begun)
    answers = Counter[object](refused.get("limit", status) for status, refused in told)
    await paid(world, "resends by SMS behind a mail, all at once, are paid by the day's allowance", answers)


async def turned(world: World) -> None:
    """Have an SMS paid by numbers that the first provider, which is paid by the month, does not serve."""
    answers = Counter[object]()
    numbers = [f"+49151{place:02d}{world.chance.randrange(10**6):06d}" for place in range(10, 10 + BEHIND)]
    for number in numbers:
        world.scene.twilio.faults.set(Fault.REFUSE, times=1, recipient=number)
        answers[(await world.ours("POST", _CREATE, {"to": number, "channels": ["flat", "sms"]}))[0]] += 1
    await paid(world, "SMS by a provider that is paid behind one that is not are paid by the day's allowance", answers)


async def unlinked(world: World) -> None:
    """Have an SMS paid by naming a reference beside the number, whose chat nobody has opened: the route begins with the SMS."""
    pump, answers = Pump(world), Counter[object]()
    for place in range(BEHIND):
        to = {"telegram": f"customer-{place}", "phone": pump.number()}
        status, told = await world.ours("POST", _CREATE, {"to": to, "channels": ["telegram", "sms"]})
        answers[told.get("limit", status)] += 1
    await paid(world, "SMS of a route that begins with a chat nobody opened are paid by the day's allowance", answers)


async def crowded(world: World) -> None:
    """Have more wait in the queue than a service may, by asking at once while the mail server says nothing."""
    world.scene.smtp.faults.set(Fault.STALL)
    creates = [{"to": f"crowd{place}@example.org", "channels": ["email"]} for place in range(CROWD)]
    told = await every(world.ours("POST", _CREATE, each) for each in creates)
    answers = Counter[object](refused.get("limit", status) for status, refused in told)
    world.verdict(
        f"of {CROWD} creates at once no more pass than {ROOM} on each node",
        ROOM // 2 <= answers[201] <= ROOM * len(world.nodes) and answers[201] + answers["queue_depth"] == CROWD,
        dict(answers),
    )


async def fallen_back(world: World) -> None:
    """Have an SMS paid through a form that asks for a mailbox and a number, by mailboxes that refuse."""
    world.scene.smtp.faults.by_address = magic.by_ending(magic.MAIL)
    pump, answers = Pump(world), Counter[object]()
    for place in range(BEHIND):
        to = {"phone": pump.number(), "email": f"dead{place}x{magic.UNDELIVERED}@example.org"}
        answers[(await world.ours("POST", _CREATE, {"to": to, "channels": ["email", "sms"]}))[0]] += 1
    await paid(world, "SMS that follow refused mails are paid by the day's allowance", answers)


async def paid(world: World, name: str, answers: Counter[object]) -> None:
    """Judge how many SMS a day's 1.0 paid for behind what costs nothing."""
    await asyncio.sleep(4 * SETTLE)
    sent = world.texts()
    world.verdict(name, 0 < sent <= PAID_BEHIND * len(world.nodes), f"{sent} SMS of {BEHIND}, {dict(answers)}")

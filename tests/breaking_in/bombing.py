"""A caller who bombs one person with messages, or uses every limit up so that the person is kept out."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field

from tests.breaking_in.world import OPEN, SENDS_FREELY, SETTLE, Calls, Stage, Told, World, compared, every

#: Sends one recipient gets in ten minutes, by whoever asks (``sends_per_10m``).
SENDS = 5
#: Rounds of requests at once, and requests of each service in one.
ROUNDS, AT_ONCE = 6, 70
#: Wrong codes until a lock-out; rounds of requests at once, and requests in one.
LOCKED_AFTER, LOCK_ROUNDS, LOCK_AT_ONCE = 3, 8, 40

_CREATE = "/v1/verifications"
_MAILBOX = ("bombed@example.org", "BOMBED@example.org", "bombed+1@Example.Org", "bombed+2@example.org")
_NUMBER = ("+4915112345678", "+49 151 1234 5678", "+49 (151) 12345678", "+49(0)15112345678")


async def bombing(stage: Stage) -> None:
    """Play the bomber."""
    async with stage.world(OPEN) as world:
        await bombed(world)
    async with stage.world(SENDS_FREELY) as world:
        await kept_out(world)
    checks = f"max_checks = {LOCKED_AFTER}"
    limits = f"{SENDS_FREELY}\nlockout = {{after = {LOCKED_AFTER}, for = 600}}"
    async with stage.world(limits, more=f"[services.default.code]\n{checks}\n[services.shop.code]\n{checks}") as world:
        await locked_out(world)


@dataclass
class Bomber:
    """Requests to one mailbox and one number, by every way there is."""

    world: World
    ids: list[str] = field(default_factory=list)
    answers: Counter[int] = field(default_factory=Counter)

    async def one(self, call: Calls, number: int) -> None:
        """Make the request with that number."""
        status, told = await self._asked(call, number)
        self.answers[status] += 1
        if status == 201:
            self.ids.append(told["id"])
        self.ids += [each["body"]["id"] for each in told.get("items", ()) if each["status"] == 201]

    async def _asked(self, call: Calls, number: int) -> Told:
        choice, way = self.world.chance.choice, number % 7
        if way == 0 or (way >= 4 and not self.ids):
            return await call("POST", _CREATE, {"to": choice(_MAILBOX)})
        if way == 1:
            to = {"email": choice(_MAILBOX), "phone": choice(_NUMBER)}
            return await call("POST", _CREATE, {"to": to, "channels": choice([["email", "sms"], ["sms", "email"]])})
        if way == 2:
            items = [{"to": each} for each in (*_MAILBOX, _NUMBER[0])]
            return await call("POST", f"{_CREATE}/batch", {"items": items}, **{"Idempotency-Key": f"b{number}"})
        if way == 3:
            return await call(
                "POST", _CREATE, {"to": choice(_NUMBER), "channels": ["sms"], "purpose": f"purpose{number}"}
            )
        path = f"{_CREATE}/{choice(self.ids)}"
        if way == 4:
            return await call("POST", f"{path}/cancel")
        return await call("POST", f"{path}/resend", choice([None, {"channel": "sms"}, {"channel": "email"}]))


async def bombed(world: World) -> None:
    """Send more to one mailbox and one number than anybody may."""
    bomber = Bomber(world)
    for _ in range(ROUNDS):
        calls = (world.ours, world.theirs)
        await asyncio.gather(*(bomber.one(call, number) for number in range(AT_ONCE) for call in calls))
    await asyncio.sleep(3 * SETTLE)
    mails = sum(letter.to.lower().startswith("bombed") for letter in world.scene.inbox.letters)
    texts = world.texts()
    world.verdict(
        f"one mailbox and one number, by every way and two services: {SENDS} each in ten minutes",
        0 < mails <= SENDS and 0 < texts <= SENDS and not any(status >= 500 for status in bomber.answers),
        f"{mails} mails, {texts} SMS, answers {dict(bomber.answers)}",
    )


async def kept_out(world: World) -> None:
    """Use a person's budgets up, and see whether they still get in by what was sent and from where they are known."""
    to, known = "person@example.org", {"client": {"reference": "own-device", "ip": "203.0.113.9"}}
    first = await world.started(to, **known)
    approved = (await world.check(first, await world.code(to)))[0]
    sent = await world.started(to, **known)
    code = await world.code(to, 2)
    guesses = 0
    for number in range(12):
        by = {"client": {"reference": f"other{number}"}}
        status, told = await world.ours("POST", _CREATE, {"to": to, **by})
        if status == 201:
            guesses += compared(await every(world.check(told, world.guess()) for _ in range(8)))
    refused = (await world.ours("POST", _CREATE, {"to": to, "client": {"reference": "other"}}))[0]
    more = (await world.ours("POST", _CREATE, {"to": to, **known}))[0]
    entered = (await world.check(sent, code))[0]
    world.verdict(
        "who uses the budget up keeps neither the sent code nor the known device out",
        (approved, refused, more, entered) == (200, 429, 201, 200),
        f"{guesses} compared, then: anybody {refused}, the known device {more}, the sent code {entered}",
    )


async def locked_out(world: World) -> None:
    """Guess more often than a lock-out allows, over verifications that take each other's checks."""
    to, ids, found = "locked@example.org", list[str](), list[Told]()

    async def one(number: int) -> None:
        if number % 3 == 0 or not ids:
            body = {"to": to, "client": {"reference": f"device{number}"}}
            status, told = await world.ours("POST", _CREATE, body)
            ids.extend([told["id"]] if status == 201 else [])
        elif number % 7 == 0:
            await world.ours("POST", f"{_CREATE}/{world.chance.choice(ids)}/cancel")
        else:
            path = f"{_CREATE}/{world.chance.choice(ids)}/check"
            found.append(await world.ours("POST", path, {"code": world.guess()}))

    for _ in range(LOCK_ROUNDS):
        await asyncio.gather(*(one(number) for number in range(LOCK_AT_ONCE)))
    world.verdict(
        f"a lock-out after {LOCKED_AFTER}, stormed",
        0 < compared(found) <= LOCKED_AFTER,
        f"{compared(found)} compared of {len(ids)} verifications",
    )

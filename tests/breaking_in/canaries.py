"""One person of whom everything is known to us: each address, code, token and name carries a mark that can be looked for."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from typing import Any

from gateway.sandbox.telegram_people import Person
from tests.breaking_in.chats import Chats, payload
from tests.breaking_in.world import World, one_time

#: A code the service brings itself.
OWN_CODE = "481516"

_CODE = re.compile(r"(?<!\d)\d{6}(?!\d)")


@dataclass
class Canary:
    """The person's data. ``mark`` is in all of it that has letters."""

    mark: str
    #: What stands in no sink, by what it is.
    secrets: dict[str, str] = field(default_factory=dict, repr=False)
    codes: set[str] = field(default_factory=set, repr=False)
    verification: dict[str, Any] = field(default_factory=dict, repr=False)
    inbound: dict[str, Any] = field(default_factory=dict, repr=False)
    subscriber: dict[str, Any] = field(default_factory=dict, repr=False)
    authenticator: dict[str, Any] = field(default_factory=dict, repr=False)
    phone: str = "+4915187654321"
    chat: int = 4_877_164_193
    ip: str = "203.0.113.77"

    @property
    def mail(self) -> str:
        """The mailbox."""
        return f"{self.mark}.mail@canary-{self.mark}.example"

    @property
    def reference(self) -> str:
        """What their service calls them."""
        return f"ref-{self.mark}"

    @property
    def bind(self) -> dict[str, str]:
        """What their verification is bound to."""
        return {"session": f"session{self.mark}", "amount": f"amount{self.mark}"}

    @property
    def device(self) -> str:
        """The device they ask from."""
        return f"device{self.mark}"

    @property
    def to(self) -> tuple[object, ...]:
        """Each address, as one that is to be erased."""
        return (self.mail, self.phone, {"telegram": self.reference})

    @property
    def masked(self) -> dict[str, str]:
        """What may be stored of them, by what it is, and is gone once they are erased."""
        reference = self.reference
        return {
            "masked mailbox": f"{self.mail[0]}•••@c•••.example",
            "masked number": "+49••••••••321",
            "masked reference": f"{reference[0]}•••{reference[-1]}",
            "IP address": self.ip,
            "device": self.device,
            "session": self.bind["session"],
            "chat": str(self.chat),
        }


async def canary(world: World, found: Chats, mark: str) -> Canary:
    """Do with one person everything that leaves something behind, and return what is known of them."""
    made = Canary(mark)
    made.secrets |= {"mailbox": made.mail, "its local part": f"{mark}.mail", "number": made.phone[1:]}
    made.secrets |= {"reference": made.reference, "session": made.bind["session"], "bind": made.bind["amount"]}
    made.secrets |= {"key": world.keys[0], "other key": world.keys[1], "bot": world.bot.token}
    made.secrets |= {"account": world.scene.twilio.auth_token}
    person = await _linked(world, found, made)
    await _verified(world, made)
    await _opened(world, found, made, person)
    await _enrolled(world, made)
    made.codes |= {code for letter in world.scene.inbox.letters for code in _CODE.findall(letter.text)}
    return made


async def _linked(world: World, found: Chats, made: Canary) -> Person:
    """Link their chat and prove their number."""
    person = world.bot.person(made.chat, f"Name{made.mark}")
    body = {"reference": made.reference, "phone": made.phone}
    status, made.subscriber = await world.ours("POST", "/v1/subscribers", body, **{"Idempotency-Key": "S"})
    assert status == 201, status
    made.secrets |= {"link": payload(made.subscriber), "first name": person.first_name}
    person.press_start(payload(made.subscriber))
    await found.press(person, f"yes:{made.subscriber['id']}")
    await found.proved(person, made.phone)
    return person


async def _verified(world: World, made: Canary) -> None:
    """Send them codes by every channel, one wrong and one right, and codes the service brought."""
    parameter = f"parameter{made.mark}"
    made.verification = await world.started(
        {"email": made.mail, "phone": made.phone, "telegram": made.reference},
        channels=["email", "sms", "telegram"],
        params={"name": parameter},
        bind=made.bind,
        client={"reference": made.device, "ip": made.ip},
        purpose="login",
    )
    code, path = await world.code(made.mail), f"/v1/verifications/{made.verification['id']}"
    await world.check(made.verification, world.wrong(code), bind=made.bind)
    for channel in ("sms", "telegram"):
        status, _ = await world.ours("POST", f"{path}/resend", {"channel": channel})
        assert status == 202, (channel, status)
    await world.code(made.phone)
    items = [{"to": made.mail, "code": {"value": OWN_CODE}}, {"to": made.phone, "channels": ["sms"]}]
    key = f"B{made.mark}"
    status, told = await world.ours("POST", "/v1/verifications/batch", {"items": items}, **{"Idempotency-Key": key})
    assert [each["status"] for each in told["items"]] == [201, 201], status
    status, told = await world.check(made.verification, code, bind=made.bind)
    assert status == 200, (status, told.get("code"))
    made.secrets |= {"parameter": parameter, "Idempotency-Key": key, "proof": told["proof"]}
    made.codes.add(OWN_CODE)


async def _opened(world: World, found: Chats, made: Canary, person: Person) -> None:
    """Have them type a challenge."""
    made.inbound = await world.started(
        {"phone": made.phone}, mode="inbound", channels=["telegram"], bind={"amount": made.bind["amount"]}
    )
    challenge = made.inbound["challenge"]
    made.secrets |= {"challenge": challenge, "challenge as one word": challenge.replace("-", "")}
    made.secrets["challenge's link"] = payload(made.inbound)
    person.write(challenge)
    await found.settle()


async def _enrolled(world: World, made: Canary) -> None:
    """Enrol their authenticator, use it, and give them recovery codes."""
    body = {"type": "totp", "reference": made.reference, "account": made.mail}
    status, made.authenticator = await world.ours("POST", "/v1/authenticators", body, **{"Idempotency-Key": "A"})
    assert status == 201, status
    secret, path = made.authenticator["secret"], f"/v1/authenticators/{made.authenticator['id']}"
    await world.ours("POST", f"{path}/check", {"code": one_time(secret, int(time.time() // 30))})
    status, told = await world.ours("POST", f"{path}/recovery-codes")
    assert status == 201, status
    made.secrets |= {"authenticator": secret, **{f"recovery code {n}": each for n, each in enumerate(told["codes"])}}

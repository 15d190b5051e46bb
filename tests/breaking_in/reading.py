"""Whoever reads: error answers, log, metrics, database, backup, and all of them again once the person was erased."""

from __future__ import annotations

import json
from urllib.parse import quote

from tests.breaking_in.canaries import Canary, canary
from tests.breaking_in.chats import chats
from tests.breaking_in.sinks import holding, sinks, vacuumed, with_codes
from tests.breaking_in.world import SENDS_FREELY, Stage, World, spoken

_CREATE = "/v1/verifications"
#: What is the operator's to keep for as long as they like, and names people by masked addresses.
_LOGS = ("log",)


async def reading(stage: Stage) -> None:
    """Play the reader."""
    async with stage.world(SENDS_FREELY, log="debug", more="[services.default.code]\ncustom = true") as world:
        person = await canary(world, await chats(world), f"zqx{world.chance.randrange(16**8):08x}")
        await answered(world, person)
        await read(world, person)
        await erased(world, person)
        await asked_again(world, person)


async def answered(world: World, person: Canary) -> None:
    """Make requests that are refused, and look for what they said in the answers."""
    mark, mail, phone = person.mark, person.mail, person.phone
    odd = {"to": mail, "locale": mark * 9, "purpose": f"{mark}!", "params": {f"{mark}!": mark}, "bind": {mark: 1}}
    asked: list[tuple[str, str, object]] = [
        ("POST", _CREATE, {"to": mail, mail: phone}),
        ("POST", _CREATE, {"to": f"{phone}x{mark}"}),
        ("POST", _CREATE, {"to": {"email": f"{mark}@"}}),
        ("GET", f"{_CREATE}?to={quote(mail)}&{mark}=1", None),
        ("GET", f"/v1/{mark}", None),
        ("POST", f"{_CREATE}/{person.verification['id']}/check", {"code": f"{mark}!"}),
        ("POST", _CREATE, odd),
        ("POST", f"/callbacks/{mark}", {}),
        ("DELETE", f"/v1/sessions/{person.bind['session']}%00", None),
        ("POST", "/v1/subscribers", {"reference": f" {person.reference}"}),
        ("POST", "/v1/authenticators", {"type": mark, "reference": person.reference, "account": f"{mail}:"}),
    ]
    found = [await world.ours(*each) for each in asked]
    refused = [(status, json.dumps(told, ensure_ascii=False)) for status, told in found if status >= 400]
    key = b"Authorization: Bearer " + world.keys[0][:-1].encode()
    lines = b"GET /%s HTTP/9.9\r\nHost: %s\r\n%s\r\n\r\n" % (mark.encode(), mail.encode(), key)
    for data in (lines, b"\x16\x03\x01" + mark.encode() + b"\r\n\r\n"):
        said = await spoken(world.url, data, within=0.5)
        refused.append((400, said.decode("latin-1")))
    secrets = {"mailbox": mail, "number": phone[1:], "key": world.keys[0][:-1], "reference": person.reference}
    answers = {f"answer {place}: {status}": told.encode() for place, (status, told) in enumerate(refused)}
    repeated = holding(answers, secrets)
    statuses = [status for status, _ in found]
    world.verdict(
        "answers that refuse repeat no address and no key",
        not repeated and all(status < 500 for status in statuses) and len(refused) > len(asked) // 2,
        f"{repeated}, {statuses}",
    )


async def read(world: World, person: Canary) -> None:
    """Look for everything secret in everything that is written."""
    found = await sinks(world)
    hits, coded = holding(found, person.secrets), with_codes(found, person.codes)
    world.verdict(
        f"{len(found)} sinks hold no code, key, token or full address",
        not hits and not coded and len(person.codes) >= 3,
        f"{hits}, codes in {coded}, of {len(person.secrets)} secrets and {len(person.codes)} codes",
    )


async def erased(world: World, person: Canary) -> None:
    """Erase the person by each of their addresses and look for them in everything but the log."""
    before = holding(await sinks(world), person.masked)
    admin = await world.new_key("--name", "admin", "--scope", "admin")
    statuses = [(await world.call(admin, "DELETE", "/v1/recipients", {"to": to}))[0] for to in person.to]
    await vacuumed(world)
    found = {where: text for where, text in (await sinks(world)).items() if where not in _LOGS}
    # The keys and the providers' tokens are the services', and are in no sink anyhow.
    hits = holding(found, person.secrets | person.masked)
    world.verdict(
        "nothing of an erased person is found in database, backup, metrics or what the verbs say",
        statuses == [200] * len(person.to) and not hits and bool(before),
        f"{hits}; before, masked, in {len({where for where, _ in before})} sinks",
    )


async def asked_again(world: World, person: Canary) -> None:
    """Ask for the person by every id, and by repeating the requests that made them."""
    subscriber = f"/v1/subscribers/{person.subscriber['id']}"
    device = f"/v1/authenticators/{person.authenticator['id']}"
    body = {"reference": person.reference, "phone": person.phone}
    enrol = {"type": "totp", "reference": person.reference, "account": person.mail}
    found = [
        await world.fetched(person.verification),
        await world.fetched(person.inbound),
        *[(await world.ours("GET", path))[1] for path in (f"{_CREATE}?limit=100", subscriber, device)],
        (await world.ours("POST", "/v1/subscribers", body, **{"Idempotency-Key": "S"}))[1],
        (await world.ours("POST", "/v1/authenticators", enrol, **{"Idempotency-Key": "A"}))[1],
    ]
    answers = {f"answer {place}": json.dumps(told, ensure_ascii=False).encode() for place, told in enumerate(found)}
    hits = holding(answers, person.secrets | person.masked)
    world.verdict("no answer tells of an erased person, repeated ones included", not hits, hits)

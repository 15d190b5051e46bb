"""A person with a chat or a number: forged buttons, contacts of others, odd commands, and a lock that is to outlive them."""

from __future__ import annotations

import contextlib
import json
import time
from typing import Any

from tests.breaking_in.challenges import guessed, opened, raced
from tests.breaking_in.chats import MAILBOX, PHONE, REFERENCE, Chats, chats
from tests.breaking_in.world import PATIENCE, SENDS_FREELY, Stage

#: Texts of a flood, and the seconds it may keep another chat waiting.
FLOOD, WAIT = 250, 10.0

_VERBS = ("yes", "no", "in", "out", "not", "unlink", "stop", "mute", "unmute", "lock", "lang")


async def person(stage: Stage) -> None:
    """Play the one who would be somebody else."""
    async with stage.world(SENDS_FREELY) as world:
        found = await chats(world)
        linked = await found.linked(found.victim)
        assert await found.subscribed(linked) == "linked", "the victim could not link their chat"
        await found.proved(found.victim, PHONE)
        sent = await world.started(found.by_chat, channels=["telegram"])
        code = await world.code(str(found.victim.user_id))
        inbound = [await found.asked({"phone": PHONE}), await found.asked(found.by_chat)]
        await forged(found, linked, [sent, *inbound])
        route = await pretended(found, linked, inbound[0], code)
        await opened(found, inbound)
        await raced(found)
        await locked(found, route)
        await outlived(found, linked)
        await guessed(found)
        await flooded(found)
        refused(found)


async def forged(found: Chats, linked: dict[str, Any], begun: list[dict[str, Any]]) -> None:
    """Press every button there is, with the victim's ids."""
    fresh = (await found.world.ours("POST", "/v1/subscribers", {"reference": "person-2"}))[1]
    ids = [each["id"] for each in (linked, fresh, *begun)]
    last = ids[-1]
    data = [f"{verb}:{each}" for verb in _VERBS for each in (*ids, "default", "shop", "phone", "", "all", "yes", "*")]
    data += ["yes", ":", "in", "\0", f"in:{last} ", f"IN:{last}", f"in::{last}", "in:%"]
    for each in data:
        # Telegram carries 64 bytes.
        with contextlib.suppress(ValueError):
            found.attacker.press(found.under, each)
    await found.settle(3)
    now = [*await found.statuses(*begun), await found.subscribed(linked), await found.subscribed(fresh)]
    world = found.world
    world.verdict(
        f"{len(data)} forged buttons with another's ids change nothing",
        now == ["pending"] * 3 + ["linked", "pending"],
        now,
    )


async def pretended(found: Chats, linked: dict[str, Any], inbound: dict[str, Any], code: str) -> dict[str, Any]:
    """Share the victim's number, forwarded or as nobody's, and send odd commands; return a route to the victim."""
    world, attacker = found.world, found.attacker
    for whose in (found.victim.user_id, 0):
        attacker.share_contact(PHONE, whose)
    for owner in (found.victim.user_id, None):
        attacker.share_contact(PHONE, owner, forwarded=True)
    number, subscriber = inbound["id"], linked["id"]
    for text in (
        *(f"/start {'A' * 22}", f"/start yes:{subscriber}", f"/start@other {number}", f"/start\n{number}"),
        *(f"/start {number}", f"/start {'é' * 22}", "/link person-1", "/unlink default", "/stop", "/codes"),
        *("/codes person-1", "/lock person-1", "/mute default", "/unmute *", "/language ../../x", "/CODES"),
        *("//codes", "/\u200bcodes", "/" + "x" * 300, "\u202e/stop", "/help\0x", str(number), code),
    ):
        attacker.write(text)
    await found.settle(3)
    told = "\n".join(str(message.get("text")) for message in found.said(attacker))
    # The attacker wrote the code and the reference themselves: the bot is to say neither.
    leaked = [what for what, text in (("code", code), ("number", PHONE[-3:]), ("name", REFERENCE)) if text in told]
    before = len(world.letters(str(attacker.user_id)))
    route = await world.started({"phone": PHONE}, channels=["telegram", "sms"])
    await found.settle()
    got = len(world.letters(str(attacker.user_id))) - before
    stands = await found.subscribed(linked)
    world.verdict(
        "another's contact, forwarded or nobody's, and odd commands bring nothing of the victim's",
        not leaked and not got and stands == "linked" and route["channel"] == "telegram",
        f"told {leaked}, letters {got}, the victim's chat {stands}, their code by {route['channel']}",
    )
    return route


async def locked(found: Chats, route: dict[str, Any]) -> None:
    """Get a code to somebody who locked codes, by other spellings, channels and services."""
    world = found.world
    found.victim.write("/lock")
    await found.settle()
    to = [found.by_chat, {"phone": PHONE}, {"phone": "+49 151 1234-5678"}]
    got = [await world.ours("POST", "/v1/verifications", {"to": each | {"email": MAILBOX}}) for each in to]
    got += [await world.theirs("POST", "/v1/verifications", {"to": {"phone": PHONE, "email": MAILBOX}})]
    got += [await world.ours("POST", f"/v1/verifications/{route['id']}/resend")]
    statuses = [status for status, _ in got]
    world.verdict(
        "a lock holds for both services, all spellings, other channels and a resend", statuses == [422] * 5, statuses
    )


async def outlived(found: Chats, linked: dict[str, Any]) -> None:
    """Outlive a lock: take the chat over, stop, delete, link anew, unlink."""
    world, third = found.world, found.third
    await found.linked(third)
    await found.proved(third, PHONE)
    third.write("/stop")
    await found.press(third, "stop:yes")
    stopped = await found.subscribed(linked)
    await world.ours("DELETE", f"/v1/subscribers/{linked['id']}")
    await found.linked(third)
    third.write("/unlink default")
    await found.settle()
    to = [found.by_chat, {"phone": PHONE}]
    got = [await world.ours("POST", "/v1/verifications", {"to": each | {"email": MAILBOX}}) for each in to]
    statuses = [status for status, _ in got]
    world.verdict(
        "taking over, stopping, deleting, linking anew and unlinking do not end a lock",
        statuses == [422, 422] and stopped == "unlinked",
        f"{[(status, told.get('code')) for status, told in got]}, {stopped} by the stop",
    )


async def flooded(found: Chats) -> None:
    """Keep another chat waiting with a flood in one's own."""
    world = found.world
    for number in range(FLOOD):
        found.attacker.write("/help" if number % 2 else "/codes")
    fourth = world.bot.person(1004, "Fourth")
    began = time.monotonic()
    fourth.write("/help")
    await world.scene.until(lambda: bool(found.said(fourth)), PATIENCE)
    waited = time.monotonic() - began
    world.verdict(
        f"a flood of {FLOOD} texts in one chat keeps another waiting for less than {WAIT:.0f} s",
        waited < WAIT,
        f"{waited:.1f} s",
    )


def refused(found: Chats) -> None:
    """See whether anything these people did was more than the gateway could handle."""
    lines = [json.loads(line) for line in found.world.log().splitlines() if line.startswith("{")]
    errors = [str(line.get("event")) for line in lines if line.get("level") in {"error", "critical"}]
    found.world.verdict("nothing people did failed", bool(lines) and not errors, f"{len(lines)} lines, {errors[:5]}")

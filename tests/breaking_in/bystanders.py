"""Who has others locked out, reported or left without codes: by a link, a button, a bot, or an IP address they only name."""

from __future__ import annotations

from collections import Counter
from typing import Any

from gateway.sandbox.inbox import Inbox
from gateway.sandbox.telegram import TelegramSandbox
from gateway.sandbox.telegram_people import Person
from tests.breaking_in.chats import PHONE, Chats, chats, payload
from tests.breaking_in.world import PATIENCE, Stage, World

#: Another bot of the gateway, and its token.
SECOND, TOKEN = "second", "654321:second"
#: The verifications that one ``client.ip`` is asked for in an hour, which is the default, and how many are tried; the IP.
VISITS, TRIED, IP = 20, 25, "203.0.113.77"
#: Numbers that are not the victim's.
OTHERS = ("+4915112340000", "+4915112340001")

#: All limits but that on visitors.
_LIMITS = "cooldown = 0\nprefix_per_hour = 0\nsends_per_10m = 0\nsends_per_hour = 0\nsends_per_day = 0"
_CREATE = "/v1/verifications"


async def bystanders(stage: Stage) -> None:
    """Play the one whose doings are to fall on others."""
    async with TelegramSandbox(Inbox(100), token=TOKEN) as second:
        more = f'[channels.{SECOND}]\nadapter = "telegram"\nbase_url = "{second.base_url}"'
        environ = {f"CHANNELS__{SECOND.upper()}__TOKEN": TOKEN}
        async with stage.world(_LIMITS, more=more, environ=environ) as world:
            await visited(world)
            found = await chats(world)
            await found.proved(found.victim, PHONE)
            await declined(found)
            await unopened(found, second)
            await handed_on(found)


async def visited(world: World) -> None:
    """Use up what an IP address may ask for at another service, by naming it in requests that send nothing."""
    asked = {"to": {"phone": OTHERS[0]}, "mode": "inbound", "channels": ["telegram"], "client": {"ip": IP}}
    await world.scene.until(lambda: world.bot.requests["getUpdates"] > 0, PATIENCE)
    told = [await world.theirs("POST", _CREATE, asked) for _ in range(TRIED)]
    answers = Counter((status, each.get("limit")) for status, each in told)
    status, refused = await world.ours("POST", _CREATE, {"to": "visitor@example.org", "client": {"ip": IP}})
    world.verdict(
        f"who names an IP address {TRIED} times at one service has it refused there alone",
        answers == {(201, None): VISITS, (429, "ip_per_hour"): TRIED - VISITS} and status == 201,
        f"{dict(answers)}; at the other service {refused.get('limit', status)}",
    )


async def declined(found: Chats) -> None:
    """Say in the victim's name that they did not ask: without a number, with one's own, and as the victim."""
    third = found.third
    got = [await _said_no(found, third)]
    await found.proved(third, OTHERS[1])
    got.append(await _said_no(found, third))
    got.append(await _said_no(found, found.victim))
    found.world.verdict(
        "only a chat that could have approved reports that its person did not ask",
        got == [("canceled", False), ("canceled", False), ("canceled", True)],
        f"without a number, with another, the person: {got}",
    )


async def _said_no(found: Chats, person: Person) -> tuple[str, bool]:
    """Have somebody open a verification of the victim's number and say no; return how it stands, and whether it is reported."""
    inbound = await found.asked({"phone": PHONE})
    person.press_start(payload(inbound))
    await found.settle()
    # Under any message of the bot's: who may not say yes is shown no such button.
    person.press(int(found.said(person)[-1]["message_id"]), f"out:{inbound['id']}")
    await found.settle()
    now = await found.world.fetched(inbound)
    return now["status"], any(each["event"] == "verification.reported" for each in now["events"])


async def unopened(found: Chats, second: TelegramSandbox) -> None:
    """Have the victim's codes by the bot they use end, by sending them one by a bot they never opened."""
    world, victim = found.world, found.victim
    # Telegram answers the same for a bot that nobody opened as for one that is blocked: 403.
    second.person(victim.user_id, "Victim").blocked = True
    before = len(world.letters(str(victim.user_id)))
    status, told = await world.theirs("POST", _CREATE, {"to": {"phone": PHONE}, "channels": [SECOND]})
    assert status == 201, (status, told.get("code"))

    async def ended() -> bool:
        now = (await world.theirs("GET", f"{_CREATE}/{told['id']}"))[1]
        return bool(now["status"] == "failed")

    never = await world.scene.until(ended, PATIENCE) == float("inf")
    after, refused = await world.ours("POST", _CREATE, {"to": {"phone": PHONE}, "channels": ["telegram"]})
    await found.settle()
    letters = len(world.letters(str(victim.user_id))) - before
    world.verdict(
        "a bot that a person never opened ends no code by the one they use",
        not never and second.requests["sendMessage"] > 0 and (after, letters) == (201, 1),
        f"{second.requests['sendMessage']} sent there; by their own bot {refused.get('code', after)}, {letters} letter(s)",
    )


async def handed_on(found: Chats) -> None:
    """Lock codes in one's own chat, and have the victim take over what is locked."""
    world = found.world
    await found.linked(found.victim, "customer", world.theirs)
    await found.linked(found.attacker, "handed-on")
    found.attacker.write("/lock")
    await found.settle()
    handed = await found.linked(found.victim, "handed-on")
    taken = await found.subscribed(handed)
    tries: list[tuple[Any, dict[str, str]]] = [
        (world.ours, {"telegram": "handed-on"}),
        (world.theirs, {"telegram": "customer"}),
        (world.ours, {"phone": PHONE}),
        (world.theirs, {"phone": PHONE}),
    ]
    statuses = [(await call("POST", _CREATE, {"to": to, "channels": ["telegram"]}))[0] for call, to in tries]
    world.verdict(
        "a lock that comes with a stranger's link locks that reference, and nothing else that its new chat has",
        (taken, statuses) == ("linked", [422, 201, 201, 201]),
        f"{taken}, then that reference {statuses[0]}, another, and the number at both services {statuses[1:]}",
    )

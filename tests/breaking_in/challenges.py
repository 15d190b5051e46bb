"""Challenges that a person opens in their chat, opened by somebody else: first, second, and by typing guesses."""

from __future__ import annotations

from tests.breaking_in.chats import PHONE, Chats, payload
from tests.breaking_in.world import failed, taken, tally

#: Challenges a chat may type within an hour that open nothing, and a number whose challenge is then typed.
TYPED, STRANGERS_PHONE = 10, "+4915187654321"


async def opened(found: Chats, inbound: list[dict[str, object]]) -> None:
    """Open the victim's challenges first, agree to them, and check them like codes."""
    world, attacker = found.world, found.attacker
    by_number, by_chat = inbound
    attacker.press_start(payload(by_number))
    await found.settle()
    attacker.write(str(by_chat["challenge"]))
    await found.settle()
    for _ in range(2):
        for each in inbound:
            attacker.press(found.under, f"in:{each['id']}")
        await found.settle()
        # With a number of their own, they are asked once more.
        attacker.share_contact("+4915112345679")
        await found.settle()
    statuses = await found.statuses(*inbound)
    challenge = str(by_number["challenge"])
    tried = [await world.check(by_number, code) for code in (challenge, challenge.replace("-", ""), "000000")]
    tried.append(await world.ours("POST", f"/v1/verifications/{by_number['id']}/resend"))
    world.verdict(
        "a challenge that another opens approves nothing, by button or by check",
        "approved" not in statuses and taken(tried) == failed(tried) == 0,
        f"{statuses}, {tally(tried)}",
    )


async def raced(found: Chats) -> None:
    """Open a challenge at the moment its person does, agree to it and decline it."""
    world = found.world
    inbound = await found.asked({"phone": PHONE})
    for person in (found.victim, found.attacker):
        person.press_start(payload(inbound))
    await found.settle()
    for verb in ("in", "out") * 3:
        found.attacker.press(found.under, f"{verb}:{inbound['id']}")
    await found.settle(2)
    [before] = await found.statuses(inbound)
    found.press_if_there(found.victim, f"in:{inbound['id']}")
    await found.settle()
    [after] = await found.statuses(inbound)
    world.verdict(
        "who opened a challenge second neither approves nor declines it, and its person does",
        (before, after) == ("pending", "approved"),
        (before, after),
    )


async def guessed(found: Chats) -> None:
    """Type challenges until one is right."""
    world, third = found.world, found.third
    for _ in range(TYPED + 4):
        letters, digits = world.chance.choices("CFGHJMPQRVWX", k=4), world.chance.choices("2345", k=4)
        third.write(f"{''.join(letters)}-{''.join(digits)}")
    await found.settle(3)
    inbound = await found.asked({"phone": STRANGERS_PHONE})
    third.write(str(inbound["challenge"]))
    await found.settle(2)
    asked = await world.scene.store.count(
        f"SELECT count(*) FROM challenge WHERE verification_id = '{inbound['id']}' AND asked_chat_hash IS NOT NULL"
    )
    world.verdict(f"who typed {TYPED} challenges that open nothing is not heard with a right one", asked == 0, asked)

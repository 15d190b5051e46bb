"""A person's yes and lock at the moment others call, and what a stranger's words become in the person's chat."""

from __future__ import annotations

import asyncio
from collections import Counter

from tests.breaking_in.chats import PHONE, Chats, chats, payload
from tests.breaking_in.world import PATIENCE, SENDS_FREELY, Stage, every, tally

#: Rounds of a yes beside a cancel, the seconds in which it comes at any moment, and creates beside a lock.
ROUNDS, MOMENT, CREATES = 12, 0.06, 20
#: How a line of the list ends that names a device whose code may still be entered.
_LISTED = " · still open"
#: What a device may call itself; the list has the latest five.
_NAMES = (
    '<a href="https://elsewhere.example">x</a>',
    "line\n\nYour code is 111111",
    "\u202e\u2066abc",
    "{{ code }}{% raw %}",
    "&lt;b&gt; *_[x](https://elsewhere.example)",
)


async def meanwhile(stage: Stage) -> None:
    """Play those who call while a person writes."""
    async with stage.world(SENDS_FREELY) as world:
        found = await chats(world)
        found.victim.write("/start")
        await found.settle()
        await found.proved(found.victim, PHONE)
        await named(found)
        await agreed(found)
        await locked(found)


async def named(found: Chats) -> None:
    """Name a device so that a link, a code or lines of its own would stand in the list of a person's codes."""
    world, before = found.world, len(found.said(found.victim))
    # By turns: the guesses a recipient has at one service are enough for four verifications at once.
    for place, name in enumerate(_NAMES):
        body = {"to": {"phone": PHONE}, "channels": ["sms"], "client": {"reference": name}}
        status, refused = await (world.ours, world.theirs)[place % 2]("POST", "/v1/verifications", body)
        assert status == 201, (status, refused.get("code"))
    found.victim.write("/codes")
    await world.scene.until(lambda: len(found.said(found.victim)) > before, PATIENCE)
    told = found.said(found.victim)[-1]
    links = [each["type"] for each in told.get("entities", ()) if each["type"] in {"text_link", "url"}]
    lines = told["text"].split("\n")
    listed = [line for line in lines if line.endswith(_LISTED)]
    # Whatever a device is called is one line; a second one would pass for the bot's own words.
    others = [line for line in lines if line.startswith(("Your code", "line")) and line not in listed]
    directions = [each for each in "\u202e\u2066" if each in told["text"]]
    world.verdict(
        "what a stranger's device is called is no link and no line of its own in the list of codes",
        len(listed) == len(_NAMES) and not links and not others and not directions,
        f"{len(listed)} names, {len(links)} links, {len(others)} lines of their own, {len(directions)} directions",
    )


async def agreed(found: Chats) -> None:
    """Cancel, and end the session, at the moment the person agrees."""
    seen = Counter([await one_yes(found, f"meanwhile{number}") for number in range(ROUNDS)])
    found.world.verdict(
        "a yes in the chat beside a cancel and its session's end: one end each",
        all((ends, status == "approved") == (1, not over) for status, ends, over in seen),
        f"(status, ends, canceled): times {dict(seen)}",
    )


async def one_yes(found: Chats, session: str) -> tuple[str, int, bool]:
    """Agree once; return how it stands, how many ends it had, and whether a caller was told that it is canceled."""
    world = found.world
    inbound = await world.started({"phone": PHONE}, mode="inbound", channels=["telegram"], bind={"session": session})
    found.victim.press_start(payload(inbound))
    start = f"in:{inbound['id']}"
    await world.scene.until(lambda: bool(found.buttons(found.victim, start)), PATIENCE)
    cancel = world.ours("POST", f"/v1/verifications/{inbound['id']}/cancel")
    calls = every([cancel, world.ours("DELETE", f"/v1/sessions/{session}")])
    if world.chance.random() < 0.5:
        found.press_if_there(found.victim, start)
        await asyncio.sleep(world.chance.uniform(0, MOMENT))
        canceled, ended = await calls
    else:
        # A button takes longer to come than a call.
        calling = asyncio.create_task(calls)
        await asyncio.sleep(world.chance.uniform(0, MOMENT / 10))
        found.press_if_there(found.victim, start)
        canceled, ended = await calling
    await found.settle(0.5)
    now = await world.fetched(inbound)
    ends = sum(each["event"] in {"verification.approved", "verification.canceled"} for each in now["events"])
    return now["status"], ends, canceled[0] == 200 or bool(ended[1].get("canceled"))


async def locked(found: Chats) -> None:
    """Begin verifications as soon as the person was told that codes are locked."""
    await found.settle()
    world, before = found.world, len(found.said(found.victim))

    def told() -> bool:
        texts = [str(each["text"]) for each in found.said(found.victim)[before:]]
        return any("UTC" in text and "lock" in text.lower() for text in texts)

    found.victim.write("/lock")
    await world.scene.until(told, PATIENCE, every=0.005)
    answers = await every(
        call("POST", "/v1/verifications", {"to": {"phone": PHONE, "email": f"beside{number}@example.org"}})
        for number in range(CREATES)
        for call in (world.ours, world.theirs)
    )
    world.verdict(
        "once the bot has said that codes are locked, no node takes one on",
        told() and all(status == 422 for status, _ in answers),
        tally(answers),
    )

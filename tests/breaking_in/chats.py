"""Three people with Telegram: the victim, whose chat is linked and whose number is proved, and two others."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from gateway.sandbox.telegram_people import Person
from tests.breaking_in.world import PATIENCE, SETTLE, Calls, World

#: The victim's number, and what their chat is called at the service ``default``.
PHONE, REFERENCE = "+4915112345678", "person-1"
#: A mailbox that a route may go to instead.
MAILBOX = "elsewhere@example.org"


@dataclass
class Chats:
    """The three and the bot they talk to."""

    world: World
    victim: Person
    attacker: Person
    third: Person
    #: A message of the bot's in the attacker's chat, under which they press what they like.
    under: int = 0

    @property
    def by_chat(self) -> dict[str, str]:
        """The victim, as their service names them."""
        return {"telegram": REFERENCE}

    def said(self, person: Person) -> list[dict[str, Any]]:
        """Return the bot's messages in somebody's chat, oldest first."""
        return [each for each in self.world.bot.chat(person.user_id) if each.get("from", {}).get("is_bot")]

    def buttons(self, person: Person, start: str) -> list[tuple[int, str]]:
        """Return the buttons in somebody's chat whose data begin with ``start``, and the messages they are under."""
        return [
            (message["message_id"], button["callback_data"])
            for message in self.world.bot.chat(person.user_id)
            for row in (message.get("reply_markup") or {}).get("inline_keyboard", ())
            for button in row
            if button.get("callback_data", "").startswith(start)
        ]

    async def press(self, person: Person, start: str) -> None:
        """Wait for a button and press the newest. Raises ``AssertionError`` where it never comes."""
        await self.world.scene.until(lambda: bool(self.buttons(person, start)), PATIENCE)
        assert self.buttons(person, start), "no button came"
        person.press(*self.buttons(person, start)[-1])
        await self.settle()

    def press_if_there(self, person: Person, start: str) -> None:
        """Press the newest such button, if there is one."""
        for button in self.buttons(person, start)[-1:]:
            person.press(*button)

    async def settle(self, times: float = 1.0) -> None:
        """Wait until what was written has had its effect."""
        await asyncio.sleep(SETTLE * times)

    async def linked(self, person: Person, reference: str = REFERENCE, call: Calls | None = None) -> dict[str, Any]:
        """Link somebody's chat, as the victim's at the service ``default`` unless told otherwise; return the subscriber."""
        status, told = await (call or self.world.ours)("POST", "/v1/subscribers", {"reference": reference})
        assert status == 201, (status, told.get("code"))
        person.press_start(payload(told))
        await self.press(person, f"yes:{told['id']}")
        return told

    async def proved(self, person: Person, phone: str) -> None:
        """Have somebody share their own number."""
        person.share_contact(phone)
        await self.settle()

    async def asked(self, to: object) -> dict[str, Any]:
        """Begin a verification that its person opens in their chat."""
        return await self.world.started(to, mode="inbound", channels=["telegram"])

    async def statuses(self, *verifications: dict[str, Any]) -> list[str]:
        """Return how verifications stand."""
        return [(await self.world.fetched(each))["status"] for each in verifications]

    async def subscribed(self, subscriber: dict[str, Any]) -> str:
        """Return how a subscriber stands."""
        return str((await self.world.ours("GET", f"/v1/subscribers/{subscriber['id']}"))[1]["status"])


def payload(told: dict[str, Any]) -> str:
    """Return what a link to the bot carries."""
    return str(told["link"]).partition("start=")[2]


async def chats(world: World) -> Chats:
    """Return the three, once the bot listens; the attacker's name has what a careless page would obey."""
    await world.scene.until(lambda: world.bot.requests["getUpdates"] > 0, PATIENCE)
    bot = world.bot
    made = Chats(world, bot.person(1001, "Victim"), bot.person(1002, "<b>A</b>\u202e"), bot.person(1003, "Third"))
    made.attacker.write("/help")
    await world.scene.until(lambda: bool(made.said(made.attacker)), PATIENCE)
    made.under = int(made.said(made.attacker)[-1]["message_id"])
    return made

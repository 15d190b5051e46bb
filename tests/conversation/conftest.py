"""A bot, the people who write to it, and the gateway behind it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from channels.base import Inbound, Reply
from channels.kinds import KINDS
from gateway.app import _reply_renderer
from gateway.conversation.inbox import Inbox
from gateway.conversation.subscribers import PreparedSubscriber, Subscribers, SubscriberView
from gateway.verification.view import VerificationView
from tests.world import Scripted, World

CHAT, OTHER_CHAT = "7001", "7002"


class Bot(Scripted):
    """A scripted channel that people must open first."""

    async def link(self, token: str) -> str | None:
        return f"https://bot.test/?start={token}"


@dataclass
class Talk:
    """What a test does as a service and as people."""

    world: World
    subscribers: Subscribers
    inbox: Inbox
    announced: list[str]
    updates: int = 0

    async def invite(
        self, reference: str = "user-42", phone: str | None = None, service: str = "shop"
    ) -> SubscriberView:
        prepared: PreparedSubscriber = await self.subscribers.prepare(service, reference, phone)
        return await self.subscribers.create(prepared)

    async def say(self, chat: str = CHAT, **written: Any) -> Sequence[Reply]:
        self.updates += 1
        fields: dict[str, Any] = {
            "command": None,
            "text": "",
            "display_name": "Ann Ö.",
            "language": "en",
            "private": True,
        }
        return await self.inbox.handle(Inbound(update_id=self.updates, chat=chat, **fields | written))

    async def start(self, link: str, chat: str = CHAT, **written: Any) -> Sequence[Reply]:
        return await self.say(chat, command="start", text=link.rpartition("=")[2], **written)

    async def press(self, reply: Reply, place: int, chat: str = CHAT, **written: Any) -> Sequence[Reply]:
        return await self.say(chat, text=reply.buttons[0][place].data, press="p1", **written)

    async def link(self, chat: str = CHAT, **invited: Any) -> SubscriberView:
        """Go all the way: invited, opened, confirmed."""
        view = await self.invite(**invited)
        [reply] = await self.start(view.link or "", chat)
        await self.press(reply, 0, chat)
        return await self.subscribers.one(invited.get("service", "shop"), view.id)

    async def verify(self) -> VerificationView:
        return await self.world.start({"telegram": "user-42"}, channels=["bot"])


@pytest.fixture(scope="session")
def render():
    """The shipped templates, compiled once."""
    return _reply_renderer()


@pytest.fixture
def talk(database, clock, sealer, hasher, render) -> Talk:
    bot = Bot("bot", ["telegram"], needs_subscriber=True)
    announced: list[str] = []
    store: dict[str, Any] = {"database": database, "sealer": sealer, "hasher": hasher, "clock": clock}
    subscribers = Subscribers(**store, bot=bot, phone=KINDS["phone"])
    world = World(database, clock, sealer, hasher, {"bot": bot}, resolve=subscribers.resolve, invite=subscribers.invite)
    inbox = Inbox(
        **store,
        brands={"shop": "Shop & Söhne"},
        render=render,
        on_link=world.verifications.on_link,
        announce=announced.append,
    )
    return Talk(world, subscribers, inbox, announced)

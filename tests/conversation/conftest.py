"""A bot, the people who write to it, and the gateway behind it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import Any, TypeVar

import pytest

from channels.chat import Inbound, Reply
from channels.kinds import KINDS
from gateway.app import load_replies
from gateway.app.channels import conversing
from gateway.conversation import chats
from gateway.conversation.blocking import Blocking
from gateway.conversation.inbox import TABLE, Inbox, Table
from gateway.conversation.replies import Replies
from gateway.conversation.replying import Replying
from gateway.conversation.subscribers import PreparedSubscriber, Subscribers, SubscriberView
from gateway.conversation.turn import Tools, Turn
from gateway.delivery.writing.rendering import ReplyTexts
from gateway.storage.unit import Connection
from gateway.verification.view import VerificationView
from tests.world import Talker, World

T = TypeVar("T")

CHAT, OTHER_CHAT = "7001", "7002"


class Bot(Talker):
    """A scripted channel that people must open first."""


@dataclass
class Talk:
    """What a test does as a service and as people."""

    world: World
    subscribers: Subscribers
    tools: Tools
    replies: Replies
    replying: Replying
    inbox: Inbox
    #: The channels the dispatcher was told of.
    announced: list[str] = field(default_factory=list)
    updates: int = 0

    @property
    def bot(self) -> Bot:
        bot = self.world.channels["bot"]
        assert isinstance(bot, Bot)
        return bot

    async def invite(
        self, reference: str = "user-42", phone: str | None = None, service: str = "shop"
    ) -> SubscriberView:
        prepared: PreparedSubscriber = await self.subscribers.prepare(service, reference, phone)
        return await self.subscribers.create(prepared)

    def inbound(self, chat: str = CHAT, **written: Any) -> Inbound:
        """An update with a number of its own, unless told otherwise."""
        self.updates += 1
        fields: dict[str, Any] = {
            "update_id": self.updates,
            "command": None,
            "text": "",
            "display_name": "Ann Ö.",
            "language": "en",
            "private": True,
        }
        return Inbound(chat=chat, **fields | written)

    async def say(self, chat: str = CHAT, *, to: str = "bot", **written: Any) -> Sequence[Reply]:
        """Write to the bot of the channel ``to``; return what it then answers in that chat."""
        return (await self.hear(chat, to=to, **written)).get(chat, [])

    async def hear(self, chat: str = CHAT, *, to: str = "bot", **written: Any) -> dict[str, list[Reply]]:
        """Write to the bot of the channel ``to``; return what it then says, by chat."""
        bot = self.world.channels[to]
        assert isinstance(bot, Bot)
        before = len(bot.did)
        await self.inbox.handle(to, self.inbound(chat, **written))
        await self.replying.send_once(to)
        said: dict[str, list[Reply]] = {}
        for name, *what in bot.did[before:]:
            if name == "say":
                said.setdefault(what[0], []).append(what[1])
        return said

    async def start(self, link: str | None, chat: str = CHAT, **written: Any) -> Sequence[Reply]:
        return await self.say(chat, command="start", text=(link or "").rpartition("=")[2], **written)

    async def press(self, reply: Reply, place: int, chat: str = CHAT, **written: Any) -> Sequence[Reply]:
        return await self.say(chat, text=reply.buttons[0][place].data, press="p1", **written)

    async def confirm(self, view: SubscriberView, chat: str = CHAT, **written: Any) -> Sequence[Reply]:
        """Open a link and confirm."""
        [reply] = await self.start(view.link, chat, **written)
        return await self.press(reply, 0, chat, **written)

    async def link(self, chat: str = CHAT, **invited: Any) -> SubscriberView:
        """Go all the way: invited, opened, confirmed."""
        view = await self.invite(**invited)
        await self.confirm(view, chat)
        return await self.subscribers.one(invited.get("service", "shop"), view.id)

    async def verify(self, to: str = "user-42") -> VerificationView:
        return await self.world.start({"telegram": to}, channels=["bot"])

    async def turned(self, handler: Callable[[Turn], Awaitable[T]], chat: str = CHAT, **written: Any) -> T:
        """Run a handler within a transaction, past the inbox; ``argument`` is the turn's own."""
        argument = written.pop("argument", "")
        inbound = self.inbound(chat, **written)
        chat_hash = self.world.hasher.hash(chats.CHAT, chat)

        async def work(connection: Connection) -> T:
            known = await chats.known(connection, chat_hash)
            now = self.world.clock.now()
            return await handler(Turn(self.tools, connection, "bot", inbound, chat_hash, known, argument, now))

        return await self.world.database.run(work)

    def text(self, template: str, part: str = "reply.html", language: str = "en", **values: str) -> str:
        """What the shipped template says."""
        return self.tools.texts(template, language, (part,), values)[part]

    async def rows(self, table: str) -> list[dict[str, Any]]:
        found: list[Any] = await self.world.database.fetch(f"SELECT * FROM {table}")
        return [dict(row) for row in found]

    async def events(self) -> list[tuple[str, str, str | None]]:
        """Name, service and recipient of what is told of people, in order."""
        found = await self.world.database.fetch(
            "SELECT name, service, recipient FROM event WHERE name LIKE 'subscriber.%' ORDER BY at, id"
        )
        return [(record["name"], record["service"], record["recipient"]) for record in found]


@pytest.fixture(scope="session")
def texts() -> ReplyTexts:
    """The shipped templates, compiled once."""
    return load_replies()


@pytest.fixture
def make_talk(database, clock, sealer, hasher, texts) -> Callable[..., Talk]:
    """Makes a node of its own on the one database: ``make_talk(node="node-b")``; ``beside`` are channels beside the bot."""

    def make(
        *,
        node: str = "node-a",
        within: Any = None,
        table: Table = TABLE,
        beside: Mapping[str, Any] = MappingProxyType({}),
        **replying: Any,
    ) -> Talk:
        own = within or database
        bot = Bot("bot", ["telegram", "phone"])
        blocking = Blocking(own, hasher, clock, bot.name)
        subscribers = Subscribers(
            database=own, sealer=sealer, hasher=hasher, clock=clock, bot=bot, phone=KINDS["phone"]
        )
        world = World(
            own,
            clock,
            sealer,
            hasher,
            {**beside, "bot": bot},
            node=node,
            resolve=subscribers.resolve,
            locked=partial(chats.any_locked, hasher),
            is_theirs=chats.is_theirs,
            invite=subscribers.invite,
            on_blocked=blocking.mark,
        )
        tools = Tools(
            sealer=sealer,
            hasher=hasher,
            brands={"shop": "Shop & Söhne", "bank": "Bank"},
            locales={"shop": "en", "bank": "de"},
            texts=texts,
            phone=KINDS["phone"],
            on_link=world.verifications.on_link,
            open_question=world.reverse.open,
            opened_questions=world.reverse.opened,
            answer_question=world.reverse.answer,
            decline_question=world.reverse.decline,
            report=world.reporting.report,
        )
        announced: list[str] = []
        replies = Replies(own, sealer, clock, node)
        answering = Replying(replies, conversing(world.channels), clock, blocking.blocked, **replying)
        inbox = Inbox(
            database=own,
            clock=clock,
            hasher=hasher,
            tools=tools,
            blocking=blocking,
            replies=replies,
            replying=answering,
            announce=announced.append,
            table=table,
        )
        return Talk(world, subscribers, tools, replies, answering, inbox, announced)

    return make


@pytest.fixture
def talk(make_talk: Callable[..., Talk]) -> Talk:
    return make_talk()

"""People who write to the bot, one update in one transaction each, and a core that answers what a test tells it to."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from channels.chat import Contact, Inbound, Reply
from channels.kinds import KINDS
from gateway.conversation import chats, commands
from gateway.conversation.subscribers import Subscribers
from gateway.conversation.turn import Handler, Outcome, Tools, Turn
from gateway.delivery.person import Question, Reported, Unheard, Verdict
from gateway.delivery.writing.rendering import ReplyTexts
from gateway.storage import models
from gateway.storage.database import Database
from gateway.storage.statement import insert_into
from gateway.storage.unit import Connection, Record
from tests.world import Talker

CHAT, OTHER_CHAT = "7001", "7002"
PHONE = "+4915112345678"
#: Names as somebody would choose who wants to break the texts.
BRANDS = {"shop": 'Shop <b>&"', "bank": "Bank", "bank_eu": "Bank", "café": "Café"}

_VERIFICATION = insert_into(models.Verification)
_ADDRESS = insert_into(models.Address)


@dataclass
class Core:
    """Verification, as far as a conversation sees it: what it is asked, and what a test lets it answer."""

    asked: list[tuple[Any, ...]] = field(default_factory=list)
    #: What a link's token or a typed text opens.
    challenges: dict[str, Question] = field(default_factory=dict)
    #: The questions that have been opened, by chat and verification.
    opened: dict[tuple[bytes, str], Question] = field(default_factory=dict)
    #: Whether nothing that is typed is looked at.
    unheard: bool = False
    verdict: Verdict = Verdict.APPROVED
    reported: Reported | None = None

    async def on_link(self, *_: Any) -> set[str]:
        return set()

    async def open_question(
        self, _: Connection, given: str, chat_hash: bytes, phone_hash: bytes | None, now: float
    ) -> Question | Unheard | None:
        self.asked.append(("open", given, phone_hash, now))
        if self.unheard:
            return Unheard.TOO_OFTEN
        question = self.challenges.get(given)
        if question is not None:
            self.opened[chat_hash, question.verification_id] = question
        return question

    async def opened_questions(
        self, _: Connection, chat_hash: bytes, phone_hash: bytes | None, now: float
    ) -> list[Question]:
        return [
            replace(question, needs_phone=question.needs_phone and phone_hash is None)
            for (chat, _id), question in self.opened.items()
            if chat == chat_hash
        ]

    async def answer_question(
        self, _: Connection, verification_id: str, chat_hash: bytes, phone_hash: bytes | None, now: float
    ) -> Verdict:
        self.asked.append(("answer", verification_id, phone_hash, now))
        return self.verdict

    async def decline_question(
        self, _: Connection, verification_id: str, chat_hash: bytes, phone_hash: bytes | None, now: float
    ) -> Reported | None:
        self.asked.append(("decline", verification_id, phone_hash, now))
        return self.reported

    async def report(self, _: Connection, verification_id: str, chat: str, now: float) -> Reported | None:
        self.asked.append(("report", verification_id, chat, now))
        return self.reported


@dataclass
class People:
    """Everybody who writes to one bot."""

    database: Database
    clock: Any
    sealer: Any
    hasher: Any
    texts: ReplyTexts
    core: Core = field(default_factory=Core)
    brands: dict[str, str] = field(default_factory=BRANDS.copy)
    updates: int = 0

    def __post_init__(self) -> None:
        self.bot = Talker("bot", ["telegram"])
        self.subscribers = Subscribers(
            database=self.database,
            sealer=self.sealer,
            hasher=self.hasher,
            clock=self.clock,
            bot=self.bot,
            phone=KINDS["phone"],
        )
        self.tools = Tools(
            sealer=self.sealer,
            hasher=self.hasher,
            brands=self.brands,
            locales=dict.fromkeys(self.brands, "en"),
            texts=self.texts,
            phone=KINDS["phone"],
            on_link=self.core.on_link,
            open_question=self.core.open_question,
            opened_questions=self.core.opened_questions,
            answer_question=self.core.answer_question,
            decline_question=self.core.decline_question,
            report=self.core.report,
        )

    async def command(
        self, name: str, argument: str = "", chat: str = CHAT, language: str | None = "en"
    ) -> list[Reply]:
        """Write ``/name argument``."""
        return await self.do(commands.COMMANDS[name], argument, chat, language, command=name)

    async def press(self, data: str, chat: str = CHAT, language: str | None = "en") -> list[Reply]:
        """Press a button, of a message with the id ``m1``."""
        verb, _, argument = data.partition(":")
        return await self.do(commands.PRESSES[verb], argument, chat, language, press="p1", message_id="m1")

    async def type(self, text: str, chat: str = CHAT, language: str | None = "en") -> list[Reply]:
        """Write a text that is no command."""
        return await self.do(commands.TYPED, text, chat, language)

    async def share(self, phone: str = PHONE, chat: str = CHAT, *, own: bool = True) -> list[Reply]:
        """Share a contact."""
        return await self.do(commands.CONTACT, "", chat, "en", contact=Contact(phone, own=own))

    async def do(self, handler: Handler, argument: str, chat: str, language: str | None, **written: Any) -> list[Reply]:
        """Hand one update to ``handler`` and return what the chat that wrote is answered."""
        self.updates += 1
        fields: dict[str, Any] = {"command": None, "text": argument, "display_name": "Ann", "private": True} | written
        inbound = Inbound(update_id=self.updates, chat=chat, language=language, **fields)

        async def work(connection: Connection) -> Outcome:
            chat_hash, now = self.chat_hash(chat), self.clock.now()
            known = await chats.known(connection, chat_hash)
            return await handler(Turn(self.tools, connection, "bot", inbound, chat_hash, known, argument, now))

        outcome = await self.database.run(work)
        return [said.reply for said in outcome.said if said.chat in (None, chat)]

    async def link(
        self, service: str = "shop", reference: str = "user-42", chat: str = CHAT, phone: str | None = None
    ) -> str:
        """Link a chat to a service, all the way; return the subscriber's id."""
        view = await self.subscribers.create(await self.subscribers.prepare(service, reference, phone))
        [asked] = await self.command("start", (view.link or "").rpartition("=")[2], chat)
        await self.press(asked.buttons[0][0].data, chat)
        return view.id

    async def asked(self, kind: str, address: str, **columns: Any) -> None:
        """Let a service have asked for a code to an address."""
        self.updates += 1
        verification_id = f"ver_{self.updates:04}"
        plain = {"id": verification_id, "service": "shop", "status": "approved", "created_at": self.clock.now()}
        columns = plain | {"expires_at": self.clock.now() + 300} | columns
        row = [columns.get(column.name, _empty(column)) for column in models.Verification.__table__.columns]  # type: ignore[attr-defined]

        async def work(connection: Connection) -> None:
            address_hash = self.hasher.hash(kind, KINDS[kind](address).canonical)
            await connection.apply(_write(_VERIFICATION, tuple(row)))
            await connection.apply(_write(_ADDRESS, (address_hash, verification_id)))

        await self.database.run(work)

    async def known(self, chat: str = CHAT) -> Record | None:
        """Return the row of a chat."""
        found = await self.database.fetch("SELECT * FROM chat WHERE hash = :hash", hash=self.chat_hash(chat))
        return found[0] if found else None

    async def events(self) -> list[str]:
        """Return the names of the events of chats and subscribers, the oldest first."""
        found = await self.database.fetch("SELECT name FROM event WHERE name LIKE 'subscriber.%' ORDER BY at, id")
        return [record["name"].removeprefix("subscriber.") for record in found]

    def chat_hash(self, chat: str) -> bytes:
        """Return the keyed hash of a chat's address."""
        return bytes(self.hasher.hash("chat", chat))


def _write(statement: Any, row: tuple[Any, ...]) -> Any:
    from gateway.events.event import recorded

    return recorded((statement, row), [], [])


def _empty(column: Any) -> Any:
    if column.nullable:
        return None
    return "" if column.type.python_type is str else 0


def labels(reply: Reply) -> list[str]:
    """Return the labels of a reply's buttons, row by row."""
    return [button.label for row in reply.buttons for button in row]


def data(reply: Reply) -> list[str]:
    """Return what the buttons of a reply send back."""
    return [button.data for row in reply.buttons for button in row]

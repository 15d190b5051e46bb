"""The inbox: what a person wrote or pressed in the bot becomes a move and an answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

import orjson

from channels.base import Button, Inbound, Reply
from gateway.clock import Clock
from gateway.conversation import statements as sql
from gateway.conversation.subscribers import place
from gateway.events.event import EventName, event, recorded
from gateway.storage.database import Database
from gateway.storage.sealing import Hasher, Sealer, token_hash
from gateway.storage.unit import Connection, Record

#: The kind under which chats are hashed.
_CHAT = "chat"
_CONFIRM, _DECLINE = "yes:", "no:"


class RenderReply(Protocol):
    """Renders what the bot answers: a template of ``templates/conversation`` in a language."""

    def __call__(
        self, template: str, locale: str | None, parts: Sequence[str], values: Mapping[str, str], /
    ) -> Mapping[str, str]:
        """Return the rendered parts."""
        ...


#: What waited for a person's link may go, within the transaction that links; returns the channels that got something.
OnLink = Callable[[Connection, str, bytes, str, float], Awaitable[set[str]]]


class Inbox:
    """Answers people. ``announce`` tells the dispatcher that a channel has something due."""

    def __init__(
        self,
        *,
        database: Database,
        sealer: Sealer,
        hasher: Hasher,
        clock: Clock,
        brands: Mapping[str, str],
        render: RenderReply,
        on_link: OnLink,
        announce: Callable[[str], None],
    ) -> None:
        self._database = database
        self._sealer = sealer
        self._hasher = hasher
        self._clock = clock
        self._brands = brands
        self._render = render
        self._on_link = on_link
        self._announce = announce

    async def handle(self, inbound: Inbound) -> Sequence[Reply]:
        """Do what a person asked for and return the answers. Raises ``StorageError``."""
        if inbound.blocked is not None:
            await self._block(inbound)
            return ()
        if not inbound.private:
            return self._say(inbound, "private_only")
        if inbound.press is not None:
            return await self._pressed(inbound)
        match inbound.command:
            case "start" if inbound.text:
                return await self._open_link(inbound)
            case "start":
                return self._say(inbound, "start")
            case "stop":
                return await self._stop(inbound)
            case "help":
                return self._say(inbound, "help")
            case _:
                return self._say(inbound, "unknown")

    async def _open_link(self, inbound: Inbound) -> Sequence[Reply]:
        """Ask whoever opened a link to confirm. Used, expired and forged tokens look the same."""
        now, hashed, chat_hash = self._clock.now(), token_hash(inbound.text), self._chat_hash(inbound)

        async def work(connection: Connection) -> Record | None:
            for record in await connection.fetch(sql.BY_TOKEN, token_hash=hashed):
                if await connection.apply(recorded((sql.ASK, (record["id"], hashed, chat_hash, now)), [], [])):
                    return record
            return None

        record = await self._database.run(work)
        if record is None:
            return self._say(inbound, "link_invalid")
        parts = ("reply.html", "confirm.txt", "decline.txt")
        texts = self._render("confirm", inbound.language, parts, self._about(record))
        confirm = Button(texts["confirm.txt"], _CONFIRM + record["id"])
        decline = Button(texts["decline.txt"], _DECLINE + record["id"])
        return (Reply(texts["reply.html"], ((confirm, decline),)),)

    async def _pressed(self, inbound: Inbound) -> Sequence[Reply]:
        if inbound.text.startswith(_CONFIRM):
            return await self._link(inbound, inbound.text.removeprefix(_CONFIRM))
        if inbound.text.startswith(_DECLINE):
            return await self._decline(inbound, inbound.text.removeprefix(_DECLINE))
        return self._say(inbound, "unknown")

    async def _link(self, inbound: Inbound, subscriber_id: str) -> Sequence[Reply]:
        now, chat_hash = self._clock.now(), self._chat_hash(inbound)
        row = (
            subscriber_id,
            chat_hash,
            self._sealer.seal(inbound.chat.encode(), place("chat", subscriber_id)),
            self._sealer.seal(inbound.display_name.encode(), place("display_name", subscriber_id)),
            now,
        )

        async def work(connection: Connection) -> tuple[Record, set[str]] | None:
            for record in await connection.fetch(sql.ANY_BY_ID, id=subscriber_id):
                told = event(EventName.SUBSCRIBER_LINKED, now, record["service"])
                if await connection.apply(recorded((sql.LINK, row), [], [told])):
                    service, reference_hash = record["service"], record["reference_hash"]
                    return record, await self._on_link(connection, service, reference_hash, inbound.chat, now)
            return None

        linked = await self._database.run(work)
        if linked is None:
            return self._say(inbound, "link_invalid")
        for channel in linked[1]:
            self._announce(channel)
        return self._say(inbound, "linked", self._about(linked[0]))

    async def _decline(self, inbound: Inbound, subscriber_id: str) -> Sequence[Reply]:
        row = (subscriber_id, self._chat_hash(inbound))

        async def work(connection: Connection) -> Record | None:
            found = await connection.fetch(sql.ANY_BY_ID, id=subscriber_id)
            declined = await connection.apply(recorded((sql.DECLINE, row), [], []))
            return found[0] if found and declined else None

        record = await self._database.run(work)
        if record is None:
            return self._say(inbound, "link_invalid")
        return self._say(inbound, "declined", self._about(record))

    async def _stop(self, inbound: Inbound) -> Sequence[Reply]:
        forgotten = await self._move_chat(inbound, sql.UNLINK_CHAT, EventName.SUBSCRIBER_UNLINKED)
        return self._say(inbound, "stopped" if forgotten else "nothing_to_stop")

    async def _block(self, inbound: Inbound) -> None:
        if inbound.blocked:
            await self._move_chat(inbound, sql.BLOCK_CHAT, EventName.SUBSCRIBER_BLOCKED)
        else:
            await self._move_chat(inbound, sql.UNBLOCK_CHAT, EventName.SUBSCRIBER_LINKED)

    async def _move_chat(self, inbound: Inbound, statement: str, name: EventName) -> int:
        now, chat_hash = self._clock.now(), self._chat_hash(inbound)

        async def work(connection: Connection) -> int:
            moved = await connection.fetch(statement, chat_hash=chat_hash)
            if name is EventName.SUBSCRIBER_UNLINKED:
                await connection.fetch(sql.FORGET_ASKED, chat_hash=chat_hash)
            events = [event(name, now, record["service"]) for record in moved]
            await connection.apply(recorded(None, [], events))
            return len(moved)

        return await self._database.run(work)

    def _about(self, record: Record) -> dict[str, str]:
        person = orjson.loads(self._sealer.open(record["person_sealed"], place("person", record["id"])))
        return {"brand": self._brands.get(record["service"], record["service"]), "account": person["masked"]}

    def _say(self, inbound: Inbound, template: str, values: Mapping[str, str] | None = None) -> Sequence[Reply]:
        texts = self._render(template, inbound.language, ("reply.html",), values or {})
        return (Reply(texts["reply.html"]),)

    def _chat_hash(self, inbound: Inbound) -> bytes:
        return self._hasher.hash(_CHAT, inbound.chat)

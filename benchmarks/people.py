"""People who have opened the bot, for a database to be filled with: rows as linking leaves them."""

from __future__ import annotations

import asyncio
import itertools
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from benchmarks.load import recipients
from benchmarks.served import Prepared
from channels.kinds import reference
from gateway.app.store import Store, opened_store
from gateway.config import load_settings
from gateway.conversation import chats, people
from gateway.delivery.lifecycle import SubscriberStatus
from gateway.storage import models
from gateway.storage.ids import new_id
from gateway.storage.statement import insert_into, row_of
from gateway.storage.unit import Connection, Move, Write

_SERVICE, _LANGUAGE, _NAME = "default", "en", "Ann"
_SUBSCRIBER, _CHAT = insert_into(models.Subscriber), insert_into(models.Chat)
_SUBSCRIBER_ROW, _CHAT_ROW = row_of(models.Subscriber), row_of(models.Chat)


def with_people(prepared: Prepared, folder: Path, count: int) -> Prepared:
    """Return a copy of a prepared SQLite file in ``folder``, in which the first ``count`` people have linked a chat.

    They are those that ``benchmarks.load`` asks for ``--to telegram``.
    """
    shutil.copytree(prepared.folder, folder)
    copy = replace(prepared, folder=folder)
    asyncio.run(_fill(copy, count))
    return copy


async def _fill(prepared: Prepared, count: int) -> None:
    settings = load_settings(prepared.folder / "config.toml", prepared.environ)
    async with opened_store(settings) as store:
        now = store.clock.now()
        rows = [
            write
            for number, name in enumerate(itertools.islice(recipients("telegram"), count), 1)
            for write in _linked(store, str(number), name, now)
        ]

        async def work(connection: Connection) -> None:
            await connection.apply(Move(None, rows))

        await store.database.run(work)


def _linked(store: Store, chat: str, name: str, now: float) -> Iterator[Write]:
    """Yield the rows of one person's chat and of the service's link to it."""
    person, chat_hash = reference(name), store.hasher.hash(chats.CHAT, chat)
    seal, subscriber_id = store.sealer.seal, new_id("sub", now)
    yield (
        _CHAT,
        _CHAT_ROW(
            models.Chat(
                hash=chat_hash,
                chat_sealed=seal(chat.encode(), chats.place("chat", chat_hash)),
                told_language=_LANGUAGE,
                created_at=now,
            )
        ),
    )
    yield (
        _SUBSCRIBER,
        _SUBSCRIBER_ROW(
            models.Subscriber(
                id=subscriber_id,
                service=_SERVICE,
                reference_hash=store.hasher.hash(person.kind, person.canonical),
                person_sealed=people.sealed(store.sealer, subscriber_id, person, None),
                status=SubscriberStatus.LINKED,
                chat_sealed=seal(chat.encode(), people.place("chat", subscriber_id)),
                chat_hash=chat_hash,
                display_name_sealed=seal(_NAME.encode(), people.place("display_name", subscriber_id)),
                created_at=now,
                linked_at=now,
            )
        ),
    )

"""Replies: the bot's answers on their way, sealed; a row goes once its answer is sent."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec

from channels.chat import Reply
from gateway.clock import Clock
from gateway.storage import models
from gateway.storage.database import Database
from gateway.storage.ids import least_id, new_id
from gateway.storage.sealing import Sealer, UnsealError
from gateway.storage.statement import Statement, insert_into
from gateway.storage.unit import Connection, Move, Record, Write

_log = logging.getLogger(__name__)

#: Seconds a node holds an answer without renewing; another sends it after that.
LEASE: Final = 20.0
#: Seconds an answer is worth sending: nobody waits for it any longer.
MAX_AGE: Final = 600.0

_INSERT = insert_into(models.OutgoingReply)
_DONE = Statement(
    "reply.done",
    {"id": "text", "node": "text"},
    "DELETE FROM reply WHERE EXISTS (SELECT 1 FROM r WHERE r.id = reply.id AND r.node = reply.lease) RETURNING id",
    key=(0,),
)
_HOLD = Statement(
    "reply.hold",
    {"id": "text", "node": "text", "until": "double precision"},
    "UPDATE reply SET due_at = r.until FROM r WHERE reply.id = r.id AND reply.lease = r.node RETURNING reply.id",
    key=(0,),
)
_LET_GO = Statement(
    "reply.let_go",
    {"id": "text", "node": "text", "due_at": "double precision", "tries": "bigint"},
    """UPDATE reply SET due_at = r.due_at, tries = r.tries, lease = ''
    FROM r WHERE reply.id = r.id AND reply.lease = r.node RETURNING reply.id""",
    key=(0,),
)
_FORGET = Statement("reply.forget", {"id": "text"}, "DELETE FROM reply WHERE id IN (SELECT id FROM r)")
_FORGET_OLD = """DELETE FROM reply WHERE id IN
    (SELECT id FROM reply WHERE id < :before ORDER BY id LIMIT CAST(:number AS bigint)) RETURNING id"""
_ALL = "SELECT id, sealed FROM reply ORDER BY id"
_ANY_DUE = "SELECT id FROM reply WHERE channel = :channel AND due_at <= :now LIMIT 1"
# The outer ``due_at`` is asked again once another node's claim is committed: no answer is taken by two.
_CLAIM = """UPDATE reply SET due_at = :until, lease = :node WHERE due_at <= :now AND id IN
    (SELECT id FROM reply WHERE channel = :channel AND due_at <= :now ORDER BY due_at, id LIMIT CAST(:number AS bigint))
    RETURNING id, channel, sealed, tries, created_at"""


@dataclass(frozen=True, slots=True)
class Waiting:
    """An answer that this node holds."""

    id: str
    channel: str
    #: The chat's address.
    chat: str = field(repr=False)
    reply: Reply = field(repr=False)
    #: Tries at sending it so far.
    tries: int
    #: Seconds since the Unix epoch.
    created_at: float
    #: When another node may take it.
    held_until: float


@dataclass(frozen=True, slots=True)
class _Sealed:
    """What is sealed of an answer."""

    chat: str = field(repr=False)
    reply: Reply = field(repr=False)


class Replies:
    """The answers of every node, seen from one of them. ``node`` is this process's unguessable name.

    All methods but ``write`` raise ``StorageError``.
    """

    def __init__(self, database: Database, sealer: Sealer, clock: Clock, node: str) -> None:
        self._database = database
        self._sealer = sealer
        self._clock = clock
        self._node = node

    def write(self, channel: str, chat: str, reply: Reply, now: float) -> tuple[Waiting, Write]:
        """Return a new answer, born in this node's hands, and the write that keeps it."""
        reply_id, until = new_id("rep", now), now + LEASE
        sealed = self._sealer.seal(msgspec.json.encode(_Sealed(chat, reply)), _place(reply_id))
        row = (reply_id, channel, sealed, until, self._node, 0, now)
        return Waiting(reply_id, channel, chat, reply, 0, now, until), (_INSERT, row)

    async def claim(self, channel: str, number: int) -> list[Waiting]:
        """Take up to ``number`` answers of a channel that are due, the oldest first."""
        now = self._clock.now()
        # Mostly there is none, and a read holds up nobody.
        if not await self._database.fetch(_ANY_DUE, channel=channel, now=now):
            return []
        until = now + LEASE

        async def work(connection: Connection) -> list[Record]:
            values = {"channel": channel, "now": now, "until": until, "node": self._node, "number": number}
            return await connection.fetch(_CLAIM, **values)

        found = await self._database.run(work)
        opened = [await self._opened(record, until) for record in sorted(found, key=lambda record: record["id"])]
        return [waiting for waiting in opened if waiting is not None]

    async def hold(self, waiting: Waiting) -> bool:
        """Whether an answer is still this node's, for as long as it takes to send it."""
        now = self._clock.now()
        if waiting.held_until - now >= LEASE / 2:
            return True
        return await self._database.write(Move((_HOLD, (waiting.id, self._node, now + LEASE))))

    async def done(self, *waiting: Waiting) -> None:
        """Delete answers that were sent, or never will be."""
        await asyncio.gather(*(self._database.write(Move((_DONE, (item.id, self._node)))) for item in waiting))

    async def again(self, waiting: Waiting, due_at: float) -> None:
        """Let go of an answer after a try that failed; anybody may take it at ``due_at``."""
        await self._let_go(waiting, due_at, waiting.tries + 1)

    async def release(self, waiting: Sequence[Waiting], due_at: float) -> None:
        """Let go of answers that were not tried; anybody may take them at ``due_at``."""
        # Together: at a stop there may be thousands, and each by itself would be a commit.
        await asyncio.gather(*(self._let_go(item, due_at, item.tries) for item in waiting))

    async def forget(self, is_theirs: Callable[[str], bool]) -> int:
        """Delete the answers on their way to the chats that ``is_theirs`` names; return how many there were.

        They are few at any time, so all are opened. Raises ``StorageError``.
        """
        found = [record["id"] for record in await self._database.fetch(_ALL) if self._goes_to(record, is_theirs)]
        if found:
            await self._database.write(Move(None, [(_FORGET, (reply_id,)) for reply_id in found]))
        return len(found)

    async def forget_old(self, number: int) -> int:
        """Delete up to ``number`` answers that nobody sends any more, whatever channels there are; return how many.

        Whoever runs a channel gives up its own. Those of one that was taken out of the configuration are nobody's.
        """
        given = {"before": least_id("rep", self._clock.now() - MAX_AGE - LEASE), "number": number}
        return len(await self._database.run(lambda connection: connection.fetch(_FORGET_OLD, **given)))

    def _goes_to(self, record: Record, is_theirs: Callable[[str], bool]) -> bool:
        try:
            plain = self._sealer.open(record["sealed"], _place(record["id"]))
            return is_theirs(msgspec.json.decode(plain, type=_Sealed).chat)
        except (UnsealError, msgspec.MsgspecError):
            # Whoever claims it deletes it: nobody can send it.
            return False

    async def _let_go(self, waiting: Waiting, due_at: float, tries: int) -> None:
        await self._database.write(Move((_LET_GO, (waiting.id, self._node, due_at, tries))))

    async def _opened(self, record: Record, until: float) -> Waiting | None:
        """Return a claimed answer. One that cannot be read is deleted: it would be claimed again for ever."""
        try:
            plain = self._sealer.open(record["sealed"], _place(record["id"]))
            item = msgspec.json.decode(plain, type=_Sealed)
        except (UnsealError, msgspec.MsgspecError) as error:
            _log.error("the answer %s cannot be read: %s", record["id"], type(error).__name__)
            await self._database.write(Move((_DONE, (record["id"], self._node))))
            return None
        return Waiting(
            record["id"], record["channel"], item.chat, item.reply, record["tries"], record["created_at"], until
        )


def _place(reply_id: str) -> str:
    return f"reply/{reply_id}"

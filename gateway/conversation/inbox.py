"""The inbox: one update of a bot becomes one transaction, with its number, what it does and what is answered."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from channels.chat import Inbound
from gateway.clock import Clock
from gateway.conversation import chats, commands
from gateway.conversation.blocking import Blocking
from gateway.conversation.groups import Groups
from gateway.conversation.replies import Replies, Waiting
from gateway.conversation.replying import Replying
from gateway.conversation.turn import Handler, Outcome, Tools, Turn
from gateway.events.event import recorded
from gateway.storage import models
from gateway.storage.database import Database
from gateway.storage.sealing import Hasher
from gateway.storage.statement import insert_into
from gateway.storage.unit import Connection, StorageUnavailableError

_log = logging.getLogger(__name__)

#: Seconds an update's number is remembered. Telegram repeats an update for 24 hours (core.telegram.org/bots/api,
#: "Getting updates").
HEARD: Final = 48 * 3600.0
#: Tries at an update that fails by itself: of two transactions that cross, the second try finds the other's work.
TRIES: Final = 2

_HEAR = insert_into(models.Heard, conflict="ON CONFLICT (channel, update_id) DO NOTHING", key=("channel", "update_id"))
_FORGET_HEARD = """DELETE FROM heard WHERE at <= :oldest AND (channel, update_id) IN
    (SELECT channel, update_id FROM heard WHERE at <= :oldest LIMIT CAST(:number AS bigint)) RETURNING update_id"""


@dataclass(frozen=True, slots=True)
class Table:
    """Who answers what in a private chat."""

    #: By the command's name, without its slash.
    commands: Mapping[str, Handler]
    #: By the verb before the colon of a button's data.
    presses: Mapping[str, Handler]
    #: A shared contact.
    contact: Handler
    #: Any other text.
    typed: Handler

    def find(self, inbound: Inbound) -> tuple[Handler, str]:
        """Return who answers an update, and the argument."""
        if inbound.press is not None:
            verb, colon, argument = inbound.text.partition(":")
            return (self.presses.get(verb, _unknown) if colon else _unknown), argument
        if inbound.contact is not None:
            return self.contact, ""
        if inbound.command is not None:
            return self.commands.get(inbound.command, _unknown), inbound.text
        return self.typed, inbound.text


async def _unknown(turn: Turn) -> Outcome:
    return Outcome((turn.say("unknown"),))


#: What the bot can be asked.
TABLE: Final = Table(commands.COMMANDS, commands.PRESSES, commands.CONTACT, commands.TYPED)


@dataclass(frozen=True, slots=True)
class _Taken:
    """What is to be done once an update is committed."""

    waiting: tuple[Waiting, ...] = ()
    wake: frozenset[str] = frozenset()


class Inbox:
    """Takes in what people write. ``announce`` tells the dispatcher that a channel has something due."""

    def __init__(
        self,
        *,
        database: Database,
        clock: Clock,
        hasher: Hasher,
        tools: Tools,
        blocking: Blocking,
        replies: Replies,
        replying: Replying,
        announce: Callable[[str], None],
        table: Table = TABLE,
    ) -> None:
        self._database = database
        self._clock = clock
        self._hasher = hasher
        self._tools = tools
        self._blocking = blocking
        self._replies = replies
        self._replying = replying
        self._announce = announce
        self._table = table
        self._groups = Groups()

    async def handle(self, channel: str, inbound: Inbound) -> None:
        """Do what a person asked for in the bot of ``channel``, once, and write down the answers, which follow.

        Raises ``StorageUnavailableError``: nothing was kept, and it can be given again.
        """
        taken = await self._taken(channel, inbound)
        self._replying.hand_over(taken.waiting)
        for name in sorted(taken.wake):
            self._announce(name)

    async def forget_heard(self, limit: int = 5000) -> int:
        """Delete up to ``limit`` numbers of updates that no provider repeats any more; return how many there were."""
        oldest = self._clock.now() - HEARD
        found = await self._database.run(
            lambda connection: connection.fetch(_FORGET_HEARD, oldest=oldest, number=limit)
        )
        return len(found)

    async def _taken(self, channel: str, inbound: Inbound) -> _Taken:
        for left in reversed(range(TRIES)):
            try:
                return await self._database.run(partial(self._take, channel, inbound))
            except StorageUnavailableError:
                raise
            except Exception as error:  # noqa: BLE001 - one update must not stop those behind it, which wait for it
                # By its type alone: its text may hold what the person wrote.
                _log.error("update %d of %s failed: %s", inbound.update_id, channel, type(error).__name__)
                if not left:
                    await self._database.run(partial(self._hear, channel, inbound))
        return _Taken()

    async def _hear(self, channel: str, inbound: Inbound, connection: Connection) -> bool:
        row = (channel, inbound.update_id, self._clock.now())
        return await connection.apply(recorded((_HEAR, row), [], []))

    async def _take(self, channel: str, inbound: Inbound, connection: Connection) -> _Taken:
        if not await self._hear(channel, inbound, connection):
            return _Taken()
        turn = await self._turn(channel, inbound, connection)
        outcome = await self._answered(turn)
        waiting = []
        for said in outcome.said:
            chat = said.chat or inbound.chat
            # Nobody knows which bots another chat has opened. It is told that somebody took over what it had: by all of them.
            for bot in (channel,) if chat == inbound.chat else self._replying.bots:
                item, write = self._replies.write(bot, chat, said.reply, turn.now)
                await connection.apply(recorded(write, [], []))
                waiting.append(item)
        return _Taken(tuple(waiting), outcome.wake)

    async def _turn(self, channel: str, inbound: Inbound, connection: Connection) -> Turn:
        chat_hash = self._hasher.hash(chats.CHAT, inbound.chat)
        return Turn(
            tools=self._tools,
            connection=connection,
            channel=channel,
            inbound=inbound,
            chat_hash=chat_hash,
            known=await chats.known(connection, chat_hash),
            argument=inbound.text,
            now=self._clock.now(),
        )

    async def _answered(self, turn: Turn) -> Outcome:
        inbound = turn.inbound
        if inbound.blocked is not None:
            await (self._blocking.block(turn) if inbound.blocked else self._blocking.unblock(turn))
            return Outcome()
        if not inbound.private:
            return Outcome((self._groups.refusal(turn),))
        # Who writes can be written to, whatever was known before.
        await self._blocking.unblock(turn)
        await chats.refresh(turn)
        handler, argument = self._table.find(inbound)
        return await handler(replace(turn, argument=argument))

"""What is heard of a message after it was sent: a provider's report, or nothing in the time its service allows."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from channels.base import Report, ReportedStatus
from channels.callback import ForgedCallbackError
from gateway.clock import Clock
from gateway.delivery import statements as sql
from gateway.delivery.lifecycle import MessageStatus
from gateway.delivery.message import Message
from gateway.delivery.retry import min_life
from gateway.delivery.rows import opened
from gateway.delivery.succession import Succession
from gateway.delivery.telling import ENDINGS, told, told_of
from gateway.events.event import EventName, recorded
from gateway.storage.database import Database
from gateway.storage.sealing import Sealer, UnsealError, token_hash
from gateway.storage.unit import Connection, Move, Record
from gateway.value import Value

_log = logging.getLogger(__name__)

#: Seconds a code must still live for the next channel to take over from a message that was not delivered.
UNDELIVERED_LIFE = 60.0

#: Returns the seconds a service gives a channel to report a delivery before the next channel takes over, ``None``
#: where it does not ask for that: ``confirm_within(service, purpose, channel)``.
ConfirmWithin = Callable[[str, str, str], float | None]
#: Is told of a channel and how many seconds something took there.
Observe = Callable[[str, float], None]


def never(_service: str, _purpose: str, _channel: str, /) -> None:
    """Wait for no report: no service asks for it."""
    return


def unobserved(_channel: str, _seconds: float, /) -> None:
    """Tell nobody how long something took."""


class Listeners(Value, frozen=True):
    """Who is told how long things took, once they are durable."""

    #: Seconds from a message's birth to its acceptance by the provider.
    on_sent: Observe = unobserved
    #: Seconds from its acceptance to the report that the person has it.
    on_delivered: Observe = unobserved


class Receipts:
    """The reports of every provider, and those that do not come."""

    def __init__(
        self,
        database: Database,
        sealer: Sealer,
        clock: Clock,
        succession: Succession,
        confirm_within: ConfirmWithin,
        listeners: Listeners,
    ) -> None:
        self._database = database
        self._sealer = sealer
        self._clock = clock
        self._succession = succession
        self._confirm_within = confirm_within
        self._listeners = listeners

    def confirm_by(self, message: Message, now: float) -> float | None:
        """Return when the next channel takes over from a message that is sent ``now``, unless its delivery is reported.

        ``None`` where its service does not ask for that, no channel follows, or the code does not live that long.
        """
        seconds = self._confirm_within(message.service, message.purpose, message.channel)
        if seconds is None or not message.another_follows:
            return None
        due = now + seconds
        return due if due + min_life(message.ttl) <= message.expires_at else None

    async def report(self, channel: str, report: Report) -> bool:
        """Take in what the provider of ``channel`` says of an attempt; return whether it changed anything.

        Repeated reports, overtaken ones and those of unknown attempts change nothing; nor does one of another channel's
        attempt: whoever may speak for one provider may not for the others. Raises ``ForgedCallbackError`` where the provider's
        id is another message's, and ``StorageError``.
        """
        found = await self._database.fetch(sql.REPORTED, token_hash=token_hash(report.attempt_token))
        if found and _is_of_another(report, found[0]):
            _log.warning("a report names another message", extra={"message_id": found[0]["id"], "channel": channel})
            raise ForgedCallbackError
        if not found or found[0]["status"] == MessageStatus.DELIVERED:
            # Providers repeat themselves, and nothing follows on a delivery: the writer need not be asked.
            return False
        if found[0]["channel"] != channel:
            _log.warning("a report came by another channel", extra={"message_id": found[0]["id"], "channel": channel})
            return False
        record, now = found[0], self._clock.now()
        message = None if report.status is ReportedStatus.DELIVERED else self._opened(record)

        async def work(connection: Connection) -> bool:
            return await self._take_in(connection, report, record, message, now)

        changed = await self._database.run(work)
        if changed:
            self._observe(report.status, record, now)
        return changed

    async def _take_in(
        self, connection: Connection, report: Report, record: Record, message: Message | None, now: float
    ) -> bool:
        status, number = MessageStatus(report.status.value), record["number"]
        wait = self.confirm_by(message, now) if message is not None and status is MessageStatus.SENT else None
        row = (record["id"], number, status, now, report.reason, report.provider_id, wait)
        proof = (record["id"], number, now, report.provider_id, report.provider_code)
        # Whoever was erased since that was read is not named again: no erasure would find it.
        held = await connection.fetch(sql.HOLD_MESSAGE, id=record["id"])
        if not held:
            return False
        event = told_of(
            ENDINGS[status], now, held[0], attempt=number, reason=report.reason, provider_code=report.provider_code
        )
        if not await connection.apply(recorded((sql.REPORT, row), [(sql.PROVE_ATTEMPT, proof)], [event])):
            return False
        if status is MessageStatus.UNDELIVERED:
            await self._go_on(connection, record, message, now)
        return True

    async def _go_on(self, connection: Connection, record: Record, message: Message | None, now: float) -> None:
        if message is None:
            await self._succession.end(connection, record["verification_id"], now)
            return
        alive = now + UNDELIVERED_LIFE <= message.expires_at
        await self._succession.step(connection, message, now, alive=alive, leased=False)

    async def unconfirmed(self, *, leased: bool = True) -> list[Message]:
        """Have the next channels take over from what was sent and not reported as delivered in time.

        Returns their messages, which are in this node's hands if ``leased``; each is made once, whichever node looks.
        Some hundreds at a time. Raises ``StorageError``.
        """
        now = self._clock.now()
        records = await self._database.fetch(sql.UNCONFIRMED, now=now)
        taken = await asyncio.gather(*(self._take_over(record, now, leased=leased) for record in records))
        return [message for message in taken if message is not None and leased]

    async def _take_over(self, record: Record, now: float, *, leased: bool) -> Message | None:
        message = self._opened(record)
        if message is None or now + min_life(message.ttl) > message.expires_at:
            await self._database.write(Move((sql.CONFIRM_NO_MORE, (record["id"], now))))
            return None
        told_of_it = told(EventName.MESSAGE_UNCONFIRMED, now, message, attempt=message.attempts)
        move = recorded((sql.UNCONFIRM, (message.id, now)), [], [told_of_it])

        async def work(connection: Connection) -> Message | None:
            successor = await self._succession.follow(connection, message, record, now, move, leased=leased)
            if successor is None:
                await connection.apply(Move(None, [(sql.CONFIRM_NO_MORE, (record["id"], now))]))
            return successor

        return await self._database.run(work)

    def _opened(self, record: Record) -> Message | None:
        try:
            return opened(self._sealer, record)
        except UnsealError as error:
            # No next channel can be read from it; that this one's report came counts all the same.
            _log.warning("a message cannot be opened: %s", error, extra={"message_id": record["id"]})
            return None

    def _observe(self, status: ReportedStatus, record: Record, now: float) -> None:
        if status is ReportedStatus.SENT:
            self._listeners.on_sent(record["channel"], max(0.0, now - record["created_at"]))
        elif status is ReportedStatus.DELIVERED:
            known = record["status"] == MessageStatus.SENT
            since = record["finished_at"] if known else record["begun_at"]
            self._listeners.on_delivered(record["channel"], max(0.0, now - since))


def _is_of_another(report: Report, record: Record) -> bool:
    """Whether a report is told of an attempt whose message its provider knows by another id: signed, but sent elsewhere anew.

    Where the provider's answer was lost, or is not there yet, nobody knows by which.
    """
    known = record["known_as"]
    return known is not None and report.provider_id is not None and report.provider_id != known

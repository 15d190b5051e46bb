"""The durable queue: the only writer of a message's status. Each move is guarded and written with its event."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Container, Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any, Protocol

from msgspec.structs import replace

from channels.base import Reason, Receipt, Report
from gateway.clock import Clock
from gateway.delivery import statements as sql
from gateway.delivery.births import Birth, attempt, under_way
from gateway.delivery.lifecycle import AttemptOutcome, MessageStatus
from gateway.delivery.message import LEASE as LEASE  # noqa: PLC0414 - who runs the queue renews its leases
from gateway.delivery.message import Message, topic
from gateway.delivery.receipts import ConfirmWithin, Listeners, Observe, Receipts, never, unobserved
from gateway.delivery.retry import min_life
from gateway.delivery.rows import opened, row_of
from gateway.delivery.sends import Sends, Unlimited
from gateway.delivery.standing import LATE, ended_as, looked_at
from gateway.delivery.succession import Against, OnRouteEnd, Succession, nothing
from gateway.delivery.telling import ENDINGS, Failure, told, told_failure, told_of
from gateway.events.event import Event, EventName, recorded
from gateway.storage.database import Database
from gateway.storage.sealing import Sealer, UnsealError
from gateway.storage.unit import Connection, Move, Record, Write

_log = logging.getLogger(__name__)

#: Seconds after which a message that can be changed is looked at, for an end that crossed its send.
LOOK_AFTER = 5.0


class OnBlocked(Protocol):
    """What the owner of chats does when a person turns out to block the bot. Runs in the queue's transaction."""

    def __call__(self, connection: Connection, channel: str, address: str, now: float, /) -> Awaitable[None]:
        """Remember that the bot of ``channel`` cannot write to the chat at ``address``."""
        ...


#: Is told of a message that a provider accepted.
OnAccepted = Callable[[Message], None]

#: Returns when a fresh message that nobody holds is due, in seconds since the Unix epoch; ``None``: at once.
DueAt = Callable[[Message], float | None]


def untold(_: Message, /) -> None:
    """Tell nobody."""


def at_once(_: Message, /) -> None:
    """Have every message due at once."""
    return


async def nobody(connection: Connection, channel: str, address: str, now: float, /) -> None:
    """Do nothing: nobody wants to know who blocks the bot."""


class Queue:
    """The messages of every node, seen from one of them.

    ``node`` is this process's unguessable name; what it holds carries it, so no other process can settle it.
    ``several_nodes`` says whether others share the database. ``revising`` are the channels that can change what they
    sent, ``chats`` those whose addresses are chats with a bot: ``on_blocked`` hears of a chat that blocks it.
    ``confirm_within`` tells how many seconds a service gives a channel to report a delivery. ``on_sent`` hears how many
    seconds passed from a message's birth to its acceptance, ``on_delivered`` from there to the report of its delivery,
    ``on_accepted`` of the message itself. ``sends`` limits what is sent, if given; ``against`` tells what people refuse.
    """

    def __init__(
        self,
        database: Database,
        sealer: Sealer,
        clock: Clock,
        *,
        node: str,
        on_route_end: OnRouteEnd,
        several_nodes: bool = False,
        revising: Collection[str] = (),
        chats: Collection[str] = (),
        on_blocked: OnBlocked = nobody,
        confirm_within: ConfirmWithin = never,
        on_sent: Observe = unobserved,
        on_delivered: Observe = unobserved,
        on_accepted: OnAccepted = untold,
        sends: Sends | None = None,
        against: Against = nothing,
    ) -> None:
        self._database = database
        self._sealer = sealer
        self._clock = clock
        self._revising = revising
        self._chats = chats
        self._on_blocked = on_blocked
        self._on_sent = on_sent
        #: Told of each message that a provider accepted, whoever settled it: that is what is paid.
        self.paid = on_accepted
        self._several_nodes = several_nodes
        self._sends: Sends = sends or Unlimited()
        self._succession = Succession(sealer, node, on_route_end, self._sends, against)
        listeners = Listeners(on_sent, on_delivered)
        self._receipts = Receipts(database, sealer, clock, self._succession, confirm_within, listeners)
        self._due_at: DueAt = at_once
        self.node = node

    def put_off_by(self, due_at: DueAt) -> None:
        """Have who sends say when a fresh message is due that it does not hold: its channel may be shut till then."""
        self._due_at = due_at

    def enqueue(self, message: Message, now: float, *, leased: bool) -> tuple[Write, Event]:
        """Return the write and the event of a fresh message, for the unit of work that makes it.

        ``leased``: born in this node's hands and due to others only when the lease lapses.
        """
        due_at = None if leased else self._due_at(message)
        return self._succession.born(message, now, leased=leased, due_at=due_at)

    def born_under_way(self, message: Message, now: float) -> Birth:
        """Return a fresh message with its first attempt, for the unit of work that makes it.

        Only for a worker that waits for it: nothing but that unit's commit may lie between this and the provider.
        """
        return under_way(message, self.node, now, self._clock.monotonic())

    def hold_back(self, message: Message, now: float) -> tuple[Write, Event]:
        """Return the write and the event of a message whose recipient has yet to open the bot."""
        row = row_of(message, MessageStatus.WAITING, due_at=message.expires_at, lease="")
        return (sql.INSERT_MESSAGE, row), told(EventName.MESSAGE_WAITING, now, message)

    async def begin(self, message: Message) -> tuple[Message, str] | None:
        """Begin the next attempt: write it down, then let it be made.

        Returns the message as it now is and the attempt's token, or ``None`` where it may not be sent: this node
        lost it, its code is dead, or it was tried before and its person has refused it since.
        """
        now, number = self._clock.now(), message.attempts + 1
        if number > 1 and self._chats and await self._database.run(self._succession.refusing(message, now)):
            return None
        token, tried = attempt(message, number, self.node, now)
        move = recorded(
            (sql.BEGIN, (message.id, self.node, number, now, now + LEASE)),
            [tried],
            [told(EventName.MESSAGE_SENDING, now, message, attempt=number)],
        )
        if not await self._database.submit(move):
            return None
        started = now if message.started_at is None else message.started_at
        return replace(message, attempts=number, started_at=started), token

    async def accept(self, message: Message, receipt: Receipt, milliseconds: float) -> bool:
        """Settle an attempt that the provider accepted. Returns whether it was still this node's to settle."""
        now = self._clock.now()
        accepted = bool(await self.accepting(message, receipt, milliseconds, now))
        if accepted:
            self.accepted(message, now)
        return accepted

    def accepted(self, message: Message, at: float) -> None:
        """Tell who listens that a message was accepted, once that is durable."""
        self._on_sent(message.channel, max(0.0, at - message.created_at))
        self.paid(message)

    def accepting(self, message: Message, receipt: Receipt, milliseconds: float, now: float) -> asyncio.Future[Any]:
        """Hand that in for the next batch: what is returned is done once it is durable, and true if it was this node's.

        Raises ``StorageError`` while the database is closing; else the future does. ``accepted`` must follow.
        """
        status = MessageStatus.DELIVERED if receipt.delivered else MessageStatus.SENT
        # Plain strings, in each row of this module: sqlite3 asks an enum's whether it adapts itself, 2 µs each.
        outcome = AttemptOutcome.SENT.value
        end = (message.id, message.attempts, now, outcome, None, receipt.provider_id, receipt.provider_code)
        event = told(
            ENDINGS[status],
            now,
            message,
            attempt=message.attempts,
            outcome=AttemptOutcome.SENT,
            provider_code=receipt.provider_code,
            milliseconds=milliseconds,
        )
        confirm_by = None if receipt.delivered else self._receipts.confirm_by(message, now)
        finish = (message.id, self.node, message.attempts, status.value, now, None, receipt.provider_id, confirm_by)
        guard: Write = (sql.FINISH, finish)
        then: list[Write] = [(sql.END_ATTEMPT, end)]
        if message.channel in self._revising and receipt.provider_id is not None:
            look_at = min(now + LOOK_AFTER, message.expires_at)
            older = (message.id, message.verification_id, now)
            guard, then = (sql.FINISH_REVISABLE, (*finish, look_at)), [*then, (sql.SUPERSEDE, older)]
        return self._database.submit(recorded(guard, then, [event]))

    async def retry(self, message: Message, failure: Failure, due_at: float) -> bool:
        """Settle a failed attempt that another one follows at ``due_at`` on the same channel."""
        unknowns = int(failure.outcome is AttemptOutcome.UNKNOWN)
        return await self._database.write(
            recorded(
                (sql.REQUEUE, (message.id, self.node, message.attempts, due_at, 0, unknowns)),
                [self._end_attempt(message, failure)],
                [self._failed(EventName.MESSAGE_RETRIED, message, failure)],
                wakes=self._wakes(message.channel, due_at),
            )
        )

    async def give_back(self, message: Message) -> bool:
        """Return a message whose attempt a shutdown stopped before anything left; it counts for nothing."""
        failure = Failure(AttemptOutcome.SKIPPED, Reason.UNAVAILABLE)
        return await self._database.write(
            recorded(
                (sql.REQUEUE, (message.id, self.node, message.attempts, self._clock.now(), 1, 0)),
                [self._end_attempt(message, failure)],
                [self._failed(EventName.MESSAGE_RETURNED, message, failure)],
                wakes=(topic(message.channel),),
            )
        )

    async def release(self, message: Message, due_at: float | None = None) -> bool:
        """Return a message this node holds and has not begun, due at once or at ``due_at``."""
        due = self._clock.now() if due_at is None else due_at
        guard = (sql.UNLEASE, (message.id, self.node, due))
        return await self._database.write(recorded(guard, [], [], wakes=self._wakes(message.channel, due)))

    async def move_on(self, message: Message, failure: Failure, *, alive: bool, leased: bool) -> Message | None:
        """Settle a failed attempt after which this channel is done with the message.

        The next channel of the route takes over if the code is ``alive`` long enough: its message is made in the
        same transaction and returned (in this node's hands if ``leased``). Else the route has ended.
        """
        now = self._clock.now()
        status = MessageStatus.FAILED if alive or failure.outcome is AttemptOutcome.PERMANENT else MessageStatus.EXPIRED
        reason = failure.reason.value
        finish = (message.id, self.node, message.attempts, status.value, now, reason, None, None)
        move = recorded(
            (sql.FINISH, finish),
            [self._end_attempt(message, failure)],
            [self._failed(ENDINGS[status], message, failure)],
        )

        async def work(connection: Connection) -> Message | None:
            if not await connection.apply(move):
                return None
            if failure.reason is Reason.BLOCKED and message.channel in self._chats:
                await self._on_blocked(connection, message.channel, message.address, now)
            successor = await self._succession.step(connection, message, now, alive=alive, leased=leased)
            # Last: a send waits for its recipient's cooldown before it does for what this writes.
            await self._sends.give_back(connection, message.verification_id)
            return successor

        return await self._database.run(work)

    async def drop(self, message: Message, reason: Reason | None, *, leased: bool) -> Message | None:
        """End a message this node holds and may not begin, and say so truthfully.

        Canceled where its verification ended or a newer code replaced it, expired where its code died, else failed for
        ``reason``; then the next channel takes over as in ``move_on``. ``None``: it could not be begun, and is left, unless
        its person refused it since, to whoever has it: this node too may have lost it and claimed it anew.
        """
        now = self._clock.now()

        async def work(connection: Connection) -> Message | None:
            status = ended_as(message, await connection.fetch(sql.STANDING, id=message.id), now)
            failed = status is MessageStatus.FAILED
            if failed and reason is None and not await self._succession.refused(message, now, connection):
                return None
            why = (reason or Reason.UNKNOWN) if failed else None
            row = (message.id, self.node, status.value, now, why and why.value)
            event = told(ENDINGS[status], now, message, reason=why)
            if not await connection.apply(recorded((sql.END_QUEUED, row), [], [event])):
                return None
            successor = None
            if status is not MessageStatus.EXPIRED:
                # One that was canceled may have been the last that its verification waited for.
                alive = failed and now + min_life(message.ttl) <= message.expires_at
                successor = await self._succession.step(connection, message, now, alive=alive, leased=leased)
            await self._sends.give_back(connection, message.verification_id)
            return successor

        return await self._database.run(work)

    async def claim(self, channel: str, rooms: Mapping[str, int]) -> list[Message]:
        """Take messages of ``channel`` that are due, up to so many of each service as ``rooms`` says, the oldest first.

        One that cannot be opened (its key has left the ring, its row was changed) ends as failed: nobody else
        could open it either. Raises ``StorageError``.
        """
        now = self._clock.now()
        rooms = {service: number for service, number in rooms.items() if number > 0}
        if not rooms:
            return []

        async def work(connection: Connection) -> list[Record]:
            lease = {"node": self.node, "until": now + LEASE, "channel": channel, "now": now}
            if self._several_nodes:
                services, numbers = list(rooms), list(rooms.values())
                return await connection.fetch(sql.CLAIM_POSTGRESQL, **lease, services=services, numbers=numbers)
            claims = [
                await connection.fetch(sql.CLAIM_SQLITE, **lease, service=service, number=number)
                for service, number in rooms.items()
            ]
            return [record for claim in claims for record in claim]

        messages = []
        # A claim returns its rows in no order.
        for record in sorted(await self._database.run(work), key=itemgetter("created_at")):
            try:
                messages.append(opened(self._sealer, record))
            except UnsealError as error:
                _log.error("a message cannot be opened: %s", error, extra={"message_id": record["id"]})
                await self._end_unreadable(record, now)
        return messages

    async def renew(self, ids: Iterable[str]) -> None:
        """Prolong the lease on what this node has in memory.

        On nothing else: what it holds in the database alone was lost on the way, and must lapse to be found again.
        """
        now = self._clock.now()
        # In the order of their ids, so that two nodes never wait for each other's rows crosswise.
        rows: list[Write] = [(sql.RENEW, (item, self.node, now, now + LEASE)) for item in sorted(ids)]
        if rows:
            await self._database.write(Move(None, rows))

    async def rescue(self, held: Container[str] = (), may: Callable[[], bool] = lambda: True) -> int:
        """Return attempts whose node died to the queue, recorded as unknown; return how many there were.

        What this node still has under way itself (``held``) it leaves alone, however late: its answer is near. ``may`` is
        asked once the database has answered, whether anything is to be rescued now; if nothing is, one is written to, to
        see whether that can be. Raises ``StorageError``.
        """
        now = self._clock.now()
        found = await self._database.fetch(sql.LAPSED, now=now + LATE)
        rescues, probes = looked_at([record for record in found if record["id"] not in held], now, may=may())
        written = await asyncio.gather(*map(self._database.write, [*rescues, *probes]))
        return sum(written[: len(rescues)])

    async def close(self, connection: Connection, verification_id: str, status: MessageStatus, now: float) -> None:
        """End every message of a verification that has not begun; called by what ended the verification.

        Called while it is pending (it is sent anew), this takes the place of its other messages: no channel follows
        them, and they are not tried again.
        """
        records = await connection.fetch(sql.CLOSE, verification_id=verification_id, status=status, now=now)
        # The others are sent, or under way: they stand as they stood.
        events = [told_of(ENDINGS[status], now, record) for record in records if record["status"] == status]
        await connection.apply(recorded(None, [], events))
        if events:
            await self._sends.give_back(connection, verification_id)

    def revised(self, verification_id: str, now: float) -> Sequence[Write]:
        """Return what has what people see of a verification's messages put right, for what ends the verification."""
        return ((sql.REVISE, (verification_id, now)),) if self._revising else ()

    async def let_go(self, connection: Connection, verification_id: str, recipient: str, now: float) -> set[str]:
        """Queue what waited for a subscriber who has now linked; return the channels that got something."""
        records = await connection.fetch(sql.RELEASE, verification_id=verification_id, recipient=recipient, now=now)
        events = [told_of(EventName.MESSAGE_QUEUED, now, record) for record in records]
        channels = {record["channel"] for record in records}
        await connection.apply(recorded(None, [], events, wakes=[topic(channel) for channel in sorted(channels)]))
        return channels

    async def report(self, channel: str, report: Report) -> bool:
        """Take in what the provider of ``channel`` says of an attempt later; return whether it changed anything.

        Repeated or overtaken ones, and of unknown or another channel's attempts, do not. Raises ``ForgedCallbackError``, ``StorageError``.
        """
        return await self._receipts.report(channel, report)

    async def unconfirmed(self, *, leased: bool = True) -> list[Message]:
        """Have the next channels take over from what was sent and not reported as delivered in time.

        Returns their messages, in this node's hands if ``leased``: each once, some hundreds at a time. Raises ``StorageError``.
        """
        return await self._receipts.unconfirmed(leased=leased)

    async def _end_unreadable(self, record: Record, now: float) -> None:
        row = (record["id"], self.node, MessageStatus.FAILED.value, now, Reason.MISCONFIGURED.value)
        event = told_of(EventName.MESSAGE_FAILED, now, record, reason=Reason.MISCONFIGURED)

        async def work(connection: Connection) -> None:
            if await connection.apply(recorded((sql.END_QUEUED, row), [], [event])):
                await self._succession.end(connection, record["verification_id"], now)
                await self._sends.give_back(connection, record["verification_id"])

        await self._database.run(work)

    def _wakes(self, channel: str, due_at: float) -> tuple[str, ...]:
        return (topic(channel),) if due_at <= self._clock.now() else ()

    def _end_attempt(self, message: Message, failure: Failure) -> Write:
        outcome, reason = failure.outcome.value, failure.reason.value
        row = (message.id, message.attempts, self._clock.now(), outcome, reason, None, failure.provider_code)
        return sql.END_ATTEMPT, row

    def _failed(self, name: EventName, message: Message, failure: Failure) -> Event:
        return told_failure(name, self._clock.now(), message, failure)

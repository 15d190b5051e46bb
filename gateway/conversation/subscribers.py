"""Subscribers: people who opened a chat with the bot, and those who were asked to."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from channels.base import Address, Channel, InvalidAddressError, Normalize
from gateway.clock import Clock
from gateway.conversation import chats, erasing, people
from gateway.conversation import statements as sql
from gateway.delivery.lifecycle import SubscriberStatus
from gateway.delivery.person import Invitation, Reach
from gateway.errors import InvalidRequest, NotFound, Unavailable
from gateway.events.event import EventName, event, recorded
from gateway.storage.database import Database
from gateway.storage.ids import new_id
from gateway.storage.sealing import Hasher, Sealer, token_hash
from gateway.storage.statement import Statement
from gateway.storage.unit import Connection, Record, StorageContendedError

#: Seconds a link can be opened and confirmed.
LINK_LIFETIME = 600.0
#: Random bytes of a link token: 128 bits, 22 characters of the 64 that Telegram's deep links take
#: (core.telegram.org/bots/features#deep-linking).
TOKEN_BYTES = 16
#: Rows of a bite of people who never linked.
BITE = 500
_DAY = 86_400.0


@dataclass(frozen=True, slots=True)
class SubscriberView:
    """A subscriber as its service sees it. Times in seconds since the Unix epoch."""

    id: str
    reference: str = field(repr=False)
    status: str
    link: str | None = field(repr=False)
    #: When the link ends.
    expires_at: float | None
    #: The name the linked person shows in the chat.
    display_name: str | None = field(repr=False)
    created_at: float


@dataclass(frozen=True, slots=True)
class PreparedSubscriber:
    """A subscriber ready to be written, with the link already made."""

    service: str
    reference: Address
    phone: Address | None
    token: str = field(repr=False)
    link: str = field(repr=False)


class Subscribers:
    """The people one bot knows. ``bot`` is the channel that hands out links, ``None`` where none is configured."""

    def __init__(
        self,
        *,
        database: Database,
        sealer: Sealer,
        hasher: Hasher,
        clock: Clock,
        bot: Channel | None,
        phone: Normalize,
        make_token: Callable[[], str] = lambda: secrets.token_urlsafe(TOKEN_BYTES),
    ) -> None:
        self._database = database
        self._sealer = sealer
        self._hasher = hasher
        self._clock = clock
        self._bot = bot
        self._phone = phone
        self._make_token = make_token

    async def prepare(self, service: str, reference: str, phone: str | None) -> PreparedSubscriber:
        """Check the addresses and make the link.

        Raises ``InvalidRequest``, or ``DeliveryError`` where the provider cannot be asked for the bot's name.
        """
        if self._bot is None:
            raise InvalidRequest("no channel with a bot is configured")
        normalize = next(iter(self._bot.kinds.values()))
        try:
            address = normalize(reference)
        except InvalidAddressError as error:
            raise InvalidRequest.field("/reference", str(error)) from None
        try:
            number = self._phone(phone) if phone is not None else None
        except InvalidAddressError as error:
            raise InvalidRequest.field("/phone", str(error)) from None
        return await self._prepared(service, address, number)

    async def create(self, prepared: PreparedSubscriber) -> SubscriberView:
        """Write a subscriber durably; known ones get a new link, and the old link ends."""
        return await self._database.run(lambda connection: self.create_within(connection, prepared))

    async def create_within(
        self, connection: Connection, prepared: PreparedSubscriber, *, renews: Statement = sql.RENEW_TOKEN
    ) -> SubscriberView:
        """Write a subscriber in a transaction of the caller's. Raises ``Unavailable`` where ``renews`` holds for none."""
        now, reference_hash = self._clock.now(), self._hash(prepared.reference)
        subscriber_id = new_id("sub", now)
        if await self._insert(connection, subscriber_id, reference_hash, prepared, now):
            status, created_at, name = str(SubscriberStatus.PENDING), now, None
        else:
            found = await connection.fetch(sql.BY_REFERENCE, service=prepared.service, reference_hash=reference_hash)
            record = found[0]
            await self._renew(connection, record, prepared, now, renews)
            subscriber_id, created_at, name = record["id"], record["created_at"], self._display_name(record)
            unlinked = record["status"] == SubscriberStatus.UNLINKED
            status = str(SubscriberStatus.PENDING) if unlinked else record["status"]
        return SubscriberView(
            subscriber_id, prepared.reference.value, status, prepared.link, now + LINK_LIFETIME, name, created_at
        )

    async def one(self, service: str, subscriber_id: str) -> SubscriberView:
        """Return a service's subscriber. Its link is shown once only, when it is made. Raises ``NotFound``."""
        found = await self._database.fetch(sql.BY_ID, id=subscriber_id, service=service)
        if not found:
            raise NotFound("no such subscriber")
        record = found[0]
        person = people.told(self._sealer, record)
        return SubscriberView(
            id=record["id"],
            reference=person.reference,
            status=record["status"],
            link=None,
            expires_at=record["link_expires_at"],
            display_name=self._display_name(record),
            created_at=record["created_at"],
        )

    async def delete(self, service: str, subscriber_id: str) -> None:
        """Forget a service's subscriber, but for a lock of theirs until its time is over. Raises ``NotFound``."""
        now = self._clock.now()

        async def work(connection: Connection) -> None:
            gone = await connection.fetch(sql.DELETE, id=subscriber_id, service=service)
            if not gone:
                raise NotFound("no such subscriber")
            await erasing.leave_locks(connection, self._hasher, gone, now)
            await connection.apply(recorded(None, [], [event(EventName.SUBSCRIBER_UNLINKED, now, service)]))

        await self._database.run(work)

    async def forget(self, days: float) -> int:
        """Delete people without a chat so many days after their latest link ended; return how many there were, ``BITE`` at most.

        Raises ``StorageError``.
        """
        given = {"before": self._clock.now() - days * _DAY, "number": BITE}
        return len(await self._database.run(lambda connection: connection.fetch(sql.FORGET_UNLINKED, **given)))

    async def end_restored(self) -> int:
        """End every link that a restored backup has open, before anything else is done; return how many there were.

        Raises ``StorageError``.
        """
        now = self._clock.now()
        return len(await self._database.run(lambda connection: connection.fetch(sql.END_LINKS, at=now)))

    async def resolve(self, service: str, address: Address) -> Reach:
        """Tell how the bot reaches the person of an address: by a service's reference, or by a proved phone."""
        hashed = self._hash(address)
        if address.kind == chats.PHONE:
            # What outlives a chat, a lock, is found by the number's hash too.
            found = await self._database.fetch(sql.REACH_BY_PHONE, service=service, hash=hashed)
            return self._reach(found[0]) if found else Reach()
        left = erasing.lock_hash(self._hasher, service, hashed)
        found = await self._database.fetch(sql.REACH_BY_REFERENCE, service=service, hash=hashed, left=left)
        if found:
            return self._reach(found[0])
        return Reach(locked_until=await erasing.lock_of(self._database, left, self._clock.now()))

    def _reach(self, record: Record) -> Reach:
        # Empty in the row of a lock whose person was erased.
        until, chat = record["locked_until"], record["chat_sealed"] or None
        if until is not None and until <= self._clock.now():
            until = None
        where = chats.place("chat", record["hash"]) if record["id"] is None else people.place("chat", record["id"])
        return Reach(
            chat=None if chat is None else self._sealer.open(chat, where).decode(),
            locale=record["language"],
            muted=record["muted"] is not None,
            blocked=self._bot.name if self._bot is not None and chat is not None and record["blocked"] else None,
            locked_until=until,
        )

    async def invite(self, service: str, reference: Address) -> Invitation:
        """Make the link that asks a person to open the bot; nothing is written. Raises ``DeliveryError``."""
        prepared = await self._prepared(service, reference, None)
        return Invitation(prepared.link, partial(self._hold_unlinked, prepared), partial(self._invite, prepared))

    async def _hold_unlinked(self, prepared: PreparedSubscriber, connection: Connection) -> None:
        hashed = self._hash(prepared.reference)
        for record in await connection.fetch(sql.HOLD, service=prepared.service, reference_hash=hashed):
            if record["chat_hash"] is not None:
                raise _just_linked()

    async def _invite(self, prepared: PreparedSubscriber, connection: Connection) -> None:
        try:
            await self.create_within(connection, prepared, renews=sql.INVITE)
        except Unavailable:
            # Nobody knew them when they were looked for, and all of it came between. What the link is for is written
            # already, and only a failed transaction takes that back.
            raise StorageContendedError("a person has linked while they were invited") from None

    async def _prepared(self, service: str, reference: Address, phone: Address | None) -> PreparedSubscriber:
        assert self._bot is not None, "a bot is configured wherever a subscriber is asked for"
        token = self._make_token()
        link = await self._bot.link(token)
        if link is None:
            raise InvalidRequest(f"the channel {self._bot.name} has no bot to open")
        return PreparedSubscriber(service, reference, phone, token, link)

    async def _insert(
        self,
        connection: Connection,
        subscriber_id: str,
        reference_hash: bytes,
        prepared: PreparedSubscriber,
        now: float,
    ) -> bool:
        row = (
            subscriber_id,
            prepared.service,
            reference_hash,
            people.sealed(self._sealer, subscriber_id, prepared.reference, prepared.phone),
            SubscriberStatus.PENDING,
            None,
            None,
            token_hash(prepared.token),
            now + LINK_LIFETIME,
            None,
            None,
            now,
            None,
        )
        told = event(EventName.SUBSCRIBER_CREATED, now, prepared.service, recipient=prepared.reference.masked)
        return await connection.apply(recorded((sql.INSERT, row), [], [told]))

    async def _renew(
        self, connection: Connection, record: Record, prepared: PreparedSubscriber, now: float, renews: Statement
    ) -> None:
        # Who is asked again without a phone keeps the one that is known.
        phone, person = prepared.phone, None
        if phone is not None:
            person = people.sealed(self._sealer, record["id"], prepared.reference, phone)
        row = (record["id"], token_hash(prepared.token), now + LINK_LIFETIME, person)
        if not await connection.apply(recorded((renews, row), [], [])):
            raise _just_linked()

    def _display_name(self, record: Record) -> str | None:
        blob = record["display_name_sealed"]
        return None if blob is None else self._sealer.open(blob, people.place("display_name", record["id"])).decode()

    def _hash(self, reference: Address) -> bytes:
        return self._hasher.hash(reference.kind, reference.canonical)


def _just_linked() -> Unavailable:
    return Unavailable("the person has just linked; ask again", retry_after=1.0)

"""Counting what comes of sends: wrong codes, approvals, messages that never left, and channels that take over.

All of it within the transaction of what is counted. A check is counted and never refused: a live verification's person
can always answer, whatever others did.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gateway.clock import Clock
from gateway.config import LimitSettings, ServiceSettings
from gateway.config.services import LockoutSettings
from gateway.delivery.lifecycle import MessageStatus
from gateway.delivery.message import Message
from gateway.delivery.payload import Stop
from gateway.delivery.sends import IN_BLOCK
from gateway.errors import Problem
from gateway.events.event import Event, EventName, event, recorded
from gateway.storage.database import Database
from gateway.storage.unit import Connection, Guard, Move, Write
from gateway.verification.limits import claims, refusals, trust
from gateway.verification.limits import statements as sql
from gateway.verification.limits.allowances import Allowances
from gateway.verification.limits.claims import Claim
from gateway.verification.limits.windows import WRONG_KEPT

#: Where a code certainly reached: only for these recipients an approval makes its context trusted.
ARRIVED = frozenset({MessageStatus.SENT, MessageStatus.DELIVERED})


async def wrong(
    connection: Connection,
    verification_id: str,
    record: Any,
    service: str,
    lockout: LockoutSettings | None,
    now: float,
) -> None:
    """Count a wrong code against everybody the verification's messages were made for.

    ``record`` has the verification's ``purpose``, ``context`` and ``created_at``: they tell the budget of each in which
    its checks are held back.
    """
    # The recipient's row first, as an approval takes them: crosswise, two nodes would wait for each other.
    await connection.fetch(sql.COUNT_WRONG_IN_A_ROW, id=verification_id, keep=now + WRONG_KEPT)
    await connection.fetch(
        sql.COUNT_WRONG,
        id=verification_id,
        service=service,
        purpose=record["purpose"],
        context=record["context"],
        created_at=record["created_at"],
        at=now,
        after=None if lockout is None else lockout.after,
        locked=None if lockout is None else now + lockout.for_,
    )


async def approved(connection: Connection, verification_id: str, record: Any, service: str, now: float) -> None:
    """Count an approval, of which ``approving`` says what that is.

    ``record`` has the verification's ``purpose``, ``generation``, ``own_code``, ``client_ip`` and ``client_reference``.
    """
    values = {"service": service, "purpose": record["purpose"], "generation": record["generation"]}
    found = await connection.fetch(sql.COUNTED, id=verification_id, **values)
    if writes := approving(found, record, service, now):
        await connection.apply(Move(None, writes))


def approving(found: Sequence[Any], record: Any, service: str, now: float) -> list[Write]:
    """Return what counts an approval: wrong codes are forgiven, a block of numbers has one more, a context is trusted.

    ``found`` are the verification's messages as ``COUNTED`` returns them, ``record`` has what it has for ``approved``.
    """
    purpose, contexts = record["purpose"], trust.contexts_of(record["client_reference"], record["client_ip"])
    proved, own = _proved(found), brought_by_service(record)
    # As with guesses: who has the code in an own mailbox has not shown that anybody reads what a rented number is sent.
    sent = [item for item in found if item["counted"] and item["block_hash"] is not None and item["hash"] in proved]
    writes: list[Write] = []
    if not own:
        writes += [(sql.BLOCK_APPROVED, (item["block_hash"], item["created_at"])) for item in sent]
    for address_hash in proved:
        theirs = [item for item in found if item["hash"] == address_hash]
        if not own and any(item["wrong"] for item in theirs):
            writes.append((sql.FORGIVE_RECIPIENT, (address_hash,)))
        if any(item["guessed"] for item in theirs):
            writes.append((sql.FORGIVE_GUESSES, (service, purpose, address_hash)))
        if any(item["status"] in ARRIVED for item in theirs):
            writes += trust.trust(service, address_hash, contexts, now)
    return writes


def brought_by_service(record: Any) -> bool:
    """Whether a verification's code is one that its service brought: whoever has its key knows it without reading.

    An approval by it tells nothing to other services, nor that anybody reads what a rented number is sent. ``record`` has
    ``own_code`` and ``generation``: a resend with another code makes that one here.
    """
    return record["own_code"] is not None and record["generation"] == 1


def _proved(found: Sequence[Any]) -> list[bytes]:
    """Return whose code it was; nobody's where several had the same one.

    Else whoever names an own address beside another's could have the guesses at that one forgiven, as often as they
    like, and their device trusted.
    """
    brought = [item for item in found if item["brought"]]
    hashes = {bytes(item["hash"]) for item in brought or found}
    return [*hashes] if len(hashes) == 1 else []


async def approved_in_chat(connection: Connection, record: Any, hashes: Iterable[bytes], now: float) -> None:
    """Count an approval for which nothing was sent: the person answered in the chat.

    ``record`` is the verification's row, ``hashes`` are those of the addresses it proved.
    """
    service, purpose = record["service"], record["purpose"]
    contexts = trust.contexts_of(record["client_reference"], record["client_ip"])
    writes: list[Write] = []
    for address_hash in sorted(set(hashes)):
        writes.append((sql.FORGIVE_RECIPIENT, (address_hash,)))
        writes.append((sql.FORGIVE_GUESSES, (service, purpose, address_hash)))
        writes += trust.trust(service, address_hash, contexts, now)
    await connection.apply(Move(None, writes))


def _limit_of(refused: Problem) -> str:
    return str(refused.extra["limit"])


def observed(claim: Claim, limits: Iterable[str], channel: str, recipient: str) -> list[Event]:
    """Return the events that tell which limits would have refused a claim. ``recipient`` is masked."""
    return [
        event(
            EventName.LIMIT_OBSERVED,
            claim.at,
            claim.service,
            verification_id=claim.verification_id,
            channel=channel,
            recipient=recipient,
            reason=limit,
        )
        for limit in limits
    ]


class LimitedSends:
    """The limits of ``services``, as the queue knows them: see ``gateway.delivery.sends.Sends``.

    ``allowances`` pay for messages; without them nobody asks what one costs.
    """

    def __init__(self, services: Mapping[str, ServiceSettings], allowances: Allowances | None = None) -> None:
        self._services = services
        self._allowances = allowances

    async def allow(self, connection: Connection, message: Message, first: Stop, now: float, /) -> str | None:
        """Count a message and ask for its money, or return what refuses it."""
        if message.counted is None:
            return await self._pay(connection, message, first, now)
        found = await connection.fetch(sql.CHECKS, id=message.verification_id)
        claim = await self._claim(connection, message, found[0], now)
        await connection.fetch(sql.HOLD, service=claim.service, hash=claim.hash, at=now)
        in_the_way, overspent = await _in_the_way(connection, claim, message), self._afford(message)
        limit = self._refusing(claim, in_the_way, overspent, message)
        if limit is None:
            over = [] if overspent is None else [_limit_of(overspent)]
            limits = [*(reason.limit for reason in in_the_way), *over]
            events = observed(claim, limits, message.channel, message.recipient)
            before, guard = _guards(claim, message)
            if await connection.apply(recorded(guard, [], events, first=before)):
                self._reckon(message)
                return None
            limit = _limit_of(refusals.refusal(claim, await _in_the_way(connection, claim, message)))
        await connection.apply(recorded(None, [], [_told(EventName.LIMIT_REFUSED, message, limit, now)]))
        return limit

    async def _pay(self, connection: Connection, message: Message, first: Stop, now: float) -> str | None:
        """Ask for the money of a message that counts as a send no more, or return what refuses it."""
        if self._allowances is None or self._allowances.asked_for(message, first):
            return None
        if (overspent := self._allowances.afford(message)) is not None:
            limit, observes = _limit_of(overspent), self._observes_money(message)
            name = EventName.LIMIT_OBSERVED if observes else EventName.LIMIT_REFUSED
            await connection.apply(recorded(None, [], [_told(name, message, limit, now)]))
            if not observes:
                return limit
        self._allowances.reckon(message)
        return None

    def _refusing(
        self, claim: Claim, in_the_way: Sequence[refusals.Reason], overspent: Problem | None, message: Message
    ) -> str | None:
        """Return the limit that refuses a message, and does not only observe."""
        if in_the_way and not claim.observes:
            return _limit_of(refusals.refusal(claim, in_the_way))
        return None if overspent is None or self._observes_money(message) else _limit_of(overspent)

    def _observes_money(self, message: Message) -> bool:
        return self._allowances is None or self._allowances.observes(message.service)

    def _afford(self, message: Message) -> Problem | None:
        return None if self._allowances is None else self._allowances.afford(message)

    def _reckon(self, message: Message) -> None:
        if self._allowances is not None:
            self._allowances.reckon(message)

    async def give_back(self, connection: Connection, verification_id: str, /) -> None:
        """Count what has ended of a verification's messages and never left no more."""
        found = await connection.fetch(sql.GIVE_BACK, id=verification_id)
        blocks = [item for item in found if item["block_hash"] is not None]
        # In the order in which a send claims them, so that neither waits for the other crosswise.
        writes: list[Write] = [(sql.BLOCK_BACK, (item["block_hash"], item["created_at"])) for item in blocks]
        sends = [item for item in found if item["counted"] is not None]
        writes += [(sql.SEND_BACK, (item["recipient_hash"], item["created_at"])) for item in sends]
        if writes:
            await connection.apply(Move(None, writes))

    async def _claim(self, connection: Connection, message: Message, record: Any, now: float) -> Claim:
        assert message.recipient_hash is not None, "what is not counted is not asked for"
        service, address_hash = message.service, message.recipient_hash
        addressed = await connection.fetch(sql.ADDRESSED, id=message.verification_id, hash=address_hash)
        context = await trust.budget(connection.fetch, service, address_hash, record)
        return Claim(
            verification_id=message.verification_id,
            service=service,
            purpose=record["purpose"],
            hash=address_hash,
            at=now,
            limits=self._limits(service, record["purpose"]),
            need=0 if addressed else record["checks"],
            block=message.block_hash,
            context=context,
        )

    def _limits(self, service: str, purpose: str) -> LimitSettings:
        # What was queued for a service may outlive it in the configuration; then the defaults hold.
        found = self._services.get(service)
        return LimitSettings() if found is None else found.for_purpose(purpose).limits


def _told(name: EventName, message: Message, limit: str, now: float) -> Event:
    return event(
        name,
        now,
        message.service,
        verification_id=message.verification_id,
        channel=message.channel,
        recipient=message.recipient,
        reason=limit,
    )


async def _in_the_way(connection: Connection, claim: Claim, message: Message) -> list[refusals.Reason]:
    """Return what is in the way of a message: where it counts in its block alone, of what is counted there alone."""
    found = await refusals.look(connection.fetch, claim)
    return [*refusals.of_block(claim, found.block)] if message.counted == IN_BLOCK else refusals.reasons(claim, found)


def _guards(claim: Claim, message: Message) -> tuple[Sequence[Guard], Write]:
    """Return what is asked for a message to be counted, first and last."""
    if message.counted != IN_BLOCK or claim.block is None:
        return claims.guards(claim)
    block = claims.block_guard(claim, claim.block)
    return (), (block.statement, block.row)


class Forgetting:
    """Deletes what counts no more, a few hundred rows at a time; each returns how many there were.

    Raises ``StorageError``.
    """

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def recipients(self) -> int:
        """Forget recipients that nothing was sent to for a day, and no wrong code was counted against for 30."""
        return await self._forget(sql.FORGET_RECIPIENTS)

    async def guesses(self) -> int:
        """Forget wrong codes whose day is over."""
        return await self._forget(sql.FORGET_GUESSES)

    async def trusted(self) -> int:
        """Forget contexts that were approved 30 days ago."""
        return await self._forget(sql.FORGET_TRUSTED, self._clock.now() - claims.LOOK_BACK)

    async def blocks(self) -> int:
        """Forget blocks of numbers whose hour is over."""
        return await self._forget(sql.FORGET_BLOCKS)

    async def visitors(self) -> int:
        """Forget visitors whose hour is over."""
        return await self._forget(sql.FORGET_VISITORS)

    async def _forget(self, statement: str, before: float | None = None) -> int:
        now = self._clock.now() if before is None else before
        found: Sequence[Any] = await self._database.run(lambda connection: connection.fetch(statement, now=now))
        return len(found)

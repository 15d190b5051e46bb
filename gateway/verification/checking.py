"""Checking a code: counting, comparing and consuming are one.

Most are one guarded move (``answering``). A unit of work is for the rest: the last check, a service that locks out, a
message that is not sent yet, what has ended, and whatever another answer came in the way of.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Final

from gateway.clock import Clock
from gateway.config import ServiceSettings
from gateway.config.services import LockoutSettings
from gateway.delivery.lifecycle import VerificationStatus
from gateway.delivery.payload import Owner
from gateway.delivery.queue import Queue
from gateway.errors import InvalidRequest, NotFound, Problem
from gateway.events.event import EventName, event, recorded
from gateway.storage.database import Database
from gateway.storage.sealing import Hasher, Sealer
from gateway.storage.unit import Connection, Record
from gateway.verification import codes, ending, proof
from gateway.verification import statements as sql
from gateway.verification.answering import Answering, Verdict, is_right, wrong_code
from gateway.verification.limits import counting
from gateway.verification.proof import Proofs
from gateway.verification.view import status_at

#: What an unbound verification's check brings.
_NOTHING: Mapping[str, str] = {}
_NOBODY: Mapping[str, ServiceSettings] = {}
#: Why what a backup had pending is ended.
RESTORED: Final = "restored"


class Checking:
    """Checks codes and ends verifications on their services' behalf.

    ``services`` are asked whether they lock out; of one that is not there, nobody is.
    """

    def __init__(
        self,
        database: Database,
        queue: Queue,
        sealer: Sealer,
        clock: Clock,
        hasher: Hasher,
        proofs: Proofs,
        services: Mapping[str, ServiceSettings] = _NOBODY,
    ) -> None:
        self._database = database
        self._queue = queue
        self._sealer = sealer
        self._clock = clock
        self._hasher = hasher
        self._proofs = proofs
        self._services = services
        self._answering = Answering(database, queue, sealer, hasher, clock)

    async def check(self, service: str, verification_id: str, given: str, bind: Mapping[str, str] = _NOTHING) -> str:
        """Return the proof if ``given`` is the code and ``bind`` what it is bound to, once; it is then used up.

        Raises ``WrongCode`` (a check is spent), ``Gone``, ``AlreadyApproved``, ``NotFound``, or
        ``InvalidRequest`` for what is no code at all (no check is spent).
        """
        try:
            code = codes.read(given)
        except codes.MalformedCodeError as error:
            raise InvalidRequest.field("/code", str(error)) from None
        # First: who is approved and gets no proof of it cannot be approved again.
        pen = await self._proofs.pen()

        verdict = await self._answering.answer(service, verification_id, code, bind, partial(self._locks_out, service))
        if verdict is None:
            verdict = await self._database.run(partial(self._compare, service, verification_id, code, bind))
        if isinstance(verdict, Problem):
            raise verdict
        return self._proofs.write(pen, verdict)

    async def cancel(self, service: str, verification_id: str) -> None:
        """End a pending verification; nothing is sent for it afterwards. Canceling twice is the same as once.

        Raises ``NotFound``, or what tells how it had ended otherwise.
        """
        now = self._clock.now()

        async def work(connection: Connection) -> None:
            found = await connection.fetch(sql.ONE, id=verification_id, service=service)
            if not found:
                raise NotFound("no such verification")
            if status_at(found[0], now) == VerificationStatus.CANCELED:
                return
            if status_at(found[0], now) != VerificationStatus.PENDING:
                raise ending.ended(found[0], now)
            status = VerificationStatus.CANCELED
            if not await ending.end(connection, self._queue, verification_id, service, status, now):
                # Another node was first, between the look and the write.
                [record] = await connection.fetch(sql.ONE, id=verification_id, service=service)
                if record["status"] != VerificationStatus.CANCELED:
                    raise ending.ended(record, now)

        await self._database.run(work)

    async def expire_overdue(self) -> int:
        """End what is overdue and return how many there were: a sweep, a few hundred at a time."""
        now = self._clock.now()
        overdue = await self._database.fetch(sql.OVERDUE, now=now)
        return sum(await asyncio.gather(*(self._expire(record, now) for record in overdue)))

    async def expire_restored(self) -> int:
        """End whatever is pending in a backup that was restored, before anything else is done; return how many there were.

        Its code may have been used since, and would approve once more. Raises ``StorageError``.
        """
        ended = 0
        while pending := await self._database.fetch(sql.PENDING):
            now = self._clock.now()
            ended += sum(await asyncio.gather(*(self._expire(record, now, reason=RESTORED) for record in pending)))
        return ended

    async def _expire(self, record: Record, now: float, *, reason: str | None = None) -> bool:
        verification_id, service, status = record["id"], record["service"], VerificationStatus.EXPIRED

        async def work(connection: Connection) -> bool:
            return await ending.end(connection, self._queue, verification_id, service, status, now, reason=reason)

        return await self._database.run(work)

    async def forget_cooldowns(self) -> int:
        """Delete cooldowns that are over and return how many there were, a few hundred at a time."""
        now = self._clock.now()
        return len(await self._database.run(lambda connection: connection.fetch(sql.FORGET_COOLDOWNS, before=now)))

    async def on_route_end(self, connection: Connection, verification_id: str, now: float) -> None:
        """End a verification none of whose messages arrived; called by the queue when a message has no channel left.

        Where another message may arrive, or nobody knows whether one did, the person may hold the code, and it stays
        pending. So it does once its time is over: it expires then.
        """
        held = await connection.fetch(sql.HOLD_PENDING, id=verification_id, now=now)
        if not held or await connection.fetch(sql.ANYTHING_HOPED_FOR, id=verification_id):
            return
        if await connection.fetch(sql.ANYTHING_UNKNOWN, id=verification_id):
            return
        status = VerificationStatus.FAILED
        await ending.end(connection, self._queue, verification_id, held[0]["service"], status, now)

    async def _compare(
        self, service: str, verification_id: str, code: str, bind: Mapping[str, str], connection: Connection
    ) -> Verdict:
        # Read here: a check that waited behind a create would else live in a past whose held back checks are given away.
        now = self._clock.now()
        spent = await connection.fetch(sql.SPEND_CHECK, id=verification_id, service=service, now=now)
        if not spent:
            return await ending.why_not(connection, service, verification_id, now)
        record = spent[0]
        owner = Owner(verification_id, service, record["purpose"])
        # Where it raises, the check that this cost is undone.
        if is_right(self._sealer, self._hasher, owner, record, code, bind):
            approval = await proof.approved(connection, self._sealer, owner, record, bind, self._clock.world())
            took = (now - record["created_at"]) * 1000
            status = VerificationStatus.APPROVED
            await ending.end(connection, self._queue, verification_id, service, status, now, milliseconds=took)
            await counting.approved(connection, verification_id, record, service, now)
            return approval
        lockout = self._lockout(service, record["purpose"])
        await counting.wrong(connection, verification_id, record, service, lockout, now)
        return await self._wrong(connection, service, verification_id, record["max_checks"] - record["checks"], now)

    def _locks_out(self, service: str, purpose: str) -> bool:
        return self._lockout(service, purpose) is not None

    def _lockout(self, service: str, purpose: str) -> LockoutSettings | None:
        found = self._services.get(service)
        limits = None if found is None else found.for_purpose(purpose).limits
        # Where limits only observe, nobody is locked out.
        return None if limits is None or limits.mode == "observe" else limits.lockout

    async def _wrong(
        self, connection: Connection, service: str, verification_id: str, checks_left: int, now: float
    ) -> Verdict:
        told = event(EventName.VERIFICATION_CHECK_FAILED, now, service, verification_id=verification_id)
        await connection.apply(recorded(None, [], [told]))
        if checks_left == 0:
            status = VerificationStatus.MAX_ATTEMPTS_REACHED
            await ending.end(connection, self._queue, verification_id, service, status, now)
        return wrong_code(checks_left)

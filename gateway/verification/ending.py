"""The ends of a verification: the one place that moves it out of ``pending``, wipes it and ends its messages."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.delivery.lifecycle import MessageStatus, VerificationStatus
from gateway.delivery.queue import Queue
from gateway.errors import AlreadyApproved, Gone, InvalidRequest, NotFound, Problem
from gateway.events.event import EventName, event, recorded
from gateway.storage.unit import Connection, Move, Record
from gateway.verification import statements as sql
from gateway.verification.view import status_at

_EVENTS: Mapping[VerificationStatus, EventName] = {
    VerificationStatus.APPROVED: EventName.VERIFICATION_APPROVED,
    VerificationStatus.EXPIRED: EventName.VERIFICATION_EXPIRED,
    VerificationStatus.CANCELED: EventName.VERIFICATION_CANCELED,
    VerificationStatus.MAX_ATTEMPTS_REACHED: EventName.VERIFICATION_MAX_ATTEMPTS_REACHED,
    VerificationStatus.FAILED: EventName.VERIFICATION_FAILED,
}

_GONE: Mapping[str, tuple[str, str]] = {
    VerificationStatus.EXPIRED: ("Expired", "the code's time ran out; start a new verification"),
    VerificationStatus.CANCELED: ("Canceled", "the verification was canceled"),
    VerificationStatus.MAX_ATTEMPTS_REACHED: ("No checks left", "too many wrong codes; start a new verification"),
    VerificationStatus.FAILED: ("Not delivered", "no channel could deliver the code; start a new verification"),
}


async def end(
    connection: Connection,
    queue: Queue,
    verification_id: str,
    service: str,
    status: VerificationStatus,
    now: float,
    *,
    milliseconds: float | None = None,
    reason: str | None = None,
) -> bool:
    """End a pending verification as ``status``, within a transaction; return whether it was still pending."""
    told = event(
        _EVENTS[status], now, service, verification_id=verification_id, milliseconds=milliseconds, reason=reason
    )
    if not await connection.apply(recorded((sql.END, (verification_id, status, now)), [], [told])):
        return False
    # Before anything is given back: a send, too, waits for its recipient's cooldown first.
    if await _ends_cooldown(connection, verification_id, status):
        await connection.apply(Move(None, [(sql.END_COOLDOWN, (verification_id,))]))
    expired = status is VerificationStatus.EXPIRED
    message_status = MessageStatus.EXPIRED if expired else MessageStatus.CANCELED
    await queue.close(connection, verification_id, message_status, now)
    await connection.apply(Move(None, queue.revised(verification_id, now)))
    return True


async def _ends_cooldown(connection: Connection, verification_id: str, status: VerificationStatus) -> bool:
    """Whether the recipient may be sent to again at once: the code was used, or none of it ever left.

    One that a provider took and could not deliver was paid for: at a number that never can be reached, it would be again
    and again.
    """
    if status is VerificationStatus.FAILED:
        return not await connection.fetch(sql.ANYTHING_ACCEPTED, id=verification_id)
    return status is VerificationStatus.APPROVED


async def why_not(connection: Connection, service: str, verification_id: str, now: float) -> Problem:
    """Return the problem that tells why a verification takes no check and no resend."""
    found = await connection.fetch(sql.ONE, id=verification_id, service=service)
    return ended(found[0], now) if found else NotFound("no such verification")


def ended(record: Record, now: float) -> Problem:
    """Return the problem for a verification that has ended, or that has no code."""
    status = status_at(record, now)
    if status == VerificationStatus.APPROVED:
        return AlreadyApproved("the code was used already")
    if status == VerificationStatus.PENDING and record["code_sealed"] is None:
        return InvalidRequest("it has no code: the person approves it in the chat; read its status")
    if status == VerificationStatus.PENDING:
        # Checks are spent and the status follows in the same transaction: this is for a row changed by hand.
        status = VerificationStatus.MAX_ATTEMPTS_REACHED
    title, detail = _GONE[status]
    return Gone(str(status), title, detail)

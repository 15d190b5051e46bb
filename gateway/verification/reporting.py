"""*Not me*: a person says that they did not ask for a code."""

from __future__ import annotations

import hmac
import logging

from gateway.delivery.lifecycle import VerificationStatus
from gateway.delivery.payload import Owner, Stop, open_route
from gateway.delivery.person import Reported
from gateway.delivery.queue import Queue
from gateway.events.event import EventName, event, recorded
from gateway.storage.sealing import Sealer, UnsealError
from gateway.storage.unit import Connection, Record
from gateway.verification import ending
from gateway.verification import statements as sql
from gateway.verification.view import ID, status_at

_log = logging.getLogger(__name__)


class Reporting:
    """Takes people's word for it, and ends what they did not ask for."""

    def __init__(self, sealer: Sealer, queue: Queue) -> None:
        self._sealer = sealer
        self._queue = queue

    async def report(self, connection: Connection, verification_id: str, chat: str, now: float) -> Reported | None:
        """Cancel a verification whose code went to ``chat``, within a transaction of the caller's.

        ``None`` where none went there.
        """
        if not ID.fullmatch(verification_id):
            return None
        for record in await connection.fetch(sql.HOLD, id=verification_id):
            for stop in opened_route(self._sealer, record):
                if stop.address is not None and hmac.compare_digest(stop.address.encode(), chat.encode()):
                    return await reported(connection, self._queue, record, stop, now)
        return None


def opened_route(sealer: Sealer, record: Record) -> list[Stop]:
    """Return the route of a verification; empty where it was erased, or its key is gone: nobody can be told from it."""
    if record["route_sealed"] is None:
        return []
    try:
        return open_route(sealer, Owner(record["id"], record["service"], record["purpose"]), record["route_sealed"])
    except UnsealError as error:
        _log.error("a verification cannot be opened: %s", error, extra={"verification_id": record["id"]})
        return []


async def reported(connection: Connection, queue: Queue, record: Record, stop: Stop, now: float) -> Reported:
    """Write down, once, that its person did not ask for a verification whose row is held, and cancel it if it is pending."""
    verification_id, service = record["id"], record["service"]
    if not await connection.fetch(sql.REPORTED, id=verification_id):
        told = event(
            EventName.VERIFICATION_REPORTED,
            now,
            service,
            verification_id=verification_id,
            channel=stop.channel,
            recipient=stop.recipient,
        )
        await connection.apply(recorded(None, [], [told]))
    return await canceled(connection, queue, record, now)


async def canceled(connection: Connection, queue: Queue, record: Record, now: float) -> Reported:
    """Cancel a verification whose row is held, if it is pending, and say nothing of whose word it was."""
    verification_id, service = record["id"], record["service"]
    status = VerificationStatus.CANCELED
    if (before := status_at(record, now)) != VerificationStatus.PENDING:
        # Whoever presses twice is told the same twice, not that somebody may have used it.
        return Reported(service, canceled=before == status)
    return Reported(service, await ending.end(connection, queue, verification_id, service, status, now))

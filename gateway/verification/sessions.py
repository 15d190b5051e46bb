"""Sessions: a verification bound to one (``bind.session``) ends with it."""

from __future__ import annotations

from typing import Final

from gateway.clock import Clock
from gateway.delivery.lifecycle import VerificationStatus
from gateway.delivery.queue import Queue
from gateway.storage.database import Database
from gateway.storage.sealing import Hasher
from gateway.storage.unit import Connection
from gateway.verification import ending
from gateway.verification import statements as sql
from gateway.verification.binding import session_hash

#: Verifications ended in one transaction: more would keep everybody else's codes waiting.
BITE: Final = 50


class Sessions:
    """Ends what services bound to their sessions, ``bite`` verifications in a transaction."""

    def __init__(self, database: Database, queue: Queue, hasher: Hasher, clock: Clock, *, bite: int = BITE) -> None:
        self._database = database
        self._queue = queue
        self._hasher = hasher
        self._clock = clock
        self._bite = bite

    async def end(self, service: str, session: str) -> int:
        """Cancel a service's pending verifications bound to a session; return how many there were.

        Nothing is sent for them afterwards. Raises ``StorageError``; what was canceled before stays so.
        """
        hashed, now = session_hash(self._hasher, service, session), self._clock.now()

        async def work(connection: Connection) -> tuple[int, int]:
            found = await connection.fetch(sql.OF_SESSION, hash=hashed, now=now, number=self._bite)
            ended = [await self._cancel(connection, service, record["id"], now) for record in found]
            return len(found), sum(ended)

        canceled = 0
        while True:
            seen, ended = await self._database.run(work)
            canceled += ended
            if seen < self._bite:
                return canceled

    async def _cancel(self, connection: Connection, service: str, verification_id: str, now: float) -> bool:
        status = VerificationStatus.CANCELED
        return await ending.end(connection, self._queue, verification_id, service, status, now, reason="session")

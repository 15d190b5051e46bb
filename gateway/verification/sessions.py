"""Sessions: a verification bound to one (``bind.session``) ends with it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final
from weakref import WeakValueDictionary

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
        #: Who ends a session at this moment, by its hash; a lock is forgotten with the last who asks for it.
        self._turns: WeakValueDictionary[bytes, asyncio.Lock] = WeakValueDictionary()

    async def end(self, service: str, session: str) -> int:
        """Cancel a service's pending verifications bound to a session; return how many there were.

        Nothing is sent for them afterwards. Of several who end the same session at once one ends it, and the others look
        for what came after. Raises ``StorageError``; what was canceled before stays so.
        """
        hashed = session_hash(self._hasher, service, session)
        turn = self._turns.setdefault(hashed, asyncio.Lock())
        # Not shared: what was bound after the one before looked for the last time would be pending still.
        async with turn:
            return await self._end(service, hashed)

    async def _end(self, service: str, hashed: bytes) -> int:
        canceled = 0
        while True:
            now = self._clock.now()
            # Beside the writer: mostly there are few, or none.
            found = await self._database.fetch(sql.OF_SESSION, hash=hashed, now=now, number=self._bite)
            if not found:
                return canceled
            ended = await self._cancel(service, [record["id"] for record in found], now)
            canceled += ended
            if ended == len(found) < self._bite:
                return canceled

    async def _cancel(self, service: str, ids: Sequence[str], now: float) -> int:
        """Cancel verifications up to the first that has ended meanwhile; return how many."""
        status = VerificationStatus.CANCELED

        async def work(connection: Connection) -> int:
            for number, verification_id in enumerate(ids):
                if not await ending.end(
                    connection, self._queue, verification_id, service, status, now, reason="session"
                ):
                    # Another node may be ending this session, and then the rest of these has ended as well.
                    return number
            return len(ids)

        return await self._database.run(work, weight=len(ids))

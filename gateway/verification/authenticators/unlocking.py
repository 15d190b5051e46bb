"""Lifting the lock that a person's failures at their authenticators brought, for an operator.

Failures count by person, over all their authenticators, and so they are lifted: the lock of one is that of all.
"""

from __future__ import annotations

from gateway.events.event import EventName, event, recorded
from gateway.storage.database import Database
from gateway.storage.sealing import Sealer
from gateway.storage.unit import Connection, Record
from gateway.value import Value
from gateway.verification.authenticators import statements as sql
from gateway.verification.authenticators.view import person_of


class Lifted(Value, frozen=True):
    """What counted against a person, and no longer does."""

    #: The service whose person it is.
    service: str
    #: The service's name for the person, masked.
    recipient: str
    #: Wrong codes and recovery codes, at all authenticators of the person.
    failures: int = 0
    #: Until when nothing would have been compared, in seconds since the Unix epoch; ``None`` where no lock ran.
    locked_until: float | None = None

    @property
    def anything(self) -> bool:
        """Whether there was anything."""
        return bool(self.failures or self.locked_until)


async def unlock(database: Database, sealer: Sealer, authenticator_id: str, now: float) -> Lifted | None:
    """Lift what counts against an authenticator's person; ``None`` where there is no such authenticator.

    Raises ``StorageError`` or ``UnsealError``.
    """

    async def work(connection: Connection) -> Lifted | None:
        for owner in await connection.fetch(sql.OWNER, id=authenticator_id):
            masked = person_of(sealer, owner["id"], owner["person_sealed"]).masked
            found = await _lift(connection, owner, masked, now)
            if found.anything:
                told = event(EventName.AUTHENTICATOR_UNLOCKED, now, found.service, recipient=masked)
                await connection.apply(recorded(None, [], [told]))
            return found
        return None

    return await database.run(work)


async def _lift(connection: Connection, owner: Record, masked: str, now: float) -> Lifted:
    person = {"service": owner["service"], "hash": owner["reference_hash"]}
    locks = [record["locked_until"] or 0.0 for record in await connection.fetch(sql.LIFT_LOCK, **person)]
    failures = await connection.fetch(sql.LIFT_FAILURES, **person)
    return Lifted(
        service=owner["service"],
        recipient=masked,
        # What is over counts no more, and only waits to be deleted.
        failures=sum(record["failures"] for record in failures if record["forget_at"] > now),
        locked_until=next((until for until in locks if until > now), None),
    )

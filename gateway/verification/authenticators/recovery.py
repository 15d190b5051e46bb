"""Recovery codes: ten that take an authenticator's place, once each; made together, shown once, kept as keyed hashes.

34.6 bits each, behind the throttle of the authenticators. Their hashes are keyed by what lies sealed in the database and
opens only with the keys of ``[secrets]``: who holds the database alone has nothing to try guesses on.
"""

from __future__ import annotations

from gateway.clock import Clock
from gateway.errors import InvalidRequest, NotFound
from gateway.events.event import EventName, event, recorded
from gateway.randomness import random_below
from gateway.storage.database import Database
from gateway.storage.sealing import Hasher, Sealer
from gateway.storage.unit import Connection
from gateway.verification import challenges
from gateway.verification.authenticators import statements as sql
from gateway.verification.authenticators.view import AuthenticatorStatus, person_of
from gateway.verification.codes import RandomBelow

#: Codes made at once.
NUMBER = 10


def hash_of(hasher: Hasher, authenticator_id: str, code: str) -> bytes:
    """Return what is stored of a code: another for each authenticator it may be of."""
    return hasher.hash("recovery_code", f"{authenticator_id}\0{code}")


class Recovery:
    """Makes recovery codes. All methods raise ``StorageError``."""

    def __init__(
        self,
        *,
        database: Database,
        sealer: Sealer,
        hasher: Hasher,
        clock: Clock,
        random_below: RandomBelow = random_below,
    ) -> None:
        self._database = database
        self._sealer = sealer
        self._hasher = hasher
        self._clock = clock
        self._random_below = random_below

    async def renew(self, service: str, authenticator_id: str) -> list[str]:
        """Make the codes of an active authenticator, as people are shown them, and end those made before.

        Raises ``NotFound``, or ``InvalidRequest`` where nobody has activated it.
        """
        return await self._database.run(lambda connection: self.renew_within(connection, service, authenticator_id))

    async def renew_within(self, connection: Connection, service: str, authenticator_id: str) -> list[str]:
        """Do the same in a transaction of the caller's."""
        now = self._clock.now()
        held = await connection.fetch(sql.HOLD, id=authenticator_id, service=service)
        if not held:
            raise NotFound("no such authenticator")
        if held[0]["status"] != AuthenticatorStatus.ACTIVE:
            # Else a code of ours would stand for a device that nobody has shown to have.
            raise InvalidRequest("the authenticator is not active yet; check a code of it first")
        await connection.fetch(sql.DELETE_CODES, id=authenticator_id)
        codes = self._codes()
        rows = [(hash_of(self._hasher, authenticator_id, code), authenticator_id) for code in codes]
        masked = person_of(self._sealer, authenticator_id, held[0]["person_sealed"]).masked
        told = event(EventName.AUTHENTICATOR_RENEWED, now, service, recipient=masked)
        await connection.apply(recorded(None, [(sql.INSERT_CODE, row) for row in rows], [told]))
        return [challenges.shown(code) for code in codes]

    def _codes(self) -> list[str]:
        """Return ``NUMBER`` codes, no two the same."""
        codes: dict[str, None] = {}
        while len(codes) < NUMBER:
            codes[challenges.make(self._random_below)] = None
        return list(codes)

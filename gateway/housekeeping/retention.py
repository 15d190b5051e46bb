"""What is deleted when: rows that are over, a configured number of days after they were made, in small bites.

An id begins with the time it was made at, so what is old is a range of the primary key, and finding it costs the same
however long the history is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from gateway.clock import Clock
from gateway.housekeeping.house import Duty
from gateway.storage.database import Database
from gateway.storage.statement import Statement
from gateway.storage.unit import Move, Record, Write

#: Seconds a bite may keep the writer: a code that is accepted meanwhile waits for it.
AIM: Final = 0.01
#: Verifications in a bite at most, with some ten rows each in all tables. What a thread reads row by row it reads
#: against the event loop, both wanting the interpreter's lock: 2000 rows held it up for 100 ms, 25 for none (measured).
VERIFICATIONS: Final = 25
#: Rows in a bite at most where they stand alone.
ROWS: Final = 100
#: Verifications in the first bite, and at least: where the disk alone takes longer than ``AIM``, smaller bites would
#: only be more of them, and old rows come faster than they go.
FEWEST: Final = 10
#: Addresses that are looked through in a bite, by the database alone; only what is old of them is read.
LOOKED_THROUGH: Final = 2000
#: Seconds between two rounds, and between two through the addresses, each of which reads all of them.
HOUR: Final = 3600.0
ADDRESS_ROUND: Final = 6 * HOUR

_DAY: Final = 86_400.0
#: Before every address.
_START: Final = (b"", "")
_ID: Final = {"id": "text"}

_OLD_VERIFICATIONS: Final = """SELECT id FROM verification WHERE id < :before AND status <> 'pending'
    ORDER BY id LIMIT CAST(:number AS bigint)"""
_OLDEST: Final = "SELECT id FROM verification ORDER BY id LIMIT 1"
_OLD_EVENTS: Final = "SELECT id FROM event WHERE id < :before ORDER BY id LIMIT CAST(:number AS bigint)"
#: Where the next so many addresses end, and what is old of them.
_EDGE: Final = """SELECT hash, verification_id FROM address WHERE (hash, verification_id) > (:hash, :id)
    ORDER BY hash, verification_id LIMIT 1 OFFSET CAST(:number AS bigint)"""
_OLD_ADDRESSES: Final = """SELECT hash, verification_id FROM (SELECT hash, verification_id FROM address
        WHERE (hash, verification_id) > (:hash, :id) ORDER BY hash, verification_id LIMIT CAST(:number AS bigint)) near
    WHERE verification_id < :before ORDER BY hash, verification_id LIMIT CAST(:most AS bigint)"""

#: A verification and what belongs to it. Its end is guarded once more: what is alive is never deleted.
_OF_A_VERIFICATION: Final = (
    *(
        Statement(f"{table}.retire", _ID, f"DELETE FROM {table} WHERE verification_id IN (SELECT id FROM r)")  # noqa: S608 - a table of our own
        for table in ("attempt", "message", "event", "challenge")
    ),
    Statement(
        "verification.retire",
        _ID,
        "DELETE FROM verification WHERE id IN (SELECT id FROM r) AND status <> 'pending'",
    ),
)
_RETIRE_EVENT: Final = Statement("event.retire_old", _ID, "DELETE FROM event WHERE id IN (SELECT id FROM r)")
_RETIRE_ADDRESS: Final = Statement(
    "address.retire",
    {"hash": "bytea", "id": "text"},
    "DELETE FROM address WHERE (hash, verification_id) IN (SELECT hash, id FROM r)",
)


class Retention:
    """Deletes what is old. ``verifications`` is the days they, and what belongs to them, are kept for.

    Every method takes one bite, returns how many rows it found and raises ``StorageError``.
    """

    def __init__(self, database: Database, clock: Clock, *, verifications: float) -> None:
        self._database = database
        self._clock = clock
        self._verifications = verifications * _DAY
        #: Verifications in the next bite: how many this machine can take is found out from below.
        self._size = FEWEST
        #: Where the round through the addresses is.
        self._place = _START

    def duties(self) -> list[Duty]:
        """Return them for the house-keeper."""
        return [
            Duty("verifications", self.retire_verifications, HOUR),
            Duty("events", self.retire_events, HOUR),
            Duty("addresses", self.retire_addresses, ADDRESS_ROUND),
        ]

    async def retire_verifications(self) -> int:
        """Delete the oldest verifications that are over, with their messages, attempts, events and challenges."""
        before = self._before("ver", self._verifications)
        found = await self._database.fetch(_OLD_VERIFICATIONS, before=before, number=self._size)
        began = self._clock.monotonic()
        await self._delete([(statement, (record["id"],)) for statement in _OF_A_VERIFICATION for record in found])
        self._size = fitted(self._size, self._clock.monotonic() - began)
        return len(found)

    async def retire_events(self) -> int:
        """Delete the oldest events that belong to no verification: of subscribers, channels and webhooks."""
        before = self._before("evt", self._verifications)
        for record in await self._database.fetch(_OLDEST):
            # Those of a verification go with it, and none is older than it is.
            before = min(before, f"evt_{record['id'].partition('_')[2][:12]}")
        number = min(ROWS, 4 * self._size)
        found = await self._database.fetch(_OLD_EVENTS, before=before, number=number)
        await self._delete([(_RETIRE_EVENT, (record["id"],)) for record in found])
        return len(found)

    async def retire_addresses(self) -> int:
        """Look through some more of the addresses, and delete those of verifications that are gone.

        Their index begins with the hash, so all of them are looked through, beside the writer. One by verifications
        would make this cheaper, and every code that is accepted dearer. A look that finds nothing counts as one row,
        and the end of the round as none.
        """
        address_hash, verification_id = self._place
        place = {"hash": address_hash, "id": verification_id}
        # Hashes lie all over their index, so each that is deleted is another page; a verification has one or two.
        most = 2 * self._size
        edge = await self._database.fetch(_EDGE, **place, number=LOOKED_THROUGH - 1)
        old = await self._database.fetch(
            _OLD_ADDRESSES,
            **place,
            number=LOOKED_THROUGH,
            before=self._before("ver", self._verifications),
            most=most,
        )
        await self._delete([(_RETIRE_ADDRESS, _key(record)) for record in old])
        if not (old or edge):
            self._place = _START
            return 0
        whole = len(old) < most and edge
        self._place = _key(edge[0] if whole else old[-1])
        return max(1, len(old))

    async def _delete(self, writes: Sequence[Write]) -> None:
        if writes:
            await self._database.write(Move(None, writes))

    def _before(self, prefix: str, age: float) -> str:
        """Return what every id made longer than ``age`` seconds ago is below; see ``gateway.storage.ids``."""
        return f"{prefix}_{int(max(self._clock.now() - age, 0.0) * 1000):012x}"


def fitted(size: int, seconds: float) -> int:
    """Return how large the next bite is to be after one of ``size`` verifications kept the writer for ``seconds``.

    It shrinks as far as needed at once, and grows by a half at most: one lucky bite says little.
    """
    aimed = size * AIM / seconds if seconds > 0 else float("inf")
    return max(FEWEST, int(min(aimed, size * 1.5, VERIFICATIONS)))


def _key(record: Record) -> tuple[bytes, str]:
    return bytes(record["hash"]), record["verification_id"]

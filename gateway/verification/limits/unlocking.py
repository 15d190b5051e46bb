"""Lifting what was counted against one recipient: wrong codes, lock-outs, the rest of their block of numbers.

What was sent to them counts on: who was locked out by guessing is not to be flooded afterwards.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import ClassVar, Final

from channels.base import Address
from gateway.events.event import EventName, event, recorded
from gateway.storage.database import Database
from gateway.storage.sealing import Hasher
from gateway.storage.unit import Connection
from gateway.value import Value
from gateway.verification.limits.claims import block_hash
from gateway.verification.references import counted_hashes

#: Guarded by there being something to lift, so that what is printed is what was lifted.
_WRONG: Final = "SELECT wrong FROM recipient WHERE hash = :hash AND wrong > 0"
_FORGIVE: Final = "UPDATE recipient SET wrong = 0 WHERE hash = :hash AND wrong > 0 RETURNING hash"
_GUESSES: Final = """DELETE FROM guess WHERE hash = :hash
        AND (CAST(:service AS text) = '' OR service = CAST(:service AS text))
    RETURNING service, purpose, context, hour, hour_until, day, day_until, locked_until"""
_RESTING: Final = """SELECT sends, approved, until, rests_until FROM block
    WHERE hash = :hash AND (rests_until > :now OR until > :now)"""
_WAKE: Final = "DELETE FROM block WHERE hash = :hash RETURNING hash"


class Guesses(Value, frozen=True):
    """Wrong codes of one service and purpose."""

    hidden: ClassVar[frozenset[str]] = frozenset({"context"})

    service: str
    purpose: str
    #: ``""``: from anywhere; else the trusted context they came from.
    context: str
    hour: int
    day: int
    #: Until when nothing was to be sent, in seconds since the Unix epoch.
    locked_until: float | None


class Lifted(Value, frozen=True):
    """What was counted against one address, and no longer is."""

    #: Masked address.
    recipient: str
    #: Wrong codes in a row, over all services; of a service's own reference, at that one.
    wrong: int = 0
    guesses: Sequence[Guesses] = ()
    #: Sends to its block of numbers in the running hour, how many of them were approved, and until when it rested.
    block_sends: int = 0
    block_approved: int = 0
    rests_until: float | None = None

    @property
    def anything(self) -> bool:
        """Whether there was anything."""
        return bool(self.wrong or self.guesses or self.block_sends or self.rests_until)


async def unlock(
    database: Database, hasher: Hasher, address: Address, service: str, now: float, owners: Collection[str] = ()
) -> Lifted:
    """Lift what is counted against an address; of one ``service`` alone, or of all (``""``).

    What counts over all services, wrong codes in a row and the block of numbers, is lifted in any case: it would lock
    the one service as well. ``owners`` are the services whose own reference it may be, empty where it is none's: each
    counts its own. Raises ``StorageError``.
    """
    plain = hasher.hash(address.kind, address.canonical)
    keys = [plain, *counted_hashes(hasher, [service] if service else owners, [plain] if owners else [])]
    block = block_hash(hasher, address)

    async def work(connection: Connection) -> Lifted:
        found = Lifted(address.masked)
        for key in keys:
            found = await _lift(connection, key, service, found, now)
        if block is not None:
            found = await _wake(connection, block, found, now)
        if found.anything:
            told = event(EventName.RECIPIENT_UNLOCKED, now, service, recipient=found.recipient)
            await connection.apply(recorded(None, [], [told]))
        return found

    return await database.run(work, weight=len(keys))


async def _lift(connection: Connection, key: bytes, service: str, found: Lifted, now: float) -> Lifted:
    wrong = found.wrong
    for record in await connection.fetch(_WRONG, hash=key):
        wrong += record["wrong"]
        await connection.fetch(_FORGIVE, hash=key)
    guesses = [
        Guesses(
            record["service"],
            record["purpose"],
            record["context"],
            record["hour"] if record["hour_until"] > now else 0,
            record["day"] if record["day_until"] > now else 0,
            record["locked_until"] if (record["locked_until"] or 0.0) > now else None,
        )
        for record in await connection.fetch(_GUESSES, hash=key, service=service)
    ]
    guesses += found.guesses
    return Lifted(found.recipient, wrong, sorted(guesses, key=lambda item: (item.service, item.purpose, item.context)))


async def _wake(connection: Connection, block: bytes, found: Lifted, now: float) -> Lifted:
    for record in await connection.fetch(_RESTING, hash=block, now=now):
        await connection.fetch(_WAKE, hash=block)
        runs, rests = record["until"] > now, record["rests_until"]
        return Lifted(
            found.recipient,
            found.wrong,
            found.guesses,
            record["sends"] if runs else 0,
            record["approved"] if runs else 0,
            rests if rests is not None and rests > now else None,
        )
    return found

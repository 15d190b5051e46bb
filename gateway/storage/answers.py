"""The first answers to requests with an ``Idempotency-Key``, kept sealed for a day.

The key is claimed and the request carried out in one transaction: of any number of the same requests, on any number
of nodes, one is carried out, and the others wait for its commit and read its answer.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import zlib
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from gateway.clock import Clock
from gateway.errors import IdempotencyConflict, IdempotencyMismatch
from gateway.storage import models
from gateway.storage.database import Database
from gateway.storage.sealing import Sealer, UnsealError
from gateway.storage.statement import Statement, insert_into
from gateway.storage.unit import Connection, Move, Record, Write

#: Bytes from which an answer is kept packed, and what one that is begins with: no JSON does.
_LARGE = 2_048
_PACKED = b"\0"
#: Seconds an answer is kept.
KEPT = 24 * 3600.0

#: A key is taken, unless an answer younger than a day has it. The row is filled in the same transaction.
_CLAIM = insert_into(
    models.IdempotentAnswer,
    conflict=f"""ON CONFLICT (service, key_hash) DO UPDATE SET fingerprint = excluded.fingerprint,
        sealed = excluded.sealed, created_at = excluded.created_at
        WHERE idempotent_answer.created_at <= excluded.created_at - {KEPT}""",
    key=("service", "key_hash"),
)
_FILL = Statement(
    "idempotent_answer.fill",
    {"service": "text", "key_hash": "bytea", "sealed": "bytea"},
    """UPDATE idempotent_answer SET sealed = r.sealed FROM r
    WHERE idempotent_answer.service = r.service AND idempotent_answer.key_hash = r.key_hash
    RETURNING idempotent_answer.service, idempotent_answer.key_hash""",
    key=(0, 1),
)
_FIND = """SELECT fingerprint, sealed FROM idempotent_answer
    WHERE service = :service AND key_hash = :key_hash AND created_at > :oldest"""
#: An answer is changed after it was given, unless it was given or sealed anew meanwhile.
_REWRITE = Statement(
    "idempotent_answer.rewrite",
    {"service": "text", "key_hash": "bytea", "before": "bytea", "after": "bytea"},
    """UPDATE idempotent_answer SET sealed = r.after FROM r
    WHERE idempotent_answer.service = r.service AND idempotent_answer.key_hash = r.key_hash
        AND idempotent_answer.sealed = r.before
    RETURNING idempotent_answer.service, idempotent_answer.key_hash""",
    key=(0, 1),
)
_PAGE = """SELECT service, key_hash, fingerprint, sealed FROM idempotent_answer
    WHERE (service, key_hash) > (:service, :key_hash) ORDER BY service, key_hash
    LIMIT 100"""
_ONE = """SELECT service, key_hash, fingerprint, sealed FROM idempotent_answer
    WHERE service = :service AND key_hash = :key_hash"""
_FORGET = """DELETE FROM idempotent_answer WHERE created_at <= :oldest AND (service, key_hash) IN
    (SELECT service, key_hash FROM idempotent_answer WHERE created_at <= :oldest ORDER BY created_at
        LIMIT CAST(:number AS bigint))
    RETURNING service"""


#: Given an answer's service and the answer, returns what is kept instead; ``None``: it stays.
Change = Callable[[str, bytes], bytes | None]


class Source(NamedTuple):
    """What a key is scoped to, beside its service: the same key at another path is another key."""

    method: str
    path: str
    #: As the caller wrote it, quotes removed.
    key: str


class Answers:
    """Carries a request out once and tells its answer again."""

    def __init__(self, database: Database, sealer: Sealer, clock: Clock) -> None:
        self._database = database
        self._sealer = sealer
        self._clock = clock

    async def kept(self, service: str, source: Source, fingerprint: bytes) -> bytes | None:
        """Return the answer that was given to this request, ``None`` if there is none yet.

        A look beside the writer, for what must not be done twice and cannot be part of the transaction. Raises
        ``IdempotencyMismatch`` where the key came with another body.
        """
        oldest = self._clock.now() - KEPT
        found = await self._database.fetch(_FIND, service=service, key_hash=_key_hash(source), oldest=oldest)
        return self._opened(service, _key_hash(source), found[0], fingerprint) if found else None

    async def once(
        self,
        service: str,
        source: Source,
        fingerprint: bytes,
        create: Callable[[Connection], Awaitable[bytes]],
        *,
        weight: int = 1,
    ) -> tuple[bytes, bool]:
        """Return the answer of ``create``, run in the transaction that keeps it, and whether it was given before.

        What ``create`` raises undoes everything, the key included: it can be used again. ``weight`` is that of a work. Raises
        ``IdempotencyMismatch`` where the key came with another body, ``IdempotencyConflict`` where its answer cannot
        be seen yet.
        """
        key_hash, now = _key_hash(source), self._clock.now()

        async def work(connection: Connection) -> tuple[bytes, bool]:
            if await connection.apply(Move((_CLAIM, (service, key_hash, b"", b"", now)))):
                answer = await create(connection)
                sealed = self._sealer.seal(_known(fingerprint) + _packed(answer), _place(service, key_hash))
                await connection.apply(Move((_FILL, (service, key_hash, sealed))))
                return answer, False
            found = await connection.fetch(_FIND, service=service, key_hash=key_hash, oldest=now - KEPT)
            if not found:
                raise IdempotencyConflict("try again in a moment")
            return self._opened(service, key_hash, found[0], fingerprint), True

        return await self._database.run(work, weight=weight)

    async def forget(self, limit: int = 500) -> int:
        """Delete up to ``limit`` answers that are older than a day and return how many there were."""
        oldest = self._clock.now() - KEPT
        return len(await self._database.run(lambda connection: connection.fetch(_FORGET, oldest=oldest, number=limit)))

    async def rewrite(self, change: Change) -> int:
        """Give every answer, with its service, to ``change`` and keep what it returns instead, unless that is ``None``.

        Returns how many were changed. What cannot be opened is left as it is. Raises ``StorageError``.
        """
        changed, after = 0, ("", b"")
        while page := await self._database.fetch(_PAGE, service=after[0], key_hash=after[1]):
            changed += sum(await asyncio.gather(*(self._change(record, change) for record in page)))
            after = page[-1]["service"], bytes(page[-1]["key_hash"])
        return changed

    async def _change(self, record: Record, change: Change) -> bool:
        key = {"service": record["service"], "key_hash": bytes(record["key_hash"])}
        while (write := self._rewritten(record, change)) is not None:
            if await self._database.write(Move(write)):
                return True
            # Sealed by another key meanwhile, perhaps: it says the same.
            found = await self._database.fetch(_ONE, **key)
            if not found:
                return False
            record = found[0]
        return False

    def _rewritten(self, record: Record, change: Change) -> Write | None:
        place = _place(record["service"], bytes(record["key_hash"]))
        try:
            whole = self._sealer.open(record["sealed"], place)
        except UnsealError:
            return None
        known, plain = _parted(record, whole)
        changed = change(record["service"], plain)
        if changed is None:
            return None
        # Of an older version, what it is recognised by stays where it was.
        sealed = self._sealer.seal((b"" if record["fingerprint"] else known) + _packed(changed), place)
        return _REWRITE, (record["service"], record["key_hash"], record["sealed"], sealed)

    def _opened(self, service: str, key_hash: bytes, record: Record, fingerprint: bytes) -> bytes:
        known, answer = _parted(record, self._sealer.open(record["sealed"], _place(service, key_hash)))
        if not hmac.compare_digest(known, _known(fingerprint)):
            raise IdempotencyMismatch("the first request with this key had another body; take a new key")
        return answer


def _key_hash(source: Source) -> bytes:
    # No part can hold a NUL: HTTP allows none in a method, a path's characters or a header.
    return hashlib.sha256("\0".join(source).encode()).digest()


def _known(fingerprint: bytes) -> bytes:
    """Return what a request is recognised by, before its answer: 32 bytes, whatever the fingerprint's length."""
    return hashlib.sha256(fingerprint).digest()


def _parted(record: Record, whole: bytes) -> tuple[bytes, bytes]:
    """Return what the request is recognised by, and its answer. Unsealed, the former would tell the address by trying."""
    if record["fingerprint"]:  # of an older version, for a day
        return _known(bytes(record["fingerprint"])), _unpacked(whole)
    return whole[:32], _unpacked(whole[32:])


def _packed(answer: bytes) -> bytes:
    """Return an answer as it is kept. Of a batch of a thousand refusals 235 KB would be, and fill a disk in an hour."""
    return answer if len(answer) < _LARGE else _PACKED + zlib.compress(answer, 1)


def _unpacked(kept: bytes) -> bytes:
    return zlib.decompress(kept[1:]) if kept.startswith(_PACKED) else kept


def _place(service: str, key_hash: bytes) -> str:
    return f"idempotent_answer.sealed/{service}/{key_hash.hex()}"

"""API keys: made once, shown once, kept as a hash, looked up in memory.

A key is ``otpg_<id>_<secret><checksum>``, all base62: 8 characters that name it, 43 random ones (62^43 > 2^256), and
the CRC-32 of everything before in 6. The checksum tells a mistyped or invented key without the database, and lets a
secret scanner be sure of what it found.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import re
import secrets
import string
import zlib
from dataclasses import dataclass, field
from typing import Final

from gateway.clock import Clock
from gateway.errors import Unauthorized
from gateway.storage import models
from gateway.storage.database import Database
from gateway.storage.sealing import token_hash
from gateway.storage.statement import Statement, insert_into
from gateway.storage.unit import Move, Record

_log = logging.getLogger(__name__)

_BASE62: Final = string.digits + string.ascii_uppercase + string.ascii_lowercase
_ID_LENGTH: Final = 8
_SECRET_LENGTH: Final = 43
_CHECKSUM_LENGTH: Final = 6

#: What every key looks like; secret scanners may search for it.
PATTERN: Final = re.compile(r"otpg_([0-9A-Za-z]{8})_([0-9A-Za-z]{43})([0-9A-Za-z]{6})")

#: Enough of a key to know one by, whole or cut.
TRACE: Final = re.compile(r"otpg_[0-9A-Za-z]{8}_[0-9A-Za-z]{16}")

#: Seconds after which the keys in memory are read again beside the request that noticed.
REFRESH_AFTER: Final = 2.0
#: Seconds after which a request waits for that: with the read itself, a revoked key ends within 5 s.
TOO_OLD: Final = 4.0

#: What an unknown id is compared with, so that it takes as long as a known one.
_NOBODY: Final = bytes(32)

_INSERT = insert_into(models.ServiceKey)
_REVOKE = Statement(
    "service_key.revoke",
    {"id": "text", "at": "double precision"},
    """UPDATE service_key SET revoked_at = r.at FROM r WHERE service_key.id = r.id AND service_key.revoked_at IS NULL
    RETURNING service_key.id""",
    key=(0,),
)
_LIST = """SELECT id, service, name, created_at, revoked_at FROM service_key
    WHERE (CAST(:service AS text) = '' OR service = :service) ORDER BY service, created_at, id"""
_LIVE = "SELECT id, service, secret_hash FROM service_key WHERE revoked_at IS NULL"
_ONE = "SELECT id, service, secret_hash FROM service_key WHERE id = :id AND revoked_at IS NULL"
_EXISTS = "SELECT 1 FROM service_key WHERE id = :id"


@dataclass(frozen=True, slots=True)
class KeyView:
    """A key as it is listed: nothing in it opens anything. Times in seconds since the Unix epoch."""

    id: str
    service: str
    #: What an operator calls it.
    name: str
    created_at: float
    revoked_at: float | None


@dataclass(frozen=True, slots=True)
class _Known:
    service: str
    secret_hash: bytes = field(repr=False)


class Keys:
    """The keys of all services, with the live ones in memory."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._live: dict[str, _Known] = {}
        #: The monotonic second at which the latest reading began; before the first one, long ago.
        self._read_at = float("-inf")
        self._refreshing: asyncio.Task[None] | None = None

    async def create(self, service: str, name: str = "") -> str:
        """Make a key and return it; it cannot be shown again."""
        key_id, secret = _random(_ID_LENGTH), _random(_SECRET_LENGTH)
        row = (key_id, service, name, token_hash(secret), self._clock.now(), None)
        await self._database.write(Move(None, [(_INSERT, row)]))
        return f"otpg_{key_id}_{secret}{checksum(f'otpg_{key_id}_{secret}')}"

    async def list(self, service: str | None = None) -> list[KeyView]:
        """Return all keys, or one service's, the revoked ones too."""
        found = await self._database.fetch(_LIST, service=service or "")
        return [
            KeyView(item["id"], item["service"], item["name"], item["created_at"], item["revoked_at"]) for item in found
        ]

    async def revoke(self, key_id: str) -> bool:
        """End a key, on every running node within 5 s; return whether there is such a key."""
        if not await self._database.write(Move((_REVOKE, (key_id, self._clock.now())))):
            return bool(await self._database.fetch(_EXISTS, id=key_id))
        self._live.pop(key_id, None)
        return True

    async def authenticate(self, token: str) -> str:
        """Return the service whose key this is. Raises ``Unauthorized``."""
        match = PATTERN.fullmatch(token)
        if match is None:
            raise refusal()
        # Only for what can be a key is the database asked; the sum of one that is known says nothing its hash does not.
        if match[1] not in self._live and not hmac.compare_digest(checksum(token[:-_CHECKSUM_LENGTH]), match[3]):
            raise refusal()
        await self._freshen()
        known = self._live.get(match[1]) or await self._look_up(match[1])
        if not hmac.compare_digest(token_hash(match[2]), known.secret_hash if known else _NOBODY) or known is None:
            raise refusal()
        return known.service

    async def _freshen(self) -> None:
        """Have the keys in memory read again where they are old, and wait for it where they are too old."""
        age = self._clock.monotonic() - self._read_at
        if age < REFRESH_AFTER:
            return
        if self._refreshing is None:
            self._refreshing = asyncio.create_task(self._refresh(), name="keys refresh")
            self._refreshing.add_done_callback(self._refreshed)
        if age >= TOO_OLD:
            # Shielded: the requests that wait share one reading, and one of them going away must not end it.
            await asyncio.shield(self._refreshing)

    async def _refresh(self) -> None:
        began = self._clock.monotonic()
        self._live = {item["id"]: _known(item) for item in await self._database.fetch(_LIVE)}
        self._read_at = began

    def _refreshed(self, task: asyncio.Task[None]) -> None:
        self._refreshing = None
        if not task.cancelled() and (error := task.exception()) is not None:
            # Nobody is let in by what is too old: requests then wait for a reading and fail with it.
            _log.warning("the keys could not be read again: %s", type(error).__name__)

    async def _look_up(self, key_id: str) -> _Known | None:
        """Look for a key made since the last reading, so that it works at once."""
        for item in await self._database.fetch(_ONE, id=key_id):
            self._live[key_id] = _known(item)
        return self._live.get(key_id)


def checksum(text: str) -> str:
    """Return the CRC-32 of ``text`` as 6 base62 characters, the most significant first."""
    rest, characters = zlib.crc32(text.encode()), ""
    for _ in range(_CHECKSUM_LENGTH):
        rest, digit = divmod(rest, 62)
        characters = _BASE62[digit] + characters
    return characters


def refusal() -> Unauthorized:
    """Return the one answer to every key that is not ours."""
    return Unauthorized(
        "send a key of your service as 'Authorization: Bearer otpg_…'", headers={"WWW-Authenticate": "Bearer"}
    )


def _known(record: Record) -> _Known:
    return _Known(record["service"], bytes(record["secret_hash"]))


def _random(length: int) -> str:
    return "".join(secrets.choice(_BASE62) for _ in range(length))

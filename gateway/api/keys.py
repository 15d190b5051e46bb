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
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from gateway.api import networks, scopes
from gateway.api.networks import Network
from gateway.api.refusals import KeyRefusal, Reason, Refusals
from gateway.api.scopes import Scope
from gateway.clock import Clock
from gateway.errors import GatewayError, loudness
from gateway.storage import models
from gateway.storage.database import Database
from gateway.storage.sealing import token_hash
from gateway.storage.statement import Row, Statement, insert_into
from gateway.storage.unit import Connection, Move, Record, StorageError

_log = logging.getLogger(__name__)

_BASE62: Final = string.digits + string.ascii_uppercase + string.ascii_lowercase
_ID_LENGTH: Final = 8
_SECRET_LENGTH: Final = 43
_CHECKSUM_LENGTH: Final = 6

#: What every key looks like; secret scanners may search for it.
PATTERN: Final = re.compile(r"otpg_([0-9A-Za-z]{8})_([0-9A-Za-z]{43})([0-9A-Za-z]{6})")

#: Enough of a key to know one by, whole or cut.
TRACE: Final = re.compile(r"otpg_[0-9A-Za-z]{8}_[0-9A-Za-z]{16}")

#: What stands before a key's id.
PREFIX: Final = "otpg_"

#: Seconds after which the keys in memory are read again beside the request that noticed.
REFRESH_AFTER: Final = 2.0
#: Seconds after which a request waits for that: with the read itself, a revoked key ends within 5 s.
TOO_OLD: Final = 4.0
#: Live keys of one name: the one in use and the one that takes its place.
MOST_LIVE: Final = 2
#: Seconds a key goes on for after it was rotated, unless another time is asked for.
GRACE: Final = 86_400.0
#: Seconds to which the latest use of a key is told, and between two writes of it.
MINUTE: Final = 60.0

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
#: A key ends at a time, unless it ends before.
_END = Statement(
    "service_key.end",
    {"id": "text", "at": "double precision"},
    """UPDATE service_key SET expires_at = r.at FROM r WHERE service_key.id = r.id AND service_key.revoked_at IS NULL
        AND (service_key.expires_at IS NULL OR service_key.expires_at > r.at)""",
)
_USED = Statement(
    "service_key.used",
    {"id": "text", "at": "double precision"},
    """UPDATE service_key SET used_at = r.at FROM r WHERE service_key.id = r.id
        AND (service_key.used_at IS NULL OR service_key.used_at < r.at)""",
)
_COLUMNS: Final = "id, service, name, created_at, revoked_at, scopes, expires_at, networks, used_at"
_IS_LIVE: Final = "revoked_at IS NULL AND (expires_at IS NULL OR expires_at > :now)"
_LIST = f"""SELECT {_COLUMNS} FROM service_key
    WHERE (CAST(:service AS text) = '' OR service = :service) ORDER BY service, created_at, id"""  # noqa: S608 - names of our own
_KEPT: Final = "id, service, secret_hash, scopes, expires_at, networks, revoked_at"
_LIVE = f"SELECT {_KEPT} FROM service_key WHERE {_IS_LIVE}"  # noqa: S608 - the same
#: Live or not: of one that is over the log says so.
_ONE = f"SELECT {_KEPT} FROM service_key WHERE id = :id"  # noqa: S608 - the same
_VIEW = f"SELECT {_COLUMNS} FROM service_key WHERE id = :id"  # noqa: S608 - the same
_EXISTS = "SELECT 1 FROM service_key WHERE id = :id"
#: The live keys of one name, their rows locked: of two who make a third at once, the second sees the first's.
_HOLD_NAME = f"""UPDATE service_key SET name = name WHERE service = :service AND name = :name AND {_IS_LIVE}
    RETURNING id"""  # noqa: S608 - the same
_NAMED = f"SELECT id FROM service_key WHERE service = :service AND name = :name AND {_IS_LIVE}"  # noqa: S608 - the same


class KeyRefusedError(GatewayError):
    """A key cannot be made or rotated; the text says why and what to do, and holds nothing of a key but its id."""


@dataclass(frozen=True, slots=True)
class KeyView:
    """A key as it is listed: nothing in it opens anything. Times in seconds since the Unix epoch."""

    id: str
    service: str
    #: What an operator calls it.
    name: str
    created_at: float
    revoked_at: float | None
    #: What it may do.
    scopes: frozenset[Scope]
    #: When it ends by itself.
    expires_at: float | None
    #: Where it may be used from; ``None`` is everywhere.
    networks: tuple[Network, ...] | None
    #: When it was used last, to the minute and up to a minute late.
    used_at: float | None

    def is_live(self, now: float) -> bool:
        """Whether it opens anything at ``now``."""
        return self.revoked_at is None and (self.expires_at is None or self.expires_at > now)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a new key may do, for how long and from where."""

    #: What it may do.
    scopes: frozenset[Scope] = scopes.DEFAULT
    #: Seconds until it ends by itself; ``None`` is never.
    lifetime: float | None = None
    #: Where it may be used from; none is everywhere.
    networks: tuple[Network, ...] = ()


_PLAIN: Final = Wanted()


@dataclass(frozen=True, slots=True)
class KnownKey:
    """A key as those who come by it are judged; one of the live ones lets its service in."""

    id: str
    service: str
    secret_hash: bytes = field(repr=False)
    #: What it may do.
    scopes: frozenset[Scope] = scopes.DEFAULT
    #: When it ends, in seconds since the Unix epoch.
    expires_at: float | None = None
    #: Where it may be used from; ``None`` is everywhere.
    networks: tuple[Network, ...] | None = None
    #: Whether an operator ended it.
    revoked: bool = False


class Keys:
    """The keys of all services, with the live ones in memory; ``refusals`` are told of those that open nothing."""

    def __init__(self, database: Database, clock: Clock, refusals: Refusals | None = None) -> None:
        self._database = database
        self._clock = clock
        #: What is told of refused keys.
        self.refusals = refusals or Refusals(clock)
        self._live: dict[str, KnownKey] = {}
        #: The monotonic second at which the latest reading began; before the first one, long ago.
        self._read_at = float("-inf")
        self._refreshing: asyncio.Task[None] | None = None
        #: The checksums of right keys: to reckon one takes 1.5 µs.
        self._sums: dict[str, str] = {}
        #: Keys used since the latest write of it.
        self._used: set[str] = set()

    async def create(self, service: str, name: str = "", wanted: Wanted = _PLAIN, *, third: bool = True) -> str:
        """Make a key and return it; it cannot be shown again.

        Without ``third`` it raises ``KeyRefusedError`` where two of that name are live.
        """
        now = self._clock.now()
        expires_at = None if wanted.lifetime is None else now + wanted.lifetime
        made = _Made(service, name, scopes.written(wanted.scopes), expires_at, networks.written(wanted.networks))

        async def work(connection: Connection) -> None:
            if not third:
                await _refuse_third(connection, service, name, now)
            await connection.apply(Move(None, [(_INSERT, made.row(now))]))

        await self._database.run(work)
        return made.key

    async def rotate(self, key_id: str, *, grace: float = GRACE) -> str | None:
        """Make a key that takes a live one's place, which ends after ``grace`` seconds; return it.

        It has the same service, name, scopes and networks, and lasts as long where the old one was to end by itself.
        ``None`` where there is no such key. Raises ``KeyRefusedError`` where it is not live, or has a successor.
        """
        now = self._clock.now()

        async def work(connection: Connection) -> str | None:
            found = await connection.fetch(_VIEW, id=key_id)
            if not found:
                return None
            made = _successor(_view(found[0]), now)
            await _refuse_third(connection, made.service, made.name, now)
            then = [(_INSERT, made.row(now)), (_END, (key_id, now + grace))]
            await connection.apply(Move(None, then))
            return made.key

        made = await self._database.run(work)
        if grace <= 0:
            self._live.pop(key_id, None)
        return made

    async def list(self, service: str | None = None) -> list[KeyView]:
        """Return all keys, or one service's, the revoked ones too."""
        return [_view(item) for item in await self._database.fetch(_LIST, service=service or "")]

    async def revoke(self, key_id: str) -> bool:
        """End a key, on every running node within 5 s; return whether there is such a key."""
        if not await self._database.write(Move((_REVOKE, (key_id, self._clock.now())))):
            return bool(await self._database.fetch(_EXISTS, id=key_id))
        self._live.pop(key_id, None)
        return True

    def at_once(self, token: str, host: str | None = None) -> KnownKey | None:
        """Return what ``authenticate`` would, where nothing has to be read for it, else ``None``. Raises ``KeyRefusal``."""
        match = PATTERN.fullmatch(token)
        if match is None:
            raise refusal()
        known = self._live.get(match[1])
        if known is None or self._clock.monotonic() - self._read_at >= REFRESH_AFTER:
            return None
        return self._judged(match, known, host)

    async def authenticate(self, token: str, host: str | None = None) -> KnownKey:
        """Return the live key that a token is; ``host`` is the caller's address.

        Raises ``KeyRefusal``, the same to callers for every token that opens nothing here and now.
        """
        match = PATTERN.fullmatch(token)
        if match is None:
            raise refusal()
        # Only for what can be a key is the database asked.
        if match[1] not in self._live and not hmac.compare_digest(checksum(token[:-_CHECKSUM_LENGTH]), match[3]):
            raise refusal()
        if (age := self._clock.monotonic() - self._read_at) >= REFRESH_AFTER:
            await self._freshen(age)
        return self._judged(match, self._live.get(match[1]) or await self._look_up(match[1]), host)

    def _judged(self, match: re.Match[str], known: KnownKey | None, host: str | None) -> KnownKey:
        """Return the key that was shown, if that opens anything here and now. Raises ``KeyRefusal``."""
        key_id, secret, summed = match.groups()
        if not hmac.compare_digest(token_hash(secret), known.secret_hash if known else _NOBODY) or known is None:
            raise refusal(Reason.UNKNOWN, known.id if known else None)
        # What is mistyped there is refused by every node and at all times, not by those alone that have to look the key up.
        if self._sums.get(key_id) != summed and checksum(match[0][:-_CHECKSUM_LENGTH]) != summed:
            raise refusal(Reason.UNKNOWN, known.id)
        self._sums[key_id] = summed
        if known.revoked:
            raise refusal(Reason.REVOKED, known.id)
        if known.expires_at is not None and known.expires_at <= self._clock.now():
            raise refusal(Reason.ENDED, known.id)
        if known.networks is not None and not networks.within(host, known.networks):
            raise refusal(Reason.NETWORK, known.id)
        self._used.add(key_id)
        return known

    async def note_uses(self) -> int:
        """Write down, in one go, which keys were used since the last time; return how many.

        Raises ``StorageError``; then the next time has them.
        """
        used, self._used = self._used, set()
        if not used:
            return 0
        at = self._clock.now() // MINUTE * MINUTE
        try:
            await self._database.write(Move(None, [(_USED, (key_id, at)) for key_id in sorted(used)]))
        except StorageError:
            self._used |= used
            raise
        return len(used)

    async def _freshen(self, age: float) -> None:
        """Have the keys in memory, which are ``age`` seconds old, read again; wait for it where they are too old."""
        if self._refreshing is None:
            self._refreshing = asyncio.create_task(self._refresh(), name="keys refresh")
            self._refreshing.add_done_callback(self._refreshed)
        if age >= TOO_OLD:
            # Shielded: the requests that wait share one reading, and one of them going away must not end it.
            await asyncio.shield(self._refreshing)

    async def _refresh(self) -> None:
        began = self._clock.monotonic()
        found = await self._database.fetch(_LIVE, now=self._clock.now())
        self._live = {item["id"]: _known(item) for item in found}
        self._read_at = began

    def _refreshed(self, task: asyncio.Task[None]) -> None:
        self._refreshing = None
        if not task.cancelled() and (error := task.exception()) is not None:
            # Nobody is let in by what is too old: requests then wait for a reading and fail with it.
            _log.log(loudness(error), "the keys could not be read again: %s", type(error).__name__)

    async def _look_up(self, key_id: str) -> KnownKey | None:
        """Look for a key made since the last reading, so that it works at once, or one that is over."""
        for item in await self._database.fetch(_ONE, id=key_id):
            found = _known(item)
            if not found.revoked and (found.expires_at is None or found.expires_at > self._clock.now()):
                self._live[key_id] = found
            return found
        return None


def checksum(text: str) -> str:
    """Return the CRC-32 of ``text`` as 6 base62 characters, the most significant first."""
    rest, characters = zlib.crc32(text.encode()), ""
    for _ in range(_CHECKSUM_LENGTH):
        rest, digit = divmod(rest, 62)
        characters = _BASE62[digit] + characters
    return characters


def refusal(reason: Reason = Reason.UNKNOWN, key_id: str | None = None) -> KeyRefusal:
    """Return the one answer to every key that opens nothing; ``key_id`` is that of a key there is."""
    return KeyRefusal(reason, key_id)


class _Made:
    """A key that is being made."""

    def __init__(self, service: str, name: str, rights: str, expires_at: float | None, where: str | None) -> None:
        self.service = service
        self.name = name
        self._id, self._secret = _random(_ID_LENGTH), _random(_SECRET_LENGTH)
        self._rest = (None, rights, expires_at, where, None)

    @property
    def key(self) -> str:
        """The whole key."""
        text = f"{PREFIX}{self._id}_{self._secret}"
        return text + checksum(text)

    def row(self, now: float) -> Row:
        """Return its row, made at ``now``."""
        return (self._id, self.service, self.name, token_hash(self._secret), now, *self._rest)


def _successor(old: KeyView, now: float) -> _Made:
    """Return a key like ``old``. Raises ``KeyRefusedError`` where that is over."""
    if not old.is_live(now):
        raise KeyRefusedError(f"the key {old.id} has ended; make a new one with `otp-gateway keys create`")
    expires_at = None if old.expires_at is None else now + old.expires_at - old.created_at
    rights, where = scopes.written(old.scopes), networks.written(old.networks or ())
    return _Made(old.service, old.name, rights, expires_at, where)


async def _refuse_third(connection: Connection, service: str, name: str, now: float) -> None:
    """Refuse a third live key of one name. Of keys without one nobody knows which belong together."""
    if not name:
        return
    values = {"service": service, "name": name, "now": now}
    await connection.fetch(_HOLD_NAME, **values)
    live: Sequence[Record] = await connection.fetch(_NAMED, **values)
    if len(live) >= MOST_LIVE:
        ids = " and ".join(sorted(record["id"] for record in live))
        raise KeyRefusedError(f"two keys of {service} called {name!r} are live: {ids}; revoke one first")


def _view(record: Record) -> KeyView:
    return KeyView(
        id=record["id"],
        service=record["service"],
        name=record["name"],
        created_at=record["created_at"],
        revoked_at=record["revoked_at"],
        scopes=scopes.read(record["scopes"]),
        expires_at=record["expires_at"],
        networks=networks.read(record["networks"]),
        used_at=record["used_at"],
    )


def _known(record: Record) -> KnownKey:
    return KnownKey(
        record["id"],
        record["service"],
        bytes(record["secret_hash"]),
        scopes.read(record["scopes"]),
        record["expires_at"],
        networks.read(record["networks"]),
        record["revoked_at"] is not None,
    )


def _random(length: int) -> str:
    return "".join(secrets.choice(_BASE62) for _ in range(length))

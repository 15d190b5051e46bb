"""The keys of all services: made once, shown once, kept as a hash, looked up in memory."""

from __future__ import annotations

import asyncio
import hmac
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from gateway.api.keys import networks, scopes, text
from gateway.api.keys import statements as sql
from gateway.api.keys.networks import Network
from gateway.api.keys.refusals import KeyRefusal, Reason, Refusals
from gateway.api.keys.scopes import Scope
from gateway.api.keys.view import KeyView, viewed
from gateway.clock import Clock
from gateway.errors import GatewayError, loudness
from gateway.storage.database import Database
from gateway.storage.sealing import token_hash
from gateway.storage.statement import Row
from gateway.storage.unit import Connection, Move, Record, StorageError

_log = logging.getLogger(__name__)

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


class KeyRefusedError(GatewayError):
    """A key cannot be made or rotated; the text says why and what to do, and holds nothing of a key but its id."""


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
        made = _Made(service, name, wanted)

        async def work(connection: Connection) -> None:
            if not third:
                await _refuse_third(connection, service, name, now)
            await connection.apply(Move(None, [(sql.INSERT, made.row(now))]))

        await self._database.run(work)
        return made.key

    async def rotate(self, key_id: str, *, grace: float = GRACE) -> str | None:
        """Make a key that takes a live one's place, which ends after ``grace`` seconds; return it.

        It has the same service, name, scopes and networks, and lasts as long as the old one was made for.
        ``None`` where there is no such key. Raises ``KeyRefusedError`` where it is not live, or has a successor.
        """
        now = self._clock.now()

        async def work(connection: Connection) -> str | None:
            found = await connection.fetch(sql.VIEW, id=key_id)
            if not found:
                return None
            made = _successor(viewed(found[0]), now)
            await _refuse_third(connection, made.service, made.name, now)
            then = [(sql.INSERT, made.row(now)), (sql.END, (key_id, now + grace))]
            await connection.apply(Move(None, then))
            return made.key

        made = await self._database.run(work)
        if grace <= 0:
            self._live.pop(key_id, None)
        return made

    async def list(self, service: str | None = None) -> list[KeyView]:
        """Return all keys, or one service's, the revoked ones too."""
        return [viewed(item) for item in await self._database.fetch(sql.LIST, service=service or "")]

    async def revoke(self, key_id: str) -> bool:
        """End a key, on every running node within 5 s; return whether there is such a key."""
        if not await self._database.write(Move((sql.REVOKE, (key_id, self._clock.now())))):
            return bool(await self._database.fetch(sql.EXISTS, id=key_id))
        self._live.pop(key_id, None)
        return True

    def at_once(self, token: str, host: str | None = None) -> KnownKey | None:
        """Return what ``authenticate`` would, where nothing has to be read for it, else ``None``. Raises ``KeyRefusal``."""
        match = text.PATTERN.fullmatch(token)
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
        match = text.PATTERN.fullmatch(token)
        if match is None:
            raise refusal()
        # Only for what can be a key is the database asked.
        if match[1] not in self._live and not text.is_whole(token):
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
        if self._sums.get(key_id) != summed and not text.is_whole(match[0]):
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
            await self._database.write(Move(None, [(sql.USED, (key_id, at)) for key_id in sorted(used)]))
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
        found = await self._database.fetch(sql.LIVE, now=self._clock.now())
        self._live = {item["id"]: _known(item) for item in found}
        self._read_at = began

    def _refreshed(self, task: asyncio.Task[None]) -> None:
        self._refreshing = None
        if not task.cancelled() and (error := task.exception()) is not None:
            # Nobody is let in by what is too old: requests then wait for a reading and fail with it.
            _log.log(loudness(error), "the keys could not be read again: %s", type(error).__name__)

    async def _look_up(self, key_id: str) -> KnownKey | None:
        """Look for a key made since the last reading, so that it works at once, or one that is over."""
        for item in await self._database.fetch(sql.ONE, id=key_id):
            found = _known(item)
            if not found.revoked and (found.expires_at is None or found.expires_at > self._clock.now()):
                self._live[key_id] = found
            return found
        return None


def refusal(reason: Reason = Reason.UNKNOWN, key_id: str | None = None) -> KeyRefusal:
    """Return the one answer to every key that opens nothing; ``key_id`` is that of a key there is."""
    return KeyRefusal(reason, key_id)


class _Made:
    """A key that is being made."""

    def __init__(self, service: str, name: str, wanted: Wanted) -> None:
        self.service = service
        self.name = name
        self._id, self._secret = text.drawn()
        self._wanted = wanted

    @property
    def key(self) -> str:
        """The whole key."""
        return text.written(self._id, self._secret)

    def row(self, now: float) -> Row:
        """Return its row, made at ``now``."""
        wanted = self._wanted
        expires_at = None if wanted.lifetime is None else now + wanted.lifetime
        rights, where = scopes.written(wanted.scopes), networks.written(wanted.networks)
        named = (self._id, self.service, self.name, token_hash(self._secret))
        return (*named, now, None, rights, expires_at, where, None, wanted.lifetime)


def _successor(old: KeyView, now: float) -> _Made:
    """Return a key like ``old``. Raises ``KeyRefusedError`` where that is over."""
    if not old.is_live(now):
        raise KeyRefusedError(f"the key {old.id} has ended; make a new one with `otp-gateway keys create`")
    # Not by its end, which an earlier rotation may have set: where that one's key was revoked, this one would end with the
    # grace of it.
    return _Made(old.service, old.name, Wanted(old.scopes, old.lifetime, old.networks or ()))


async def _refuse_third(connection: Connection, service: str, name: str, now: float) -> None:
    """Refuse a third live key of one name. Of keys without one nobody knows which belong together."""
    if not name:
        return
    values = {"service": service, "name": name, "now": now}
    await connection.fetch(sql.HOLD_NAME, **values)
    live: Sequence[Record] = await connection.fetch(sql.NAMED, **values)
    if len(live) >= MOST_LIVE:
        ids = " and ".join(sorted(record["id"] for record in live))
        raise KeyRefusedError(f"two keys of {service} called {name!r} are live: {ids}; revoke one first")


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

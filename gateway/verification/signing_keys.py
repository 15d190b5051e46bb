"""The keys proofs are signed with: Ed25519, one every 30 days, shared by all nodes through the database.

A key is published a day before it signs, so that whoever keeps the key set for hours knows it by then, and stays
published for a day after another took over, so that nothing it signed outlives it.
"""

from __future__ import annotations

import base64
import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar, Final

import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gateway.clock import Clock
from gateway.storage import models
from gateway.storage.database import Database
from gateway.storage.sealing import Sealer, UnsealError
from gateway.storage.statement import Statement, insert_into
from gateway.storage.unit import Connection, Move, Record
from gateway.value import Value

_log = logging.getLogger(__name__)

#: Seconds a key signs.
LIFE: Final = 30 * 86_400.0
#: Seconds it is published before that, and after another took over.
NOTICE: Final = 86_400.0
#: Seconds after which a node reads the keys again. A node that signs with an older one meanwhile signs well: every node
#: publishes it for a day more.
REFRESH: Final = 60.0
#: Seconds for which the key that signs is remembered: each check asks for it, and to choose it takes 2 µs.
REMEMBERED: Final = 1.0

#: Waits for whoever makes a key now: what they made is read afterwards. On SQLite there is one writer anyway.
_HOLD = """INSERT INTO lease (name, node, until) VALUES ('signing_key', '', :now)
    ON CONFLICT (name) DO UPDATE SET until = excluded.until RETURNING name"""
_ALL = "SELECT id, private_sealed, public, signs_from FROM signing_key ORDER BY signs_from, id"
_INSERT = insert_into(models.SigningKey)
_RETIRE = Statement("signing_key.retire", {"id": "text"}, "DELETE FROM signing_key WHERE id IN (SELECT id FROM r)")


class SigningKey(Value, frozen=True):
    """A key as a node holds it."""

    hidden: ClassVar[frozenset[str]] = frozenset({"private"})

    #: Its JWK thumbprint (RFC 7638): the ``kid``.
    id: str
    #: 32 bytes.
    public: bytes
    #: ``None`` where the ring does not open it: it is published and does not sign.
    private: Ed25519PrivateKey | None
    #: Seconds since the Unix epoch.
    signs_from: float


class SigningKeys:
    """The keys, as one node knows them. ``make`` makes a private one. Every method raises ``StorageError``."""

    def __init__(
        self,
        database: Database,
        sealer: Sealer,
        clock: Clock,
        make: Callable[[], Ed25519PrivateKey] = Ed25519PrivateKey.generate,
    ) -> None:
        self._database = database
        self._sealer = sealer
        self._clock = clock
        self._make = make
        self._keys: Sequence[SigningKey] = ()
        #: When they were read, in monotonic seconds.
        self._read_at = -REFRESH
        #: What signed last, and until when that is not asked again, in monotonic seconds.
        self._latest: tuple[str, Ed25519PrivateKey] | None = None
        self._latest_until = 0.0

    def at_once(self) -> tuple[str, Ed25519PrivateKey] | None:
        """Return what ``signing`` did a moment ago; ``None`` where that was longer ago."""
        return self._latest if self._clock.monotonic() < self._latest_until else None

    async def signing(self) -> tuple[str, Ed25519PrivateKey]:
        """Return the id of the key that signs now and the key itself; the very first one is made now."""
        await self._freshen()
        found = signing(self._keys, self._clock.now()) or await self._first()
        assert found.private is not None, "only a key that can sign is chosen"
        self._latest, self._latest_until = (found.id, found.private), self._clock.monotonic() + REMEMBERED
        return self._latest

    async def published(self) -> Sequence[SigningKey]:
        """Return every key by which a proof may be signed now, soon or a while ago; there is one at least."""
        await self.signing()
        return self._keys

    async def rotate(self) -> int:
        """Make the key that signs next once it is time, delete what nothing valid is signed by; return how many."""
        now = self._clock.now()

        async def work(connection: Connection) -> tuple[list[str], list[str]]:
            keys = await self._held(connection, now)
            begins, over = next_at(keys, now), [key.id for key in retired(keys, now)]
            made = [] if begins is None else [await self._add(connection, begins, now)]
            await connection.apply(Move(None, [(_RETIRE, (key_id,)) for key_id in over]))
            return made, over

        made, over = await self._database.run(work)
        _tell(made)
        return len(made) + len(over)

    async def _freshen(self) -> None:
        began = self._clock.monotonic()
        if began - self._read_at >= REFRESH:
            self._keys = self._opened(await self._database.fetch(_ALL))
            self._read_at = began

    async def _first(self) -> SigningKey:
        """Return a key made now, by this node or by another that was sooner."""
        now = self._clock.now()

        async def work(connection: Connection) -> tuple[list[str], list[Record]]:
            found = signing(await self._held(connection, now), now)
            made = [] if found is not None else [await self._add(connection, now, now)]
            return made, await connection.fetch(_ALL)

        made, records = await self._database.run(work)
        _tell(made)
        self._keys = self._opened(records)
        found = signing(self._keys, now)
        assert found is not None, "there was one, or it was made"
        return found

    async def _held(self, connection: Connection, now: float) -> Sequence[SigningKey]:
        await connection.fetch(_HOLD, now=now)
        return self._opened(await connection.fetch(_ALL))

    async def _add(self, connection: Connection, signs_from: float, now: float) -> str:
        private = self._make()
        public = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        key_id = thumbprint(public)
        sealed = self._sealer.seal(private.private_bytes_raw(), place(key_id))
        await connection.apply(Move(None, [(_INSERT, (key_id, sealed, public, now, signs_from))]))
        return key_id

    def _opened(self, records: Sequence[Record]) -> Sequence[SigningKey]:
        known = {key.id: key for key in self._keys}
        return [known.get(record["id"]) or self._key(record) for record in records]

    def _key(self, record: Record) -> SigningKey:
        private = None
        try:
            plain = self._sealer.open(record["private_sealed"], place(record["id"]))
            private = Ed25519PrivateKey.from_private_bytes(plain)
        except UnsealError as error:
            _log.error("the key %s for proofs cannot be used: %s", record["id"], error)
        return SigningKey(record["id"], bytes(record["public"]), private, record["signs_from"])


def _tell(made: Sequence[str]) -> None:
    for key_id in made:
        _log.info("the key %s for proofs was made", key_id)


def place(key_id: str) -> str:
    """Name the place in the database that a sealed private key belongs to."""
    return f"signing_key.private/{key_id}"


def signing(keys: Sequence[SigningKey], now: float) -> SigningKey | None:
    """Return the key that signs now: of those that can, the last to have begun, else the first that will.

    ``None`` where there is none.
    """
    able = [key for key in _credible(keys, now) if key.private is not None]
    begun = [key for key in able if key.signs_from <= now]
    if begun:
        return max(begun, key=_order)
    # Clocks differ, and are set back: by a moment, a key that has not quite begun is as good.
    return min(able, key=_order, default=None)


def next_at(keys: Sequence[SigningKey], now: float) -> float | None:
    """Return from when a key that is to be made now signs; ``None`` where it is not time to make one."""
    able = [key for key in _credible(keys, now) if key.private is not None]
    if not able:
        return now
    last = max(key.signs_from for key in able)
    if now < last + LIFE - NOTICE:
        return None
    return max(last + LIFE, now + NOTICE)


def retired(keys: Sequence[SigningKey], now: float) -> list[SigningKey]:
    """Return the keys that nothing valid is signed by: another has signed for ``NOTICE``."""
    begun = [key.signs_from for key in keys if key.signs_from + NOTICE <= now]
    return [key for key in keys if begun and key.signs_from < max(begun)]


def key_set(keys: Sequence[SigningKey]) -> list[Mapping[str, str]]:
    """Return public keys as JWKs (RFC 7517, RFC 8037)."""
    return [{**_required(key.public), "kid": key.id, "alg": "EdDSA", "use": "sig"} for key in keys]


def thumbprint(public: bytes) -> str:
    """Return the JWK thumbprint of a public key (RFC 7638, RFC 8037 appendix A.3)."""
    return _base64url(hashlib.sha256(orjson.dumps(_required(public), option=orjson.OPT_SORT_KEYS)).digest())


def _credible(keys: Sequence[SigningKey], now: float) -> list[SigningKey]:
    # One that begins so much later than any made now was made by a clock that was wrong: it neither signs now nor keeps
    # another from being made.
    return [key for key in keys if key.signs_from <= now + LIFE + NOTICE]


def _order(key: SigningKey) -> tuple[float, str]:
    return key.signs_from, key.id


def _required(public: bytes) -> dict[str, str]:
    return {"crv": "Ed25519", "kty": "OKP", "x": _base64url(public)}


def _base64url(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()

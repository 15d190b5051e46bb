"""Proofs: a signed word for one approval (a JWT, RFC 7519) that anybody can check without asking the gateway.

Whoever approved, by which channel and for what is in it; who they are is a hash that differs from service to service.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, ClassVar, Final

import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.delivery.payload import Owner
from gateway.delivery.rows import route
from gateway.randomness import random_bytes
from gateway.storage.ids import RandomBytes
from gateway.storage.sealing import Hasher, Sealer
from gateway.storage.unit import Connection, Record
from gateway.value import Value
from gateway.verification.binding import fingerprint
from gateway.verification.signing_keys import SigningKeys

#: Seconds a proof is valid.
LIFE: Final = 300
#: EdDSA over Ed25519 (RFC 8037): 33 µs a signature, a third of what the right answer to a code costs (measured).
ALGORITHM: Final = "EdDSA"

#: The message that brought the code: the last that was sent; else one that may have been, for its attempt is under way or
#: its answer was lost; else the last. One of an older generation brought another code.
_BROUGHT: Final = """SELECT step FROM message WHERE verification_id = :id AND generation = :generation
    ORDER BY CASE WHEN status IN ('sent', 'delivered') THEN 0 WHEN status = 'sending' OR unknowns > 0 THEN 1 ELSE 2 END,
        id DESC LIMIT 1"""


class Approval(Value, frozen=True):
    """What a proof tells."""

    hidden: ClassVar[frozenset[str]] = frozenset({"address_hash", "bind"})

    verification_id: str
    service: str
    purpose: str
    #: The channel that brought the code.
    channel: str
    #: Keyed hash of the address it went to, in hexadecimal.
    address_hash: str
    bind: Mapping[str, str]
    #: Seconds since the Unix epoch.
    at: float


class Pen(Value, frozen=True):
    """What signs now."""

    hidden: ClassVar[frozenset[str]] = frozenset({"key"})

    key_id: str
    key: Ed25519PrivateKey


class Proofs:
    """Writes proofs. ``issuer`` is who they are from, as the settings name the gateway."""

    def __init__(self, keys: SigningKeys, hasher: Hasher, issuer: str, random: RandomBytes = random_bytes) -> None:
        self._keys = keys
        self._hasher = hasher
        self._issuer = issuer
        self._random = random

    async def pen(self) -> Pen:
        """Return what signs now; taken before a code is used up, for afterwards it would be too late to have none.

        Raises ``StorageError``.
        """
        return Pen(*(self._keys.at_once() or await self._keys.signing()))

    def write(self, pen: Pen, approval: Approval) -> str:
        """Return the proof of an approval."""
        # By hand: the signature's library takes 11 µs for what this does in 2.
        signed = _head(pen.key_id) + b"." + _base64url(orjson.dumps(self._claims(approval)))
        return (signed + b"." + _base64url(pen.key.sign(signed))).decode()

    def _claims(self, approval: Approval) -> dict[str, Any]:
        issued_at = int(approval.at)
        claims = {
            "iss": self._issuer,
            "aud": approval.service,
            "sub": self._subject(approval),
            "jti": self._random(16).hex(),
            "iat": issued_at,
            "exp": issued_at + LIFE,
            "verification": approval.verification_id,
            "channel": approval.channel,
            "purpose": approval.purpose,
        }
        return {**claims, "bind": fingerprint(approval.bind)} if approval.bind else claims

    def _subject(self, approval: Approval) -> str:
        # Another for each service: two of them cannot find out that they know the same person.
        hashed = self._hasher.hash("subject", f"{approval.service}\0{approval.address_hash}")
        return _base64url(hashed).decode()


async def approved(
    connection: Connection, sealer: Sealer, owner: Owner, record: Record, bind: Mapping[str, str], now: float
) -> Approval:
    """Return the approval of a verification whose row is held, its code not yet wiped. Raises ``UnsealError``."""
    brought = await connection.fetch(_BROUGHT, id=owner.id, generation=record["generation"])
    return approval(sealer, owner, record, brought[0]["step"], bind, now)


def approval(sealer: Sealer, owner: Owner, record: Record, step: int, bind: Mapping[str, str], now: float) -> Approval:
    """Return the approval by a code that came by this step of the route. Raises ``UnsealError``."""
    stop = route(sealer, owner, record)[step]
    return Approval(owner.id, owner.service, owner.purpose, stop.channel, stop.hash, bind, now)


@lru_cache(maxsize=8)
def _head(key_id: str) -> bytes:
    """Return the header of what a key signs, as it stands in a compact JWS (RFC 7515, 7.1)."""
    return _base64url(orjson.dumps({"alg": ALGORITHM, "kid": key_id, "typ": "JWT"}))


def _base64url(value: bytes) -> bytes:
    return base64.urlsafe_b64encode(value).rstrip(b"=")

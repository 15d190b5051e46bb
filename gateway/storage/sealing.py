"""Sealing: AES-256-GCM with a ring of keys, each blob bound to the row and column it belongs to.

Blob: version byte 1, length of the key id, key id, 12 random bytes of nonce, ciphertext with its 16-byte tag.
The bound text (AAD) is ``<table>.<column>/<row id>``: a blob copied into another row does not open.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from gateway.config import SealingKey
from gateway.randomness import random_bytes
from gateway.storage.unit import StorageError

_VERSION = 1
_NONCE_BYTES = 12  # NIST SP 800-38D: 96 bits, the length GCM takes without another hash


class UnsealError(StorageError):
    """A blob cannot be opened: its key is not in the ring, or it was moved or changed."""


class Sealer:
    """Seals with the first key of the ring and opens with any of them."""

    def __init__(self, ring: Sequence[SealingKey]) -> None:
        if not ring:
            raise ValueError("a key ring needs at least one key")
        #: The ids of the ring's keys, the sealing one's first.
        self.ids = tuple(item.id for item in ring)
        self._prefix = bytes((_VERSION, len(ring[0].id))) + ring[0].id.encode()
        self._ciphers = {item.id: AESGCM(_derive(item.key)) for item in ring}
        self._first = self._ciphers[ring[0].id]

    def seal(self, plain: bytes, bound_to: str) -> bytes:
        """Return ``plain`` sealed for the place ``bound_to`` names."""
        nonce = random_bytes(_NONCE_BYTES)
        return self._prefix + nonce + self._first.encrypt(nonce, plain, bound_to.encode())

    def open(self, blob: bytes, bound_to: str) -> bytes:
        """Return what was sealed. Raises ``UnsealError``."""
        if len(blob) < 2 + _NONCE_BYTES or blob[0] != _VERSION:
            raise UnsealError("not a sealed blob of version 1")
        start = 2 + blob[1]
        cipher = self._ciphers.get(blob[2:start].decode("ascii", "replace"))
        if cipher is None:
            raise UnsealError("sealed by a key that is not in [secrets] keys")
        nonce = blob[start : start + _NONCE_BYTES]
        try:
            return cipher.decrypt(nonce, blob[start + _NONCE_BYTES :], bound_to.encode())
        except (InvalidTag, ValueError):
            raise UnsealError("changed, or moved from another row") from None

    def is_current(self, blob: bytes) -> bool:
        """Whether a blob was sealed with the first key of the ring."""
        return blob.startswith(self._prefix)


class Hasher:
    """Keyed hashes of addresses, for look-ups. Its key never rotates, else look-ups would forget everybody."""

    def __init__(self, key: bytes) -> None:
        # BLAKE2b's keyed mode is a MAC by itself (RFC 7693 2.9), at a third of the time of HMAC. A copy of what has the
        # key already takes 0.7 of the time of a hash that is given it.
        self._keyed = hashlib.blake2b(key=key, digest_size=32)

    def hash(self, kind: str, canonical: str) -> bytes:
        """Return 32 bytes that stand for the address of that kind."""
        hashed = self._keyed.copy()
        hashed.update(f"{kind}\0{canonical}".encode())
        return hashed.digest()


def key_id(blob: bytes) -> str:
    """Return the id of the key that sealed a blob; ``"?"`` where it is none."""
    if len(blob) < 2 + _NONCE_BYTES or blob[0] != _VERSION:
        return "?"
    return blob[2 : 2 + blob[1]].decode("ascii", "replace")


def token_hash(token: str) -> bytes:
    """Return SHA-256 of a random token: with 128 bits and more, no key and no salt are needed."""
    return hashlib.sha256(token.encode()).digest()


def _derive(key: bytes) -> bytes:
    # A key of the ring never serves directly: other uses (proof tokens) derive theirs from it by another label.
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=b"otp-gateway sealing v1").derive(key)

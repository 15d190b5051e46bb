"""One sealing key as an operator writes it: ``<id>:<base64 of 32 bytes>``."""

from __future__ import annotations

import base64
import binascii
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field

#: AES-256 (FIPS 197).
KEY_BYTES = 32
_ID = re.compile(r"[a-z0-9]{1,16}")
_NUMBERED = re.compile(r"k([0-9]{1,9})")
#: 32 random bytes hold about 30 different values; fewer than this many are an example, not a key.
_MIN_DIFFERENT_BYTES = 8


@dataclass(frozen=True, slots=True)
class SealingKey:
    """A key of the ring: the first of a ring seals, every one opens."""

    #: 1 to 16 characters of ``a-z0-9``, unique in its ring; stored beside what the key sealed.
    id: str
    #: 32 bytes.
    key: bytes = field(repr=False)


def parse_key(text: str) -> SealingKey:
    """Read ``k1:<base64 of 32 bytes>``. Raises ``ValueError`` with a sentence that holds nothing of the key."""
    name, colon, encoded = text.partition(":")
    if not colon or not _ID.fullmatch(name):
        raise ValueError('must look like "k1:<base64 of 32 bytes>" with an id of 1 to 16 characters of a-z and 0-9')
    try:
        key = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        # Without its cause: a traceback of the decoder would show the line that holds the key.
        raise ValueError("must be base64 after the colon") from None
    if len(key) != KEY_BYTES:
        raise ValueError(f"must hold {KEY_BYTES} bytes after the colon, it holds {len(key)}")
    if len(set(key)) < _MIN_DIFFERENT_BYTES:
        raise ValueError("must be random; this is an example value")
    return SealingKey(name, key)


def parse_ring(texts: list[str]) -> tuple[SealingKey, ...]:
    """Read the keys of a ring. Raises ``ValueError`` for the first fault, by the key's position."""
    ring: list[SealingKey] = []
    for number, text in enumerate(texts, start=1):
        try:
            key = parse_key(text)
        except ValueError as error:
            raise ValueError(f"key {number} {error}") from None
        if key.id in {other.id for other in ring}:
            raise ValueError(f"key {number} has the id of another key; ids are unique")
        ring.append(key)
    return tuple(ring)


def new_key(name: str = "k1") -> str:
    """Return a fresh random key as ``parse_key`` reads it."""
    return key_text(SealingKey(name, secrets.token_bytes(KEY_BYTES)))


def key_text(key: SealingKey) -> str:
    """Return a key as ``parse_key`` reads it: a secret, for a file or a secret store alone."""
    return f"{key.id}:{base64.b64encode(key.key).decode()}"


def next_id(ring: Sequence[SealingKey]) -> str:
    """Return an id for a new key of a ring: ``k`` and a number higher than any there."""
    return f"k{max((_number(key) for key in ring), default=0) + 1}"


def newest(ring: Sequence[SealingKey]) -> SealingKey:
    """Return the key of a ring that was made last: of ids like ``k2`` the highest, else the one that seals."""
    return max(ring, key=_number)


def _number(key: SealingKey) -> int:
    """Return the number of an id that ``next_id`` may have made; 0 of others."""
    found = _NUMBERED.fullmatch(key.id)
    return int(found[1]) if found else 0

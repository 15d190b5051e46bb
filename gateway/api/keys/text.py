"""A key as text: ``otpg_<id>_<secret><checksum>``, all base62.

8 characters name it, 43 are random (62^43 > 2^256), and 6 are the CRC-32 of everything before. The checksum tells a
mistyped or invented key without the database, and lets a secret scanner be sure of what it found.
"""

from __future__ import annotations

import hmac
import re
import secrets
import string
import zlib
from typing import Final

_BASE62: Final = string.digits + string.ascii_uppercase + string.ascii_lowercase
_ID_LENGTH: Final = 8
_SECRET_LENGTH: Final = 43
_CHECKSUM_LENGTH: Final = 6

#: What stands before a key's id.
PREFIX: Final = "otpg_"
#: What every key looks like, its id, secret and checksum apart; secret scanners may search for it.
PATTERN: Final = re.compile(r"otpg_([0-9A-Za-z]{8})_([0-9A-Za-z]{43})([0-9A-Za-z]{6})")
#: Enough of a key to know one by, whole or cut.
TRACE: Final = re.compile(r"otpg_[0-9A-Za-z]{8}_[0-9A-Za-z]{16}")


def drawn() -> tuple[str, str]:
    """Return the id and the secret of a new key."""
    return _random(_ID_LENGTH), _random(_SECRET_LENGTH)


def written(key_id: str, secret: str) -> str:
    """Return the whole key of that id and secret."""
    text = f"{PREFIX}{key_id}_{secret}"
    return text + checksum(text)


def is_whole(key: str) -> bool:
    """Whether a text that matches ``PATTERN`` ends with its checksum."""
    return hmac.compare_digest(checksum(key[:-_CHECKSUM_LENGTH]), key[-_CHECKSUM_LENGTH:])


def checksum(text: str) -> str:
    """Return the CRC-32 of ``text`` as 6 base62 characters, the most significant first."""
    rest, characters = zlib.crc32(text.encode()), ""
    for _ in range(_CHECKSUM_LENGTH):
        rest, digit = divmod(rest, 62)
        characters = _BASE62[digit] + characters
    return characters


def _random(length: int) -> str:
    return "".join(secrets.choice(_BASE62) for _ in range(length))

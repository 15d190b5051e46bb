"""Reading a webhook secret: ``whsec_`` and the base64 of 24 to 64 random bytes (Standard Webhooks 1.0.0)."""

from __future__ import annotations

import base64
import binascii

PREFIX = "whsec_"
#: Bytes of a secret (Standard Webhooks 1.0.0, "Signature scheme").
MIN_BYTES = 24
MAX_BYTES = 64


def parse_webhook_secret(text: str) -> bytes:
    """Return the secret's bytes. Raises ``ValueError`` without a word of the secret."""
    try:
        key = base64.b64decode(text.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not text.startswith(PREFIX) or not MIN_BYTES <= len(key) <= MAX_BYTES:
        raise ValueError(
            f"must be {PREFIX} and the base64 of {MIN_BYTES} to {MAX_BYTES} random bytes "
            f"(`openssl rand -base64 32` makes what goes behind {PREFIX})"
        )
    return key

"""Signing a webhook: Standard Webhooks 1.0.0, "Signature scheme", symmetric (``v1``)."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Sequence
from typing import Final

#: The scheme of HMAC-SHA256 with a shared secret.
_VERSION: Final = "v1"


def signature(secret: bytes, webhook_id: str, timestamp: int, body: bytes) -> str:
    """Return ``v1,`` and the base64 of HMAC-SHA256 over ``id.timestamp.body``; ``timestamp`` is whole Unix seconds.

    The id must hold no dot, or two different webhooks could be signed alike.
    """
    signed = b".".join((webhook_id.encode(), str(timestamp).encode(), body))
    digest = hmac.new(secret, signed, hashlib.sha256).digest()
    return f"{_VERSION},{base64.b64encode(digest).decode()}"


def headers(secrets: Sequence[bytes], webhook_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """Return the three headers of one try: while a secret is replaced, each of them signs."""
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(signature(secret, webhook_id, timestamp, body) for secret in secrets),
    }

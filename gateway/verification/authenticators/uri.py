"""The URI by which an app learns a secret: Google Authenticator's key URI format, ``otpauth://…``, as a text and as a QR code.

The format: github.com/google/google-authenticator/wiki/Key-Uri-Format
"""

from __future__ import annotations

import base64
from urllib.parse import quote

from gateway.verification.authenticators.otp import Device, Kind

#: Characters of a URI at most: at 1,000 a QR code has 113 modules a side, about what a phone still reads off a screen.
MAX_URI = 1000


def secret_text(secret: bytes) -> str:
    """Return a secret as people type it: base32 (RFC 4648) without padding."""
    return base64.b32encode(secret).decode().rstrip("=")


def key_uri(device: Device, account: str, issuer: str) -> str:
    """Return the URI of a device that begins at counter 0. ``account`` and ``issuer`` hold no colon."""
    # Everything is named, defaults too: apps disagree about what is meant by what is missing.
    parameters = {
        "secret": secret_text(device.secret),
        # Not as a form's: to several apps a plus is a plus, where a space was meant.
        "issuer": quote(issuer, safe=""),
        "algorithm": device.algorithm,
        "digits": device.digits,
        **({"counter": 0} if device.kind is Kind.HOTP else {"period": device.period}),
    }
    query = "&".join(f"{name}={value}" for name, value in parameters.items())
    return f"otpauth://{device.kind}/{quote(issuer, safe='')}:{quote(account, safe='@')}?{query}"

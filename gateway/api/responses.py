"""Answers over HTTP: JSON bytes with the headers every answer carries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec
from starlette.responses import Response

#: On every answer: nothing here is to be guessed a type for, kept by a cache or told in a Referer.
SAFE: Final[Mapping[str, str]] = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
}
JSON: Final = "application/json"
PROBLEM: Final = "application/problem+json"

#: The same as they go over the wire.
_SAFE_RAW: Final = [(name.lower().encode(), value.encode()) for name, value in SAFE.items()]

encode: Final = msgspec.json.Encoder().encode


class Answer(Response):
    """An answer with a body."""

    def __init__(
        self, body: bytes, *, status: int = 200, media_type: str = JSON, headers: Mapping[str, str] | None = None
    ) -> None:
        # All that Starlette's constructor would do, less its passes over headers that are known beforehand.
        self.status_code = status
        self.background = None
        self.body = body
        self.raw_headers = [
            (b"content-type", media_type.encode()),
            (b"content-length", str(len(body)).encode()),
            *_SAFE_RAW,
            *((name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in (headers or {}).items()),
        ]


def nothing() -> Response:
    """Return 204: done, with nothing to say."""
    return Response(status_code=204, headers=SAFE)

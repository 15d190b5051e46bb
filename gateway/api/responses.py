"""Answers over HTTP: JSON bytes with the headers every answer carries."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Final

import msgspec
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gateway.api.shortcut import SHORTCUT, Shortcut

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
_SAFE_LINES: Final = b"".join(b"%b: %b\r\n" % header for header in _SAFE_RAW)
_NONE: Final[Mapping[str, str]] = {}

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
        self._type = media_type
        self._length = len(body)
        self._more = headers or _NONE
        self._raw: list[tuple[bytes, bytes]] | None = None

    @property
    def raw_headers(self) -> list[tuple[bytes, bytes]]:  # type: ignore[override]  # made where somebody asks for it
        """The headers as ASGI has them; who changes the list changes the answer."""
        if self._raw is None:
            self._raw = [
                (b"content-type", self._type.encode()),
                (b"content-length", str(self._length).encode()),
                *_SAFE_RAW,
                *((name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in self._more.items()),
            ]
        return self._raw

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it: with one write, where our own server allows that."""
        if not self.written(scope):
            await super().__call__(scope, receive, send)

    def written(self, scope: Scope) -> bool:
        """Write it at once, where our own server allows that; return whether it did."""
        server: Shortcut | None = scope.get(SHORTCUT)
        head = None if server is None else self._head()
        return (
            server is not None and head is not None and server.answer(scope, self.status_code, head, bytes(self.body))
        )

    def _head(self) -> bytes | None:
        """Return the headers as lines; ``None`` where they were looked at, and so maybe changed, or cannot be written so.

        A line's end in one would begin another header, or the body: what is not plain goes the server's way, which
        refuses it.
        """
        if self._raw is not None:
            return None
        head = _begin(self._type) % self._length
        for name, value in self._more.items():
            lower = name.lower()
            if lower == "connection" or not (value.isascii() and value.isprintable()):
                return None
            head += f"{lower}: {value}\r\n".encode()
        return head


@lru_cache(maxsize=8)
def _begin(media_type: str) -> bytes:
    """Return the headers every answer of a media type has; its length is to be filled in."""
    return b"content-type: " + media_type.encode().replace(b"%", b"%%") + b"\r\ncontent-length: %d\r\n" + _SAFE_LINES


def nothing() -> Response:
    """Return 204: done, with nothing to say."""
    return Response(status_code=204, headers=SAFE)

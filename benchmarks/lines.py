"""Keep-alive connections whose answers are awaited: who asks decides when."""

from __future__ import annotations

import asyncio
from typing import cast

from benchmarks.load import HOST, answer_status

#: A request's path and its body.
Request = tuple[str, bytes]


class Line(asyncio.Protocol):
    """One keep-alive connection to the gateway."""

    def __init__(self, key: str) -> None:
        self._key = key
        self._buffer = b""
        self._answer: asyncio.Future[tuple[int, bytes]]
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Hand over an answer once it is complete."""
        self._buffer += data
        if (status := answer_status(self._buffer)) is not None:
            body, self._buffer = self._buffer.partition(b"\r\n\r\n")[2], b""
            self._answer.set_result((int(status), body))

    def ask(self, request: Request) -> asyncio.Future[tuple[int, bytes]]:
        """Send a request; return what will be its status and the body of its answer."""
        path, body = request
        self._answer = asyncio.get_running_loop().create_future()
        head = (
            f"POST {path} HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer {self._key}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        self._transport.write(head.encode() + body)
        return self._answer

    def close(self) -> None:
        """Close the connection."""
        self._transport.close()

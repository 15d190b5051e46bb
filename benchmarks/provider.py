"""Where SMS and chat messages end: a server that answers as Twilio's API and the Bot API do, and counts.

It checks and keeps nothing, so that it is never what is measured: a raw HTTP/1.1 server on uvloop. The program
``python -m benchmarks.provider`` prints its port, then answers lines on its standard input, as ``benchmarks.sink`` does:
``wait N`` once N requests have come since the last ``reset``, with the monotonic time of the latest; ``sample`` with the
latest request in base64, as it came; ``reset`` with 0. It ends with its standard input.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any, Final, cast

import uvloop

from benchmarks.sink import Arrivals, answered, lines_of

#: What Twilio answers to a message it has taken on (API reference, Message resource); the person's own values left out.
_TWILIO: Final[dict[str, Any]] = {
    "account_sid": "AC00000000000000000000000000000000",
    "api_version": "2010-04-01",
    "body": "",
    "date_created": "Mon, 04 May 2026 10:40:00 +0000",
    "date_sent": None,
    "date_updated": "Mon, 04 May 2026 10:40:00 +0000",
    "direction": "outbound-api",
    "error_code": None,
    "error_message": None,
    "from": "+15005550006",
    "messaging_service_sid": None,
    "num_media": "0",
    "num_segments": "1",
    "price": None,
    "price_unit": "USD",
    "sid": "SM00000000000000000000000000000000",
    "status": "queued",
    "subresource_uris": {},
    "to": "+4915100000000",
    "uri": "/2010-04-01/Accounts/AC00000000000000000000000000000000/Messages/SM00000000000000000000000000000000.json",
}
#: What the Bot API answers to ``sendMessage``.
_TELEGRAM: Final[dict[str, Any]] = {
    "ok": True,
    "result": {
        "message_id": 4711,
        "from": {"id": 1, "is_bot": True, "first_name": "Example", "username": "example_bot"},
        "chat": {"id": 1, "first_name": "Ann", "type": "private"},
        "date": 1_777_891_200,
        "text": "123 456 is your code.",
    },
}
#: What begins a request to the Bot API.
_BOT = b"POST /bot"


def _answer(status: str, value: dict[str, Any]) -> bytes:
    body = json.dumps(value).encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


_CREATED, _OK = _answer("201 Created", _TWILIO), _answer("200 OK", _TELEGRAM)


def request_length(buffer: bytes) -> int | None:
    """Return how many bytes the first request in ``buffer`` has, ``None`` while it is incomplete.

    One without ``Content-Length`` has no body.
    """
    head, found, rest = buffer.partition(b"\r\n\r\n")
    if not found:
        return None
    told = head.lower().partition(b"\r\ncontent-length:")[2]
    length = int(told.partition(b"\r\n")[0]) if told else 0
    return len(head) + 4 + length if len(rest) >= length else None


class Provider(asyncio.Protocol):
    """One connection: every request is taken on."""

    def __init__(self, arrivals: Arrivals) -> None:
        self._arrivals = arrivals
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Answer the requests that are complete."""
        self._buffer += data
        while (length := request_length(self._buffer)) is not None:
            taken, self._buffer = self._buffer[:length], self._buffer[length:]
            self._arrivals.add(taken)
            self._transport.write(_OK if taken.startswith(_BOT) else _CREATED)


async def serve() -> None:
    """Serve until standard input ends."""
    arrivals = Arrivals()
    server = await asyncio.get_running_loop().create_server(lambda: Provider(arrivals), "127.0.0.1", 0)
    async with server:
        print(server.sockets[0].getsockname()[1], flush=True)
        async for line in lines_of(sys.stdin):
            print(json.dumps(await answered(arrivals, line)), flush=True)


if __name__ == "__main__":
    uvloop.run(serve())

"""The yardstick of HTTP: one raw ASGI app on uvicorn, with the server settings of ``gateway.serving``.

It reads the JSON body and answers with JSON of the size a verification has, and does nothing else. The program
prints its port and serves until its standard input ends.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import uvicorn
import uvloop

from benchmarks.sink import end_of_input

Messages = MutableMapping[str, Any]

#: As ``gateway.serving.BACKLOG``.
BACKLOG = 2048

_ANSWER: dict[str, Any] = {
    "id": "ver_019aa0c2a51b00013c1c8a39b1f2d4e6a7b8",
    "status": "pending",
    "service": "default",
    "purpose": "verification",
    "locale": "en",
    "to": {},
    "channel": "email",
    "next_channels": [],
    "created_at": "2026-05-04T10:40:00.000Z",
    "expires_at": "2026-05-04T10:45:00.000Z",
    "resend_at": "2026-05-04T10:40:00.000Z",
    "checks_left": 5,
    "sends_left": None,
    "link": None,
    "page": None,
    "messages": [{"id": "msg_019aa0c2a51b00023c1c8a39b1f2d4e6a7b8", "channel": "email", "status": "queued"}],
}


async def app(
    scope: Messages, receive: Callable[[], Awaitable[Messages]], send: Callable[[Messages], Awaitable[None]]
) -> None:
    """Answer one request."""
    assert scope["type"] == "http"
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    answer = json.dumps({**_ANSWER, "to": json.loads(body)["to"]}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(answer)).encode())]
    await send({"type": "http.response.start", "status": 201, "headers": headers})
    await send({"type": "http.response.body", "body": answer})


async def serve() -> None:
    """Serve until standard input ends."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)
    config = uvicorn.Config(
        app,
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        date_header=True,
        http="httptools",
        ws="none",
        backlog=BACKLOG,
        proxy_headers=False,
    )
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve([listener]))
    print(listener.getsockname()[1], flush=True)
    await end_of_input(sys.stdin)
    server.should_exit = True
    await serving


if __name__ == "__main__":
    uvloop.run(serve())

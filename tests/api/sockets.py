"""Our protocol on a real server, and what speaks to it by real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse

from gateway.api.slow_clients import DeadlineProtocol

#: Seconds a test waits for what must happen at once; only a failing test takes them.
PATIENCE = 20.0


class Hasty(DeadlineProtocol):
    # Some tests have a whole request answered before the one that is too slow.
    header_seconds = 0.3
    body_seconds = 0.4
    answer_seconds = 0.3


class Patient(DeadlineProtocol):
    header_seconds = 30.0
    body_seconds = 30.0


async def echo(scope, receive, send):
    request = Request(scope, receive)
    try:
        body = b"" if scope["path"] == "/unread" else await request.body()
    except ClientDisconnect:
        return
    await PlainTextResponse(body)(scope, receive, send)


@asynccontextmanager
async def serving(protocol: type[DeadlineProtocol], served: Any = echo) -> AsyncIterator[Callable[[], Any]]:
    """Serve ``served``; yield a function that connects."""
    config = uvicorn.Config(
        served, port=0, http=protocol, ws="none", lifespan="off", log_config=None, timeout_keep_alive=1
    )
    config.load()
    state = uvicorn.server.ServerState()
    # As uvicorn's own clock tells it once a second.
    state.default_headers = [(b"date", b"Mon, 04 May 2026 10:40:00 GMT")]
    made: list[DeadlineProtocol] = []

    def factory() -> DeadlineProtocol:
        made.append(protocol(config=config, server_state=state, app_state={}))
        return made[-1]

    server = await asyncio.get_running_loop().create_server(factory, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    writers: list[asyncio.StreamWriter] = []

    async def connect():
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writers.append(writer)
        return reader, writer, made

    yield connect
    for writer in writers:
        writer.close()
    server.close()
    for protocol_made in made:
        protocol_made._unset_keepalive_if_required()
        if protocol_made.transport is not None:
            protocol_made.transport.abort()
    await asyncio.sleep(0)


async def all_of(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(PATIENCE):
        return await reader.read()


async def answer(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(PATIENCE):
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        return head + await reader.readexactly(length)

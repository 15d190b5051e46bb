"""Deadlines on a real server and real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn
from starlette.requests import Request
from starlette.responses import PlainTextResponse

from gateway.api.slow_clients import DeadlineProtocol

#: Seconds a test waits for what must happen at once; only a failing test takes them.
PATIENCE = 20.0


class Hasty(DeadlineProtocol):
    # Some tests have a whole request answered before the one that is too slow.
    header_seconds = 0.3
    body_seconds = 0.4


class Patient(DeadlineProtocol):
    header_seconds = 30.0
    body_seconds = 30.0


async def echo(scope, receive, send):
    request = Request(scope, receive)
    body = b"" if scope["path"] == "/unread" else await request.body()
    await PlainTextResponse(body)(scope, receive, send)


@asynccontextmanager
async def serving(protocol: type[DeadlineProtocol]) -> AsyncIterator[Callable[[], Any]]:
    """Serve ``echo``; yield a function that connects."""
    config = uvicorn.Config(
        echo, port=0, http=protocol, ws="none", lifespan="off", log_config=None, timeout_keep_alive=1
    )
    config.load()
    state = uvicorn.server.ServerState()
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


@pytest.mark.parametrize("sent", [b"", b"\r\n", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: "])
async def test_a_connection_without_whole_headers_is_closed(sent):
    async with serving(Hasty) as connect:
        reader, writer, _ = await connect()
        writer.write(sent)
        assert await all_of(reader) == b""


async def test_a_body_that_stops_is_cut_off():
    async with serving(Hasty) as connect:
        reader, writer, _ = await connect()
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc")
        assert await all_of(reader) == b""


async def test_a_body_that_nobody_reads_is_cut_off_after_the_answer():
    async with serving(Hasty) as connect:
        reader, writer, _ = await connect()
        writer.write(b"POST /unread HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc")
        assert (await all_of(reader)).startswith(b"HTTP/1.1 200 OK\r\n")


async def test_the_second_request_of_a_connection_has_the_same_deadlines():
    async with serving(Hasty) as connect:
        reader, writer, _ = await connect()
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await answer(reader)).startswith(b"HTTP/1.1 200 OK\r\n")
        writer.write(b"GET / HTTP/1.1\r\nHost:")
        assert await all_of(reader) == b""


async def test_stray_line_breaks_after_an_answer_hold_no_connection():
    async with serving(Hasty) as connect:
        reader, writer, _ = await connect()
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await answer(reader)
        writer.write(b"\r\n")
        assert await all_of(reader) == b""


async def test_what_is_no_http_is_refused_and_leaves_no_timer():
    async with serving(Hasty) as connect:
        reader, writer, made = await connect()
        writer.write(b"\x16\x03\x01 hello\r\n\r\n")
        assert (await all_of(reader)).startswith(b"HTTP/1.1 400 Bad Request\r\n")
        assert made[0]._timer is None


async def test_requests_in_pieces_and_in_a_row_are_answered():
    async with serving(Patient) as connect:
        reader, writer, made = await connect()
        for piece in (b"POST / HTTP/1.1\r\nHost: x\r\nContent-", b"Length: 6\r\n\r\nabc", b"def"):
            writer.write(piece)
            await writer.drain()
        assert (await answer(reader)).endswith(b"abcdef")
        request = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n"
        writer.write(request + b"1" + request + b"2" + request)
        assert (await answer(reader)).endswith(b"1")
        assert (await answer(reader)).endswith(b"2")
        writer.write(b"3")
        assert (await answer(reader)).endswith(b"3")
        assert made[0]._timer is None


async def test_a_whole_request_sets_no_timer_beside_the_connections_own():
    async with serving(Patient) as connect:
        reader, writer, made = await connect()
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await answer(reader)
        assert (made[0]._timer, made[0]._watched) == (None, None)


def test_the_deadlines_are_the_contracts():
    assert (DeadlineProtocol.header_seconds, DeadlineProtocol.body_seconds) == (10.0, 16.0)

"""Deadlines on a real server and real sockets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse

from gateway.api.slow_clients import MAX_HEAD, DeadlineProtocol

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


HEAD = b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: "


async def test_a_head_without_end_is_refused_as_it_grows():
    async with serving(Patient) as connect:
        reader, writer, made = await connect()
        for piece in (HEAD, b"a" * MAX_HEAD):
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        head, _, body = (await all_of(reader)).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 431 Request Header Fields Too Large\r\n")
        assert json.loads(body)["code"] == "too_large"
        assert made[0]._timer is None


async def test_a_trailer_without_end_is_refused_as_it_grows():
    async with serving(Patient) as connect:
        reader, writer, made = await connect()
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-Long: ")
        async with asyncio.timeout(PATIENCE):
            while not made or not made[0]._has_body:  # noqa: ASYNC110 - what is sent next must not come with it
                await asyncio.sleep(0)
        writer.write(b"a" * (MAX_HEAD + 1))
        assert (await all_of(reader)).startswith(b"HTTP/1.1 431 ")


async def test_a_body_may_be_longer_than_a_head():
    async with serving(Patient) as connect:
        reader, writer, _ = await connect()
        size = 3 * MAX_HEAD
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size)
        for _ in range(3):
            writer.write(b"a" * MAX_HEAD)
            await writer.drain()
            await asyncio.sleep(0.01)
        assert len((await answer(reader)).partition(b"\r\n\r\n")[2]) == size


async def test_a_head_that_comes_at_once_is_refused_over_its_limit_only():
    async with serving(Patient) as connect:
        reader, writer, _ = await connect()
        writer.write(HEAD + b"a" * (MAX_HEAD - 100) + b"\r\n\r\n")
        assert (await answer(reader)).startswith(b"HTTP/1.1 200 OK\r\n")
        writer.write(HEAD + b"a" * MAX_HEAD + b"\r\n\r\n")
        assert (await all_of(reader)).startswith(b"HTTP/1.1 431 ")


async def test_a_head_too_large_does_not_break_into_the_answer_before_it():
    async with serving(Patient) as connect:
        reader, writer, _ = await connect()
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n")
        await asyncio.sleep(0.01)
        writer.write(b"1" + HEAD + b"a" * MAX_HEAD + b"\r\n\r\n")
        told = await all_of(reader)
        assert b"431" not in told


async def test_what_is_no_http_is_told_like_every_other_fault():
    async with serving(Patient) as connect:
        reader, writer, _ = await connect()
        writer.write(b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n")
        head, _, body = (await all_of(reader)).partition(b"\r\n\r\n")
        assert json.loads(body)["code"] == "invalid_request"
        for header in (
            b"content-type: application/problem+json",
            b"x-content-type-options: nosniff",
            b"connection: close",
        ):
            assert header in head.split(b"\r\n")


async def test_what_stands_behind_a_body_is_no_header():
    seen: list[list[tuple[bytes, bytes]]] = []

    async def listing(scope, receive, send):
        await Request(scope, receive).body()
        seen.append(list(scope["headers"]))
        await PlainTextResponse("")(scope, receive, send)

    async with serving(Patient, listing) as connect:
        reader, writer, _ = await connect()
        writer.write(
            b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"1\r\na\r\n0\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n"
        )
        await answer(reader)
    assert [name for name, _ in seen[0]] == [b"host", b"transfer-encoding"]


@pytest.mark.parametrize(
    "framing",
    [
        b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
        b"Content-Length: 3\r\nContent-Length: 4\r\n",
        b"Content-Length: 3, 3\r\n",
        b"Content-Length: +3\r\n",
        b"Content-Length : 3\r\n",
        b"Transfer-Encoding: chunked, identity\r\n",
        b"Transfer-Encoding: xchunked\r\n",
    ],
)
async def test_a_body_that_two_servers_could_measure_differently_is_refused(framing: bytes):
    async with serving(Patient) as connect:
        reader, writer, _ = await connect()
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\n" + framing + b"\r\nabc")
        assert (await all_of(reader)).startswith(b"HTTP/1.1 400 Bad Request\r\n")

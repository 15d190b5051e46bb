"""Who asks for more than they take: many requests in advance, and answers that nobody reads."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from starlette.responses import PlainTextResponse, Response, StreamingResponse

from gateway.api.slow_clients import ANSWER_SECONDS, MAX_AHEAD, DeadlineProtocol
from tests.api.sockets import PATIENCE, Hasty, Patient, all_of, answer, serving

PLAIN = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
UPGRADE = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"
#: Bytes: more than the buffers of a connection that nobody reads.
LARGE = 8 * 1024 * 1024


def answering(response: Callable[[], Response]) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await response()(scope, receive, send)

    return app


class Watched(Hasty):
    """Tells when its connection is lost."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.lost = asyncio.Event()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.lost.set()

    async def ends(self) -> bool:
        """Whether its connection is lost within a test's patience."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self.lost.wait(), PATIENCE)
        return self.lost.is_set()


class Roomy(Watched):
    """Keeps whatever is written, so that no answer waits for its reader."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        transport.set_write_buffer_limits(high=2 * LARGE)
        super().connection_made(transport)


@pytest.mark.parametrize("request_", [PLAIN, UPGRADE])
async def test_what_is_sent_in_advance_beyond_a_number_is_not_read_and_the_last_answer_says_so(request_, caplog):
    """Each that waits takes fifty times what it has to send: 40 connections with 20 MiB of them took a gigabyte."""
    begun, opened = asyncio.Event(), asyncio.Event()

    async def held(scope: Any, receive: Any, send: Any) -> None:
        begun.set()
        await opened.wait()
        await PlainTextResponse(b"ok")(scope, receive, send)

    async with serving(Patient, held) as connect:
        reader, writer, made = await connect()
        writer.write(500 * request_)
        async with asyncio.timeout(PATIENCE):
            await begun.wait()
        for _ in range(20):
            writer.write(20 * request_)
            await asyncio.sleep(0)
        assert len(made[0].pipeline) == MAX_AHEAD
        opened.set()
        answers = (await all_of(reader)).split(b"HTTP/1.1 ")[1:]
        assert [each.startswith(b"200 OK") for each in answers] == [True] * (1 + MAX_AHEAD)
        assert [b"connection: close" in each for each in answers] == [False] * MAX_AHEAD + [True]
        assert caplog.records == []


async def test_what_comes_while_the_last_request_is_answered_is_not_read(caplog):
    last, opened, answered = asyncio.Event(), asyncio.Event(), 0

    async def held(scope: Any, receive: Any, send: Any) -> None:
        nonlocal answered
        answered += 1
        if answered == 1 + MAX_AHEAD:
            last.set()
            await opened.wait()
        await PlainTextResponse(b"ok")(scope, receive, send)

    async with serving(Patient, held) as connect:
        reader, writer, made = await connect()
        made[0].data_received(500 * PLAIN)
        async with asyncio.timeout(PATIENCE):
            await last.wait()
        made[0].data_received(PLAIN)
        opened.set()
        assert (await all_of(reader)).count(b"HTTP/1.1 200 OK") == answered == 1 + MAX_AHEAD
        assert caplog.records == []
        writer.close()


@pytest.mark.parametrize("request_", [PLAIN, UPGRADE])
async def test_as_many_as_are_allowed_in_advance_leave_the_connection_open(request_):
    async with serving(Patient) as connect:
        reader, writer, _ = await connect()
        for _ in range(20):
            writer.write(MAX_AHEAD * request_)
            for _ in range(MAX_AHEAD):
                assert b"connection: close" not in await answer(reader)


async def unread(connect: Any) -> tuple[asyncio.StreamWriter, Any]:
    """Ask, and read nothing; return the way to go on and the server's side."""
    _, writer, made = await connect()
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
    writer.transport.pause_reading()
    writer.write(PLAIN)
    return writer, made[0]


def whole() -> Response:
    return PlainTextResponse(bytes(LARGE))


def in_parts() -> Response:
    return StreamingResponse(iter([bytes(65_536)] * (LARGE // 65_536)))


@pytest.mark.parametrize(
    ("protocol", "response"),
    # One answer waits for its reader; one is written, and then the connection is idle.
    [(Watched, whole), (Watched, in_parts), (Roomy, whole)],
)
async def test_a_connection_whose_answer_is_not_taken_is_ended(protocol, response):
    """To close it waits for the answer to be taken: 1,000 such connections shut a gateway for everybody."""
    async with serving(protocol, answering(response)) as connect:
        writer, server = await unread(connect)
        assert await server.ends()
        # Not because whoever asked has gone.
        assert not writer.is_closing()


async def test_a_request_that_is_refused_behind_an_answer_that_is_not_taken_ends_the_connection():
    async with serving(Roomy, answering(whole)) as connect:
        writer, server = await unread(connect)
        writer.write(b"what is no HTTP\r\n\r\n")
        assert await server.ends()
        assert not writer.is_closing()


async def test_an_answer_that_is_taken_in_time_leaves_the_connection_open():
    async with serving(Patient, answering(whole)) as connect:
        reader, writer, made = await connect()
        for _ in range(2):
            writer.write(PLAIN)
            assert (await answer(reader)).endswith(bytes(LARGE))
        assert made[0]._untaken_at == float("inf")


def test_the_deadline_is_the_documented_one():
    assert DeadlineProtocol.answer_seconds == ANSWER_SECONDS == 15.0
